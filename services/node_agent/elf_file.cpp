// SPDX-License-Identifier: Apache-2.0
// Program headers and the dynamic section, of either width; whatever does not fit is not believed.
#include "node_agent/elf_file.hpp"

#include <elf.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace berth::node {
namespace {

constexpr std::size_t kMostHeaders = 512;
constexpr std::size_t kMostDynamic = 4'096;  // entries

template <typename T>
bool read_at(int file, std::uint64_t offset, T& into) {
    return ::pread(file, &into, sizeof into, static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(sizeof into);
}

template <typename Head, typename Segment, typename Dynamic>
bool examine(int file) {
    Head head{};
    if (!read_at(file, 0, head)) return true;
    if (head.e_type != ET_DYN) return false;
    if (head.e_phnum > kMostHeaders || head.e_phentsize != sizeof(Segment)) return true;
    Segment dynamic{};
    for (unsigned i = 0; i < head.e_phnum; ++i) {
        Segment segment{};
        if (!read_at(file, head.e_phoff + std::uint64_t{i} * sizeof segment, segment)) return true;
        if (segment.p_type == PT_INTERP) return false;
        if (segment.p_type == PT_DYNAMIC) dynamic = segment;
    }
    if (dynamic.p_type != PT_DYNAMIC) return false;
    const std::size_t count = dynamic.p_filesz / sizeof(Dynamic);
    for (std::size_t i = 0; i < count && i < kMostDynamic; ++i) {
        Dynamic entry{};
        if (!read_at(file, dynamic.p_offset + i * sizeof entry, entry)) return true;
        if (entry.d_tag == DT_NULL) break;
        if (entry.d_tag == DT_SONAME) return true;
    }
    return false;
}

template <typename Head, typename Segment>
std::vector<std::uint64_t> ends_of(int file) {
    std::vector<std::uint64_t> ends;
    Head head{};
    if (!read_at(file, 0, head) || head.e_phentsize != sizeof(Segment)) return ends;
    for (unsigned i = 0; i < head.e_phnum && i < kMostHeaders; ++i) {
        Segment segment{};
        if (!read_at(file, head.e_phoff + std::uint64_t{i} * sizeof segment, segment)) break;
        if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) != 0 && segment.p_filesz > 0)
            ends.push_back(std::uint64_t{segment.p_offset} + segment.p_filesz);
    }
    return ends;
}

}  // namespace

bool is_bare_shared_object(int file) {
    unsigned char ident[EI_NIDENT] = {};
    if (!read_at(file, 0, ident)) return true;
    if (std::memcmp(ident, ELFMAG, SELFMAG) != 0) return false;
    if (ident[EI_CLASS] == ELFCLASS64) return examine<Elf64_Ehdr, Elf64_Phdr, Elf64_Dyn>(file);
    return examine<Elf32_Ehdr, Elf32_Phdr, Elf32_Dyn>(file);
}

std::vector<std::uint64_t> data_ends(int file) {
    unsigned char ident[EI_NIDENT] = {};
    if (!read_at(file, 0, ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0) return {};
    if (ident[EI_CLASS] == ELFCLASS64) return ends_of<Elf64_Ehdr, Elf64_Phdr>(file);
    return ends_of<Elf32_Ehdr, Elf32_Phdr>(file);
}

}  // namespace berth::node
