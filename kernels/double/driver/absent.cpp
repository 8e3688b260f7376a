// Entry points that cudarc's safe API names and the product does not use: each says so instead of being missing.
#include "world.h"

using namespace muster;

#define MUSTER_ABSENT(NAME) \
    MUSTER_API Status NAME() { return fail(kNotSupported, #NAME " is not in the double"); }

MUSTER_ABSENT(cuCtxCreate_v3)
MUSTER_ABSENT(cuCtxCreate_v4)
MUSTER_ABSENT(cuCtxDestroy_v2)
MUSTER_ABSENT(cuDestroyExternalMemory)
MUSTER_ABSENT(cuExternalMemoryGetMappedBuffer)
MUSTER_ABSENT(cuImportExternalMemory)
MUSTER_ABSENT(cuMemAdvise_v2)
MUSTER_ABSENT(cuMemAllocFromPoolAsync)
MUSTER_ABSENT(cuMemAllocManaged)
MUSTER_ABSENT(cuMemPoolCreate)
MUSTER_ABSENT(cuMemPoolDestroy)
MUSTER_ABSENT(cuMemPrefetchAsync_v2)
MUSTER_ABSENT(cuModuleLoad)
MUSTER_ABSENT(cuProfilerStart)
MUSTER_ABSENT(cuProfilerStop)
MUSTER_ABSENT(cuStreamAttachMemAsync)
MUSTER_ABSENT(cuDeviceSetMemPool)

// Pools exist as far as a threshold may be set; memory is not pooled.
namespace {
int pool;
}
MUSTER_API Status cuDeviceGetDefaultMemPool(void** handle, int) {
    *handle = &pool;
    return kSuccess;
}
MUSTER_API Status cuDeviceGetMemPool(void** handle, int) {
    *handle = &pool;
    return kSuccess;
}
MUSTER_API Status cuMemPoolSetAttribute(void*, int, void*) { return kSuccess; }
MUSTER_API Status cuMemPoolGetAttribute(void*, int, void* value) {
    *static_cast<uint64_t*>(value) = 0;
    return kSuccess;
}
MUSTER_API Status cuMemPoolTrimTo(void*, size_t) { return kSuccess; }
