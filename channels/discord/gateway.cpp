// SPDX-License-Identifier: Apache-2.0
// One connection after the other, for as long as it takes.
#include "discord/gateway.hpp"

#include <algorithm>

#include "core/backoff.hpp"
#include "core/random.hpp"
#include "log/log.hpp"

namespace berth::discord {
namespace {

enum Op {
    kDispatch = 0,
    kHeartbeat = 1,
    kReconnect = 7,
    kInvalidSession = 9,
    kHello = 10,
    kHeartbeatAck = 11
};

constexpr milliseconds kShortestBeat{100};
constexpr milliseconds kLongestBeat{300'000};
constexpr milliseconds kSendWait{10'000};
constexpr milliseconds kSteadyAfter{
    10'000};  // a session that ends sooner is waited for longer each time

milliseconds random_up_to(milliseconds limit) {
    return milliseconds{
        static_cast<long long>(Random::system().below(static_cast<std::uint64_t>(limit.count()) + 1)
        )};
}

}  // namespace

void Gateway::start(chat::Sink& sink) {
    sink_ = &sink;
    thread_ = std::thread([this] { run(); });
}

void Gateway::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        line_.left = true;
    }
    changed_.notify_all();
    parts_.receiver.wake();
    if (thread_.joinable()) thread_.join();
}

bool Gateway::pause(milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void Gateway::tell(bool ready, const std::string& reason) { sink_->health({ready, reason}); }

void Gateway::run() {
    tell(false, "connecting to Discord");
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
            line_ = {};
        }
        const End end = live();
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return;
        }
        settle(end);
        if (end.next == Next::kStop) {
            (void)pause(std::chrono::duration_cast<milliseconds>(std::chrono::hours{24 * 365}));
            return;
        }
        if (end.next == Next::kRefused) {
            wait_for_token();
        } else {
            (void)pause(
                failures_ == 0
                    ? end.wait
                    : std::max(end.wait, backoff(failures_ - 1, kFirstBackoff, kLongestBackoff))
            );
        }
    }
}

/// What the next connection begins with, and what people are told.
void Gateway::settle(const End& end) {
    if (end.next != Next::kResume) parts_.keeper.forget();
    failures_ = end.was_steady || end.planned ? 0 : failures_ + 1;
    if (end.was_ready || end.next != Next::kResume) resume_failures_ = 0;
    log::info(
        "the connection to Discord ended",
        {{"why", end.reason}, {"resumes", end.next == Next::kResume}}
    );
    // A connection that ends and is there again at once is no illness.
    const bool quiet = end.next == Next::kResume && (failures_ == 0 || end.was_ready);
    if (!quiet) tell(false, end.reason);
}

/// A refused token is of use again when its file says another, or Discord takes it after all.
void Gateway::wait_for_token() {
    const Secret refused = parts_.token();
    Call call;
    call.route = "/users/@me";
    call.path = "/users/@me";
    while (pause(kTokenRetry)) {
        if (parts_.token().reveal() != refused.reveal() || parts_.api.call(call).ok) return;
    }
}

