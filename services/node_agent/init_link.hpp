// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of the control socket to berth-init.
#pragma once

#include <sys/types.h>

#include "core/fd.hpp"
#include "node_agent/init_protocol.hpp"

namespace berth::node {

/// One message with whom the kernel says it is from, in this process's own numbers.
struct InitReport {
    InitMessage message{};
    pid_t sender = 0;
    Fd passed;  ///< a descriptor that came along
};

enum class InitRead { kMessage, kNothing, kGone };

/// Never waits. The socket has SO_PASSCRED.
InitRead receive_report(int control, InitReport& report);

}  // namespace berth::node
