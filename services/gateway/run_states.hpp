// SPDX-License-Identifier: Apache-2.0
// The one question the gateway asks about a run's state.
#pragma once

#include "berth/run/v1/run.pb.h"

namespace berth::gateway {

inline bool has_ended(const run::v1::Run& run) {
    switch (run.state()) {
        case run::v1::RUN_STATE_SUCCEEDED:
        case run::v1::RUN_STATE_FAILED:
        case run::v1::RUN_STATE_CANCELED:
        case run::v1::RUN_STATE_TIMED_OUT:
        case run::v1::RUN_STATE_LOST: return true;
        default: return false;
    }
}

}  // namespace berth::gateway
