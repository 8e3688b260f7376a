// What is left over when the process ends, under MUSTER_DOUBLE_REPORT=1: one line a leak, or that there is none.
#include <cstdio>

#include "memory.h"
#include "world.h"

namespace muster {
namespace {
std::vector<Tally*>& tallies() {
    static auto* made = new std::vector<Tally*>;
    return *made;
}

__attribute__((destructor)) void report_leaks() {
    if (env_number("MUSTER_DOUBLE_REPORT", 0) == 0) return;
    report_memory_leaks();
    for (const Tally* tally : tallies()) {
        if (tally->alive > 0) fprintf(stderr, "muster-double: leak: %ld %s\n", tally->alive.load(), tally->what);
    }
    for (const Device* device : devices()) {
        if (device->retained > 0) {
            fprintf(stderr, "muster-double: leak: the context of device %d, retained %d times\n", device->ordinal, device->retained.load());
        }
    }
    fprintf(stderr, "muster-double: report ends\n");
}
}  // namespace

Tally::Tally(const char* what) : what(what) { tallies().push_back(this); }

}  // namespace muster
