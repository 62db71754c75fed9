// SPDX-License-Identifier: Apache-2.0
// The composition root of provisioner.
#pragma once

#include "service/runtime.hpp"

namespace berth::prov {

/// What main runs.
service::Service service();

}  // namespace berth::prov
