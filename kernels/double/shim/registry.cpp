// The kernels of this build by name.
#include <cstring>

#include "engine.h"

namespace muster {
namespace {
// Constant-initialized, so that it is there before any registration runs.
const Kernel* first = nullptr;
}  // namespace

Registration::Registration(Kernel* kernel) {
    kernel->next = first;
    first = kernel;
}

const Kernel* find_kernel(const char* name) {
    for (const Kernel* kernel = first; kernel != nullptr; kernel = kernel->next) {
        if (strcmp(kernel->name, name) == 0) return kernel;
    }
    return nullptr;
}

}  // namespace muster
