// SPDX-License-Identifier: Apache-2.0
// Follows one run over WebSocket: its output to our descriptors, our input to it, across broken
// connections.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/exit_codes.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"

namespace berth::cli {

/// How long an ended run's record is waited for to hear of the end: the last frame of output may be
/// here before.
inline constexpr milliseconds kRecordPatience{1'000};

struct AttachmentOptions {
    std::string server;
    Secret token;
    std::string run;
    std::uint64_t offset = 0;  ///< first byte of output wanted
    bool forward_stdin = false;
    bool tty = false;
    int stdout_fd = 1;
    int stderr_fd = 2;
};

/// follow() runs in the caller's thread; the rest may be called from any thread meanwhile.
class Attachment {
public:
    explicit Attachment(AttachmentOptions options);
    ~Attachment();

    /// Until the run has ended and its output is written, 60 s have passed without a connection, or
    /// abandon().
    Outcome follow();
    /// Makes follow() return; the run goes on.
    void abandon();
    /// The terminal's size has changed.
    void resize();

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;  // shared with the input thread
};

/// True when stdin has something a command could want: not /dev/null, not closed, not a terminal
/// that another job has.
bool stdin_is_useful();

}  // namespace berth::cli
