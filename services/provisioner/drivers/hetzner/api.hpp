// SPDX-License-Identifier: Apache-2.0
// Hetzner's HTTP API as a driver needs it: one place for the token, the account's request budget,
// pages, and the question which failed request may simply be sent again.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"
#include "http/client.hpp"
#include "provisioner/drivers/hetzner/rate_budget.hpp"

namespace berth::prov::hetzner {

using http::Sender;

struct ApiSettings {
    std::string endpoint = "https://api.hetzner.cloud/v1";  ///< no slash at its end
    Secret token;
    milliseconds request_timeout{10'000};
    milliseconds first_pause{250};  ///< before a request is repeated; doubles
    milliseconds slowest_pause{5'000};
    long long requests_per_hour = 3600;  ///< until the first answer says it
};

/// How long a call may take in all, and whether it may use the last of the budget.
struct Call {
    SteadyTime until;
    bool urgent = true;
};

/// An answer below 500. `code` and `message` are the provider's words when it refused.
struct Reply {
    int status = 0;
    Json body;
    std::string code;
    std::string message;
    bool ok() const { return status >= 200 && status < 300; }
    bool is(int other_status, std::string_view other_code) const {
        return status == other_status && code == other_code;
    }
};

/// The code of the error of a post() whose effect is not known: look before sending it again.
inline constexpr std::string_view kAnswerLost = "answer_lost";

/// Thread-safe. Errors: kUnavailable `provider_unreachable`, `rate_limited`, `interrupted`;
/// kDeadline `provider_slow`, kAnswerLost; kForbidden `provider_denied` (the token); kInternal
/// `bad_answer`. No error holds the token or a request's body.
class Api {
public:
    Api(ApiSettings settings, Sender sender, const Clock& clock);

    /// Repeated until answered, at most kTries times: a lost answer, a 5xx, a 429; for remove() and
    /// put() also 423 and 409, which mean that something else is under way.
    Result<Reply> get(const std::string& path, const Call& call);
    Result<Reply> put(const std::string& path, const Json& body, const Call& call);
    Result<Reply> remove(const std::string& path, const Call& call);
    /// Sent once; a 429 is an answer like others.
    Result<Reply> post(const std::string& path, const Json& body, const Call& call);
    Result<Reply> post(const std::string& path, const Call& call);
    /// Every page of a list: `kind` is path and member ("servers"), `filter` a label selector or a
    /// name. One page that fails makes the whole list an error.
    Result<std::vector<Json>> list_labelled(
        const std::string& kind, const std::string& selector, const Call& call
    );
    Result<std::vector<Json>> list_named(
        const std::string& kind, const std::string& name, const Call& call
    );

    /// Waits; an error when the call's time or this process ends first.
    Result<void> pause(milliseconds span, const Call& call);
    /// The pause before try number `attempt` (from 0): doubling, capped, with jitter.
    milliseconds backoff(int attempt) const;
    /// Ends every wait, now and from now on: the process stops.
    void interrupt();
    const Clock& clock() const { return clock_; }
    double budget_left();

    static constexpr int kTries = 8;

private:
    Result<Reply> repeat(
        const char* method, const std::string& path, const Json* body, const Call& call
    );
    Result<Reply> send(
        const char* method, const std::string& path, const Json* body, const Call& call
    );
    Result<std::vector<Json>> list(
        const std::string& kind, const std::string& filter, const Call& call
    );
    Result<void> wait_for_budget(const Call& call);
    void note(const http::Response& response);

    const ApiSettings settings_;
    const Sender sender_;
    const Clock& clock_;
    std::mutex mutex_;
    std::condition_variable interrupted_;
    bool stopping_ = false;  // by mutex_
    RateBudget budget_;      // by mutex_
};

/// What a refusal means for whoever asked: `what` is what was tried.
Error refusal(const Reply& reply, const std::string& what);

}  // namespace berth::prov::hetzner
