// SPDX-License-Identifier: Apache-2.0
// Socket Mode: Slack's events over a WebSocket that the bridge opens, so that it needs no inbound
// port.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "net/ws_client.hpp"
#include "slack/web_api.hpp"

namespace berth::slack {

/// Keeps one connection; where Slack says that it will end it, opens the next before it ends the
/// old, so that nothing falls between. Envelopes are acknowledged after `take` said yes.
class SocketMode {
public:
    /// On the connection's thread, one at a time for each; true: acknowledge.
    using Take = std::function<bool(const std::string& type, const Json& payload)>;
    /// What the connection is like; also when it has not changed.
    using Tell = std::function<void(chat::Health)>;

    SocketMode(const Settings& settings, WebApi& api, Take take, Tell tell);
    ~SocketMode() { stop(); }
    SocketMode(const SocketMode&) = delete;
    SocketMode& operator=(const SocketMode&) = delete;
    void start();
    void stop();

private:
    struct Line;  // one connection
    void keep();
    std::unique_ptr<Line> connect(chat::SendError& why);
    void hear(Line& line, std::string_view text);
    /// False when stopping.
    bool rest(milliseconds time);

    const Settings& settings_;
    WebApi& api_;
    const Take take_;
    const Tell tell_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_
    std::thread keeper_;
};

}  // namespace berth::slack
