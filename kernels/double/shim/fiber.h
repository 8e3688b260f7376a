// Stacks and the switch between them: what a CUDA thread is made of on the host.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the CUDA double switches stacks by hand and knows x86-64 Linux only"
#endif

namespace muster {

// A stack with an unmapped page below it, so that an overflow is a fault and not a neighbour's data.
struct Stack {
    char* low;
    static size_t size();
    // Sets the stack up so that the first switch to the returned pointer calls `entry` on it.
    void* prepare(void (*entry)()) const;
};

// The stack number `idx`; made on first use, kept for the life of the process.
Stack stack(size_t idx);

// Saves the caller's registers on its stack, its stack pointer in `*from`, and goes on at `to`.
extern "C" void muster_switch(void** from, void* to);

}  // namespace muster
