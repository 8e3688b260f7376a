// The engine's inside: warps, blocks, and the order in which they run.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine.h"

namespace muster {

// Thirty-two threads that exchange values. The two gates carry TSan's edges of __syncwarp in turn, so that a lane
// that is one call ahead does not lend its later writes to the others.
struct Warp {
    Fiber* lanes;
    unsigned alive;
    unsigned arrived;
    unsigned calls;
    char gates[2];
};

struct Block {
    uint3 index;
    Fiber* fibers;
    unsigned n_fibers;
    unsigned alive;
    unsigned waiting;
    unsigned barriers;
    char gates[2];
    std::vector<Warp> warps;
    char* dynamic;
    // This block's copy of static shared memory while another block runs.
    std::vector<char> statics;

    Warp& warp_of(const Fiber& fiber) { return warps[fiber.linear / 32]; }
};

// SHIM_ORDER: forward, reverse, or shuffled anew in each round from a seed.
struct Order {
    enum Kind { Forward, Reverse, Seeded } kind;
    uint64_t state;

    static Order from_environment();
    uint64_t next();
    void arrange(std::vector<unsigned>& items);
};

// One launch while it runs.
class Grid {
public:
    explicit Grid(const Launch& launch);
    ~Grid();
    std::string run();

    const Launch& launch() const { return launch_; }
    Order& order() { return order_; }
    bool faulted() const { return !fault_.empty(); }
    // Keeps the first fault.
    void fault(const Fiber* fiber, Site site, const std::string& what);
    // From a fiber: back to the scheduler until it is resumed.
    void leave(Fiber* fiber);
    // A thread, barrier or warp got on: the grid is not stuck.
    void progress() { idle_passes_ = 0; }

private:
    void run_in_turn();
    void run_together();
    void start(Block& block, uint3 index, size_t first_fiber);
    void enter(Block& block);
    void park(Block& block);
    void take_turn(Block& block, unsigned max_rounds);
    void resume(Fiber& fiber);
    void finish(Fiber& fiber);
    void judge(Block& block);
    void end_block(Block& block);
    uint3 index_of(size_t linear) const;
    static void fiber_main();

    const Launch& launch_;
    Order order_;
    std::vector<Fiber> fibers_;
    std::string fault_;
    void* scheduler_sp_ = nullptr;
    void* scheduler_fake_ = nullptr;
    const void* scheduler_bottom_ = nullptr;
    size_t scheduler_size_ = 0;
    void* scheduler_tsan_ = nullptr;
    Block* entered_ = nullptr;
    unsigned idle_passes_ = 0;
    char started_ = 0;
    char done_ = 0;
};

// The launch that runs now, or null.
extern Grid* running;

// Opens the barrier that all living threads of the block wait at; faults where they wait at different ones.
void open_barrier(Grid& grid, Block& block);

// Static shared memory of the whole build.
struct Statics {
    static char* begin();
    static size_t size();
};

// Catches wild accesses of kernels while `running`; see crash.cpp.
void catch_crashes();

}  // namespace muster
