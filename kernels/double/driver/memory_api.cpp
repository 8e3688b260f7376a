// cuMem* and cuMemcpy*: each pointer is judged at the call, as the program orders things; bytes move in stream order.
#include <cstring>
#include <vector>

#include "capture.h"
#include "memory.h"
#include "stream.h"

using namespace muster;

namespace {
void* pointer(DevicePtr at) { return reinterpret_cast<void*>(at); }

Status bad(const char* call, const std::string& what) { return fail(kInvalidValue, std::string(call) + ": " + what); }

// Nothing can be freed on a device that has failed, and what was to be freed is not the caller's leak.
#define MUSTER_FREE_ON(device, space, at)                                                          \
    Device* device = current();                                                                    \
    if (device != nullptr && device->sticky != kSuccess) {                                         \
        retire(space, at);                                                                         \
        return device->sticky;                                                                     \
    }                                                                                              \
    if (device == nullptr) return fail(kInvalidContext, std::string(__func__) + ": no current context")

// The stream of a call, checked to be the current device's.
Status stream_of(const char* call, void* handle, Device* device, StreamRef& stream) {
    stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, std::string(call) + ": no such stream");
    if (stream->device != device) {
        return fail(kInvalidHandle, text("%s: a stream of device %d while device %d is current", call, stream->device->ordinal, device->ordinal));
    }
    return kSuccess;
}

void* allocate_or_wait(Device* device, size_t bytes) {
    void* at = allocate(Space::Device, device, bytes);
    if (at == nullptr) {
        // Memory that is freed in stream order may still be waiting for its turn.
        demand_device(device);
        at = allocate(Space::Device, device, bytes);
    }
    return at;
}
}  // namespace

MUSTER_API Status cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
    MUSTER_ENTER(device);
    *total = memory_limit();
    *free_bytes = memory_limit() - bytes_used(device);
    return kSuccess;
}

MUSTER_API Status cuMemAlloc_v2(DevicePtr* at, size_t bytes) {
    MUSTER_ENTER(device);
    *at = 0;
    if (bytes == 0) return bad("cuMemAlloc", "zero bytes");
    void* made = allocate_or_wait(device, bytes);
    if (made == nullptr) return kOutOfMemory;
    *at = reinterpret_cast<DevicePtr>(made);
    return kSuccess;
}

MUSTER_API Status cuMemFree_v2(DevicePtr at) {
    MUSTER_FREE_ON(device, Space::Device, pointer(at));
    if (at == 0) return kSuccess;
    const std::string wrong = retire(Space::Device, pointer(at));
    if (!wrong.empty()) return bad("cuMemFree", wrong);
    demand_device(device);
    release(pointer(at), device);
    return device->sticky;
}

MUSTER_API Status cuMemAllocAsync(DevicePtr* at, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    *at = 0;
    StreamRef stream;
    if (Status status = stream_of("cuMemAllocAsync", handle, device, stream)) return status;
    if (Status refused = refuse_capture(*stream, "cuMemAllocAsync (the double knows no allocations inside graphs)")) return refused;
    if (bytes == 0) return bad("cuMemAllocAsync", "zero bytes");
    void* made = allocate_or_wait(device, bytes);
    if (made == nullptr) return kOutOfMemory;
    *at = reinterpret_cast<DevicePtr>(made);
    // Before this op the memory is not the caller's: whoever wrote it without waiting loses what it wrote.
    if (mode() != Mode::Eager) enqueue(stream, "allocate", [made, bytes] { memset(made, 0xff, bytes); });
    return kSuccess;
}

MUSTER_API Status cuMemFreeAsync(DevicePtr at, void* handle) {
    MUSTER_FREE_ON(device, Space::Device, pointer(at));
    StreamRef stream;
    if (Status status = stream_of("cuMemFreeAsync", handle, device, stream)) return status;
    if (Status refused = refuse_capture(*stream, "cuMemFreeAsync")) return refused;
    const std::string wrong = retire(Space::Device, pointer(at));
    if (!wrong.empty()) return bad("cuMemFreeAsync", wrong);
    enqueue(stream, "free", [at, device] { release(pointer(at), device); });
    return kSuccess;
}

MUSTER_API Status cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    MUSTER_ENTER(device);
    *at = bytes == 0 ? nullptr : allocate(Space::Pinned, device, bytes);
    return *at == nullptr ? kOutOfMemory : kSuccess;
}
MUSTER_API Status cuMemAllocHost_v2(void** at, size_t bytes) { return cuMemHostAlloc(at, bytes, 0); }

MUSTER_API Status cuMemFreeHost(void* at) {
    MUSTER_FREE_ON(device, Space::Pinned, at);
    const std::string wrong = retire(Space::Pinned, at);
    if (!wrong.empty()) return bad("cuMemFreeHost", wrong);
    // The driver frees pinned memory after what the devices still do with it.
    for (Device* each : devices()) demand_device(each);
    release(at, device);
    return kSuccess;
}

MUSTER_API Status cuMemHostGetDevicePointer_v2(DevicePtr* device_at, void* at, unsigned) {
    MUSTER_ENTER(device);
    if (!is_pinned(at)) return bad("cuMemHostGetDevicePointer", "not pinned memory");
    *device_at = reinterpret_cast<DevicePtr>(at);
    return kSuccess;
}

