// SPDX-License-Identifier: Apache-2.0
// The life of an embedded deployment: prepare, start in parallel, watch, stop in order.
#pragma once

#include <functional>
#include <string>

#include "cli/up/children.hpp"
#include "cli/up/deployment.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::cli::up {

struct SupervisorOptions {
    Layout layout;
    int http_port = 7480;
    milliseconds patience{60'000};  ///< until everything is ready
    /// Told once, when everything is ready or the patience is over (then the reason).
    std::function<void(const Result<void>& ready)> on_started;
    std::function<void(const std::string& text)> progress;
};

/// Runs the deployment in this process until SIGTERM, SIGINT or SIGHUP; returns after everything
/// has stopped. A deployment that is not ready in time goes on trying. Errors: "already_up", and
/// everything that makes a start impossible (told to on_started as well).
Result<void> supervise(const SupervisorOptions& options);

}  // namespace berth::cli::up
