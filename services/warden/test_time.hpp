// SPDX-License-Identifier: Apache-2.0
// The moment at which the tests of the state machines take place.
#pragma once

#include "core/time.hpp"

namespace berth::warden {

inline const WallTime kNow = from_unix_micros(1'800'000'000'000'000);

}  // namespace berth::warden
