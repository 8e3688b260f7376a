// The matrix product behind the cuBLAS double: column-major, one chain of fused multiply-adds over k per element.
#pragma once
#include <cstddef>
#include <cstdint>

namespace muster {

enum class Element { F32, F64, F16, BF16 };
size_t size_of(Element element);

struct Matrix {
    const void* at;
    Element element;
    bool transposed;
    int leading;
};

struct Product {
    int m, n, k;
    double alpha, beta;
    Matrix a, b;
    void* c;
    Element c_element;
    int c_leading;
};

// C = alpha op(A) op(B) + beta C; with beta = 0, C is written and not read.
void multiply(const Product& product);
// Columns, or rows where transposed: what lies between the first and last byte of a matrix of that shape.
size_t extent(int rows, int columns, int leading, Element element);

}  // namespace muster
