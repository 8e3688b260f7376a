// Runs launches: starts the threads of a block, resumes those that can go on, and says who is stuck.
#include "engine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "fault.h"
#include "fiber.h"
#include "grid.h"
#include "sanitize.h"

namespace muster {

Now now;
Grid* running = nullptr;

namespace {
// After so many passes in which threads only spun, the grid will never get on.
constexpr unsigned kIdlePasses = 50000;
#if defined(MUSTER_ASAN)
// ASan watches the byte behind the last by itself.
constexpr size_t kCanary = 0;
#else
constexpr size_t kCanary = 64;
#endif
constexpr size_t kOffset = 16;

// Sixteen bytes off a round address: more alignment than CUDA promises would hide a mistake.
char* allocate_dynamic(size_t bytes) {
    void* at = nullptr;
    if (posix_memalign(&at, 64, bytes + kOffset + kCanary) != 0) return nullptr;
    return static_cast<char*>(at) + kOffset;
}

void copy_bytes(char* to, const char* from, size_t size) {
    // Not memcpy: the sanitizers watch that one.
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

void fill_bytes(char* to, unsigned char value, size_t size) {
    asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
}
}  // namespace

Grid::Grid(const Launch& launch) : launch_(launch), order_(Order::from_environment()) {
    const size_t per_block = size_t{launch.block.x} * launch.block.y * launch.block.z;
    const size_t n_blocks = size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    fibers_.resize(launch.cooperative ? per_block * n_blocks : per_block);
    static std::vector<void*>* tsan_fibers = new std::vector<void*>;
    for (size_t idx = 0; idx < fibers_.size(); idx++) {
        if (tsan_fibers->size() <= idx) tsan_fibers->push_back(san::create_fiber());
        fibers_[idx].stack_low = stack(idx).low;
        fibers_[idx].tsan = (*tsan_fibers)[idx];
    }
    scheduler_tsan_ = san::current_fiber();
    now = Now{};
    now.block_dim = launch.block;
    now.grid_dim = launch.grid;
    now.seeded = order_.kind == Order::Seeded;
}

Grid::~Grid() { now.fiber = nullptr; }

void Grid::fault(const Fiber* fiber, Site site, const std::string& what) {
    if (faulted()) return;
    const uint3 block = fiber->block->index;
    const std::string place = site.file == nullptr ? launch_.kernel->file : text("%s:%d", site.file, site.line);
    fault_ = text("kernel %s, block (%u, %u, %u), thread (%u, %u, %u), %s: ", launch_.kernel->name, block.x, block.y, block.z,
                  fiber->thread.x, fiber->thread.y, fiber->thread.z, place.c_str()) +
             what;
}

uint3 Grid::index_of(size_t linear) const {
    const dim3& grid = launch_.grid;
    return uint3{static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(linear / grid.x % grid.y),
                 static_cast<unsigned>(linear / (size_t{grid.x} * grid.y))};
}

void Grid::start(Block& block, uint3 index, size_t first_fiber) {
    const dim3& shape = launch_.block;
    block.index = index;
    block.n_fibers = block.alive = shape.x * shape.y * shape.z;
    block.waiting = block.barriers = 0;
    block.fibers = &fibers_[first_fiber];
    block.warps.assign((block.n_fibers + 31) / 32, Warp{});
    for (unsigned idx = 0; idx < block.n_fibers; idx++) {
        Fiber& fiber = block.fibers[idx];
        fiber.block = &block;
        fiber.linear = idx;
        fiber.thread = uint3{idx % shape.x, idx / shape.x % shape.y, idx / (shape.x * shape.y)};
        fiber.wait = Wait::Ready;
        fiber.site = Site{nullptr, 0};
        fiber.asan_fake = nullptr;
        san::unpoison(fiber.stack_low, Stack::size());
        fiber.sp = Stack{fiber.stack_low}.prepare(&Grid::fiber_main);
        Warp& warp = block.warps[idx / 32];
        if (idx % 32 == 0) warp.lanes = &fiber;
        warp.alive |= 1u << idx % 32;
    }
    fill_bytes(block.dynamic, 0xff, launch_.dynamic_bytes);
    fill_bytes(block.dynamic + launch_.dynamic_bytes, 0xa5, kCanary);
    san::release(&started_);
}

// Makes `block` the one whose shared memory the kernels' names mean.
void Grid::enter(Block& block) {
    if (entered_ == &block) return;
    if (entered_ != nullptr) park(*entered_);
    entered_ = &block;
    now.block = block.index;
    now.dynamic = block.dynamic;
    san::forget(Statics::begin(), Statics::size());
    if (block.statics.empty()) {
        fill_bytes(Statics::begin(), 0xff, Statics::size());
    } else {
        copy_bytes(Statics::begin(), block.statics.data(), Statics::size());
    }
}

void Grid::park(Block& block) {
    block.statics.resize(Statics::size());
    copy_bytes(block.statics.data(), Statics::begin(), Statics::size());
}

void Grid::fiber_main() {
    Grid& grid = *running;
    Fiber* fiber = now.fiber;
    san::finish_switch(nullptr, &grid.scheduler_bottom_, &grid.scheduler_size_);
    san::acquire(&grid.started_);
    grid.launch_.kernel->call(grid.launch_.params);
    san::release(&grid.done_);
    fiber->wait = Wait::Done;
    for (;;) grid.leave(fiber);
}

void Grid::leave(Fiber* fiber) {
    const bool done = fiber->wait == Wait::Done;
    san::start_switch(done ? nullptr : &fiber->asan_fake, scheduler_bottom_, scheduler_size_);
    san::switch_to(scheduler_tsan_);
    muster_switch(&fiber->sp, scheduler_sp_);
    san::finish_switch(fiber->asan_fake, nullptr, nullptr);
}

void Grid::resume(Fiber& fiber) {
    now.fiber = &fiber;
    san::start_switch(&scheduler_fake_, fiber.stack_low, Stack::size());
    san::switch_to(fiber.tsan);
    muster_switch(&scheduler_sp_, fiber.sp);
    san::finish_switch(scheduler_fake_, nullptr, nullptr);
    now.fiber = nullptr;
    if (fiber.wait == Wait::Done && !faulted()) finish(fiber);
}

// A thread has returned: barriers no longer wait for it, but a warp call that names it never completes.
void Grid::finish(Fiber& fiber) {
    Block& block = *fiber.block;
    Warp& warp = block.warp_of(fiber);
    const unsigned lane = fiber.linear % 32;
    warp.alive &= ~(1u << lane);
    for (unsigned other = 0; warp.arrived != 0 && other < 32; other++) {
        if (!(warp.arrived >> other & 1) || !(warp.lanes[other].call.mask >> lane & 1)) continue;
        fault(&warp.lanes[other], warp.lanes[other].site,
              text("a warp call with mask %08x waits for lane %u, which has exited", warp.lanes[other].call.mask, lane));
        return;
    }
    progress();
    if (--block.alive > 0 && block.waiting == block.alive) open_barrier(*this, block);
}

void Grid::take_turn(Block& block, unsigned max_rounds) {
    enter(block);
    for (unsigned idx = 0; idx < block.n_fibers; idx++) {
        if (block.fibers[idx].wait == Wait::Spinning) block.fibers[idx].wait = Wait::Ready;
    }
    std::vector<unsigned> ready;
    for (unsigned round = 0; round < max_rounds; round++) {
        ready.clear();
        for (unsigned idx = 0; idx < block.n_fibers; idx++) {
            if (block.fibers[idx].wait == Wait::Ready) ready.push_back(idx);
        }
        if (ready.empty()) break;
        order_.arrange(ready);
        for (unsigned idx : ready) {
            resume(block.fibers[idx]);
            if (faulted()) return;
        }
    }
    judge(block);
}

// A block none of whose threads is ready or spinning will never get on: says who waits where.
void Grid::judge(Block& block) {
    if (block.alive == 0) return;
    const Fiber* at_barrier = nullptr;
    const Fiber* in_warp = nullptr;
    for (unsigned idx = 0; idx < block.n_fibers; idx++) {
        const Fiber& fiber = block.fibers[idx];
        if (fiber.wait == Wait::Ready || fiber.wait == Wait::Spinning) return;
        if (fiber.wait == Wait::Barrier && at_barrier == nullptr) at_barrier = &fiber;
        if (fiber.wait == Wait::Warp && in_warp == nullptr) in_warp = &fiber;
    }
    if (in_warp == nullptr) return;
    std::string what = text("a warp call with mask %08x never completes: its other lanes do not make it", in_warp->call.mask);
    if (at_barrier != nullptr) {
        what += text("; thread (%u, %u, %u) waits at the barrier at %s:%d", at_barrier->thread.x, at_barrier->thread.y,
                     at_barrier->thread.z, at_barrier->site.file, at_barrier->site.line);
    }
    fault(in_warp, in_warp->site, "deadlock: " + what);
}

void Grid::end_block(Block& block) {
    for (size_t idx = 0; idx < kCanary; idx++) {
        if (static_cast<unsigned char>(block.dynamic[launch_.dynamic_bytes + idx]) == 0xa5) continue;
        fault(&block.fibers[0], Site{nullptr, 0},
              text("the block wrote past its %zu bytes of dynamic shared memory, at byte %zu", launch_.dynamic_bytes,
                   launch_.dynamic_bytes + idx));
        return;
    }
}

void Grid::run_in_turn() {
    const size_t n_blocks = size_t{launch_.grid.x} * launch_.grid.y * launch_.grid.z;
    std::vector<unsigned> blocks(n_blocks);
    for (size_t idx = 0; idx < n_blocks; idx++) blocks[idx] = static_cast<unsigned>(idx);
    order_.arrange(blocks);
    Block block{};
    // A fresh piece of dynamic shared memory a block, so that TSan takes no block for another.
    std::vector<char*> pieces;
    for (unsigned idx : blocks) {
        if (pieces.empty() || (scheduler_tsan_ != nullptr && pieces.size() < 4096)) pieces.push_back(allocate_dynamic(launch_.dynamic_bytes));
        block.dynamic = pieces.back();
        entered_ = nullptr;
        start(block, index_of(idx), 0);
        for (idle_passes_ = 0; block.alive > 0 && !faulted(); idle_passes_++) {
            take_turn(block, ~0u);
            if (idle_passes_ == kIdlePasses) {
                const Fiber* spinner = std::find_if(block.fibers, block.fibers + block.n_fibers, [](const Fiber& fiber) { return fiber.wait == Wait::Spinning; });
                fault(spinner, spinner->site, "deadlock: the thread spins for ever; other blocks of this launch do not run meanwhile (launch it cooperatively)");
            }
        }
        if (!faulted()) end_block(block);
        if (faulted()) break;
    }
    for (char* piece : pieces) free(piece - kOffset);
}

void Grid::run_together() {
    const size_t n_blocks = size_t{launch_.grid.x} * launch_.grid.y * launch_.grid.z;
    std::vector<Block> blocks(n_blocks);
    for (size_t idx = 0; idx < n_blocks; idx++) {
        blocks[idx].dynamic = allocate_dynamic(launch_.dynamic_bytes);
        start(blocks[idx], index_of(idx), idx * launch_.block.x * launch_.block.y * launch_.block.z);
    }
    std::vector<unsigned> living;
    for (idle_passes_ = 0; !faulted(); idle_passes_++) {
        living.clear();
        for (unsigned idx = 0; idx < n_blocks; idx++) {
            if (blocks[idx].alive > 0) living.push_back(idx);
        }
        if (living.empty()) break;
        order_.arrange(living);
        for (unsigned idx : living) {
            take_turn(blocks[idx], now.seeded ? 1 + order_.next() % 4 : ~0u);
            if (faulted()) break;
            if (blocks[idx].alive == 0) end_block(blocks[idx]);
        }
        if (idle_passes_ == kIdlePasses && !faulted()) {
            Block& block = blocks[living.front()];
            const Fiber* stuck = std::find_if(block.fibers, block.fibers + block.n_fibers, [](const Fiber& fiber) { return fiber.wait != Wait::Done; });
            fault(stuck, stuck->site, text("deadlock: %zu of %zu blocks only spin and nothing changes", living.size(), n_blocks));
        }
    }
    for (Block& block : blocks) free(block.dynamic - kOffset);
}

std::string Grid::run() {
    if (launch_.cooperative) {
        run_together();
    } else {
        run_in_turn();
    }
    san::acquire(&done_);
    return fault_;
}

std::string run(const Launch& launch) {
    static std::mutex* lock = new std::mutex;
    std::lock_guard<std::mutex> held(*lock);
    catch_crashes();
    Grid grid(launch);
    running = &grid;
    std::string fault = grid.run();
    running = nullptr;
    return fault;
}

}  // namespace muster
