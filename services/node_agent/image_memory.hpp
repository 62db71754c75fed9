// SPDX-License-Identifier: Apache-2.0
// Whether a new image that stands before its first instruction still is what the kernel made of its
// files.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/fd.hpp"

namespace berth::node {

/// Of one stopped tracee of the calling thread, which has executed nothing of its own. It is for
/// one exec: of the next image it says nothing.
class ImageMemory {
public:
    /// Opens a file for reading by its path as the tracee's run has it.
    using OpenFile = std::function<Fd(const std::string& path)>;

    /// While its memory is open to this process. nullopt: it cannot be looked at.
    static std::optional<ImageMemory> of(pid_t pid);
    /// Program, loader, the kernel's own code in it and what is to be zero, each page that anybody
    /// wrote to, and what the kernel told it of itself. Its arguments and environment are the
    /// plan's. Reads what was written to alone, hence hardly anything of however large a program.
    bool is_unchanged(pid_t pid, const OpenFile& open) const;

private:
    struct Mapping;
    bool is_unchanged(pid_t pid, const Mapping& mapping, int file) const;
    std::uint64_t value_of(std::uint64_t key) const;

    Fd pages_;  ///< /proc/<pid>/pagemap; none: the kernel has no such file
    bool narrow_ = false;
    std::string told_;  ///< the auxiliary vector with its end
};

}  // namespace berth::node
