// SPDX-License-Identifier: Apache-2.0
// One request of Telegram's Bot API. The only place that knows the token's text.
#pragma once

#include <functional>
#include <string>

#include "chat/platform.hpp"
#include "chat/settings.hpp"
#include "core/json.hpp"
#include "http/client.hpp"
#include "telegram/wire.hpp"

namespace berth::telegram {

/// What came back: `ok` with the result, or an error as a sender understands it.
struct Reply {
    Json result;
    chat::SendError error;
    int status = 0;        ///< HTTP's; 0: no answer
    std::string moved_to;  ///< the chat's new id, where that is the reason
    bool ok = false;
};

/// Thread-safe. No error holds the token.
class BotApi {
public:
    BotApi(std::string url, chat::LiveSecret token, http::Sender sender = http::make_sender());

    /// One attempt of at most `timeout`; a message is never sent twice by it. `canceled` may end it
    /// (asked about once a second).
    Reply call(const Call& call, milliseconds timeout, std::function<bool()> canceled = {}) const;

private:
    std::string url_;
    chat::LiveSecret token_;
    http::Sender sender_;
};

}  // namespace berth::telegram
