// The cuBLAS double: GEMMs as ops on the handle's stream, each operand judged before it is read.
#include <string>

#include "capture.h"
#include "gemm.h"
#include "memory.h"
#include "stream.h"

using namespace muster;

namespace {
constexpr int kOk = 0, kNotInitialized_ = 1, kInvalid = 7, kExecution = 13, kUnsupported = 15;

struct Blas {
    Device* device;
    void* stream = nullptr;
    int pointer_mode = 0;
    int math_mode = 0;
};
Handles<Blas>& handles() {
    static auto* made = new Handles<Blas>("cublas handles");
    return *made;
}

int refuse(int status, const std::string& what) { return fail(status, "cublas: " + what); }

bool element_of(int type, Element& element) {
    switch (type) {
        case 0: element = Element::F32; return true;
        case 1: element = Element::F64; return true;
        case 2: element = Element::F16; return true;
        case 14: element = Element::BF16; return true;
        default: return false;
    }
}

struct Batch {
    int count = 1;
    long long a_stride = 0, b_stride = 0, c_stride = 0;
};

std::string check(const Product& product, const Batch& batch, const Device* device) {
    const int a_rows = product.a.transposed ? product.k : product.m, a_columns = product.a.transposed ? product.m : product.k;
    const int b_rows = product.b.transposed ? product.n : product.k, b_columns = product.b.transposed ? product.k : product.n;
    const auto one = [&](const char* name, const void* at, int rows, int columns, int leading, Element element, long long stride) {
        if (leading < (rows > 1 ? rows : 1)) return text("%s: leading dimension %d of %d rows", name, leading, rows);
        const size_t bytes = extent(rows, columns, leading, element);
        if (bytes == 0) return std::string();
        const size_t all = bytes + static_cast<size_t>(batch.count - 1) * static_cast<size_t>(stride) * size_of(element);
        const std::string wrong = check_device(at, all, device);
        return wrong.empty() ? wrong : std::string(name) + ": " + wrong;
    };
    std::string wrong = one("A", product.a.at, a_rows, a_columns, product.a.leading, product.a.element, batch.a_stride);
    if (wrong.empty()) wrong = one("B", product.b.at, b_rows, b_columns, product.b.leading, product.b.element, batch.b_stride);
    if (wrong.empty()) wrong = one("C", product.c, product.m, product.n, product.c_leading, product.c_element, batch.c_stride);
    return wrong;
}

int gemm(void* handle, Product product, const Batch& batch) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    if (blas->device->sticky != kSuccess) return kExecution;
    if (blas->pointer_mode != 0) return refuse(kUnsupported, "the double reads alpha and beta from the host only");
    if (current() != blas->device) return refuse(kInvalid, "the handle's device is not current");
    StreamRef stream = find_stream(blas->stream, blas->device);
    if (stream == nullptr || stream->device != blas->device) return refuse(kInvalid, "the handle's stream is gone or of another device");
    if (product.m < 0 || product.n < 0 || product.k < 0 || batch.count < 0) return refuse(kInvalid, "a negative size");
    if (product.m == 0 || product.n == 0 || batch.count == 0) return kOk;
    const std::string wrong = check(product, batch, blas->device);
    if (!wrong.empty()) return refuse(kInvalid, wrong);
    enqueue(stream, "gemm", [product, batch] {
        for (int idx = 0; idx < batch.count; idx++) {
            Product one = product;
            const auto move = [&](const void* at, long long stride, Element element) {
                return static_cast<const char*>(at) + idx * stride * static_cast<long long>(size_of(element));
            };
            one.a.at = move(product.a.at, batch.a_stride, product.a.element);
            one.b.at = move(product.b.at, batch.b_stride, product.b.element);
            one.c = const_cast<char*>(move(product.c, batch.c_stride, product.c_element));
            multiply(one);
        }
    });
    return kOk;
}

// The types of GemmEx that the double knows: float and double all through, or narrow inputs with a float sum.
std::string check_types(int compute, Element a, Element b, Element c) {
    const bool in_double = compute == 70 || compute == 71;
    const bool in_float = compute == 68 || compute == 69 || compute == 74 || compute == 75 || compute == 77;
    if (!in_double && !in_float) return text("compute type %d", compute);
    if (a != b) return "A and B of different types";
    if (in_double != (a == Element::F64) || in_double != (c == Element::F64)) return "doubles mixed with other types";
    if (a == Element::F32 && c != Element::F32) return "float inputs with a narrow result";
    if (c != Element::F32 && c != Element::F64 && c != a) return "a result of another narrow type than the inputs";
    return "";
}

