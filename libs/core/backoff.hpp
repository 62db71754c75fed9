// SPDX-License-Identifier: Apache-2.0
// How long to wait before a thing that failed is tried again: a connection, a message, a request.
#pragma once

#include <algorithm>

#include "core/random.hpp"
#include "core/time.hpp"

namespace berth {

/// `first` doubled with each of the `failures` before this one, at most `longest`. Half of it is at
/// random, so that many that failed together do not come back together.
inline milliseconds backoff(
    int failures, milliseconds first, milliseconds longest, Random& random = Random::system()
) {
    constexpr int kMostDoublings = 10;  // what is longer is cut by `longest` long before
    const milliseconds base =
        std::min(first * (1 << std::clamp(failures, 0, kMostDoublings)), longest);
    return base / 2 + milliseconds{random.below(static_cast<std::uint64_t>(base.count() / 2 + 1))};
}

}  // namespace berth
