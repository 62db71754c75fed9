// SPDX-License-Identifier: Apache-2.0
// The composition root of warden.
#pragma once

#include "service/runtime.hpp"

namespace berth::warden {

/// What main runs.
service::Service service();

}  // namespace berth::warden
