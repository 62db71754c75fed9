// SPDX-License-Identifier: Apache-2.0
// What the headers of a program's file say: whether it is a loader, also under another name, and
// how it lies in memory.
#pragma once

#include <cstdint>
#include <vector>

namespace berth::node {

/// True for an ELF file that is a shared object with a name of its own and asks for no loader: what
/// ld-linux and ld-musl are, and no program is. A file that cannot be read counts as one.
bool is_bare_shared_object(int file);

/// Where in the file each of its writable segments ends. In the memory that is made of it the rest
/// of that page is zero, or still the file's. Empty for what is no ELF file.
std::vector<std::uint64_t> data_ends(int file);

}  // namespace berth::node
