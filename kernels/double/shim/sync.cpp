// What threads wait for: barriers of a block, calls of a warp, spins on memory.
//
// The last thread to arrive opens the barrier and, unless the order is seeded, goes straight on.
#include <cstring>

#include "fault.h"
#include "grid.h"
#include "sanitize.h"

namespace muster {
namespace {

char fence_gate;

bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0); }

std::string place(const Fiber& fiber) {
    return text("thread (%u, %u, %u) at %s:%d", fiber.thread.x, fiber.thread.y, fiber.thread.z, fiber.site.file,
                fiber.site.line);
}

const char* name(WarpKind kind) {
    switch (kind) {
        case WarpKind::Sync: return "__syncwarp";
        case WarpKind::Shuffle: return "__shfl_sync";
        case WarpKind::Ballot: return "__ballot_sync";
        case WarpKind::Match: return "__match_any_sync";
        default: return "__reduce_sync";
    }
}

uint64_t result_of(const Warp& warp, const Fiber& fiber) {
    const unsigned mask = fiber.call.mask;
    const auto each = [&](auto visit) {
        for (unsigned lane = 0; lane < 32; lane++) {
            if (mask >> lane & 1) visit(lane, warp.lanes[lane].call.value);
        }
    };
    uint64_t result = 0;
    switch (fiber.call.kind) {
        case WarpKind::Sync: break;
        case WarpKind::Shuffle: return warp.lanes[fiber.call.source].call.value;
        case WarpKind::Ballot: each([&](unsigned lane, uint64_t value) { result |= uint64_t{value != 0} << lane; }); break;
        case WarpKind::Match:
            each([&](unsigned lane, uint64_t value) { result |= uint64_t{value == fiber.call.value} << lane; });
            break;
        case WarpKind::Sum: each([&](unsigned, uint64_t value) { result += value; }); break;
        case WarpKind::Max:
            result = fiber.call.value;
            each([&](unsigned, uint64_t value) { result = static_cast<int64_t>(value) > static_cast<int64_t>(result) ? value : result; });
            break;
        case WarpKind::Min:
            result = fiber.call.value;
            each([&](unsigned, uint64_t value) { result = static_cast<int64_t>(value) < static_cast<int64_t>(result) ? value : result; });
            break;
    }
    return result;
}

// All lanes of the mask have arrived: checks that they mean the same call, and hands each its result.
void complete(Warp& warp, Fiber& last) {
    const WarpCall& call = last.call;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(call.mask >> lane & 1)) continue;
        Fiber& other = warp.lanes[lane];
        if (other.call.mask != call.mask || other.call.kind != call.kind || !same(other.site, last.site)) {
            fault_here(text("%s with mask %08x meets another call: lane %u waits in %s with mask %08x, %s", name(call.kind),
                            call.mask, lane, name(other.call.kind), other.call.mask, place(other).c_str()),
                       last.site);
        }
        if (call.kind == WarpKind::Shuffle && !(call.mask >> other.call.source & 1)) {
            fault_here(text("__shfl_sync: lane %u reads lane %d, which is not in mask %08x", lane, other.call.source, call.mask),
                       last.site);
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(call.mask >> lane & 1)) continue;
        Fiber& other = warp.lanes[lane];
        other.result = result_of(warp, other);
        other.wait = Wait::Ready;
    }
    warp.arrived &= ~call.mask;
    warp.calls++;
    running->progress();
}

}  // namespace

void fault_here(const std::string& what, Site site) {
    Fiber* fiber = now.fiber;
    running->fault(fiber, site, what);
    // The launch is over; nobody resumes this thread.
    for (;;) running->leave(fiber);
}

void open_barrier(Grid& grid, Block& block) {
    const Fiber* first = nullptr;
    int64_t count = 0;
    bool all = true;
    for (unsigned idx = 0; idx < block.n_fibers; idx++) {
        Fiber& fiber = block.fibers[idx];
        if (fiber.wait != Wait::Barrier) continue;
        if (first == nullptr) first = &fiber;
        if (!same(first->site, fiber.site) || first->barrier != fiber.barrier) {
            grid.fault(&fiber, fiber.site,
                       "barrier divergence: threads of one block wait at different __syncthreads: " + place(*first) + ", " +
                           place(fiber));
            return;
        }
        count += fiber.predicate != 0;
        all = all && fiber.predicate != 0;
    }
    for (unsigned idx = 0; idx < block.n_fibers; idx++) {
        Fiber& fiber = block.fibers[idx];
        if (fiber.wait != Wait::Barrier) continue;
        fiber.wait = Wait::Ready;
        fiber.result = fiber.barrier == BarrierKind::Count ? count : fiber.barrier == BarrierKind::And ? all : count > 0;
    }
    block.waiting = 0;
    block.barriers++;
    grid.progress();
}

int barrier(BarrierKind kind, int predicate, Site site) {
    Fiber& fiber = *now.fiber;
    Block& block = *fiber.block;
    fiber.site = site;
    fiber.barrier = kind;
    fiber.predicate = predicate;
    fiber.gate = block.barriers % 2;
    fiber.wait = Wait::Barrier;
    san::release(&block.gates[fiber.gate]);
    if (++block.waiting == block.alive) open_barrier(*running, block);
    if (fiber.wait != Wait::Ready || now.seeded) running->leave(&fiber);
    san::acquire(&block.gates[fiber.gate]);
    return static_cast<int>(fiber.result);
}

uint64_t warp_call(WarpKind kind, unsigned mask, uint64_t value, int source, Site site) {
    Fiber& fiber = *now.fiber;
    Warp& warp = fiber.block->warp_of(fiber);
    const unsigned lane = fiber.linear % 32;
    fiber.site = site;
    if (!(mask >> lane & 1)) fault_here(text("%s: lane %u is not in its own mask %08x", name(kind), lane, mask), site);
    if (mask & ~warp.alive) {
        fault_here(text("%s: lanes %08x of mask %08x have exited or do not exist", name(kind), mask & ~warp.alive, mask), site);
    }
    fiber.call = WarpCall{kind, mask, source, value};
    fiber.wait = Wait::Warp;
    const unsigned gate = warp.calls % 2;
    if (kind == WarpKind::Sync) san::release(&warp.gates[gate]);
    warp.arrived |= 1u << lane;
    if ((warp.arrived & mask) == mask) complete(warp, fiber);
    if (fiber.wait != Wait::Ready || now.seeded) running->leave(&fiber);
    if (kind == WarpKind::Sync) san::acquire(&warp.gates[gate]);
    return fiber.result;
}

void spin(Site site) {
    now.fiber->site = site;
    now.fiber->wait = Wait::Spinning;
    running->leave(now.fiber);
}

// Fences of a device are in one order; a later one sees what came before an earlier one.
void fence() {
    san::acquire(&fence_gate);
    san::release(&fence_gate);
}

void maybe_yield() {
    if (!now.seeded || running->order().next() % 16 != 0) return;
    running->leave(now.fiber);
}

}  // namespace muster
