// Device and pinned memory: who owns which bytes, so that a pointer can be judged before it is followed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "world.h"

namespace muster {

enum class Space { Device, Pinned };

// Takes memory, NaN-filled and 256-aligned; null where the device's bound is reached.
void* allocate(Space space, Device* device, size_t bytes);

// From now on a use of the memory is a mistake of the caller. "" or what is wrong with freeing it.
std::string retire(Space space, const void* at);
// Gives retired memory back; the bytes become NaN. Reports a write past its end.
void release(const void* at, Device* device);

// "" if `bytes` at `at` lie in living memory of `device`, or what they are instead.
std::string check_device(const void* at, size_t bytes, const Device* device);
// "" if `bytes` at `at` are fit for the host side of a copy: untracked, or inside living pinned memory.
std::string check_host(const void* at, size_t bytes);
// "" if a kernel on `device` may be handed this pointer.
std::string check_argument(const void* at, const Device* device);
// "" unless the pointer is known to be freed memory or another device's: for words inside a struct.
std::string check_word(const void* at, const Device* device);
bool is_pinned(const void* at);

// Reports the first allocation of these that was written past its end, on behalf of `kernel`.
std::string check_canary(const void* at);
// What is known about an address.
std::string describe(const void* at);
// The start and size of the living allocation around `at`; false if there is none.
bool range_of(const void* at, const void** base, size_t* size);

size_t bytes_used(const Device* device);
// One line for each allocation that is still alive.
void report_memory_leaks();

}  // namespace muster
