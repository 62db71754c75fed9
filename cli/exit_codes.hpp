// SPDX-License-Identifier: Apache-2.0
// What `berth run` exits with: the command's own code, or Berth's where Berth failed.
#pragma once

#include <optional>
#include <string>

#include "berth/run/v1/run.pb.h"
#include "core/error.hpp"

namespace berth::cli {

inline constexpr int kExitUsage = 2;          ///< of every command but run and attach
inline constexpr int kExitRunUsage = 120;     ///< wrong usage or settings
inline constexpr int kExitUnreachable = 121;  ///< the gateway cannot be reached
inline constexpr int kExitNoLease = 122;      ///< no machine was to be had
inline constexpr int kExitSync = 123;         ///< the working tree could not be sent
inline constexpr int kExitTimedOut = 124;     ///< the run's time was up
inline constexpr int kExitLost = 125;         ///< the run was lost, or a bug
inline constexpr int kExitDenied = 126;       ///< policy refused it

/// How a run ended for its caller. `error` is set where Berth, not the command, decided the code.
struct Outcome {
    int code = 0;
    std::string origin = "remote";  ///< "remote" or "berth"
    std::optional<Error> error;

    bool operator==(const Outcome& other) const {
        return code == other.code && origin == other.origin &&
               error.has_value() == other.error.has_value();
    }
};

Outcome outcome_of(const run::v1::OutputFrame::End& end);
Outcome outcome_of(const run::v1::Run& run);
/// Of an error before or beside the run; `otherwise` where the class says nothing better.
Outcome outcome_of(Error error, int otherwise);

}  // namespace berth::cli
