// SPDX-License-Identifier: Apache-2.0
// What machines say of themselves every few seconds, heard by whoever watches them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "berth/node/v1/node.pb.h"
#include "bus/connection.hpp"

namespace berth::service {

/// Hands each presence to `hear` with its machine's id, on a bus thread, where nothing may wait.
/// The id is the subject's, which the machine's rights allow it; the rest it may lie about only to
/// itself. What cannot be read is left out.
Result<std::unique_ptr<bus::Receiver>> hear_machines(
    bus::Connection& bus,
    std::function<void(const std::string& machine, const node::v1::Presence& presence)> hear
);

}  // namespace berth::service
