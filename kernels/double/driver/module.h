// A kernel as the driver sees it, with what a launch is checked against.
#pragma once
#include "../shim/engine.h"
#include "world.h"

namespace muster {

constexpr size_t kSharedDefault = 48 << 10;
constexpr size_t kSharedOptIn = 227 << 10;
constexpr size_t kSharedOfMultiprocessor = 228 << 10;
constexpr int kMaxDynamicShared = 8;

struct Function {
    const Kernel* kernel;
    Device* device;
    size_t dynamic_limit = kSharedDefault;
};
Handles<Function>& functions();

// Blocks of this size that live on one multiprocessor at once, by threads and shared memory; registers are not known.
int blocks_per_multiprocessor(const Function& function, int threads, size_t dynamic_bytes);

}  // namespace muster
