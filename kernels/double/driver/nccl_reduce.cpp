// Arithmetic on the element types of NCCL. Narrow floats are rounded after each step, as on the way round a ring.
#include <algorithm>
#include <cstring>

#include "../shim/shim_half.h"
#include "nccl.h"

namespace muster {
namespace {

template <class T>
T apply(int op, T a, T b) {
    switch (op) {
        case 1: return static_cast<T>(a * b);
        case 2: return a > b ? a : b;
        case 3: return a < b ? a : b;
        default: return static_cast<T>(a + b);
    }
}

template <class T>
void combine_as(int op, char* a, const char* b, size_t count) {
    for (size_t idx = 0; idx < count; idx++) {
        T left, right;
        memcpy(&left, a + idx * sizeof(T), sizeof(T));
        memcpy(&right, b + idx * sizeof(T), sizeof(T));
        // Through float and back where T is narrow.
        if constexpr (std::is_class_v<T>) left = T(apply<float>(op, left, right));
        else left = apply<T>(op, left, right);
        memcpy(a + idx * sizeof(T), &left, sizeof(T));
    }
}

template <class T>
void divide_as(char* a, size_t count, int by) {
    for (size_t idx = 0; idx < count; idx++) {
        T value;
        memcpy(&value, a + idx * sizeof(T), sizeof(T));
        if constexpr (std::is_class_v<T>) value = T(static_cast<float>(value) / static_cast<float>(by));
        else value = static_cast<T>(value / static_cast<T>(by));
        memcpy(a + idx * sizeof(T), &value, sizeof(T));
    }
}

// Calls `visit` with a value of the element type.
template <class Visit>
void with_type(int type, Visit visit) {
    switch (type) {
        case 0: visit(int8_t{}); break;
        case 1: visit(uint8_t{}); break;
        case 2: visit(int32_t{}); break;
        case 3: visit(uint32_t{}); break;
        case 4: visit(int64_t{}); break;
        case 5: visit(uint64_t{}); break;
        case 6: visit(__half{}); break;
        case 7: visit(float{}); break;
        case 8: visit(double{}); break;
        case 9: visit(__nv_bfloat16{}); break;
        default: break;
    }
}
}  // namespace

size_t bytes_of_type(int type) {
    size_t bytes = 0;
    with_type(type, [&](auto value) { bytes = sizeof value; });
    return bytes;
}

void combine(int type, int op, char* a, const char* b, size_t count) {
    with_type(type, [&](auto value) { combine_as<decltype(value)>(op, a, b, count); });
}

void divide(int type, char* a, size_t count, int by) {
    with_type(type, [&](auto value) { divide_as<decltype(value)>(a, count, by); });
}

}  // namespace muster
