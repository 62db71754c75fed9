// SPDX-License-Identifier: Apache-2.0
// Tells a loader by its content: a copy under another name is one, too.
#pragma once

namespace berth::node {

/// True for an ELF file that is a shared object with a name of its own and asks for no loader: what
/// ld-linux and ld-musl are, and no program is. A file that cannot be read counts as one.
bool is_bare_shared_object(int file);

}  // namespace berth::node
