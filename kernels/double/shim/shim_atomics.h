// Atomics with CUDA's names: relaxed, as on the device. Under a seeded order one in sixteen lets others run first.
#pragma once
#include <cstring>

#include "engine.h"

#define MUSTER_ATOMIC_INTEGER(T)                                                                              \
    inline T atomicAdd(T* at, T value) { muster::maybe_yield(); return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); } \
    inline T atomicSub(T* at, T value) { muster::maybe_yield(); return __atomic_fetch_sub(at, value, __ATOMIC_RELAXED); } \
    inline T atomicAnd(T* at, T value) { muster::maybe_yield(); return __atomic_fetch_and(at, value, __ATOMIC_RELAXED); } \
    inline T atomicOr(T* at, T value) { muster::maybe_yield(); return __atomic_fetch_or(at, value, __ATOMIC_RELAXED); }   \
    inline T atomicXor(T* at, T value) { muster::maybe_yield(); return __atomic_fetch_xor(at, value, __ATOMIC_RELAXED); } \
    inline T atomicExch(T* at, T value) { muster::maybe_yield(); return __atomic_exchange_n(at, value, __ATOMIC_RELAXED); } \
    inline T atomicCAS(T* at, T expected, T desired) {                                                        \
        muster::maybe_yield();                                                                                \
        __atomic_compare_exchange_n(at, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);       \
        return expected;                                                                                      \
    }                                                                                                         \
    inline T atomicMax(T* at, T value) {                                                                      \
        return muster::atomic_update(at, [value](T old) { return old > value ? old : value; });               \
    }                                                                                                         \
    inline T atomicMin(T* at, T value) {                                                                      \
        return muster::atomic_update(at, [value](T old) { return old < value ? old : value; });               \
    }

namespace muster {
// Replaces `*at` by `update(*at)` and gives what it was.
template <class T, class Update>
inline T atomic_update(T* at, Update update) {
    maybe_yield();
    T old;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    for (;;) {
        T desired = update(old);
        if (__atomic_compare_exchange(at, &old, &desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
    }
}
}  // namespace muster

MUSTER_ATOMIC_INTEGER(int)
MUSTER_ATOMIC_INTEGER(unsigned)
MUSTER_ATOMIC_INTEGER(unsigned long long)
#undef MUSTER_ATOMIC_INTEGER

inline float atomicAdd(float* at, float value) {
    return muster::atomic_update(at, [value](float old) { return old + value; });
}
inline double atomicAdd(double* at, double value) {
    return muster::atomic_update(at, [value](double old) { return old + value; });
}
inline float atomicExch(float* at, float value) {
    return muster::atomic_update(at, [value](float) { return value; });
}
// Wraps to 0 above `limit`, as CUDA's do.
inline unsigned atomicInc(unsigned* at, unsigned limit) {
    return muster::atomic_update(at, [limit](unsigned old) { return old >= limit ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* at, unsigned limit) {
    return muster::atomic_update(at, [limit](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}

// A fence orders this thread's writes before later ones of others that fence as well; TSan is told so.
inline void __threadfence() { muster::fence(); }
inline void __threadfence_system() { muster::fence(); }
inline void __threadfence_block() { muster::fence(); }
