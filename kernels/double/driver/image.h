// The device image that the program loads: a fatbin, a cubin or PTX, looked into as far as a host can.
#pragma once
#include <string>

#include "../shim/engine.h"

namespace muster {

struct Image {
    std::string bytes;
    bool is_ptx = false;
    // The double's own tests have no CUDA compiler: this text stands for an image that holds every kernel.
    bool is_any = false;
    // Some part is compressed, so that a name that is not found may be there all the same.
    bool is_compressed = false;
};

// Copies the image. "" or why it is none.
std::string read_image(const void* at, Image& image);
// "" or why the image does not hold this kernel, or, for PTX, holds one with other parameters.
std::string check_image(const Image& image, const Kernel& kernel);

}  // namespace muster
