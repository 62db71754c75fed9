// SPDX-License-Identifier: Apache-2.0
// A private mapping of a file has the file's own pages until somebody writes to them: pagemap tells
// which were, also by the kernel, which zeroes what follows a program's data.
#include "node_agent/image_memory.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "node_agent/elf_file.hpp"
#include "node_agent/injection.hpp"

namespace berth::node {
namespace {

constexpr std::uint64_t kPage = 4'096;

std::string path_of(pid_t pid, const char* name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
}

bool read_memory(pid_t pid, std::uint64_t address, void* into, std::size_t size) {
    iovec local{into, size};
    iovec remote{reinterpret_cast<void*>(address), size};
    return ::process_vm_readv(pid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

bool is_zero(std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; }

/// A page of a file; beyond its end there are zeros.
bool read_page(int file, std::uint64_t offset, char* into) {
    std::size_t have = 0;
    while (have < kPage) {
        const ssize_t got =
            ::pread(file, into + have, kPage - have, static_cast<off_t>(offset + have));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break;
        have += static_cast<std::size_t>(got);
    }
    std::memset(into + have, 0, kPage - have);
    return true;
}

/// Its own code: every program has it of the kernel at another place.
bool read_kernel_code(std::uint64_t offset, char* into) {
    const auto own = ::getauxval(AT_SYSINFO_EHDR);
    return own != 0 && read_memory(::getpid(), own + offset, into, kPage);
}

}  // namespace

struct ImageMemory::Mapping {
    std::uint64_t from = 0, to = 0, offset = 0, inode = 0;
    char rights[5] = "";
    std::string name;
    std::vector<std::uint64_t> ends;  ///< of a program's data in its file: see data_ends()

    /// A line of /proc/<pid>/maps.
    bool read(const std::string& text) {
        const char* line = text.c_str();
        int size = 0;
        constexpr int kFields = 5;
        if (std::sscanf(
                line,
                "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 "%n",
                &from,
                &to,
                rights,
                &offset,
                &inode,
                &size
            ) != kFields)
            return false;
        name = text.substr(std::min(text.find_first_not_of(' ', size), text.size()));
        return true;
    }
    bool has(std::uint64_t address) const { return from <= address && address < to; }
    bool is_private() const { return rights[3] == 'p'; }
    bool is_writable() const { return rights[1] == 'w'; }
    /// What is judged otherwise, or cannot be written to by anybody.
    bool is_other() const {
        return name == "[stack]" || name.starts_with("[vvar") || name == "[vsyscall]" ||
               name == "[uprobes]";
    }
    bool is_as(std::string_view page, std::string_view expected, std::uint64_t at) const {
        if (page == expected) return true;
        // What follows a program's data in its page the kernel may have zeroed.
        return std::any_of(ends.begin(), ends.end(), [&](std::uint64_t end) {
            if (!is_writable() || end <= at || end >= at + kPage) return false;
            const std::size_t size = end - at;
            return page.substr(0, size) == expected.substr(0, size) && is_zero(page.substr(size));
        });
    }
};

std::optional<ImageMemory> ImageMemory::of(pid_t pid) {
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) return std::nullopt;
    auto told = read_file(path_of(pid, "auxv"));
    if (!told) return std::nullopt;
    ImageMemory memory;
    memory.narrow_ = registers.cs == kCodeSegment32;
    memory.told_ = std::move(*told);
    memory.pages_ = Fd(::open(path_of(pid, "pagemap").c_str(), O_RDONLY | O_CLOEXEC));
    if (!memory.pages_ && errno != ENOENT) return std::nullopt;
    const std::size_t entry = memory.narrow_ ? 8 : 16;
    std::size_t size = 0;
    while (size + entry <= memory.told_.size() &&
           !is_zero(std::string_view(memory.told_).substr(size, entry / 2)))
        size += entry;
    memory.told_.resize(std::min(size + entry, memory.told_.size()));
    return memory;
}

std::uint64_t ImageMemory::value_of(std::uint64_t key) const {
    const std::size_t width = narrow_ ? 4 : 8;
    for (std::size_t at = 0; at + 2 * width <= told_.size(); at += 2 * width) {
        std::uint64_t pair[2] = {};
        std::memcpy(&pair[0], told_.data() + at, width);
        std::memcpy(&pair[1], told_.data() + at + width, width);
        if (pair[0] == key) return pair[1];
    }
    return 0;
}

bool ImageMemory::is_unchanged(pid_t pid, const OpenFile& open) const {
    // The auxiliary vector: behind the arguments' and the environment's addresses.
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, pid, nullptr, &registers) != 0) return false;
    const std::uint64_t width = narrow_ ? 4 : 8;
    std::uint64_t word = 0;
    std::uint64_t at = registers.rsp;
    if (!read_memory(pid, at, &word, width)) return false;
    at += (1 + word) * width;
    for (int lists = 0; lists < 2; at += width) {
        if (!read_memory(pid, at, &word, width)) return false;
        lists += word == 0 ? 1 : 0;
    }
    std::string told(told_.size(), '\0');
    if (!read_memory(pid, at, told.data(), told.size()) || told != told_) return false;