MUSTER_API Status cuMemsetD8Async(DevicePtr at, unsigned char value, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream;
    if (Status status = stream_of("cuMemsetD8Async", handle, device, stream)) return status;
    if (bytes == 0) return kSuccess;
    const std::string wrong = check_device(pointer(at), bytes, device);
    if (!wrong.empty()) return bad("cuMemsetD8Async", wrong);
    enqueue(stream, "memset", [=] { memset(pointer(at), value, bytes); });
    return kSuccess;
}
MUSTER_API Status cuMemsetD8_v2(DevicePtr at, unsigned char value, size_t bytes) { return cuMemsetD8Async(at, value, bytes, nullptr); }

MUSTER_API Status cuMemsetD32Async(DevicePtr at, unsigned value, size_t count, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream;
    if (Status status = stream_of("cuMemsetD32Async", handle, device, stream)) return status;
    if (count == 0) return kSuccess;
    if (at % 4 != 0) return bad("cuMemsetD32Async", "misaligned address");
    const std::string wrong = check_device(pointer(at), count * 4, device);
    if (!wrong.empty()) return bad("cuMemsetD32Async", wrong);
    enqueue(stream, "memset", [=] {
        for (size_t idx = 0; idx < count; idx++) static_cast<unsigned*>(pointer(at))[idx] = value;
    });
    return kSuccess;
}

MUSTER_API Status cuMemcpyHtoDAsync_v2(DevicePtr to, const void* from, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream;
    if (Status status = stream_of("cuMemcpyHtoDAsync", handle, device, stream)) return status;
    if (bytes == 0) return kSuccess;
    std::string wrong = check_device(pointer(to), bytes, device);
    if (wrong.empty()) wrong = check_host(from, bytes);
    if (!wrong.empty()) return bad("cuMemcpyHtoDAsync", wrong);
    if (is_pinned(from) || stream->capture != nullptr) {
        enqueue(stream, "copy to device", [=] { memcpy(pointer(to), from, bytes); });
        return kSuccess;
    }
    // Pageable memory is read before the call returns; only pinned memory is read later.
    auto staged = std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    enqueue(stream, "copy to device", [=] { memcpy(pointer(to), staged->data(), bytes); });
    return kSuccess;
}

MUSTER_API Status cuMemcpyHtoD_v2(DevicePtr to, const void* from, size_t bytes) {
    MUSTER_ENTER(device);
    if (Status status = cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr)) return status;
    demand_all(find_stream(nullptr, device));
    return device->sticky;
}

MUSTER_API Status cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream;
    if (Status status = stream_of("cuMemcpyDtoHAsync", handle, device, stream)) return status;
    if (bytes == 0) return kSuccess;
    std::string wrong = check_device(pointer(from), bytes, device);
    if (wrong.empty()) wrong = check_host(to, bytes);
    if (!wrong.empty()) return bad("cuMemcpyDtoHAsync", wrong);
    OpRef op = enqueue(stream, "copy to host", [=] { memcpy(to, pointer(from), bytes); });
    // Into pageable memory the call returns only when the bytes are there.
    if (op != nullptr && !is_pinned(to)) demand(op);
    return device->sticky;
}

MUSTER_API Status cuMemcpyDtoH_v2(void* to, DevicePtr from, size_t bytes) {
    MUSTER_ENTER(device);
    if (Status status = cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr)) return status;
    demand_all(find_stream(nullptr, device));
    return device->sticky;
}

MUSTER_API Status cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream;
    if (Status status = stream_of("cuMemcpyDtoDAsync", handle, device, stream)) return status;
    if (bytes == 0) return kSuccess;
    std::string wrong = check_device(pointer(to), bytes, device);
    if (wrong.empty()) wrong = check_device(pointer(from), bytes, device);
    if (wrong.empty() && from < to + bytes && to < from + bytes) wrong = "source and destination overlap";
    if (!wrong.empty()) return bad("cuMemcpyDtoDAsync", wrong);
    enqueue(stream, "copy", [=] { memcpy(pointer(to), pointer(from), bytes); });
    return kSuccess;
}
MUSTER_API Status cuMemcpyDtoD_v2(DevicePtr to, DevicePtr from, size_t bytes) { return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr); }

MUSTER_API Status cuMemcpyPeerAsync(DevicePtr to, void* to_context, DevicePtr from, void* from_context, size_t bytes, void* handle) {
    MUSTER_ENTER(device);
    StreamRef stream = find_stream(handle, device);
    if (stream == nullptr) return fail(kInvalidHandle, "cuMemcpyPeerAsync: no such stream");
    if (bytes == 0) return kSuccess;
    std::string wrong = check_device(pointer(to), bytes, static_cast<Device*>(to_context));
    if (wrong.empty()) wrong = check_device(pointer(from), bytes, static_cast<Device*>(from_context));
    if (!wrong.empty()) return bad("cuMemcpyPeerAsync", wrong);
    enqueue(stream, "copy between devices", [=] { memcpy(pointer(to), pointer(from), bytes); });
    return kSuccess;
}
