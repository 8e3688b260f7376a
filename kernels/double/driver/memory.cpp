// The tracker of device and pinned memory.
//
// Freed memory stays known, and in the plain build stays mapped and NaN for a while, so that its use is named.
#include "memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace muster {
namespace {
constexpr unsigned char kNan = 0xff;
constexpr unsigned char kMark = 0xa5;
// One build of this file serves all libraries: in some of them ASan is there.
extern "C" __attribute__((weak)) void __asan_init();
// Bytes behind each allocation that must stay as they are; ASan keeps its own watch right behind the last byte.
const size_t kCanary = __asan_init != nullptr ? 0 : 64;
constexpr size_t kQuarantine = 64 << 20;

struct Allocation {
    uintptr_t base;
    size_t size;
    Space space;
    Device* device;
    unsigned long long number;
    bool retired = false;
    bool released = false;
};

struct Tracker {
    std::mutex lock;
    std::map<uintptr_t, Allocation> all;
    std::deque<uintptr_t> quarantine;
    size_t quarantined = 0;
    std::map<const Device*, size_t> used;
    unsigned long long made = 0;
};

Tracker& tracker() {
    static Tracker* made = new Tracker;
    return *made;
}

// The allocation at or before the address, if the address is within it or right at its end.
Allocation* around(Tracker& known, const void* at) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    auto next = known.all.upper_bound(address);
    if (next == known.all.begin()) return nullptr;
    Allocation& found = std::prev(next)->second;
    return address <= found.base + found.size ? &found : nullptr;
}

std::string name(const Allocation& allocation) {
    if (allocation.space == Space::Pinned) {
        return text("pinned memory #%llu (%zu bytes)", allocation.number, allocation.size);
    }
    return text("memory #%llu of device %d (%zu bytes)", allocation.number, allocation.device->ordinal, allocation.size);
}

void forget_overlaps(Tracker& known, uintptr_t base, size_t size) {
    auto at = known.all.upper_bound(base + size);
    while (at != known.all.begin()) {
        auto before = std::prev(at);
        if (before->second.base + before->second.size < base) break;
        at = known.all.erase(before);
    }
}

void shrink_quarantine(Tracker& known) {
    while (known.quarantined > kQuarantine) {
        auto found = known.all.find(known.quarantine.front());
        known.quarantine.pop_front();
        if (found == known.all.end() || !found->second.released) continue;
        known.quarantined -= found->second.size;
        free(reinterpret_cast<void*>(found->second.base));
        known.all.erase(found);
    }
}

std::string overrun(const Allocation& allocation) {
    const auto* end = reinterpret_cast<const unsigned char*>(allocation.base) + allocation.size;
    for (size_t idx = 0; idx < kCanary; idx++) {
        if (end[idx] != kMark) return text("%s was written past its end, at byte %zu", name(allocation).c_str(), allocation.size + idx);
    }
    return "";
}
}  // namespace

void* allocate(Space space, Device* device, size_t bytes) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    if (space == Space::Device && known.used[device] + bytes > memory_limit()) return nullptr;
    void* at = nullptr;
    if (posix_memalign(&at, 256, bytes + kCanary) != 0) return nullptr;
    memset(at, kNan, bytes);
    if (kCanary > 0) memset(static_cast<char*>(at) + bytes, kMark, kCanary);
    const auto base = reinterpret_cast<uintptr_t>(at);
    forget_overlaps(known, base, bytes);
    known.all[base] = Allocation{base, bytes, space, device, ++known.made, false, false};
    if (space == Space::Device) known.used[device] += bytes;
    return at;
}

std::string retire(Space space, const void* at) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    Allocation* found = around(known, at);
    if (found == nullptr || found->base != reinterpret_cast<uintptr_t>(at)) return text("%p is not the start of an allocation", at);
    if (found->space != space) return name(*found) + " is freed by the other space's call";
    if (found->retired) return name(*found) + " is freed twice";
    found->retired = true;
    return "";
}

