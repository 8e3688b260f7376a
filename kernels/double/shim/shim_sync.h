// Barriers and warp calls. The source line is the identity of a call: divergence is threads at different lines.
#pragma once
#include <cstring>

#include "engine.h"

#define MUSTER_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(MUSTER_SITE) { muster::barrier(muster::BarrierKind::Plain, 0, {file, line}); }
inline int __syncthreads_count(int predicate, MUSTER_SITE) {
    return muster::barrier(muster::BarrierKind::Count, predicate, {file, line});
}
inline int __syncthreads_and(int predicate, MUSTER_SITE) {
    return muster::barrier(muster::BarrierKind::And, predicate, {file, line});
}
inline int __syncthreads_or(int predicate, MUSTER_SITE) {
    return muster::barrier(muster::BarrierKind::Or, predicate, {file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, MUSTER_SITE) {
    muster::warp_call(muster::WarpKind::Sync, mask, 0, 0, {file, line});
}
inline void __nanosleep(unsigned, MUSTER_SITE) { muster::spin({file, line}); }

namespace muster {

template <class T>
inline uint64_t to_word(T value) {
    static_assert(sizeof(T) <= 8, "a warp exchanges at most eight bytes");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof value);
    return word;
}

template <class T>
inline T from_word(uint64_t word) {
    T value;
    memcpy(&value, &word, sizeof value);
    return value;
}

inline int lane() { return static_cast<int>(now.fiber->linear % 32); }

template <class T>
inline T shuffle(unsigned mask, T value, int source, Site site) {
    return from_word<T>(warp_call(WarpKind::Shuffle, mask, to_word(value), source, site));
}

inline void check_width(int width, Site site) {
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) fault_here("shuffle width is not a power of two up to 32", site);
}

}  // namespace muster

// `width` splits the warp into segments; a lane whose source lies outside its segment keeps its own value.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, MUSTER_SITE) {
    muster::check_width(width, {file, line});
    const int base = muster::lane() & ~(width - 1);
    return muster::shuffle(mask, value, base + (source & (width - 1)), {file, line});
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, MUSTER_SITE) {
    muster::check_width(width, {file, line});
    const int lane = muster::lane(), base = lane & ~(width - 1);
    const int source = lane - static_cast<int>(delta);
    return muster::shuffle(mask, value, source < base ? lane : source, {file, line});
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, MUSTER_SITE) {
    muster::check_width(width, {file, line});
    const int lane = muster::lane(), base = lane & ~(width - 1);
    const int source = lane + static_cast<int>(delta);
    return muster::shuffle(mask, value, source >= base + width ? lane : source, {file, line});
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, MUSTER_SITE) {
    muster::check_width(width, {file, line});
    const int lane = muster::lane(), base = lane & ~(width - 1);
    const int source = lane ^ lane_mask;
    return muster::shuffle(mask, value, source >= base + width ? lane : source, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, MUSTER_SITE) {
    return static_cast<unsigned>(muster::warp_call(muster::WarpKind::Ballot, mask, predicate != 0, 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, MUSTER_SITE) {
    return muster::warp_call(muster::WarpKind::Ballot, mask, predicate != 0, 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, MUSTER_SITE) {
    return static_cast<unsigned>(muster::warp_call(muster::WarpKind::Ballot, mask, predicate != 0, 0, {file, line})) == mask;
}
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, MUSTER_SITE) {
    return static_cast<unsigned>(muster::warp_call(muster::WarpKind::Match, mask, muster::to_word(value), 0, {file, line}));
}
inline int __reduce_add_sync(unsigned mask, int value, MUSTER_SITE) {
    return static_cast<int>(muster::warp_call(muster::WarpKind::Sum, mask, static_cast<uint64_t>(int64_t{value}), 0, {file, line}));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, MUSTER_SITE) {
    return static_cast<unsigned>(muster::warp_call(muster::WarpKind::Sum, mask, value, 0, {file, line}));
}
inline int __reduce_max_sync(unsigned mask, int value, MUSTER_SITE) {
    return static_cast<int>(muster::warp_call(muster::WarpKind::Max, mask, static_cast<uint64_t>(int64_t{value}), 0, {file, line}));
}
inline int __reduce_min_sync(unsigned mask, int value, MUSTER_SITE) {
    return static_cast<int>(muster::warp_call(muster::WarpKind::Min, mask, static_cast<uint64_t>(int64_t{value}), 0, {file, line}));
}
#undef MUSTER_SITE
