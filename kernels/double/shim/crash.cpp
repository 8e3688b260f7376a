// A wild access of a kernel becomes a fault of its launch, as on the device, where the sanitizers do not take it.
#include <csignal>
#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>
#include <ucontext.h>

#include "fault.h"
#include "grid.h"

namespace muster {

std::string (*describe_address)(const void* at) = nullptr;

#if defined(MUSTER_ASAN) || defined(MUSTER_TSAN)

void catch_crashes() {}

#else

namespace {
constexpr size_t kEmergency = 64 << 10;
struct sigaction before[NSIG];
const void* bad_address;
int bad_signal;
alignas(64) char emergency[kEmergency];

// Runs on the emergency stack after the handler has returned: the thread's own may be the one that overflowed.
void escape() {
    std::string what = bad_signal == SIGFPE ? "division by zero"
                                            : text("access to address %p%s", bad_address, bad_signal == SIGBUS ? " (bus error)" : "");
    const auto at = reinterpret_cast<uintptr_t>(bad_address);
    const auto low = reinterpret_cast<uintptr_t>(now.fiber->stack_low);
    if (at < low && at + 4096 >= low) what = "stack overflow of a CUDA thread";
    else if (describe_address != nullptr && bad_signal != SIGFPE) what += ", " + describe_address(bad_address);
    Site site = now.fiber->site;
    if (site.file != nullptr) what += " (after the synchronization at that line)";
    fault_here(what, site);
}

void handle(int signal, siginfo_t* info, void* context) {
    if (running == nullptr || now.fiber == nullptr) {
        // Not ours: as if we had never been here.
        sigaction(signal, &before[signal], nullptr);
        return;
    }
    bad_signal = signal;
    bad_address = info->si_addr;
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    registers[REG_RIP] = reinterpret_cast<greg_t>(&escape);
    registers[REG_RSP] = reinterpret_cast<greg_t>(emergency + kEmergency - 64 - 8);
}
}  // namespace

void catch_crashes() {
    static const bool installed = [] {
        for (int signal : {SIGSEGV, SIGBUS, SIGFPE}) {
            struct sigaction action = {};
            action.sa_sigaction = handle;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
            sigaction(signal, &action, &before[signal]);
        }
        return true;
    }();
    (void)installed;
    // A handler needs a stack of its own, a thread each; Rust gives its threads one.
    stack_t current = {};
    if (sigaltstack(nullptr, &current) == 0 && !(current.ss_flags & SS_DISABLE)) return;
    stack_t made = {};
    made.ss_size = 64 << 10;
    made.ss_sp = mmap(nullptr, made.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made.ss_sp != MAP_FAILED) sigaltstack(&made, nullptr);
}

#endif

}  // namespace muster
