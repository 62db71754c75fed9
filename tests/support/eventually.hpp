// SPDX-License-Identifier: Apache-2.0
// Waiting for a state that tells nobody when it comes: another process's, or one behind an API.
#pragma once

#include <functional>
#include <thread>

#include "core/time.hpp"

namespace berth::testing {

/// Until `what` holds, looking every few milliseconds; false when `patience` has passed.
inline bool eventually(const std::function<bool()>& what, milliseconds patience = seconds{20}) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!what()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(milliseconds{5});
    }
    return true;
}

}  // namespace berth::testing
