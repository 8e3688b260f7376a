// The first page of the section that holds every kernel's static shared memory.
//
// Linked before all kernels; statics_end.cpp comes after them. Between the two lie whole pages of nothing else.
#include "grid.h"

extern "C" {
__attribute__((section("shim_shared"), aligned(4096), visibility("hidden"), used)) char muster_shared_begin[4096] = {1};
extern __attribute__((visibility("hidden"))) char muster_shared_end[4096];
}

namespace muster {

char* Statics::begin() { return muster_shared_begin; }
size_t Statics::size() { return static_cast<size_t>(muster_shared_end - muster_shared_begin); }

}  // namespace muster
