// cuInit, cuDevice*, cuCtx* and the texts of errors. Only primary contexts: a context is its device.
#include <algorithm>
#include <cstring>

#include "memory.h"
#include "stream.h"

using namespace muster;

namespace {
struct Named {
    Status status;
    const char* name;
    const char* text;
};
constexpr Named kNames[] = {
    {kSuccess, "CUDA_SUCCESS", "no error"},
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {kIllegalState, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {kNotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {kCooperativeTooLarge, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "too many blocks in cooperative launch"},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {kCaptureUnmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {kCaptureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {kCaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
};

const Named* find(Status status) {
    const auto* at = std::find_if(std::begin(kNames), std::end(kNames), [&](const Named& named) { return named.status == status; });
    return at == std::end(kNames) ? nullptr : at;
}

Device* device_of(int ordinal) {
    return ordinal >= 0 && static_cast<size_t>(ordinal) < devices().size() ? devices()[static_cast<size_t>(ordinal)] : nullptr;
}

int attribute(const Device& device, int which) {
    switch (which) {
        case 1: case 2: case 3: return 1024;  // threads a block, and its first two sides
        case 4: return 64;
        case 5: return 2147483647;
        case 6: case 7: return 65535;
        case 8: return 48 << 10;
        case 9: return 64 << 10;
        case 10: return 32;
        case 12: case 82: return 65536;  // registers of a block, of a multiprocessor
        case 13: return 1980000;
        case 16: return multiprocessors();
        case 19: case 31: case 41: case 95: case 99: case 115: return 1;  // host mapping, concurrency, one address space, cooperative launch, host registration, pools
        case 33: return device.physical + 1;
        case 36: return 2619000;
        case 37: return 5120;
        case 38: return 50 << 20;
        case 39: return 2048;
        case 40: return 3;
        case 75: return static_cast<int>(env_number("MUSTER_DOUBLE_CAPABILITY", 90) / 10);
        case 76: return static_cast<int>(env_number("MUSTER_DOUBLE_CAPABILITY", 90) % 10);
        case 81: return 228 << 10;
        case 97: return 227 << 10;
        case 106: return 32;
        case 111: return 1024;
        default: return 0;
    }
}
}  // namespace

MUSTER_API Status cuGetErrorName(Status status, const char** name) {
    const Named* found = find(status);
    *name = found != nullptr ? found->name : "CUDA_ERROR_UNKNOWN";
    return kSuccess;
}

// Beside the driver's own words, what the double last found: that is what a reader needs.
MUSTER_API Status cuGetErrorString(Status status, const char** string) {
    const Named* found = find(status);
    thread_local std::string made;
    made = found != nullptr ? found->text : "unknown error";
    const char* fault = last_fault();
    if (status != kSuccess && status != kNotReady && *fault != 0) made += std::string(": ") + fault;
    *string = made.c_str();
    return kSuccess;
}

MUSTER_API Status cuInit(unsigned) {
    initialize();
    return devices().empty() ? kNoDevice : kSuccess;
}

MUSTER_API Status cuDriverGetVersion(int* version) {
    *version = 13000;
    return kSuccess;
}

// NVIDIA's own libraries ask for private tables; there are none.
MUSTER_API Status cuGetExportTable(const void** table, const void*) {
    *table = nullptr;
    return kNotFound;
}

MUSTER_API Status cuDeviceGetCount(int* count) {
    if (!initialized()) return kNotInitialized;
    *count = static_cast<int>(devices().size());
    return kSuccess;
}

MUSTER_API Status cuDeviceGet(int* device, int ordinal) {
    if (!initialized()) return kNotInitialized;
    if (device_of(ordinal) == nullptr) return kInvalidDevice;
    *device = ordinal;
    return kSuccess;
}

MUSTER_API Status cuDeviceGetName(char* name, int length, int ordinal) {
    if (device_of(ordinal) == nullptr || length < 1) return kInvalidDevice;
    strncpy(name, "Muster CUDA double", static_cast<size_t>(length) - 1);
    name[length - 1] = 0;
    return kSuccess;
}

MUSTER_API Status cuDeviceGetUuid_v2(char* uuid, int ordinal) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    memset(uuid, 0x4d, 16);
    uuid[15] = static_cast<char>(device->physical);
    return kSuccess;
}
MUSTER_API Status cuDeviceGetUuid(char* uuid, int ordinal) { return cuDeviceGetUuid_v2(uuid, ordinal); }

MUSTER_API Status cuDeviceGetPCIBusId(char* id, int length, int ordinal) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", device->physical + 1);
    return kSuccess;
}

MUSTER_API Status cuDeviceTotalMem_v2(size_t* bytes, int ordinal) {
    if (device_of(ordinal) == nullptr) return kInvalidDevice;
    *bytes = memory_limit();
    return kSuccess;
}

MUSTER_API Status cuDeviceGetAttribute(int* value, int which, int ordinal) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    *value = attribute(*device, which);
    return kSuccess;
}

MUSTER_API Status cuDeviceCanAccessPeer(int* can, int ordinal, int peer) {
    const Device* device = device_of(ordinal);
    const Device* other = device_of(peer);
    if (device == nullptr || other == nullptr) return kInvalidDevice;
    const int island = static_cast<int>(env_number("MUSTER_DOUBLE_PEERS", 1));
    *can = device != other && island > 0 && device->physical / island == other->physical / island;
    return kSuccess;
}

MUSTER_API Status cuDevicePrimaryCtxRetain(void** context, int ordinal) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    device->retained++;
    *context = device;
    return kSuccess;
}

MUSTER_API Status cuDevicePrimaryCtxRelease_v2(int ordinal) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    if (device->retained == 0) return fail(kInvalidContext, "the primary context is released more often than retained");
    device->retained--;
    return kSuccess;
}

MUSTER_API Status cuDevicePrimaryCtxGetState(int ordinal, unsigned* flags, int* active) {
    Device* device = device_of(ordinal);
    if (device == nullptr) return kInvalidDevice;
    *flags = 0;
    *active = device->retained > 0;
    return kSuccess;
}

MUSTER_API Status cuCtxGetCurrent(void** context) {
    if (!initialized()) return kNotInitialized;
    *context = current();
    return kSuccess;
}

MUSTER_API Status cuCtxSetCurrent(void* context) {
    auto* device = static_cast<Device*>(context);
    if (device != nullptr && std::find(devices().begin(), devices().end(), device) == devices().end()) {
        return fail(kInvalidContext, "cuCtxSetCurrent: no such context");
    }
    set_current(device);
    return kSuccess;
}

MUSTER_API Status cuCtxGetDevice(int* ordinal) {
    MUSTER_ENTER(device);
    *ordinal = device->ordinal;
    return kSuccess;
}

MUSTER_API Status cuCtxSynchronize() {
    MUSTER_ENTER(device);
    for (const StreamRef& stream : streams().all()) {
        if (stream->device == device && stream->capture != nullptr) {
            return fail(kCaptureUnsupported, "cuCtxSynchronize while a stream is being captured");
        }
    }
    demand_device(device);
    return device->sticky;
}

MUSTER_API Status cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return kSuccess;
}
MUSTER_API Status cuCtxSetFlags(unsigned) { return kSuccess; }
MUSTER_API Status cuCtxGetLimit(size_t* value, int) {
    *value = 1024;
    return kSuccess;
}
MUSTER_API Status cuCtxSetLimit(int, size_t) { return kSuccess; }
MUSTER_API Status cuCtxGetCacheConfig(int* config) {
    *config = 0;
    return kSuccess;
}
MUSTER_API Status cuCtxSetCacheConfig(int) { return kSuccess; }
