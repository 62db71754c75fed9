// SPDX-License-Identifier: Apache-2.0
// One thread keeps the connection; each connection reads with a thread of its own.
#include "slack/socket_mode.hpp"

#include <algorithm>

#include "core/backoff.hpp"
#include "log/log.hpp"

namespace berth::slack {
namespace {

constexpr milliseconds kLongestRetry{15'000};  // a revoked token is told, and tried, that often
constexpr milliseconds kDrain{2'000};          // for envelopes under way on the old connection

}  // namespace

struct SocketMode::Line {
    enum class State { kOpening, kOpen, kLeaving, kClosed };
    State state = State::kOpening;          // by the owner's mutex_
    std::string reason;                     // by the owner's mutex_
    std::mutex ready;                       // held while `client` is being set
    std::unique_ptr<net::WsClient> client;  // last: its thread uses the rest
};

SocketMode::SocketMode(const Settings& settings, WebApi& api, Take take, Tell tell)
    : settings_(settings), api_(api), take_(std::move(take)), tell_(std::move(tell)) {}

void SocketMode::start() {
    keeper_ = std::thread([this] { keep(); });
}

void SocketMode::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (keeper_.joinable()) keeper_.join();
}

bool SocketMode::rest(milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

std::unique_ptr<SocketMode::Line> SocketMode::connect(chat::SendError& why) {
    const auto address = api_.open_connection();
    if (!address.value) {
        why = address.error;
        why.reason = why.kind == chat::SendError::Kind::kUnauthorized
                         ? "Slack refuses the app token (" + why.reason +
                               "): put a valid one into app_token_file"
                         : "Slack gives no connection: " + why.reason;
        return nullptr;
    }
    const std::string& url = *address.value;  // wss://host/path?ticket: the path is a secret
    const auto scheme = url.find("://");
    const auto path =
        scheme == std::string::npos ? std::string::npos : url.find_first_of("/?", scheme + 3);
    const std::string base = url.substr(0, path);
    std::string target = path == std::string::npos ? "/" : url.substr(path);
    if (target[0] == '?') target.insert(0, "/");
    auto line = std::make_unique<Line>();
    net::WsClientOptions options;
    options.ping_every = settings_.ping_every;
    net::WsClientEvents events;
    Line* const self = line.get();  // its client ends before it does
    events.on_message = [this, self](std::string_view bytes, bool) {
        { const std::lock_guard wait(self->ready); }
        hear(*self, bytes);
    };
    events.on_closed = [this, self](int, const std::string& reason) {
        const std::lock_guard lock(mutex_);
        self->state = Line::State::kClosed;
        if (self->reason.empty()) self->reason = reason.empty() ? "the connection broke" : reason;
        changed_.notify_all();
    };
    {
        const std::lock_guard setting(line->ready);
        auto client = net::WsClient::connect(base, target, options, events);
        if (!client) {
            why.reason = "no connection to Slack: " + client.error().code;
            return nullptr;
        }
        line->client = std::move(*client);
    }
    {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, settings_.hello, [&] {
            return stopping_ || line->state != Line::State::kOpening;
        });
        if (line->state == Line::State::kOpen || line->state == Line::State::kLeaving) return line;
        why.reason = line->reason.empty() ? "Slack did not say hello" : line->reason;
    }
    line.reset();
    return nullptr;
}

void SocketMode::hear(Line& line, std::string_view text) {
    const auto message = Json::parse(text);
    if (!message) return;
    const std::string type = message->string_or("type", "");
    if (type == "hello") {
        const std::lock_guard lock(mutex_);
        if (line.state == Line::State::kOpening) line.state = Line::State::kOpen;
        changed_.notify_all();
        return;
    }
    if (type == "disconnect") {
        const std::lock_guard lock(mutex_);
        line.state = Line::State::kLeaving;
        line.reason = message->string_or("reason", "");
        changed_.notify_all();
        return;
    }
    const std::string id = message->string_or("envelope_id", "");
    if (id.empty()) return;
    const Json* payload = message->find("payload");
    if (payload != nullptr && !take_(type, *payload)) return;  // it comes again
    Json ack = Json::object();
    ack.set("envelope_id", id);
    (void)line.client->send_text(ack.dump());
}

void SocketMode::keep() {
    std::unique_ptr<Line> line;
    int failures = 0;
    const auto rest_after_failure = [&](milliseconds asked) {
        return rest(std::max(backoff(failures++, settings_.first_retry, kLongestRetry), asked));
    };
    for (;;) {
        chat::SendError why;
        auto next = connect(why);
        if (!next) {
            const bool listening = [&] {
                const std::lock_guard lock(mutex_);
                return line && line->state != Line::State::kClosed;
            }();
            if (!listening) tell_({false, why.reason});
            log::info("no new connection to Slack", {{"why", why.reason}});
            if (!rest_after_failure(why.retry_after)) return;
            continue;
        }
        failures = 0;
        if (line) {
            // What Slack sent over the old one is taken; only then it goes.
            if (!line->client->wait_closed(kDrain)) line->client->close(1000, "");
        }
        line = std::move(next);
        tell_({true, {}});
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] {
            return stopping_ || line->state == Line::State::kLeaving ||
                   line->state == Line::State::kClosed;
        });
        if (stopping_) {
            lock.unlock();
            line->client->close(1000, "");
            line.reset();
            return;
        }
        const std::string reason = line->reason;
        const bool closed = line->state == Line::State::kClosed;
        lock.unlock();
        log::info("Slack ends the connection", {{"why", reason}});
        if (closed) {
            line.reset();
            tell_({false, "the connection to Slack ended: " + reason});
            if (!rest_after_failure({})) return;
        } else if (reason == "link_disabled") {
            tell_({false, "Socket Mode is switched off for this app (link_disabled)"});
            if (!rest_after_failure({})) return;
        }
    }
}

}  // namespace berth::slack
