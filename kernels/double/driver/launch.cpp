// Launches: sizes and pointers are judged at the call, the kernel runs in stream order on the engine.
#include <cstring>
#include <vector>

#include "memory.h"
#include "module.h"
#include "stream.h"

using namespace muster;

namespace {

// The arguments as they were at the call: the caller's copies are gone when the kernel runs.
struct Arguments {
    std::vector<std::vector<uint64_t>> values;
    std::vector<void*> pointers;

    Arguments(const Kernel& kernel, void** params) {
        for (unsigned idx = 0; idx < kernel.n_params; idx++) {
            // Two words more, so that a value of any alignment up to 16 finds its place.
            std::vector<uint64_t> value(kernel.params[idx].size / 8 + 3);
            auto at = reinterpret_cast<uintptr_t>(value.data());
            at = (at + kernel.params[idx].align - 1) / kernel.params[idx].align * kernel.params[idx].align;
            memcpy(reinterpret_cast<void*>(at), params[idx], kernel.params[idx].size);
            pointers.push_back(reinterpret_cast<void*>(at));
            values.push_back(std::move(value));
        }
    }
};

std::string check_sizes(const Function& function, dim3 grid, dim3 block, size_t dynamic_bytes) {
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    const auto shape = [&] { return text("grid (%u, %u, %u), block (%u, %u, %u)", grid.x, grid.y, grid.z, block.x, block.y, block.z); };
    if (threads == 0 || uint64_t{grid.x} * grid.y * grid.z == 0) return shape() + ": nothing to run";
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return shape() + ": the grid is too large";
    if (block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024) return shape() + ": the block is too large";
    if (threads > function.kernel->max_threads) return shape() + text(": its launch bounds allow %u threads", function.kernel->max_threads);
    if (dynamic_bytes > function.dynamic_limit) {
        return text("%zu bytes of dynamic shared memory; %zu are allowed (opt in by cuFuncSetAttribute)", dynamic_bytes, function.dynamic_limit);
    }
    return "";
}

std::string check_pointers(const Kernel& kernel, const Arguments& arguments, const Device* device) {
    for (unsigned idx = 0; idx < kernel.n_params; idx++) {
        const Param& param = kernel.params[idx];
        std::string wrong;
        if (param.is_pointer) wrong = check_argument(*static_cast<void**>(arguments.pointers[idx]), device);
        for (size_t word = 0; param.is_struct && wrong.empty() && word + 8 <= param.size; word += 8) {
            const void* value = nullptr;
            memcpy(&value, static_cast<char*>(arguments.pointers[idx]) + word, 8);
            wrong = check_word(value, device);
        }
        if (!wrong.empty()) return text("argument %u: ", idx) + wrong;
    }
    return "";
}

void execute(const Function& function, dim3 grid, dim3 block, size_t dynamic_bytes, Arguments& arguments, bool cooperative) {
    const Kernel& kernel = *function.kernel;
    std::string fault = run(Launch{&kernel, grid, block, dynamic_bytes, arguments.pointers.data(), cooperative});
    for (unsigned idx = 0; fault.empty() && idx < kernel.n_params; idx++) {
        if (!kernel.params[idx].is_pointer) continue;
        const std::string overrun = check_canary(*static_cast<void**>(arguments.pointers[idx]));
        if (!overrun.empty()) fault = text("kernel %s, argument %u: access to address out of bounds, ", kernel.name, idx) + overrun;
    }
    if (fault.empty()) return;
    const bool address = fault.find("access to address") != std::string::npos;
    fail_device(*function.device, address ? kIllegalAddress : kLaunchFailed, fault);
}

Status launch(void* handle, dim3 grid, dim3 block, unsigned dynamic_bytes, void* stream_handle, void** params, bool cooperative) {
    MUSTER_ENTER(device);
    describe_address = describe;
    auto function = functions().get(handle);
    StreamRef stream = find_stream(stream_handle, device);
    if (function == nullptr || stream == nullptr) return fail(kInvalidHandle, "launch: no such function or stream");
    const Kernel& kernel = *function->kernel;
    const auto refuse = [&](Status status, const std::string& what) { return fail(status, text("launch of %s: ", kernel.name) + what); };
    if (function->device != device || stream->device != device) {
        return refuse(kInvalidHandle, text("function of device %d, stream of device %d, current device %d", function->device->ordinal,
                                           stream->device->ordinal, device->ordinal));
    }
    const std::string wrong = check_sizes(*function, grid, block, dynamic_bytes);
    if (!wrong.empty()) return refuse(kInvalidValue, wrong);
    const int resident = multiprocessors() * blocks_per_multiprocessor(*function, static_cast<int>(block.x * block.y * block.z), dynamic_bytes);
    const uint64_t n_blocks = uint64_t{grid.x} * grid.y * grid.z;
    if (cooperative && n_blocks > static_cast<uint64_t>(resident)) {
        return refuse(kCooperativeTooLarge, text("%llu blocks, and %d live at once", static_cast<unsigned long long>(n_blocks), resident));
    }
    if (params == nullptr && kernel.n_params > 0) return refuse(kInvalidValue, "no parameters");
    auto arguments = std::make_shared<Arguments>(kernel, params);
    const std::string misled = check_pointers(kernel, *arguments, device);
    if (!misled.empty()) return refuse(kInvalidValue, misled);
    enqueue(stream, kernel.name, [=] { execute(*function, grid, block, dynamic_bytes, *arguments, cooperative); });
    return kSuccess;
}
}  // namespace

MUSTER_API Status cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                 unsigned dynamic_bytes, void* stream, void** params, void** extra) {
    if (extra != nullptr) return fail(kNotSupported, "cuLaunchKernel: parameters by buffer");
    return launch(function, dim3(gx, gy, gz), dim3(bx, by, bz), dynamic_bytes, stream, params, false);
}

MUSTER_API Status cuLaunchCooperativeKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                            unsigned bz, unsigned dynamic_bytes, void* stream, void** params) {
    return launch(function, dim3(gx, gy, gz), dim3(bx, by, bz), dynamic_bytes, stream, params, true);
}
