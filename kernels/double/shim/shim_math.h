// Device functions on numbers. Fast variants give the exact function's value: tests compare with tolerances.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace muster {
inline float inverse_root(float x) { return 1.0f / ::sqrtf(x); }
inline double inverse_root(double x) { return 1.0 / ::sqrt(x); }
template <class To, class From>
inline To bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &value, sizeof to);
    return to;
}
}  // namespace muster

// Macros, since glibc declares functions of these names.
#define __expf(x) ::expf(x)
#define __exp10f(x) ::powf(10.0f, x)
#define __logf(x) ::logf(x)
#define __log2f(x) ::log2f(x)
#define __log10f(x) ::log10f(x)
#define __sinf(x) ::sinf(x)
#define __cosf(x) ::cosf(x)
#define __tanf(x) ::tanf(x)
#define __powf(x, y) ::powf(x, y)
#define __tanhf(x) ::tanhf(x)
#define rsqrtf(x) ::muster::inverse_root(static_cast<float>(x))
#define rsqrt(x) ::muster::inverse_root(static_cast<double>(x))

inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fsqrt_rn(float x) { return ::sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return ::muster::inverse_root(x); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

inline int __float_as_int(float x) { return muster::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return muster::bits<unsigned>(x); }
inline float __int_as_float(int x) { return muster::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return muster::bits<float>(x); }
inline long long __double_as_longlong(double x) { return muster::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return muster::bits<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(::rintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(::floorf(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(::ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(::rintf(x)); }
inline unsigned __float2uint_rz(float x) { return static_cast<unsigned>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<int64_t>(a) * b) >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    x = __builtin_bswap32(x);
    x = (x & 0x0f0f0f0fu) << 4 | (x >> 4 & 0x0f0f0f0fu);
    x = (x & 0x33333333u) << 2 | (x >> 2 & 0x33333333u);
    return (x & 0x55555555u) << 1 | (x >> 1 & 0x55555555u);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    shift &= 31;
    return shift == 0 ? high : high << shift | low >> (32 - shift);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    shift &= 31;
    return shift == 0 ? low : low >> shift | high << (32 - shift);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
    unsigned result = 0;
    for (int idx = 0; idx < 4; idx++) {
        const unsigned pick = selector >> (4 * idx) & 0xf;
        unsigned byte = static_cast<unsigned>(both >> (8 * (pick & 7))) & 0xff;
        if (pick & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << (8 * idx);
    }
    return result;
}

// min and max as nvcc has them, for mixed integer types too.
#define MUSTER_MIN_MAX(T, A, B)                                                                     \
    inline T min(A a, B b) { return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b); } \
    inline T max(A a, B b) { return static_cast<T>(a) > static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b); }
MUSTER_MIN_MAX(int, int, int)
MUSTER_MIN_MAX(unsigned, unsigned, unsigned)
MUSTER_MIN_MAX(unsigned, int, unsigned)
MUSTER_MIN_MAX(unsigned, unsigned, int)
MUSTER_MIN_MAX(long, long, long)
MUSTER_MIN_MAX(unsigned long, unsigned long, unsigned long)
MUSTER_MIN_MAX(unsigned long, long, unsigned long)
MUSTER_MIN_MAX(unsigned long, unsigned long, long)
MUSTER_MIN_MAX(long long, long long, long long)
MUSTER_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef MUSTER_MIN_MAX
inline float min(float a, float b) { return ::fminf(a, b); }
inline float max(float a, float b) { return ::fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }

// Loads with a cache hint. Those past the first cache see what other blocks wrote, so they count as atomic loads.
template <class T>
inline T __ldg(const T* at) { return *at; }
template <class T>
inline T __ldca(const T* at) { return *at; }
template <class T>
inline T __ldcs(const T* at) { return *at; }
template <class T>
inline void __stcs(T* at, T value) { *at = value; }
template <class T>
inline void __stwb(T* at, T value) { *at = value; }

namespace muster {
template <class T>
inline T load_through(const T* at) {
    if constexpr (sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0) {
        T value;
        __atomic_load(const_cast<T*>(at), &value, __ATOMIC_RELAXED);
        return value;
    } else {
        return *at;
    }
}
template <class T>
inline void store_through(T* at, T value) {
    if constexpr (sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0) {
        __atomic_store(at, &value, __ATOMIC_RELAXED);
    } else {
        *at = value;
    }
}
}  // namespace muster
template <class T>
inline T __ldcg(const T* at) { return muster::load_through(at); }
template <class T>
inline T __ldcv(const T* at) { return muster::load_through(at); }
template <class T>
inline void __stcg(T* at, T value) { muster::store_through(at, value); }
template <class T>
inline void __stwt(T* at, T value) { muster::store_through(at, value); }
