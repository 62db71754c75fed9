// SPDX-License-Identifier: Apache-2.0
// Discord's REST API: the token, the budgets, and what an answer means.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "core/secret.hpp"
#include "discord/limits.hpp"
#include "discord/settings.hpp"
#include "http/client.hpp"

namespace berth::discord {

struct Call {
    std::string method = "GET";
    std::string route;  ///< the path's template, by which budgets are counted
    std::string major;  ///< the channel, or the webhook and its token
    std::string path;   ///< with query
    Json body;          ///< null: none
    std::string file_name;
    std::string file_bytes;
    /// The path holds an interaction's token: the bot's own is not sent.
    bool by_token = false;
    milliseconds timeout = kCallTimeout;
};

/// Either `ok` and what Discord said, or the error.
struct Answer {
    bool ok = false;
    int status = 0;
    Json body;
    chat::SendError error;
};

/// Thread-safe. One attempt each.
class Api {
public:
    /// `token` is asked at each call, so that a new one in its file is taken.
    Api(std::string url, std::function<Secret()> token, http::Sender sender);

    /// A wait of at most kPatience for the budget is made here, a longer one is kLater.
    Answer call(const Call& call);

private:
    bool wait_for_budget(const Call& call, const std::string& route, chat::SendError& error);
    void learn(
        const Call& call,
        const std::string& route,
        const http::Response& response,
        const Answer& answer
    );

    const std::string url_;
    const std::function<Secret()> token_;
    const http::Sender send_;
    std::mutex mutex_;
    RateLimits limits_;  // by mutex_
};

}  // namespace berth::discord
