// The last page of the section that holds every kernel's static shared memory; see statics.cpp.
extern "C" {
__attribute__((section("shim_shared"), aligned(4096), visibility("hidden"), used)) char muster_shared_end[4096] = {1};
}