void release(const void* at, Device* device) {
    Tracker& known = tracker();
    std::string fault;
    {
        std::lock_guard<std::mutex> held(known.lock);
        Allocation* found = around(known, at);
        if (found == nullptr || found->released) return;
        fault = overrun(*found);
        found->released = true;
        if (found->space == Space::Device) known.used[found->device] -= found->size;
        void* memory = reinterpret_cast<void*>(found->base);
        if (kCanary == 0) {
            free(memory);
            return;
        }
        memset(memory, kNan, found->size);
        known.quarantine.push_back(found->base);
        known.quarantined += found->size;
        shrink_quarantine(known);
    }
    if (!fault.empty() && device != nullptr) fail_device(*device, kIllegalAddress, fault);
}

std::string check_device(const void* at, size_t bytes, const Device* device) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    if (found == nullptr) return text("%p is not device memory", at);
    if (found->retired) return name(*found) + " was freed";
    if (found->space != Space::Device) return name(*found) + " is not device memory";
    if (found->device != device) return name(*found) + text(" is used on device %d", device->ordinal);
    const size_t offset = reinterpret_cast<uintptr_t>(at) - found->base;
    if (offset + bytes > found->size) return name(*found) + text(" is used up to byte %zu", offset + bytes);
    return "";
}

std::string check_host(const void* at, size_t bytes) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    if (at == nullptr) return "null host memory";
    if (found == nullptr) return "";
    const size_t offset = reinterpret_cast<uintptr_t>(at) - found->base;
    // Right behind an allocation lies somebody else's memory.
    if (offset == found->size || (found->retired && found->released)) return "";
    if (found->retired) return name(*found) + " was freed";
    if (found->space == Space::Device) return name(*found) + " is used as host memory";
    if (offset + bytes > found->size) return name(*found) + text(" is used up to byte %zu", offset + bytes);
    return "";
}

std::string check_argument(const void* at, const Device* device) {
    if (at == nullptr) return "";
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    if (found == nullptr) return text("%p is neither device nor pinned memory", at);
    if (found->retired) return name(*found) + " was freed";
    if (found->space == Space::Device && found->device != device) return name(*found) + text(" is used on device %d", device->ordinal);
    return "";
}

std::string check_word(const void* at, const Device* device) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    if (found == nullptr || found->space == Space::Pinned) return "";
    if (found->retired) return name(*found) + " was freed";
    if (found->device != device) return name(*found) + text(" is used on device %d", device->ordinal);
    return "";
}

bool is_pinned(const void* at) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    return found != nullptr && found->space == Space::Pinned && !found->released;
}

std::string check_canary(const void* at) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    return found == nullptr || found->released ? "" : overrun(*found);
}

std::string describe(const void* at) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const auto address = reinterpret_cast<uintptr_t>(at);
    auto next = known.all.upper_bound(address);
    if (next == known.all.begin()) return "below all allocations";
    const Allocation& found = std::prev(next)->second;
    const size_t offset = address - found.base;
    if (offset < found.size) return text("byte %zu of %s%s", offset, name(found).c_str(), found.retired ? ", freed" : "");
    return text("%zu bytes past the end of %s", offset - found.size, name(found).c_str());
}

bool range_of(const void* at, const void** base, size_t* size) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    const Allocation* found = around(known, at);
    if (found == nullptr || found->retired) return false;
    *base = reinterpret_cast<const void*>(found->base);
    *size = found->size;
    return true;
}

size_t bytes_used(const Device* device) {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    return known.used[device];
}

void report_memory_leaks() {
    Tracker& known = tracker();
    std::lock_guard<std::mutex> held(known.lock);
    for (const auto& entry : known.all) {
        const Allocation& allocation = entry.second;
        if (!allocation.retired) fprintf(stderr, "muster-double: leak: %s\n", name(allocation).c_str());
        if (!allocation.released) {
            const std::string fault = overrun(allocation);
            if (!fault.empty()) fprintf(stderr, "muster-double: fault: %s\n", fault.c_str());
        }
    }
}

}  // namespace muster
