// The fake machine: its devices, what is current on a thread, and the errors that stick.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "../shim/fault.h"
#include "cuda.h"

namespace muster {

// A device with its one context, the primary one.
struct Device {
    int ordinal;
    // Its place in the machine, whatever CUDA_VISIBLE_DEVICES makes of it.
    int physical;
    std::atomic<Status> sticky{kSuccess};
    std::atomic<int> retained{0};
};

// The devices that this process sees. MUSTER_DOUBLE_DEVICES of them, filtered by CUDA_VISIBLE_DEVICES.
std::vector<Device*>& devices();

bool initialized();
void initialize();

// The device whose context is current on this thread, or null.
Device* current();
void set_current(Device* device);

// Bytes of memory of each device: MUSTER_DOUBLE_MEMORY, 2 GiB unless told.
size_t memory_limit();
// Multiprocessors of each device: MUSTER_DOUBLE_SMS, 8 unless told.
int multiprocessors();

// Reports the text and returns the status.
Status fail(Status status, const std::string& text);
// As `fail`, and every later call on the device fails the same way.
void fail_device(Device& device, Status status, const std::string& text);

// Counts a kind of object that must be gone at the end; see report.cpp.
struct Tally {
    const char* what;
    std::atomic<long> alive{0};
    explicit Tally(const char* what);
};

// Handles of one kind, so that a stale one is refused and not followed.
template <class T>
class Handles {
public:
    explicit Handles(const char* what) : tally_(what) {}

    T* add(std::shared_ptr<T> object) {
        std::lock_guard<std::mutex> held(lock_);
        T* handle = object.get();
        // A counter that is not part of the address, since the allocator reuses those at once.
        objects_.emplace(handle, std::move(object));
        tally_.alive++;
        return handle;
    }
    std::shared_ptr<T> get(const void* handle) {
        std::lock_guard<std::mutex> held(lock_);
        auto at = objects_.find(handle);
        return at == objects_.end() ? nullptr : at->second;
    }
    std::shared_ptr<T> remove(const void* handle) {
        std::lock_guard<std::mutex> held(lock_);
        auto at = objects_.find(handle);
        if (at == objects_.end()) return nullptr;
        auto object = at->second;
        objects_.erase(at);
        tally_.alive--;
        return object;
    }
    std::vector<std::shared_ptr<T>> all() {
        std::lock_guard<std::mutex> held(lock_);
        std::vector<std::shared_ptr<T>> found;
        for (auto& entry : objects_) found.push_back(entry.second);
        return found;
    }

private:
    std::mutex lock_;
    std::unordered_map<const void*, std::shared_ptr<T>> objects_;
    Tally tally_;
};

}  // namespace muster

// Opens an entry point: no context is current, or the context has failed before.
#define MUSTER_ENTER(device)                                                                                      \
    ::muster::Device* device = ::muster::current();                                                               \
    if (device == nullptr) return ::muster::fail(kInvalidContext, std::string(__func__) + ": no current context"); \
    if (device->sticky != kSuccess) return device->sticky
