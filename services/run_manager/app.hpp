// SPDX-License-Identifier: Apache-2.0
// The composition root of run_manager.
#pragma once

#include "service/runtime.hpp"

namespace berth::run {

/// What main runs.
service::Service service();

}  // namespace berth::run
