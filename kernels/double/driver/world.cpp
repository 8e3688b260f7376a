// The fake machine and its errors. Nothing here is ever destroyed: threads may outlive main.
#include "world.h"

#include <cstdlib>
#include <cstring>

namespace muster {
namespace {
std::atomic<bool> is_initialized{false};
thread_local Device* current_device = nullptr;

std::vector<Device*>* find_devices() {
    auto* found = new std::vector<Device*>;
    const int n_devices = static_cast<int>(env_number("MUSTER_DOUBLE_DEVICES", 1));
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    const auto add = [&](int physical) {
        auto* device = new Device;
        device->ordinal = static_cast<int>(found->size());
        device->physical = physical;
        found->push_back(device);
    };
    if (visible == nullptr) {
        for (int physical = 0; physical < n_devices; physical++) add(physical);
        return found;
    }
    // As the driver reads it: the list ends at the first entry that names no device.
    for (const char* at = visible; *at != 0;) {
        char* end = nullptr;
        const long physical = strtol(at, &end, 10);
        if (end == at || physical < 0 || physical >= n_devices) break;
        add(static_cast<int>(physical));
        at = *end == ',' ? end + 1 : end;
    }
    return found;
}
}  // namespace

std::vector<Device*>& devices() {
    static std::vector<Device*>* found = find_devices();
    return *found;
}

bool initialized() { return is_initialized; }
void initialize() { is_initialized = true; }
Device* current() { return current_device; }
void set_current(Device* device) { current_device = device; }

size_t memory_limit() {
    static const size_t limit = env_number("MUSTER_DOUBLE_MEMORY", 2ull << 30);
    return limit;
}

int multiprocessors() {
    static const int count = static_cast<int>(env_number("MUSTER_DOUBLE_SMS", 8));
    return count;
}

Status fail(Status status, const std::string& text) {
    report(text);
    return status;
}

void fail_device(Device& device, Status status, const std::string& text) {
    Status none = kSuccess;
    report(text);
    device.sticky.compare_exchange_strong(none, status);
}

}  // namespace muster
