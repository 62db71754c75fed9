// SPDX-License-Identifier: Apache-2.0
// The .creds file in which a NATS user's JWT and seed travel together; what every NATS client can
// read.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::identity {

struct Creds {
    std::string jwt;
    Secret seed;  ///< SU…
};

/// The file's text, and back. Parsing checks both parts and that they are of one user: "bad_creds".
Secret format_creds(const Creds& creds);
Result<Creds> parse_creds(std::string_view text);

/// Reads `path`; errors "unreadable", "bad_creds" name it.
Result<Creds> read_creds(const std::filesystem::path& path);

/// Replaces `path` atomically with mode 0600: a reader sees the old user or the new one, never half
/// of each.
Result<void> write_creds(const std::filesystem::path& path, const Creds& creds);

/// A seed alone, one line, 0600; reading takes a trailing newline. Errors as above, "bad_seed".
Result<void> write_seed(const std::filesystem::path& path, const Secret& seed);
Result<Secret> read_seed(const std::filesystem::path& path);

}  // namespace berth::identity
