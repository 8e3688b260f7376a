// What a double reports when it finds a mistake: one sentence, kept for the reader and written to stderr.
#pragma once
#include <string>

namespace muster {

// Keeps `text` as the last fault, writes it to stderr and, if MUSTER_DOUBLE_FAULTS names a file, appends it there.
void report(const std::string& text);

// The text of the last fault of this process, or "".
const char* last_fault();

// printf into a string.
std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The variable's value, or `otherwise` when it is unset or empty.
const char* env(const char* name, const char* otherwise);

// The variable's value as a number, or `otherwise`.
unsigned long long env_number(const char* name, unsigned long long otherwise);

}  // namespace muster
