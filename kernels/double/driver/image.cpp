// Sizes come from the image's own headers: fatbin and ELF say how long they are, PTX ends with a zero.
#include "image.h"

#include <cstring>
#include <vector>

#include "../shim/fault.h"

namespace muster {
namespace {
constexpr uint32_t kFatbin = 0xba55ed50;
constexpr uint32_t kElf = 0x464c457f;
// Flags of a fatbin's entry: packed by LZ4, by zstd.
constexpr uint64_t kPacked = 0x2000 | 0x8000;

template <class T>
T read(const char* at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}

bool has_packed_entry(const char* at, size_t size) {
    const char* end = at + size;
    at += read<uint16_t>(at + 6);
    while (at + 64 <= end) {
        const uint32_t header = read<uint32_t>(at + 4);
        const uint64_t payload = read<uint64_t>(at + 8);
        if (header < 48 || payload > static_cast<uint64_t>(end - at)) return true;
        if (read<uint64_t>(at + 40) & kPacked) return true;
        at += header + payload;
    }
    return false;
}

// The sizes of the parameters of a PTX entry, from `.param .align 8 .b8 name[32]` or `.param .u64 name`.
std::vector<uint32_t> ptx_params(const std::string& list) {
    std::vector<uint32_t> sizes;
    for (size_t at = list.find(".param"); at != std::string::npos; at = list.find(".param", at + 6)) {
        const size_t end = std::min(list.find(',', at), list.size());
        const std::string one = list.substr(at + 6, end - at - 6);
        const size_t bracket = one.find('[');
        uint32_t size = 0;
        for (const char* type : {".b8", ".u8", ".s8", ".b16", ".u16", ".s16", ".f16", ".b32", ".u32", ".s32", ".f32", ".b64", ".u64", ".s64", ".f64"}) {
            const size_t found = one.find(std::string(type) + " ");
            if (found != std::string::npos) size = static_cast<uint32_t>(atoi(type + 2)) / 8;
        }
        if (bracket != std::string::npos) size *= static_cast<uint32_t>(atoi(one.c_str() + bracket + 1));
        sizes.push_back(size);
    }
    return sizes;
}

std::string check_params(const std::string& list, const Kernel& kernel) {
    const std::vector<uint32_t> sizes = ptx_params(list);
    if (sizes.size() != kernel.n_params) {
        return text("kernel %s has %zu parameters in the PTX and %u in the host build", kernel.name, sizes.size(), kernel.n_params);
    }
    for (size_t idx = 0; idx < sizes.size(); idx++) {
        if (sizes[idx] == kernel.params[idx].size) continue;
        return text("kernel %s: parameter %zu has %u bytes in the PTX and %u in the host build", kernel.name, idx, sizes[idx], kernel.params[idx].size);
    }
    return "";
}
}  // namespace

std::string read_image(const void* image, Image& made) {
    const auto* at = static_cast<const char*>(image);
    if (at == nullptr) return "no image";
    const auto magic = read<uint32_t>(at);
    if (magic == kFatbin) {
        const size_t size = read<uint16_t>(at + 6) + read<uint64_t>(at + 8);
        made.bytes.assign(at, size);
        made.is_compressed = has_packed_entry(at, size);
        return "";
    }
    if (magic == kElf) {
        const size_t size = read<uint64_t>(at + 40) + size_t{read<uint16_t>(at + 58)} * read<uint16_t>(at + 60);
        made.bytes.assign(at, size);
        return "";
    }
    made.bytes = at;
    made.is_any = made.bytes == "muster-double: no image";
    if (made.is_any) return "";
    made.is_ptx = made.bytes.find(".version") != std::string::npos && made.bytes.find(".target") != std::string::npos;
    return made.is_ptx ? "" : "neither a fatbin nor a cubin nor PTX";
}

std::string check_image(const Image& image, const Kernel& kernel) {
    if (image.is_any) return "";
    if (!image.is_ptx) {
        const bool named = image.bytes.find(kernel.name) != std::string::npos;
        return named || image.is_compressed ? "" : text("kernel %s is in the host build but not in the image", kernel.name);
    }
    for (const char* before : {".entry ", ".entry\t"}) {
        const std::string entry = before + std::string(kernel.name) + "(";
        const size_t at = image.bytes.find(entry);
        if (at == std::string::npos) continue;
        const size_t start = at + entry.size();
        const size_t end = image.bytes.find(')', start);
        return check_params(image.bytes.substr(start, end == std::string::npos ? std::string::npos : end - start), kernel);
    }
    return text("kernel %s is in the host build but not in the PTX", kernel.name);
}

}  // namespace muster
