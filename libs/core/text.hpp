// SPDX-License-Identifier: Apache-2.0
// Small text encodings that more than one lib needs: base64url, base64, base32, hex, splitting.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth {

/// RFC 4648 section 5, without padding.
std::string base64url(std::string_view bytes);
Result<std::string> decode_base64url(std::string_view text);
/// RFC 4648 section 4, with padding. Decoding takes it with and without.
std::string base64(std::string_view bytes);
Result<std::string> decode_base64(std::string_view text);
/// RFC 4648 section 6, upper case, without padding.
std::string base32(std::string_view bytes);
Result<std::string> decode_base32(std::string_view text);
/// Lower-case hexadecimal.
std::string hex(std::string_view bytes);

/// Pieces between separators, empty ones kept.
std::vector<std::string_view> split(std::string_view text, char separator);

/// Without spaces, tabs and line ends before and after it.
std::string trimmed(std::string_view text);

/// The first `most` bytes of it at most, and no part of a UTF-8 character at the end. Of what is
/// not UTF-8, `most` bytes.
std::string clipped(std::string_view text, std::size_t most);

/// True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

}  // namespace berth
