// SPDX-License-Identifier: Apache-2.0
// What main runs.
#pragma once

#include "service/runtime.hpp"

namespace berth::gateway {

service::Service service();

}  // namespace berth::gateway
