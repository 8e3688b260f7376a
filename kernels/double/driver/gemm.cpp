// Packs both operands as floats, then runs rows of C at a time so that the inner loop is over contiguous columns.
#include "gemm.h"

#include <vector>

#include "../shim/shim_half.h"

namespace muster {
namespace {

template <class Real>
Real load(const void* at, Element element, size_t idx) {
    switch (element) {
        case Element::F32: return static_cast<Real>(static_cast<const float*>(at)[idx]);
        case Element::F64: return static_cast<Real>(static_cast<const double*>(at)[idx]);
        case Element::F16: return static_cast<Real>(from_half(static_cast<const uint16_t*>(at)[idx]));
        default: return static_cast<Real>(from_bf16(static_cast<const uint16_t*>(at)[idx]));
    }
}

template <class Real>
void store(void* at, Element element, size_t idx, Real value) {
    switch (element) {
        case Element::F32: static_cast<float*>(at)[idx] = static_cast<float>(value); break;
        case Element::F64: static_cast<double*>(at)[idx] = static_cast<double>(value); break;
        case Element::F16: static_cast<uint16_t*>(at)[idx] = to_half(static_cast<float>(value)); break;
        default: static_cast<uint16_t*>(at)[idx] = to_bf16(static_cast<float>(value));
    }
}

// op(M) with `fast` as the index that runs fastest.
template <class Real>
std::vector<Real> pack(const Matrix& matrix, size_t fast, size_t slow, bool fast_is_row) {
    std::vector<Real> packed(fast * slow);
    const bool along = fast_is_row != matrix.transposed;
    const auto leading = static_cast<size_t>(matrix.leading);
    for (size_t s = 0; s < slow; s++) {
        for (size_t f = 0; f < fast; f++) {
            packed[s * fast + f] = load<Real>(matrix.at, matrix.element, along ? f + s * leading : f * leading + s);
        }
    }
    return packed;
}

template <class Real>
__attribute__((optimize("O3"))) void multiply_as(const Product& product) {
    const auto m = static_cast<size_t>(product.m), n = static_cast<size_t>(product.n), k = static_cast<size_t>(product.k);
    const auto a = pack<Real>(product.a, m, k, true);
    const auto b = pack<Real>(product.b, k, n, true);
    std::vector<Real> column(m);
    for (size_t j = 0; j < n; j++) {
        std::fill(column.begin(), column.end(), Real{0});
        for (size_t p = 0; p < k; p++) {
            const Real factor = b[j * k + p];
            const Real* row = &a[p * m];
            for (size_t i = 0; i < m; i++) {
                if constexpr (sizeof(Real) == 4) column[i] = __builtin_fmaf(row[i], factor, column[i]);
                else column[i] = __builtin_fma(row[i], factor, column[i]);
            }
        }
        for (size_t i = 0; i < m; i++) {
            const size_t at = j * static_cast<size_t>(product.c_leading) + i;
            Real value = static_cast<Real>(product.alpha) * column[i];
            if (product.beta != 0) value += static_cast<Real>(product.beta) * load<Real>(product.c, product.c_element, at);
            store(product.c, product.c_element, at, value);
        }
    }
}
}  // namespace

size_t size_of(Element element) { return element == Element::F64 ? 8 : element == Element::F32 ? 4 : 2; }

size_t extent(int rows, int columns, int leading, Element element) {
    if (rows == 0 || columns == 0) return 0;
    return (static_cast<size_t>(columns - 1) * static_cast<size_t>(leading) + static_cast<size_t>(rows)) * size_of(element);
}

void multiply(const Product& product) {
    if (product.c_element == Element::F64) multiply_as<double>(product);
    else multiply_as<float>(product);
}

}  // namespace muster