    const auto text = read_file(path_of(pid, "maps"));
    if (!text) return false;
    std::vector<Mapping> mappings;
    std::string program;
    std::string loader;
    for (std::size_t from = 0; from < text->size();) {
        const std::size_t to = std::min(text->find('\n', from), text->size());
        Mapping mapping;
        if (!mapping.read(text->substr(from, to - from))) return false;
        from = to + 1;
        if (mapping.has(value_of(AT_ENTRY))) program = mapping.name;
        if (mapping.has(value_of(AT_BASE))) loader = mapping.name;
        mappings.push_back(std::move(mapping));
    }
    const Fd own(::open(path_of(pid, "exe").c_str(), O_RDONLY | O_CLOEXEC));
    const Fd other = loader.empty() ? Fd() : open(loader);
    return std::all_of(mappings.begin(), mappings.end(), [&](Mapping& mapping) {
        if (mapping.is_other()) return true;
        if (!mapping.is_private()) return false;
        if (mapping.inode == 0) return is_unchanged(pid, mapping, -1);
        const Fd& file = mapping.name == program ? own : other;
        if (!file || (mapping.name != program && mapping.name != loader)) return false;
        mapping.ends = data_ends(file.get());
        return is_unchanged(pid, mapping, file.get());
    });
}

/// `file` -1: it is of none.
bool ImageMemory::is_unchanged(pid_t pid, const Mapping& mapping, int file) const {
    constexpr std::uint64_t kThere = 1ULL << 63U;
    constexpr std::uint64_t kSwapped = 1ULL << 62U;
    constexpr std::uint64_t kOfFile = 1ULL << 61U;
    const bool code = mapping.name == "[vdso]";
    std::vector<std::uint64_t> states(4'096, kThere);  // all of them where nobody tells
    char page[kPage];
    char expected[kPage] = {};
    for (std::uint64_t at = mapping.from; at < mapping.to;) {
        std::uint64_t count = std::min<std::uint64_t>(states.size(), (mapping.to - at) / kPage);
        if (pages_) {
            const auto entry = static_cast<off_t>(at / kPage * sizeof states[0]);
            const ssize_t got =
                ::pread(pages_.get(), states.data(), count * sizeof states[0], entry);
            if (got <= 0) return false;
            count = static_cast<std::uint64_t>(got) / sizeof states[0];
        }
        for (std::uint64_t i = 0; i < count; ++i, at += kPage) {
            const bool written =
                (states[i] & kSwapped) != 0 || (states[i] & (kThere | kOfFile)) == kThere;
            if (!written) continue;
            const std::uint64_t offset = mapping.offset + (at - mapping.from);
            if (file >= 0 && !read_page(file, offset, expected)) return false;
            if (code && (narrow_ || !read_kernel_code(at - mapping.from, expected))) return false;
            if (!read_memory(pid, at, page, kPage) ||
                !mapping.is_as({page, kPage}, {expected, kPage}, offset))
                return false;
        }
    }
    return true;
}

}  // namespace berth::node
