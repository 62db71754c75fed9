// SPDX-License-Identifier: Apache-2.0
// The words between the node agent and a run's supervisor: datagrams on a Unix socket in the run's
// folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace berth::node {

/// Descriptor on which the supervisor finds its listening socket: made by the node agent before the
/// supervisor starts, so that connecting needs no waiting.
inline constexpr int kSupervisorListenFd = 3;
/// Stdin bytes the supervisor buffers; the node agent sends no more than it was given room for.
inline constexpr std::uint32_t kStdinWindow =
    64U << 10U;  // below what a socket buffers, so that a send is rarely refused
/// Most stdin in one datagram.
inline constexpr std::size_t kStdinPiece = 32U << 10U;

enum class Word : char {
    // supervisor -> node agent
    kHello = 'H',      ///< a: confirmed offset, b: written offset, c: 1 once `exit` is written, d:
                       ///< stdin room
    kWritten = 'N',    ///< b: written offset
    kEnded = 'X',      ///< b: written offset, final; `exit` is written
    kStdinRoom = 'C',  ///< a: bytes of stdin the command took
    kHeld = 'h',       ///< data: id of a held command that asks (held/<id>), see guard_files.hpp
    kUnheld = 'u',     ///< data: {id, "continued" | "refused" | "abandoned", reason}
    kClaim = 'c',      ///< data: {id, claim's id, approval, digest}: may it go on now?
    kAudited = 'j',    ///< b: bytes of `audit` written
    kFrozen = 'f',     ///< a: processes that stand still; data: {halt, mechanism}
    kGone = 'g',  ///< after kFreeze: no process of the run is left; its end is still to be written
    // guard beside -> supervisor, which passes the other words on
    kTrouble = 't',  ///< data: a line for the run's output; a is 1: why its command is ended
    // supervisor -> guard beside
    kGreet = 'w',  ///< a node agent came
    // node agent -> supervisor
    kDecide = 'd',     ///< data: id of a held command whose decision is in held/<id>.decision
    kNotice = 'n',     ///< data: a line for the run's output: what an approver said
    kClaimed = 'm',    ///< data: {id, "go" or "", reason}
    kAuditDone = 'a',  ///< a: bytes of `audit` that warden has
    kFreeze = 'z',     ///< data: {halt, reason}: stop every process where it stands
    kConfirm = 'A',    ///< a: every byte of output below this is stored on the bus
    kSignal = 'G',     ///< a: signal for the command's process group; SIGTERM: for all
    kCancel =
        'K',  ///< a: grace in milliseconds, then SIGKILL to everything; the run ends as canceled
    kStdin = 'I',     ///< data
    kStdinEnd = 'E',  ///< no more stdin
    kResize = 'W',    ///< a: rows, b: columns
    kDone = 'D',      ///< the end is published: the supervisor may leave
};

struct RunWord {
    Word word = Word::kWritten;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint64_t c = 0;
    std::uint64_t d = 0;
    std::string_view data;
};

enum class SendResult { kSent, kFull, kGone };

/// Sends one datagram; never waits.
SendResult send_word(int fd, const RunWord& word);

/// Receives one datagram into `buffer`; never waits. `closed` is set when the peer is gone.
std::optional<RunWord> receive_word(int fd, char* buffer, std::size_t size, bool& closed);
/// A buffer of this size takes every word.
inline constexpr std::size_t kWordBytes = 64 + kStdinPiece;

/// Makes `<run folder>/sock` (0600) and listens. The path may be longer than sun_path allows.
Result<Fd> listen_in(const std::filesystem::path& run_folder);
/// Connects to it. Error: unavailable "no_supervisor".
Result<Fd> connect_to(const std::filesystem::path& run_folder);

}  // namespace berth::node
