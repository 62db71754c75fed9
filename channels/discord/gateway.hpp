// SPDX-License-Identifier: Apache-2.0
// The connection to Discord's Gateway (v10, JSON): heartbeats, resumption, and every way it ends.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "discord/receiver.hpp"
#include "net/ws_client.hpp"

namespace berth::discord {

struct GatewayParts {
    Api& api;
    SessionKeeper& keeper;
    Receiver& receiver;
    std::function<Secret()> token;
    /// Learns who the bot is and registers its commands; called until it succeeds, before the first
    /// connection.
    std::function<Answer(Bot& bot)> prepare;
};

/// One thread for the connection's life and one that reads; start() and stop() once each.
class Gateway {
public:
    explicit Gateway(GatewayParts parts) : parts_(std::move(parts)) {}
    ~Gateway() { stop(); }
    void start(chat::Sink& sink);
    /// Leaves without ending the session: what is said meanwhile comes when it is resumed.
    void stop();

private:
    /// How one connection, or the attempt at one, ended.
    struct End {
        Next next = Next::kResume;
        std::string reason;
        milliseconds wait{0};  ///< at least so long before the next
        bool planned = false;  ///< as Discord asked: nothing is wrong
        bool was_ready = false;
        bool was_steady = false;  ///< ready for a while
    };
    /// What the reading thread tells the other one.
    struct Line {
        std::string session;
        milliseconds interval{0};
        bool ready = false;
        bool acked = true;
        bool beat_asked = false;
        bool reconnect = false;
        std::optional<bool> invalid;
        bool closed = false;
        int code = 0;
        std::string words;
        bool left = false;  ///< nobody wants its events any more
    };

    void run();
    End live();
    std::optional<End> address(const Session& session, std::string& url);
    End talk(net::WsClient& client, const Session& session);
    std::optional<End> turn(net::WsClient& client, bool& told_ready);
    bool beat(net::WsClient& client);
    End leave(net::WsClient& client, End end, int code);
    void receive(std::string_view text);
    void dispatch(const Json& payload);
    bool ask_missed(const Json& ready);
    bool ask_missed(const chat::LastHeard& place, SteadyTime until);
    void add_unheard(const Json& channels, const std::string& since);
    std::optional<Answer> ask_until(const Call& call, SteadyTime until);
    bool rest(milliseconds time);
    void settle(const End& end);
    void wait_for_token();
    void tell(bool ready, const std::string& reason);
    bool pause(milliseconds time);

    GatewayParts parts_;
    chat::Sink* sink_ = nullptr;
    Bot bot_;
    bool prepared_ = false;
    int failures_ = 0;  // in a row; of run()'s thread, like the next three
    int resume_failures_ = 0;
    SteadyTime last_identify_{};
    SteadyTime next_beat_{};
    std::vector<chat::LastHeard> missed_;  // before a new session; of the reading thread in it

    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_, with line_
    Line line_;
    std::thread thread_;
};

}  // namespace berth::discord
