// SPDX-License-Identifier: Apache-2.0
// One way to turn names into PostgreSQL's 64-bit advisory keys, so that no two uses share one by
// accident.
#pragma once

#include <cstdint>
#include <string_view>

namespace berth::store {

/// FNV-1a over `use`, a NUL and `name`.
inline std::int64_t advisory_key(std::string_view use, std::string_view name) {
    std::uint64_t hash = 14695981039346656037ULL;
    const auto feed = [&](unsigned char byte) { hash = (hash ^ byte) * 1099511628211ULL; };
    for (const char c : use) feed(static_cast<unsigned char>(c));
    feed(0);
    for (const char c : name) feed(static_cast<unsigned char>(c));
    return static_cast<std::int64_t>(hash);
}

}  // namespace berth::store
