// SPDX-License-Identifier: Apache-2.0
// bus::Connection over NATS: the confirmed publisher, and the parts of nats_*.cpp put together.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "bus/nats_core.hpp"

namespace berth::bus {
namespace {

// What may be unconfirmed at once: beyond it the caller is told, instead of memory growing.
constexpr std::size_t kMaxPending = 8'192;
constexpr std::size_t kMaxPendingBytes = 64U << 20U;
// How often unconfirmed publishes are looked at for their timeout.
constexpr milliseconds kSweep{50};
// How long a publish that perhaps nobody heard is waited for when it is sent again.
constexpr milliseconds kUnheardTimeout{1'000};

/// `"name":value` of a flat PubAck; the value's text without quotes, or empty.
std::string_view field(std::string_view json, std::string_view name) {
    const std::string key = "\"" + std::string(name) + "\":";
    const auto at = json.find(key);
    if (at == std::string_view::npos) return {};
    std::string_view rest = json.substr(at + key.size());
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    if (!rest.empty() && rest.front() == '"') {
        rest.remove_prefix(1);
        return rest.substr(0, rest.find('"'));
    }
    return rest.substr(0, rest.find_first_of(",} "));
}

std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') break;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value;
}

Result<PubAck> parse_pub_ack(std::string_view json) {
    if (json.find("\"error\"") != std::string_view::npos) {
        const std::uint64_t code = number(field(json, "err_code"));
        std::string text(field(json, "description"));
        // 10047 insufficient resources, 10077 maximum messages/bytes exceeded (server/errors.json).
        if (code == 10077 || code == 10047 || text.find("maximum") != std::string::npos) {
            return Error{Fault::kLimit, "stream_full", "the stream is full: " + text, {}};
        }
        return unavailable("publish_refused", "the bus refused the message: " + text);
    }
    return PubAck{
        std::string(field(json, "stream")),
        number(field(json, "seq")),
        field(json, "duplicate") == "true"};
}

class NatsConnection final : public Connection {
public:
    ~NatsConnection() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (sweeper_.joinable()) sweeper_.join();
        reconnect_.reset();
        acks_.reset();
        fail_all();
        if (core_) core_->close();
    }

    Result<void> start(ConnectSettings settings) {
        core_ = std::make_shared<NatsCore>(std::move(settings), stats());
        BERTH_TRY(core_->connect());
        ack_prefix_ = core_->new_inbox() + ".";
        BERTH_ASSIGN(
            acks_,
            make_raw_subscription(
                core_,
                ack_prefix_ + "*",
                [this](natsMsg* raw) { on_ack(raw); },
                [this] { on_unheard(); }
            )
        );
        reconnect_ = core_->on_reconnect([this] { publish_again(); });
        sweeper_ = std::thread([this] { sweep(); });
        return {};
    }

    void publish(Message message, PublishDone done, milliseconds timeout) override {
        const std::size_t bytes = message.payload.size();
        auto entry = std::make_shared<Pending>(Pending{
            std::move(message), std::move(done), std::chrono::steady_clock::now() + timeout});
        std::uint64_t id = 0;
        {
            const std::lock_guard lock(mutex_);
            if (pending_.size() < kMaxPending &&
                (pending_.empty() || pending_bytes_ + bytes <= kMaxPendingBytes)) {
                id = next_id_++;
                pending_[id] = entry;
                pending_bytes_ += bytes;
            }
        }
        if (id == 0) {
            ++stats().publish_errors;
            entry->done(Error{
                Fault::kLimit,
                "publisher_full",
                "too many unconfirmed messages; the bus is slow or away",
                {}});
            return;
        }
        // A failed send (buffer full while away) is repeated by the reconnect or ends by its
        // timeout.
        (void)core_->publish_raw(
            entry->message.subject,
            ack_prefix_ + std::to_string(id),
            entry->message.payload,
            entry->message.headers
        );
    }

    Result<void> publish_plain(
        std::string_view subject, std::string_view payload, const Headers& headers
    ) override {
        return core_->publish_raw(std::string(subject), {}, payload, headers);
    }
    Result<std::unique_ptr<Receiver>> subscribe(std::string subject, MessageHandler handler)
        override {
        return make_subscription(core_, std::move(subject), std::move(handler));
    }
    Result<std::unique_ptr<Receiver>> consume(ConsumerSettings settings, DeliveryHandler handler)
        override {
        return make_consumer(core_, std::move(settings), std::move(handler));
    }
    Result<std::unique_ptr<Receiver>> read(ReaderSettings settings, ReadHandler handler) override {
        return make_reader(core_, std::move(settings), std::move(handler));
    }
    Result<std::string> request(
        std::string_view subject, std::string_view payload, milliseconds timeout
    ) override {
        return core_->request(subject, payload, timeout);
    }
    bool connected() const override { return core_->connected(); }
    std::shared_ptr<void> on_reconnect(std::function<void()> handler) override {
        return core_->on_reconnect(std::move(handler));
    }
    Result<void> flush(milliseconds timeout) override {
        const natsStatus status = natsConnection_FlushTimeout(core_->handle(), timeout.count());
        if (status != NATS_OK) return nats_error("flush", status);
        return {};
    }

private:
    struct Pending {
        Message message;
        PublishDone done;
        SteadyTime until;
    };

