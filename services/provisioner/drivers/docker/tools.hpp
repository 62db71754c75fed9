// SPDX-License-Identifier: Apache-2.0
// The folder that is mounted into every container: programs of ours that run in any image, because
// they bring their own loader and libraries.
#pragma once

#include <filesystem>
#include <string>

#include "core/result.hpp"

namespace berth::prov {

/// Makes <folder>/tools-<hash>/{init,supervisor,shim,ld.so,bin/rsync,bin/nft,lib/…} from this
/// host's programs, and ours beside `init`, and returns its path. guard/ in it is where a container
/// mounts a folder of its own. Kept as long as the programs are the same; made beside and renamed,
/// so that a reader finds the whole of it or nothing. Errors: "no_tool" names what is missing and
/// its package.
Result<std::filesystem::path> prepare_tools(
    const std::filesystem::path& folder, const std::filesystem::path& init
);

}  // namespace berth::prov
