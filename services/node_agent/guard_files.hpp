// SPDX-License-Identifier: Apache-2.0
// What node agent and supervisors tell each other about guarding, as files and words: the policy in
// force, held commands, decisions, and what is to be audited.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "policy/policy.hpp"

/// In the machine's folder, node/guard/ (of a container: door/guard/):
///   state            GuardState, replaced with every beat of warden
///   policy-<version> the policy, as Policy::compiled() writes it
/// In a run's folder (of a container: door/runs/<run>/):
///   held/<id>        Held: a command that waits for a decision; gone when it waits no more
///   audit            AuditEntry after AuditEntry, each with its size before it
///   audit.done       how much of it warden has
namespace berth::node {

/// A beat older than this (and its policy) allows nothing new.
inline constexpr milliseconds kBeatLife{10'000};
/// Most commands of one run that wait for a decision at once.
inline constexpr std::size_t kMaxHeld = 256;
/// Of a held command as it is asked about; warden takes no more, nor does the bus.
inline constexpr std::size_t kMaxHeldBytes = 768U << 10U;
/// Of what is to be audited, per run, that warden does not have yet: more, and the tree waits.
inline constexpr std::uint64_t kMaxAuditBytes = 64U << 20U;
/// Mode of the files that a guard in a container and the node agent outside share: they are of two
/// users, and the folders above them are closed to everybody else.
inline constexpr unsigned kSharedMode = 0666;
/// Arguments beyond this are cut in an audit entry.
inline constexpr std::size_t kMaxAuditArguments = 4'096;

/// Milliseconds of a clock that goes on in sleep and starts anew with the machine.
long long boot_milliseconds();

/// What the machine knows of its org's policy.
struct GuardState {
    std::uint64_t version = 0;  ///< 0: the org has none, nothing is guarded
    long long beat_ms = 0;      ///< boot_milliseconds() of the last beat

    std::string encode() const;
    /// Error code "bad_guard_state".
    static Result<GuardState> decode(std::string_view text);
    static std::filesystem::path file(const std::filesystem::path& folder) {
        return folder / "state";
    }
    std::filesystem::path policy_file(const std::filesystem::path& folder) const {
        return folder / ("policy-" + std::to_string(version));
    }
};

/// A command that waits for a decision.
struct Held {
    std::string id;     ///< ULID: the command id of its ask
    std::string claim;  ///< ULID: that of its claim
    policy::Plan plan;
    std::string digest;
    policy::Verdict verdict;
    std::uint64_t policy_version = 0;

    std::string encode() const;
    /// Error code "bad_held".
    static Result<Held> decode(std::string_view bytes);
};

/// What came back for a held command.
struct Decision {
    std::string held;
    std::string approval;
    std::string digest;
    bool approve = false;
    std::string reason;
    long long execution_timeout_ms = 0;  ///< 0: the run's own
    std::vector<std::string> edited_argv;

    std::string encode() const;
    /// Error code "bad_decision".
    static Result<Decision> decode(std::string_view bytes);
};

/// One line of the audit, as the supervisor saw it; arguments are not masked yet.
struct AuditEntry {
    std::string fact;
    long long at_us = 0;  ///< wall time
    std::string rule;
    std::string action;
    std::string reason;
    std::string digest;
    std::string executable;
    std::vector<std::string> argv;
    std::string approval;
    std::optional<int> exit_code;
    std::string output_sha256;
    std::uint32_t pid = 0;

    std::string encode() const;
    /// Error code "bad_audit".
    static Result<AuditEntry> decode(std::string_view bytes);
};

/// A few texts in one word of the run's socket.
std::string pack(const std::vector<std::string>& texts);
/// Error code "bad_word".
Result<std::vector<std::string>> unpack(std::string_view bytes);

}  // namespace berth::node