    void on_ack(natsMsg* raw) {
        const std::string_view subject = natsMsg_GetSubject(raw);
        const std::uint64_t id =
            number(subject.substr(std::min(ack_prefix_.size(), subject.size())));
        settle(
            id,
            parse_pub_ack(
                {natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))}
            )
        );
    }

    void settle(std::uint64_t id, Result<PubAck> result) {
        std::shared_ptr<Pending> entry;
        {
            const std::lock_guard lock(mutex_);
            const auto it = pending_.find(id);
            if (it == pending_.end()) return;
            entry = std::move(it->second);
            pending_.erase(it);
            pending_bytes_ -= entry->message.payload.size();
        }
        ++(result ? stats().published : stats().publish_errors);
        entry->done(std::move(result));
    }

    void on_unheard() {
        {
            const std::lock_guard lock(mutex_);
            unheard_ = true;
        }
        changed_.notify_all();
    }

    void sweep() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            changed_.wait_for(lock, kSweep, [this] { return stopping_ || unheard_; });
            const SteadyTime now = std::chrono::steady_clock::now();
            std::vector<std::uint64_t> late;
            std::vector<std::pair<std::uint64_t, std::shared_ptr<Pending>>> doubtful;
            for (const auto& [id, entry] : pending_) {
                if (entry->until <= now)
                    late.push_back(id);
                else if (unheard_)
                    doubtful.emplace_back(id, entry);
            }
            unheard_ = false;
            lock.unlock();
            for (const std::uint64_t id : late) {
                settle(
                    id, deadline("publish_timeout", "the bus did not confirm the message in time")
                );
            }
            for (const auto& [id, entry] : doubtful) {
                // A bus that hangs is not waited for once per message; each has its own timeout.
                if (!look_for_stream(id, *entry)) break;
            }
            lock.lock();
        }
    }

    /// Nobody heard one of the publishes under way, and nothing tells which: this one is sent again
    /// with its id, as after a reconnect, and waited for. False where the bus does not answer.
    bool look_for_stream(std::uint64_t id, const Pending& entry) {
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return false;
            if (!pending_.contains(id)) return true;
        }
        const auto answer = core_->request(entry.message, kUnheardTimeout);
        if (answer)
            settle(id, parse_pub_ack(*answer));
        else if (answer.error().code == "no_responders")
            settle(
                id,
                unavailable("no_stream", "no stream takes this subject; is the topology applied?")
            );
        else
            return false;
        return true;
    }

    /// After a reconnect: what was in flight is sent again in its order; Nats-Msg-Id makes that
    /// harmless.
    void publish_again() {
        std::map<std::uint64_t, std::shared_ptr<Pending>> again;
        {
            const std::lock_guard lock(mutex_);
            again.insert(pending_.begin(), pending_.end());
        }
        for (const auto& [id, entry] : again) {
            (void)core_->publish_raw(
                entry->message.subject,
                ack_prefix_ + std::to_string(id),
                entry->message.payload,
                entry->message.headers
            );
        }
    }

    void fail_all() {
        std::vector<std::uint64_t> ids;
        {
            const std::lock_guard lock(mutex_);
            for (const auto& entry : pending_) ids.push_back(entry.first);
        }
        for (const std::uint64_t id : ids)
            settle(id, unavailable("bus_closed", "the connection to the bus is closed"));
    }

    std::shared_ptr<NatsCore> core_;
    std::string ack_prefix_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::unordered_map<std::uint64_t, std::shared_ptr<Pending>> pending_;  // by mutex_
    std::size_t pending_bytes_ = 0;                                        // by mutex_
    std::uint64_t next_id_ = 1;                                            // by mutex_
    bool unheard_ = false;                                                 // by mutex_
    bool stopping_ = false;                                                // by mutex_
    std::shared_ptr<void> reconnect_;
    std::thread sweeper_;
    std::unique_ptr<Receiver> acks_;
};

}  // namespace

Result<std::unique_ptr<Connection>> connect(ConnectSettings settings) {
    auto connection = std::make_unique<NatsConnection>();
    BERTH_TRY(connection->start(std::move(settings)));
    return std::unique_ptr<Connection>(std::move(connection));
}

}  // namespace berth::bus
