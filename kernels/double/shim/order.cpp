// The order in which threads and blocks run, from SHIM_ORDER=fwd|rev|SEED.
#include <cstring>

#include "fault.h"
#include "grid.h"

namespace muster {

Order Order::from_environment() {
    static const Order order = [] {
        const char* name = env("SHIM_ORDER", "fwd");
        if (strcmp(name, "fwd") == 0) return Order{Forward, 0};
        if (strcmp(name, "rev") == 0) return Order{Reverse, 0};
        return Order{Seeded, env_number("SHIM_ORDER", 1) * 0x9e3779b97f4a7c15 + 1};
    }();
    return order;
}

uint64_t Order::next() {
    state += 0x9e3779b97f4a7c15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
}

void Order::arrange(std::vector<unsigned>& items) {
    if (kind == Reverse) {
        for (size_t low = 0, high = items.size(); low + 1 < high; low++, high--) std::swap(items[low], items[high - 1]);
    }
    if (kind == Seeded) {
        for (size_t n = items.size(); n > 1; n--) std::swap(items[n - 1], items[next() % n]);
    }
}

}  // namespace muster
