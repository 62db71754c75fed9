// SPDX-License-Identifier: Apache-2.0
// The ends of a session by its documentation, and what is remembered.
#include "discord/session.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "discord/settings.hpp"

namespace berth::discord {
namespace {

constexpr std::size_t kMaxUrl = 512;

bool is_session_id(std::string_view text) {
    return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
        return c > ' ' && c < 127 && c != '"' && c != '\\';
    });
}

bool is_gateway_url(std::string_view text) {
    return text.size() <= kMaxUrl && (text.starts_with("wss://") || text.starts_with("ws://"));
}

}  // namespace

CloseMeaning meaning_of(int code, std::string_view words) {
    const std::string told = "Discord closed the connection (" + std::to_string(code) +
                             (words.empty() ? ")" : "): " + clipped(words, 120));
    switch (code) {
        case 4004:
            return {
                Next::kRefused,
                "Discord refuses the bot's token (4004); put a valid one into token_file"};
        case 4010: return {Next::kStop, "Discord refuses the shard (4010)"};
        case 4011:
            return {
                Next::kStop,
                "the bot is in more guilds than one session may serve (4011): sharding is not "
                "supported"};
        case 4012:
            return {Next::kStop, "Discord no longer speaks version 10 of its Gateway (4012)"};
        case 4013: return {Next::kStop, "Discord refuses the intents (4013)"};
        case 4014: return {Next::kStop, "Discord does not grant the bot its intents (4014)"};
        case 4007:  // a sequence Discord does not know
        case 4009:  // the session timed out
            return {Next::kIdentify, told};
        default: return {Next::kResume, told};
    }
}

Json identify_of(const Secret& token) {
    Json properties = Json::object();
    properties.set("os", "linux").set("browser", "berth").set("device", "berth");
    Json data = Json::object();
    data.set("token", token.reveal())
        .set("intents", kIntents)
        .set("properties", std::move(properties));
    return Json::object().set("op", 2).set("d", std::move(data));
}

Json resume_of(const Secret& token, const Session& session) {
    Json data = Json::object();
    data.set("token", token.reveal()).set("session_id", session.id).set("seq", session.seq);
    return Json::object().set("op", 6).set("d", std::move(data));
}

std::string session_text(const Session& session) {
    if (session.empty()) return {};
    Json json = Json::object();
    json.set("id", session.id).set("url", session.url).set("seq", session.seq);
    std::string text = json.dump();
    return text.size() > chat::Sink::kMaxNote ? std::string() : text;
}

Session session_of(std::string_view text) {
    const auto json = Json::parse(text);
    if (!json) return {};
    Session session{json->string_or("id", ""), json->string_or("url", ""), json->int_or("seq", -1)};
    if (!is_session_id(session.id) || !is_gateway_url(session.url) || session.seq < 0) return {};
    return session;
}

Result<void> SessionKeeper::open(chat::Sink& sink) {
    BERTH_ASSIGN(const std::string note, sink.recall());
    const std::lock_guard lock(mutex_);
    sink_ = &sink;
    session_ = session_of(note);
    return {};
}

Session SessionKeeper::session() const {
    const std::lock_guard lock(mutex_);
    return session_;
}

void SessionKeeper::start(Session session) {
    {
        const std::lock_guard lock(mutex_);
        session_ = is_session_id(session.id) && is_gateway_url(session.url) ? std::move(session)
                                                                            : Session{};
        changed_ = true;
    }
    remember(true);
}

void SessionKeeper::forget() {
    {
        const std::lock_guard lock(mutex_);
        changed_ = changed_ || !session_.empty();
        session_ = {};
    }
    remember(true);
}

void SessionKeeper::advance(const std::string& id, std::int64_t seq) {
    const std::lock_guard lock(mutex_);
    if (id != session_.id || seq <= session_.seq) return;
    session_.seq = seq;
    changed_ = true;
}

void SessionKeeper::remember(bool at_once) {
    const std::lock_guard writing(write_mutex_);
    std::string text;
    {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = std::chrono::steady_clock::now();
        if (sink_ == nullptr || !changed_ || (!at_once && now - remembered_at_ < kRememberEvery))
            return;
        changed_ = false;
        remembered_at_ = now;
        text = session_text(session_);
    }
    if (sink_->remember(text)) return;
    const std::lock_guard lock(mutex_);
    changed_ = true;  // the next time, then
}

void SessionKeeper::close() {
    remember(true);
    const std::lock_guard writing(write_mutex_);
    const std::lock_guard lock(mutex_);
    sink_ = nullptr;
}

}  // namespace berth::discord
