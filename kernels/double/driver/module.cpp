// Modules and functions: the real image is loaded and looked into, the kernel that runs is the host build's.
#include "module.h"

#include <cstring>

#include "image.h"
#include "stream.h"

namespace muster {

Handles<Function>& functions() {
    // Functions belong to their module; they are counted with it.
    static auto* made = new Handles<Function>("functions");
    return *made;
}
namespace {
struct Module {
    Device* device;
    Image image;
    std::vector<Function*> functions;
};
Handles<Module>& modules() {
    static auto* made = new Handles<Module>("modules");
    return *made;
}
}  // namespace

int blocks_per_multiprocessor(const Function&, int threads, size_t dynamic_bytes) {
    if (threads < 1 || threads > 1024) return 0;
    const size_t warps = (static_cast<size_t>(threads) + 31) / 32;
    const size_t by_warps = 64 / warps;
    const size_t by_shared = kSharedOfMultiprocessor / (dynamic_bytes + 1024);
    const size_t least = by_warps < by_shared ? by_warps : by_shared;
    return static_cast<int>(least < 32 ? least : 32);
}

}  // namespace muster

using namespace muster;

MUSTER_API Status cuModuleLoadData(void** handle, const void* image) {
    MUSTER_ENTER(device);
    auto module = std::make_shared<Module>();
    module->device = device;
    const std::string wrong = read_image(image, module->image);
    if (!wrong.empty()) return fail(kInvalidImage, "cuModuleLoadData: " + wrong);
    *handle = modules().add(module);
    return kSuccess;
}
MUSTER_API Status cuModuleLoadDataEx(void** handle, const void* image, unsigned, int*, void**) { return cuModuleLoadData(handle, image); }
MUSTER_API Status cuModuleLoadFatBinary(void** handle, const void* image) { return cuModuleLoadData(handle, image); }

MUSTER_API Status cuModuleUnload(void* handle) {
    auto module = modules().remove(handle);
    if (module == nullptr) return fail(kInvalidHandle, "cuModuleUnload: no such module");
    demand_device(module->device);
    for (Function* function : module->functions) functions().remove(function);
    return kSuccess;
}

MUSTER_API Status cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
    MUSTER_ENTER(device);
    auto module = modules().get(module_handle);
    if (module == nullptr) return fail(kInvalidHandle, "cuModuleGetFunction: no such module");
    const Kernel* kernel = find_kernel(name);
    if (kernel == nullptr) return fail(kNotFound, text("kernel %s is not in the host build", name));
    const std::string wrong = check_image(module->image, *kernel);
    if (!wrong.empty()) return fail(kNotFound, wrong);
    auto function = std::make_shared<Function>();
    function->kernel = kernel;
    function->device = module->device;
    Function* made = functions().add(function);
    module->functions.push_back(made);
    *handle = made;
    return kSuccess;
}

MUSTER_API Status cuModuleGetGlobal_v2(DevicePtr*, size_t*, void*, const char* name) {
    return fail(kNotSupported, text("the double has no module-wide variables (%s)", name));
}

MUSTER_API Status cuFuncSetAttribute(void* handle, int attribute, int value) {
    MUSTER_ENTER(device);
    auto function = functions().get(handle);
    if (function == nullptr) return fail(kInvalidHandle, "cuFuncSetAttribute: no such function");
    if (attribute != kMaxDynamicShared) return kSuccess;
    if (value < 0 || static_cast<size_t>(value) > kSharedOptIn) {
        return fail(kInvalidValue, text("%s: %d bytes of dynamic shared memory, and a block has at most %zu", function->kernel->name, value, kSharedOptIn));
    }
    function->dynamic_limit = static_cast<size_t>(value) > kSharedDefault ? static_cast<size_t>(value) : kSharedDefault;
    return kSuccess;
}

MUSTER_API Status cuFuncGetAttribute(int* value, int attribute, void* handle) {
    MUSTER_ENTER(device);
    auto function = functions().get(handle);
    if (function == nullptr) return fail(kInvalidHandle, "cuFuncGetAttribute: no such function");
    switch (attribute) {
        case 0: *value = static_cast<int>(function->kernel->max_threads); break;
        case kMaxDynamicShared: *value = static_cast<int>(function->dynamic_limit); break;
        case 4: *value = 32; break;
        case 5: case 6: *value = 90; break;
        default: *value = 0;
    }
    return kSuccess;
}
MUSTER_API Status cuFuncSetCacheConfig(void*, int) { return kSuccess; }

MUSTER_API Status cuFuncGetName(const char** name, void* handle) {
    auto function = functions().get(handle);
    if (function == nullptr) return fail(kInvalidHandle, "cuFuncGetName: no such function");
    *name = function->kernel->name;
    return kSuccess;
}

MUSTER_API Status cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* handle, int threads, size_t dynamic_bytes) {
    MUSTER_ENTER(device);
    auto function = functions().get(handle);
    if (function == nullptr) return fail(kInvalidHandle, "cuOccupancyMaxActiveBlocksPerMultiprocessor: no such function");
    *blocks = blocks_per_multiprocessor(*function, threads, dynamic_bytes);
    return kSuccess;
}
MUSTER_API Status cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* handle, int threads, size_t bytes, unsigned) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, handle, threads, bytes);
}

MUSTER_API Status cuOccupancyMaxPotentialBlockSize(int* grid, int* threads, void* handle, size_t (*shared_of)(int), size_t bytes, int limit) {
    MUSTER_ENTER(device);
    auto function = functions().get(handle);
    if (function == nullptr) return fail(kInvalidHandle, "cuOccupancyMaxPotentialBlockSize: no such function");
    const int most = static_cast<int>(function->kernel->max_threads);
    *threads = limit > 0 && limit < most ? limit : most;
    const size_t dynamic_bytes = shared_of != nullptr ? shared_of(*threads) : bytes;
    *grid = multiprocessors() * blocks_per_multiprocessor(*function, *threads, dynamic_bytes);
    return kSuccess;
}
MUSTER_API Status cuOccupancyMaxPotentialBlockSizeWithFlags(int* grid, int* threads, void* handle, size_t (*shared_of)(int), size_t bytes, int limit, unsigned) {
    return cuOccupancyMaxPotentialBlockSize(grid, threads, handle, shared_of, bytes, limit);
}

MUSTER_API Status cuOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, void* handle, int blocks, int) {
    MUSTER_ENTER(device);
    auto function = functions().get(handle);
    if (function == nullptr || blocks < 1) return fail(kInvalidValue, "cuOccupancyAvailableDynamicSMemPerBlock: no such function, or no blocks");
    const size_t share = kSharedOfMultiprocessor / static_cast<size_t>(blocks) - 1024;
    *bytes = share < function->dynamic_limit ? share : function->dynamic_limit;
    return kSuccess;
}
