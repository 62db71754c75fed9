// SPDX-License-Identifier: Apache-2.0
// The composition root of lease_broker.
#pragma once

#include "service/runtime.hpp"

namespace berth::lease {

/// What main runs.
service::Service service();

}  // namespace berth::lease
