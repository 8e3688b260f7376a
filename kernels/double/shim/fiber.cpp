// The switch saves what the System V ABI calls callee-saved: six registers and the two control words.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

asm(R"(
.text
.globl muster_switch
.hidden muster_switch
.type muster_switch,@function
muster_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size muster_switch,.-muster_switch
)");

namespace muster {
namespace {
constexpr size_t kGuard = 4096;
constexpr size_t kChunk = 64;

// Chunks of stacks in one mapping each; never given back.
std::vector<char*>& chunks() {
    static std::vector<char*>* made = new std::vector<char*>;
    return *made;
}

char* map_chunk() {
    const size_t pitch = Stack::size() + kGuard;
    void* at = mmap(nullptr, pitch * kChunk, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (at == MAP_FAILED) {
        perror("muster-double: cannot map stacks for CUDA threads");
        abort();
    }
    for (size_t idx = 0; idx < kChunk; idx++) {
        mprotect(static_cast<char*>(at) + idx * pitch, kGuard, PROT_NONE);
    }
    return static_cast<char*>(at);
}
}  // namespace

size_t Stack::size() {
#if defined(MUSTER_ASAN)
    return 256 << 10;
#else
    return 64 << 10;
#endif
}

void* Stack::prepare(void (*entry)()) const {
    // Sixteen-byte aligned at the call, as the ABI wants: a zero stands where `entry` would return to.
    auto* top = reinterpret_cast<uint64_t*>(low + size());
    *--top = 0;
    *--top = reinterpret_cast<uint64_t>(entry);
    for (int idx = 0; idx < 6; idx++) *--top = 0;
    uint32_t control[2] = {0x1f80, 0x037f};
    *--top = static_cast<uint64_t>(control[1]) << 32 | control[0];
    return top;
}

Stack stack(size_t idx) {
    while (chunks().size() * kChunk <= idx) chunks().push_back(map_chunk());
    const size_t pitch = Stack::size() + kGuard;
    return Stack{chunks()[idx / kChunk] + (idx % kChunk) * pitch + kGuard};
}

}  // namespace muster
