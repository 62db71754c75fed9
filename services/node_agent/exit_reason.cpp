// SPDX-License-Identifier: Apache-2.0
// From what happened to a run to its end, in words for people.
#include "node_agent/exit_reason.hpp"

#include <csignal>
#include <cstring>

namespace berth::node {

ExitRecord record_of(const RunFacts& facts) {
    ExitRecord record;
    if (!facts.no_folder.empty()) {
        record.state = EndState::kFailed;
        record.of_berth = true;
        record.reason = "cannot enter " + facts.no_folder +
                        "; the command was not started: run it from another folder of the "
                        "working tree, or move what stands in the way";
    } else if (facts.command_end || facts.started) {
        // Without its own word the command was killed together with init.
        const process::ExitStatus end =
            facts.command_end.value_or(process::ExitStatus{137, SIGKILL});
        record.has_code = true;
        record.code = end.code;
        record.signal = end.signal;
        record.state = end.code == 0 ? EndState::kSucceeded : EndState::kFailed;
        if (end.signal != 0)
            record.reason = "killed by signal " + std::to_string(end.signal) + " (" +
                            ::strsignal(end.signal) + ")";
        else if (end.code != 0)
            record.reason = "exit code " + std::to_string(end.code);
        for (const std::string& why : {facts.memory_notice, facts.ended_by}) {
            if (!why.empty() && !record.reason.empty()) record.reason = why + "; " + record.reason;
        }
    } else {
        record.state = EndState::kFailed;
        record.of_berth = true;
        record.reason =
            "the sandbox could not be made: " +
            (facts.early_error.empty() ? std::string("no word from it") : facts.early_error);
        if (facts.early_error.find("amespace") != std::string::npos ||
            facts.early_error.find("uid map") != std::string::npos) {
            record.reason +=
                " (this host may forbid unprivileged user namespaces, as a chroot or a default "
                "container does)";
        }
    }
    if (facts.canceled) {
        record.state = EndState::kCanceled;
        record.reason = "canceled";
    } else if (facts.timed_out) {
        record.state = EndState::kTimedOut;
        record.reason = "the time limit passed";
    }
    record.capped = facts.capped;
    return record;
}

}  // namespace berth::node
