// SPDX-License-Identifier: Apache-2.0
// webhook as a service.
#pragma once

#include "service/runtime.hpp"

namespace berth::webhook {

service::Service service();

}  // namespace berth::webhook
