// SPDX-License-Identifier: Apache-2.0
// What the parts of a bridge share. Private to libs/chat.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bus/asker.hpp"
#include "chat/bell.hpp"
#include "chat/platform.hpp"
#include "chat/settings.hpp"
#include "service/runtime.hpp"

namespace berth::chat {

/// Why the bridge is not ready, from the connection and from what the platform answers.
/// Thread-safe.
class HealthBoard {
public:
    void set_connection(Health health);
    /// The platform refuses the credential, for a while; empty: it took it.
    void set_refused(std::string reason);
    /// Nobody receives here: another instance leads, or none does yet.
    void set_leading(bool leading, std::string reason);
    /// Empty when ready. A standby is ready.
    std::string not_ready() const;

private:
    mutable std::mutex mutex_;
    bool leading_ = false;  // by mutex_, all of them
    std::string reason_;    // why not leading
    Health connection_{false, "connecting to the platform"};
    std::string refused_;
    SteadyTime refused_at_{};
};

/// Lives as long as the app.
/// Messages that the platform took, of which the database does not know yet. Thread-safe.
class Unrecorded {
public:
    struct Sent {
        std::int64_t row = 0;
        std::string message;
        std::int64_t revision = 0;
    };
    void add(Sent sent) {
        const std::lock_guard lock(mutex_);
        all_.push_back(std::move(sent));
    }
    std::vector<Sent> take() {
        const std::lock_guard lock(mutex_);
        return std::exchange(all_, {});
    }

private:
    std::mutex mutex_;
    std::vector<Sent> all_;  // by mutex_
};

struct Parts {
    service::Runtime& runtime;
    BridgeSettings settings;
    bus::Asker& asker;
    HealthBoard health;
    Bell inbound;   ///< something came in
    Bell outbound;  ///< something is to go out
    Bell jobs;      ///< a run changed
    struct Metrics {
        metrics::Counter received, repeated, handled, refused, ignored;
        metrics::Counter sent, edited, retried, failed, expired, doubted;
        metrics::Histogram post_seconds, reply_seconds;
        metrics::Gauge backlog, backlog_age, waiting, connected;
    } metrics;
    Unrecorded unrecorded;  ///< left by a term that ended while the database was away

    store::Pool& pool() { return runtime.pool(); }
    const std::string& token() const { return runtime.token(); }
    WallTime now() const { return Clock::system().now(); }
};

void add_metrics(Parts& parts);

/// Asks the owner of `subject` and reads its answer. `timeout` is of this one question; a caller
/// that may ask again with the same id gets the same effect.
template <typename Reply, typename Message>
Result<Reply> ask(
    Parts& parts,
    const std::string& subject,
    const Message& message,
    std::string command_id,
    milliseconds timeout = milliseconds{5'000}
) {
    bus::Ask question;
    question.subject = subject;
    question.type = message.GetTypeName();
    question.payload = message.SerializeAsString();
    question.command_id = std::move(command_id);
    question.timeout = timeout;
    BERTH_ASSIGN(const bus::Answer answer, parts.asker.ask_wait(std::move(question)));
    Reply reply;
    if (!reply.ParseFromString(answer.payload))
        return internal("bad_reply", "the owner's answer could not be read");
    return reply;
}

/// True where the same request may succeed a little later: the bus or a service is away.
inline bool is_outage(const Error& error) {
    return error.fault == Fault::kUnavailable || error.fault == Fault::kDeadline;
}

}  // namespace berth::chat
