// Fault texts: to stderr, to a file on demand, and to whoever asks for the last one.
#include "fault.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace muster {
namespace {
std::mutex& lock() {
    static std::mutex* made = new std::mutex;
    return *made;
}
std::string& last() {
    static std::string* made = new std::string;
    return *made;
}
}  // namespace

void report(const std::string& text) {
    std::lock_guard<std::mutex> held(lock());
    last() = text;
    fprintf(stderr, "muster-double: fault: %s\n", text.c_str());
    fflush(stderr);
    const char* path = getenv("MUSTER_DOUBLE_FAULTS");
    if (path == nullptr || *path == 0) return;
    if (FILE* file = fopen(path, "a")) {
        fprintf(file, "%s\n", text.c_str());
        fclose(file);
    }
}

const char* last_fault() {
    // A copy a thread, so that the pointer outlives the next fault.
    thread_local std::string copy;
    std::lock_guard<std::mutex> held(lock());
    copy = last();
    return copy.c_str();
}

std::string text(const char* format, ...) {
    char buffer[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(buffer, sizeof buffer, format, list);
    va_end(list);
    return buffer;
}

const char* env(const char* name, const char* otherwise) {
    const char* value = getenv(name);
    return value != nullptr && *value != 0 ? value : otherwise;
}

unsigned long long env_number(const char* name, unsigned long long otherwise) {
    const char* value = getenv(name);
    return value != nullptr && *value != 0 ? strtoull(value, nullptr, 10) : otherwise;
}

}  // namespace muster

extern "C" __attribute__((visibility("default"))) const char* muster_double_last_fault() {
    return muster::last_fault();
}
