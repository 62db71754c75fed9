// SPDX-License-Identifier: Apache-2.0
// Identifiers: lower-case ULIDs (https://github.com/ulid/spec), prefixed ids and friendly slugs.
#pragma once

#include <string>
#include <string_view>

#include "core/random.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth {

/// 26 lower-case Crockford base32 characters: 48 bits of milliseconds, then 80 random bits.
std::string make_ulid(WallTime now, Random& random);

/// The ULID whose 128 bits are `bytes16` (16 bytes), for ids derived from a digest.
std::string ulid_from_bytes(std::string_view bytes16);

/// Accepts any case and returns the lower-case form; an error names what is wrong.
Result<std::string> normalize_ulid(std::string_view text);

/// `ls_01h…`: a prefix of lower-case letters, an underscore and a ULID.
std::string make_id(std::string_view prefix, WallTime now, Random& random);
/// True for exactly `<prefix>_<lower-case ULID>`.
bool is_id(std::string_view prefix, std::string_view text);
/// Lower-cases and checks `<prefix>_<ULID>`; error code "bad_id".
Result<std::string> normalize_id(std::string_view prefix, std::string_view text);

/// "calm-otter": two words picked by `random`; at most 41 characters with the "-" and a 4-letter
/// suffix that make_slug adds from the third attempt on.
std::string make_slug(Random& random, int attempt);

/// True for a subject token: [a-z0-9_-]{1,64}.
bool is_subject_token(std::string_view text);

}  // namespace berth
