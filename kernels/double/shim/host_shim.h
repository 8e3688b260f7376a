// Compiles CUDA kernels with g++: what nvcc knows by itself, in plain C++.
//
// Included by kernels/cuda/prelude.cuh where MUSTER_HOST_SHIM is defined. It covers plain C++ kernels; inline PTX,
// wmma, cooperative groups, textures and cub are deliberately absent. A static `__shared__` variable must not stand in
// a template or an inline function: pass a pointer.
#pragma once
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "engine.h"
#include "registry.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
// The builder reads the bound from the source; see MUSTER_REGISTER.
#define __launch_bounds__(...)
#define __grid_constant__
#define __managed__
// A section of its own, which the engine fills before each block and keeps apart for blocks that live together.
#define __shared__ static __attribute__((section("shim_shared")))

#define threadIdx (::muster::now.fiber->thread)
#define blockIdx (::muster::now.block)
#define blockDim (::muster::now.block_dim)
#define gridDim (::muster::now.grid_dim)
constexpr int warpSize = 32;

// The dynamic shared memory of the block as an array of T.
#define DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(::muster::now.dynamic)
// Inside a loop that reads memory until another block has written it.
#define MUSTER_SPIN() ::muster::spin(::muster::Site{__FILE__, __LINE__})

#include "shim_vectors.h"
#include "shim_math.h"
#include "shim_atomics.h"
#include "shim_sync.h"
#include "shim_half.h"