int gemm_ex(void* handle, Product product, const int (&types)[3], int compute, const void* alpha, const void* beta, const Batch& batch) {
    if (!element_of(types[0], product.a.element) || !element_of(types[1], product.b.element) || !element_of(types[2], product.c_element)) {
        return refuse(kUnsupported, text("element types %d, %d, %d", types[0], types[1], types[2]));
    }
    const std::string wrong = check_types(compute, product.a.element, product.b.element, product.c_element);
    if (!wrong.empty()) return refuse(kUnsupported, wrong);
    const bool in_double = product.a.element == Element::F64;
    product.alpha = in_double ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
    product.beta = in_double ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
    return gemm(handle, product, batch);
}
}  // namespace

MUSTER_API int cublasCreate_v2(void** handle) {
    Device* device = current();
    if (device == nullptr) return refuse(kNotInitialized_, "no current context");
    auto blas = std::make_shared<Blas>();
    blas->device = device;
    *handle = handles().add(blas);
    return kOk;
}
MUSTER_API int cublasDestroy_v2(void* handle) { return handles().remove(handle) == nullptr ? refuse(kNotInitialized_, "no such handle") : kOk; }
MUSTER_API int cublasSetStream_v2(void* handle, void* stream) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    if (find_stream(stream, blas->device) == nullptr) return refuse(kInvalid, "no such stream");
    blas->stream = stream;
    return kOk;
}
MUSTER_API int cublasGetStream_v2(void* handle, void** stream) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    *stream = blas->stream;
    return kOk;
}
MUSTER_API int cublasSetMathMode(void* handle, int mode) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    blas->math_mode = mode;
    return kOk;
}
MUSTER_API int cublasGetMathMode(void* handle, int* mode) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    *mode = blas->math_mode;
    return kOk;
}
MUSTER_API int cublasSetPointerMode_v2(void* handle, int mode) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    blas->pointer_mode = mode;
    return kOk;
}
MUSTER_API int cublasGetPointerMode_v2(void* handle, int* mode) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    *mode = blas->pointer_mode;
    return kOk;
}
MUSTER_API int cublasSetAtomicsMode(void*, int) { return kOk; }
MUSTER_API int cublasSetWorkspace_v2(void* handle, void* at, size_t bytes) {
    auto blas = handles().get(handle);
    if (blas == nullptr) return refuse(kNotInitialized_, "no such handle");
    const std::string wrong = bytes == 0 ? "" : check_device(at, bytes, blas->device);
    return wrong.empty() ? kOk : refuse(kInvalid, "workspace: " + wrong);
}
MUSTER_API int cublasGetVersion_v2(void*, int* version) {
    *version = 130002;
    return kOk;
}
MUSTER_API const char* cublasGetStatusName(int status) { return status == kOk ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_ERROR"; }
MUSTER_API const char* cublasGetStatusString(int status) { return status == kOk ? "success" : last_fault(); }

MUSTER_API int cublasSgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const float* alpha, const float* a, int lda,
                              const float* b, int ldb, const float* beta, float* c, int ldc) {
    return gemm(handle, Product{m, n, k, *alpha, *beta, {a, Element::F32, ta != 0, lda}, {b, Element::F32, tb != 0, ldb}, c, Element::F32, ldc}, Batch{});
}
MUSTER_API int cublasDgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const double* alpha, const double* a, int lda,
                              const double* b, int ldb, const double* beta, double* c, int ldc) {
    return gemm(handle, Product{m, n, k, *alpha, *beta, {a, Element::F64, ta != 0, lda}, {b, Element::F64, tb != 0, ldb}, c, Element::F64, ldc}, Batch{});
}
MUSTER_API int cublasSgemmStridedBatched(void* handle, int ta, int tb, int m, int n, int k, const float* alpha, const float* a, int lda,
                                         long long a_stride, const float* b, int ldb, long long b_stride, const float* beta, float* c,
                                         int ldc, long long c_stride, int count) {
    return gemm(handle, Product{m, n, k, *alpha, *beta, {a, Element::F32, ta != 0, lda}, {b, Element::F32, tb != 0, ldb}, c, Element::F32, ldc},
                Batch{count, a_stride, b_stride, c_stride});
}
MUSTER_API int cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda,
                            const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int) {
    const Product product{m, n, k, 0, 0, {a, Element::F32, ta != 0, lda}, {b, Element::F32, tb != 0, ldb}, c, Element::F32, ldc};
    return gemm_ex(handle, product, {a_type, b_type, c_type}, compute, alpha, beta, Batch{});
}
MUSTER_API int cublasGemmStridedBatchedEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_type,
                                          int lda, long long a_stride, const void* b, int b_type, int ldb, long long b_stride,
                                          const void* beta, void* c, int c_type, int ldc, long long c_stride, int count, int compute, int) {
    const Product product{m, n, k, 0, 0, {a, Element::F32, ta != 0, lda}, {b, Element::F32, tb != 0, ldb}, c, Element::F32, ldc};
    return gemm_ex(handle, product, {a_type, b_type, c_type}, compute, alpha, beta, Batch{count, a_stride, b_stride, c_stride});
}
