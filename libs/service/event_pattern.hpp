// SPDX-License-Identifier: Apache-2.0
// Which events somebody wants: a pattern of their subjects.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"

namespace berth::service {

/// Of events of `org`: seven tokens as the subject has them, berth.evt.<org>.<service>.<noun>
/// .<fact>.<id>, where `*` is any one and `>` at the end all that are left. Error "bad_subject", of
/// the field `field`, also for what no event could ever match.
Result<void> check_event_pattern(
    std::string_view pattern, const std::string& org, const std::string& field
);

}  // namespace berth::service
