// The engine: runs a grid of CUDA threads as fibers, one at a time, in an order it is told.
//
// Kernels see only the functions at the end. Launches of a process run one after another, since static shared
// memory is one place; the blocks of a cooperative launch live at the same time and take turns.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace muster {

// A place in a kernel's source.
struct Site {
    const char* file;
    int line;
};

enum class Wait : uint8_t { Ready, Spinning, Barrier, Warp, Done };
enum class BarrierKind : uint8_t { Plain, Count, And, Or };
enum class WarpKind : uint8_t { Sync, Shuffle, Ballot, Match, Sum, Max, Min };

// A call that needs other lanes: waits until every lane of `mask` has made the same one.
struct WarpCall {
    WarpKind kind;
    unsigned mask;
    int source;
    uint64_t value;
};

struct Block;

// One CUDA thread.
struct Fiber {
    uint3 thread;
    Block* block;
    void* sp;
    unsigned linear;
    Wait wait;
    BarrierKind barrier;
    uint8_t gate;
    int predicate;
    Site site;
    WarpCall call;
    uint64_t result;
    char* stack_low;
    void* asan_fake;
    void* tsan;
};

// The parameter of a kernel as its own signature has it.
struct Param {
    uint32_t size;
    uint32_t align;
    bool is_pointer;
    bool is_struct;
};

// A kernel of the host build.
struct Kernel {
    const char* name;
    const char* file;
    void (*call)(void** params);
    const Param* params;
    unsigned n_params;
    unsigned max_threads;
    const Kernel* next;
};

// The kernel of that name, or null.
const Kernel* find_kernel(const char* name);

// Adds a kernel to the registry; called while the library loads.
struct Registration {
    explicit Registration(Kernel* kernel);
};

struct Launch {
    const Kernel* kernel;
    dim3 grid, block;
    size_t dynamic_bytes;
    void** params;
    bool cooperative;
};

// Runs a launch to its end. Returns "" or what went wrong, with kernel, block, thread and line.
std::string run(const Launch& launch);

// What runs at this moment; set by the engine, read by kernels.
struct Now {
    Fiber* fiber;
    uint3 block;
    dim3 block_dim, grid_dim;
    char* dynamic;
    bool seeded;
};
extern __attribute__((visibility("hidden"))) Now now;

// What a kernel's synchronization calls.
int barrier(BarrierKind kind, int predicate, Site site);
uint64_t warp_call(WarpKind kind, unsigned mask, uint64_t value, int source, Site site);
void spin(Site site);
void fence();
void maybe_yield();
[[noreturn]] void fault_here(const std::string& what, Site site);

// Set by the driver: says what is known about an address that a kernel was not allowed to touch.
extern std::string (*describe_address)(const void* at);

}  // namespace muster
