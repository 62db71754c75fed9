// SPDX-License-Identifier: Apache-2.0
// What an EC2 error code means for us: the next offer, again later, or the end.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
#pragma once

#include <string_view>

#include "core/error.hpp"

namespace berth::prov::aws {

enum class Refusal {
    kCapacity,   ///< no room, no quota, not offered here: another type, market or place may do
    kThrottled,  ///< too many requests: the same again after a pause
    kPassing,    ///< AWS is in trouble or the answer was lost: the same again after a pause
    kImage,      ///< the image is not there, in this region
    kMissing,    ///< what was named does not exist (or is not visible yet)
    kDuplicate,  ///< what was to be made exists
    kInUse,      ///< something else has to go first
    kMismatch,   ///< the client token was used for another request
    kClock,      ///< our clock is wrong
    kDenied,     ///< the key or its rights
    kOther,      ///< the request is wrong
};

/// Codes in a state reason ("Server.InsufficientInstanceCapacity") are known as well as those of
/// errors; codes of libs/http (lower-case) are kPassing.
Refusal classify(std::string_view code);

/// The class of the Error that carries such a code.
Fault fault_of(Refusal refusal);

}  // namespace berth::prov::aws
