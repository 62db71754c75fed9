// SPDX-License-Identifier: Apache-2.0
// The table from states and errors to exit codes, in one place.
#include "cli/exit_codes.hpp"

namespace berth::cli {
namespace {

Outcome berths_own(int code, const char* word, const std::string& reason, const char* fallback) {
    return {code, "berth", internal(word, reason.empty() ? fallback : reason)};
}

Outcome outcome(
    run::v1::RunState state,
    std::optional<int> exit_code,
    int signal,
    const std::string& reason,
    const std::string& origin
) {
    const int code = exit_code ? *exit_code : signal > 0 ? 128 + signal : -1;
    switch (state) {
        case run::v1::RUN_STATE_SUCCEEDED: return {0, "remote", std::nullopt};
        case run::v1::RUN_STATE_FAILED:
            if (origin == "berth" || code < 0)
                return berths_own(kExitLost, "run_failed", reason, "the run could not be started");
            return {code, "remote", std::nullopt};
        case run::v1::RUN_STATE_CANCELED:
            if (code > 0 && origin != "berth") return {code, "remote", std::nullopt};
            return {
                130,
                "berth",
                Error{
                    Fault::kCanceled,
                    "canceled",
                    reason.empty() ? "the run was canceled" : reason,
                    {}}};
        case run::v1::RUN_STATE_TIMED_OUT:
            return berths_own(
                kExitTimedOut,
                "timed_out",
                reason,
                "the run's time was up; give it more with --timeout"
            );
        default:
            return berths_own(
                kExitLost, "lost", reason, "the run was lost; see 'berth runs' and run it again"
            );
    }
}

}  // namespace

Outcome outcome_of(const run::v1::OutputFrame::End& end) {
    const auto code = end.has_exit_code() ? std::optional<int>(end.exit_code()) : std::nullopt;
    return outcome(end.state(), code, end.signal(), end.reason(), end.origin());
}

Outcome outcome_of(const run::v1::Run& run) {
    const auto code = run.has_exit_code() ? std::optional<int>(run.exit_code()) : std::nullopt;
    return outcome(run.state(), code, run.signal(), run.reason(), run.failure_origin());
}

Outcome outcome_of(Error error, int otherwise) {
    int code = otherwise;
    if (error.code == "connect_failed" || error.code == "connection_lost" ||
        error.code == "timeout" || error.code == "tls_unavailable" || error.code == "bad_url") {
        code = kExitUnreachable;
    } else if (error.code == "policy_denied" || error.code == "denied") {
        code = kExitDenied;
    } else if (error.fault == Fault::kUnauthenticated || error.fault == Fault::kInvalid ||
               error.code == "role_missing") {
        code = kExitRunUsage;
    }
    return {code, "berth", std::move(error)};
}

}  // namespace berth::cli