/// Where to connect; or why not.
std::optional<Gateway::End> Gateway::address(const Session& session, std::string& url) {
    if (!session.empty() && resume_failures_ < kResumeTries) {
        url = session.url;
        return std::nullopt;
    }
    Call call;
    call.route = "/gateway/bot";
    call.path = "/gateway/bot";
    const Answer answer = parts_.api.call(call);
    if (!answer.ok) {
        const bool refused = answer.error.kind == chat::SendError::Kind::kUnauthorized;
        return End{
            refused ? Next::kRefused : Next::kResume,
            answer.error.reason,
            answer.error.retry_after};
    }
    url = answer.body.string_or("url", "");
    const Json* limit = answer.body.find("session_start_limit");
    if (session.empty() && limit != nullptr && limit->int_or("remaining", 1) <= 0) {
        const milliseconds wait{
            std::clamp<std::int64_t>(limit->int_or("reset_after", 0), 1'000, 86'400'000)};
        return End{Next::kIdentify, "Discord allows the bot no more sessions today", wait};
    }
    return std::nullopt;
}

Gateway::End Gateway::live() {
    if (!prepared_) {
        const Answer answer = parts_.prepare(bot_);
        if (!answer.ok) {
            const bool refused = answer.error.kind == chat::SendError::Kind::kUnauthorized;
            return {
                refused ? Next::kRefused : Next::kResume,
                answer.error.reason,
                answer.error.retry_after};
        }
        prepared_ = true;
    }
    const Session session = parts_.keeper.session();
    std::string url;
    if (auto end = address(session, url)) return *end;
    if (session.empty()) {
        const auto next = last_identify_ + kIdentifyEvery;
        const auto now = std::chrono::steady_clock::now();
        if (last_identify_ != SteadyTime{} && next > now &&
            !pause(std::chrono::ceil<milliseconds>(next - now)))
            return {Next::kResume, "stopping", milliseconds{0}, true};
        // Before the new session's first event is stored, which is later than what was missed.
        auto heard = sink_->last_heard(kMissedPlaces);
        if (!heard) return {Next::kResume, "the database is away"};
        missed_ = std::move(*heard);
    }
    net::WsClientOptions options;
    options.headers.add("User-Agent", kUserAgent);
    options.max_message = kMaxPayload;
    net::WsClientEvents events;
    events.on_message = [this](std::string_view bytes, bool) { receive(bytes); };
    events.on_closed = [this](int code, const std::string& words) {
        const std::lock_guard lock(mutex_);
        line_.closed = true;
        line_.code = code;
        line_.words = words;
        changed_.notify_all();
    };
    auto client =
        net::WsClient::connect(url, "/?v=10&encoding=json", std::move(options), std::move(events));
    if (!client) {
        if (!session.empty()) ++resume_failures_;
        return {Next::kResume, "Discord's Gateway is not reached: " + client.error().message};
    }
    return talk(**client, session);
}

/// From the hello to the end.
Gateway::End Gateway::talk(net::WsClient& client, const Session& session) {
    milliseconds interval{0};
    {
        std::unique_lock lock(mutex_);
        line_.session = session.id;
        changed_.wait_for(lock, kHelloWait, [this] {
            return stopping_ || line_.closed || line_.interval.count() > 0;
        });
        interval = line_.interval;
    }
    if (interval.count() == 0) {
        if (!session.empty()) ++resume_failures_;
        return leave(client, {Next::kResume, "Discord's Gateway says nothing"}, kKeepSession);
    }
    if (session.empty()) last_identify_ = std::chrono::steady_clock::now();
    const Json first =
        session.empty() ? identify_of(parts_.token()) : resume_of(parts_.token(), session);
    (void)client.send_text(first.dump(), kSendWait);  // a broken connection is told by its end
    // The first beat comes at a random part of the interval, so that many do not beat together.
    const SteadyTime began = std::chrono::steady_clock::now();
    next_beat_ = began + random_up_to(interval);
    bool told_ready = false;
    for (;;) {
        if (auto end = turn(client, told_ready)) {
            end->was_ready = told_ready;
            end->was_steady = told_ready && std::chrono::steady_clock::now() - began > kSteadyAfter;
            end->planned = end->planned && told_ready;
            return *end;
        }
        if (!told_ready && std::chrono::steady_clock::now() - began > kReadyWait)
            return leave(
                client, {Next::kResume, "Discord does not begin the session"}, kKeepSession
            );
    }
}

/// Waits for what is next and does it; an end where that was one.
std::optional<Gateway::End> Gateway::turn(net::WsClient& client, bool& told_ready) {
    constexpr milliseconds kLook{1'000};
    std::unique_lock lock(mutex_);
    const SteadyTime until = std::min(next_beat_, std::chrono::steady_clock::now() + kLook);
    changed_.wait_until(lock, until, [&] {
        return stopping_ || line_.closed || line_.reconnect || line_.invalid || line_.beat_asked ||
               (line_.ready && !told_ready);
    });
    if (line_.ready && !told_ready) {
        told_ready = true;
        tell(true, {});
    }
    if (stopping_ || line_.reconnect || line_.invalid) {
        const std::optional<bool> invalid = line_.invalid;
        const bool reconnect = line_.reconnect;
        lock.unlock();
        if (invalid && !*invalid)
            return leave(
                client,
                {Next::kIdentify,
                 "Discord ended the session (op 9)",
                 kInvalidWait + random_up_to(kInvalidJitter),
                 true},
                1000
            );
        if (invalid)
            return leave(
                client,
                {Next::kResume, "Discord asks to resume the session (op 9)", kInvalidWait, true},
                kKeepSession
            );
        return leave(
            client,
            {Next::kResume,
             reconnect ? "Discord asks to reconnect (op 7)" : "stopping",
             milliseconds{0},
             true},
            kKeepSession
        );
    }
    if (line_.closed) {
        const CloseMeaning meaning = meaning_of(line_.code, line_.words);
        return End{meaning.next, meaning.reason};
    }
    const bool due = std::chrono::steady_clock::now() >= next_beat_;
    const bool asked = std::exchange(line_.beat_asked, false);
    if (!due && !asked) return std::nullopt;
    const bool silent = due && !line_.acked;
    const milliseconds interval = line_.interval;
    if (due) line_.acked = false;
    lock.unlock();
    // While our own queue is full nothing is read, the acknowledgements neither.
    if (silent && !parts_.receiver.is_full())
        return leave(client, {Next::kResume, "Discord does not answer heartbeats"}, kKeepSession);
    if (due) next_beat_ = std::chrono::steady_clock::now() + interval;
    beat(client);
    return std::nullopt;
}

/// The last event that is stored: what comes after it is sent again when the session is resumed.
bool Gateway::beat(net::WsClient& client) {
    const Session session = parts_.keeper.session();
    Json payload = Json::object();
    payload.set("op", kHeartbeat).set("d", session.empty() ? Json() : Json(session.seq));
    return client.send_text(payload.dump(), kSendWait).has_value();
}

Gateway::End Gateway::leave(net::WsClient& client, End end, int code) {
    {
        const std::lock_guard lock(mutex_);
        line_.left = true;
    }
    parts_.receiver.wake();
    client.close(code, "");
    return end;
}

void Gateway::receive(std::string_view text) {
    const auto payload = Json::parse(text, {kMaxPayload, 64});
    if (!payload) {
        log::warning("Discord sent something that is no JSON", {{"bytes", text.size()}});
        return;
    }
    const Json* data = payload->find("d");
    const std::int64_t op = payload->int_or("op", -1);
    if (op == kDispatch) {
        dispatch(*payload);
        return;
    }
    const std::lock_guard lock(mutex_);
    if (op == kHello && data != nullptr)
        line_.interval = std::clamp(
            milliseconds{data->int_or("heartbeat_interval", 0)}, kShortestBeat, kLongestBeat
        );
    if (op == kHeartbeatAck) line_.acked = true;
    if (op == kHeartbeat) line_.beat_asked = true;
    if (op == kReconnect) line_.reconnect = true;
    if (op == kInvalidSession)
        line_.invalid = data != nullptr && data->as_bool() != nullptr && *data->as_bool();
    changed_.notify_all();
}

bool Gateway::rest(milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this] { return stopping_ || line_.left; });
}

/// What was said while there was no session. Stored before the session counts and before what it
/// brings; false where nobody wants it any more.
bool Gateway::ask_missed(const Json& ready) {
    const SteadyTime until = std::chrono::steady_clock::now() + kMissedWait;
    std::string since;
    for (const chat::LastHeard& place : missed_)
        if (is_id(place.message) && (since.empty() || is_before(since, place.message)))
            since = place.message;
    // A bot that has heard nothing lately has missed nothing.
    const Json* guilds = since.empty() ? nullptr : ready.find("guilds");
    if (guilds != nullptr && guilds->as_array() != nullptr) {
        for (const Json& guild : *guilds->as_array()) {
            const std::string id = guild.string_or("id", "");
            if (!is_id(id)) continue;
            Call call;
            call.route = "/guilds/{id}/channels";
            call.major = id;
            call.path = "/guilds/" + id + "/channels";
            const auto answer = ask_until(call, until);
            if (!answer) return false;
            if (answer->ok)
                add_unheard(answer->body, since);
            else
                log::warning(
                    "where something was said while there was no session is not known",
                    {{"guild", id}, {"why", answer->error.reason}}
                );
        }
    }
    for (const chat::LastHeard& place : missed_) {
        if (!ask_missed(place, until)) return false;
    }
    missed_.clear();
    return true;
}

/// Channels in which the first words of lately came while there was no session. Threads and direct
/// conversations of this kind are told nowhere.
void Gateway::add_unheard(const Json& channels, const std::string& since) {
    if (channels.as_array() == nullptr) return;
    std::int64_t added = 0;
    for (const Json& channel : *channels.as_array()) {
        const std::string id = channel.string_or("id", "");
        const std::string last = channel.string_or("last_message_id", "");
        if (!is_id(id) || !is_id(last) || !is_before(since, last)) continue;
        const chat::Conversation where{id, {}};
        const bool heard = std::any_of(missed_.begin(), missed_.end(), [&](const auto& one) {
            return one.conversation == where;
        });
        if (!heard && added++ < kMissedPlaces) missed_.push_back({where, false, since});
    }
}

/// The answer, asked for again while that may help; none where nobody wants it any more.
std::optional<Answer> Gateway::ask_until(const Call& call, SteadyTime until) {
    using Kind = chat::SendError::Kind;
    for (;;) {
        Answer answer = parts_.api.call(call);
        const Kind kind = answer.error.kind;
        const milliseconds wait = std::max(answer.error.retry_after, kFirstBackoff);
        const bool later =
            !answer.ok && (kind == Kind::kLater || kind == Kind::kUnknown || kind == Kind::kFailed);
        if (!later || std::chrono::steady_clock::now() + wait >= until) return answer;
        if (!rest(wait)) return std::nullopt;
    }
}

bool Gateway::ask_missed(const chat::LastHeard& place, SteadyTime until) {
    constexpr std::size_t kPage = 100;
    const chat::Conversation& where = place.conversation;
    std::string after = id_at(Clock::system().now() - kMissedAge);
    if (is_id(place.message) && is_before(after, place.message)) after = place.message;
    Call call;
    call.route = "/channels/{id}/messages";
    call.major = where.thread.empty() ? where.chat : where.thread;
    for (;;) {
        call.path = "/channels/" + call.major + "/messages?limit=" + std::to_string(kPage) +
                    "&after=" + after;
        const auto answer = ask_until(call, until);
        if (!answer) return false;
        const Json::Array* list = answer->body.as_array();
        if (!answer->ok || list == nullptr) {
            log::warning(
                "what was said while there was no session is not known",
                {{"channel", call.major}, {"why", answer->error.reason}}
            );
            return true;
        }
        std::vector<chat::Inbound> events;
        for (auto said = list->rbegin(); said != list->rend(); ++said) {  // the newest comes first
            const std::string id = said->string_or("id", "");
            if (is_id(id) && is_before(after, id)) after = id;
            Json data = *said;
            data.set(
                "channel_type", place.direct ? 1 : 0
            );  // an answer, unlike an event, says none
            Told told = message_of(data, bot_);
            if (!told.inbound) continue;
            told.inbound->conversation = where;
            events.push_back(std::move(*told.inbound));
        }
        while (!events.empty() && !sink_->accept(events)) {
            if (!rest(kAcceptRetry)) return false;
        }
        if (list->size() < kPage) return true;
    }
}

void Gateway::dispatch(const Json& payload) {
    static const Json kNothing = Json::object();
    {
        // One event that was given up takes all later ones with it: they come again, in order.
        const std::lock_guard lock(mutex_);
        if (line_.left) return;
    }
    const std::string kind = payload.string_or("t", "");
    const Json* found = payload.find("d");
    const Json& data = found == nullptr ? kNothing : *found;
    Arrival arrival;
    arrival.seq = payload.int_or("s", 0);
    if (kind == "READY") {
        if (!ask_missed(data)) return;  // the session was never begun: the next one asks
        const Session session{
            data.string_or("session_id", ""),
            data.string_or("resume_gateway_url", ""),
            arrival.seq};
        parts_.keeper.start(session);
        const std::lock_guard lock(mutex_);
        line_.session = session.id;
    }
    if (kind == "READY" || kind == "RESUMED") {
        const std::lock_guard lock(mutex_);
        line_.ready = true;
        changed_.notify_all();
    }
    if (kind == "MESSAGE_CREATE") arrival.told = message_of(data, bot_);
    if (kind == "INTERACTION_CREATE") arrival.told = interaction_of(data);
    {
        const std::lock_guard lock(mutex_);
        arrival.session = line_.session;
    }
    (void)parts_.receiver.push(std::move(arrival), [this] {
        const std::lock_guard lock(mutex_);
        return line_.left;
    });
}

}  // namespace berth::discord
