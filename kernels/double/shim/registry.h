// Turns a kernel's own signature into a call that takes `void** kernelParams`, as the driver does.
#pragma once
#include <type_traits>
#include <utility>

#include "engine.h"

namespace muster {

template <class Function>
struct Signature;

template <class... Args>
struct Signature<void(Args...)> {
    static constexpr unsigned count = sizeof...(Args);
    // One entry more than needed, so that a kernel without parameters has an array too.
    static constexpr Param params[sizeof...(Args) + 1] = {
        Param{sizeof(Args), alignof(Args), std::is_pointer_v<Args>, std::is_class_v<Args>}..., Param{}};

    template <void (*kernel)(Args...)>
    static void call(void** params) {
        unpack<kernel>(params, std::index_sequence_for<Args...>{});
    }

private:
    template <void (*kernel)(Args...), size_t... idx>
    static void unpack([[maybe_unused]] void** params, std::index_sequence<idx...>) {
        kernel(*static_cast<std::remove_cv_t<Args>*>(params[idx])...);
    }
};

// The first argument of __launch_bounds__: the most threads of a block, 1024 where the kernel names none.
constexpr unsigned launch_bound(unsigned max_threads = 1024, unsigned = 0, unsigned = 0) { return max_threads; }

}  // namespace muster

#define MUSTER_REGISTER(NAME, ...)                                                                              \
    static ::muster::Kernel muster_kernel_##NAME = {#NAME,                                                      \
                                                    __FILE__,                                                   \
                                                    &::muster::Signature<decltype(NAME)>::call<NAME>,           \
                                                    ::muster::Signature<decltype(NAME)>::params,                \
                                                    ::muster::Signature<decltype(NAME)>::count,                 \
                                                    ::muster::launch_bound(__VA_ARGS__),                        \
                                                    nullptr};                                                   \
    static ::muster::Registration muster_registration_##NAME(&muster_kernel_##NAME);
