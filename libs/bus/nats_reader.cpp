// SPDX-License-Identifier: Apache-2.0
// An ordered reader: an ephemeral pull consumer without acks, made anew at the next sequence
// whenever the server, the connection or a gap asks for it. One thread of its own, straight-line.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "bus/nats_core.hpp"

namespace berth::bus {
namespace {

constexpr seconds kReaderPullExpires{20};
constexpr seconds kHeartbeat{5};  // the server says it is alive; two missed ones mean it forgot us
constexpr seconds kInactiveThreshold{60};  // the server drops a consumer that nobody pulls
// A handler that waits for its own reader keeps us from pulling. After this long the server may be
// about to forget the consumer, or has: without a word, so that it is made anew unasked. A healthy
// one is pulled again when a pull expires at the latest.
constexpr seconds kPullOverdue{30};
constexpr milliseconds kRetry{200};
constexpr milliseconds kReaderTick{200};

class Reader final : public Receiver {
public:
    Reader(std::shared_ptr<NatsCore> core, ReaderSettings settings, Connection::ReadHandler handler)
        : core_(std::move(core)),
          settings_(std::move(settings)),
          handler_(std::move(handler)),
          next_(settings_.start_sequence) {}
    ~Reader() override { Reader::stop(); }

    Result<void> start() {
        inbox_ = core_->new_inbox();
        const natsStatus status =
            natsConnection_SubscribeSync(&subscription_, core_->handle(), inbox_.c_str());
        if (status != NATS_OK) return nats_error("cannot subscribe to " + inbox_, status);
        BERTH_TRY(create()
        );  // the first one in the caller's thread: a refusal is an error of read()
        loop_ = std::thread([this] { run(); });
        return {};
    }

    void stop() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (subscription_ != nullptr) natsSubscription_Unsubscribe(subscription_);
        if (loop_.joinable()) {
            // A handler that returns false ends the loop itself and may drop the reader from there.
            if (loop_.get_id() == std::this_thread::get_id()) {
                loop_.detach();
            } else {
                loop_.join();
            }
        }
        if (!consumer_.empty() && core_->connected()) {
            (void)core_->publish_raw(
                "$JS.API.CONSUMER.DELETE." + settings_.stream + "." + consumer_, {}, {}, {}
            );
            consumer_.clear();
        }
        core_->bury(std::exchange(subscription_, nullptr));
    }

private:
    Result<void> create() {
        std::string policy = "\"deliver_policy\":\"new\"";
        if (next_ > 0)
            policy = "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":" +
                     std::to_string(next_);
        const std::string body =
            "{\"stream_name\":\"" + settings_.stream + "\",\"config\":{" + policy +
            ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"filter_subject\":\"" +
            settings_.filter +
            "\",\"mem_storage\":true,\"num_replicas\":1,\"inactive_threshold\":" +
            std::to_string(std::chrono::nanoseconds(kInactiveThreshold).count()) + "}}";
        BERTH_ASSIGN(
            const std::string answer,
            core_->request("$JS.API.CONSUMER.CREATE." + settings_.stream, body, seconds{2})
        );
        const auto at = answer.find("\"name\":\"");
        if (at == std::string::npos)
            return unavailable(
                "reader_refused", "the bus refused a reader of " + settings_.stream + ": " + answer
            );
        consumer_ = answer.substr(at + 8, answer.find('"', at + 8) - at - 8);
        consumer_sequence_ = 0;
        asked_ = 0;
        epoch_ = core_->epoch();
        last_heard_ = last_pull_ = std::chrono::steady_clock::now();
        return {};
    }

    bool stopping() {
        const std::lock_guard lock(mutex_);
        return stopping_ || core_->closed();
    }

    void run() {
        while (!stopping()) {
            if (lost()) {
                if (!create()) {
                    std::unique_lock lock(mutex_);
                    changed_.wait_for(lock, kRetry, [this] { return stopping_; });
                }
                continue;
            }
            if (asked_ <= settings_.batch / 2) pull();
            natsMsg* raw = nullptr;
            const natsStatus status =
                natsSubscription_NextMsg(&raw, subscription_, kReaderTick.count());
            if (status == NATS_OK) {
                const NatsMsgPtr message(raw);
                if (!take(raw)) return;
            } else if (status != NATS_TIMEOUT && status != NATS_NOT_YET_CONNECTED && status != NATS_CONNECTION_DISCONNECTED && stopping()) {
                return;
            }
        }
    }

    bool lost() {
        if (gap_ || core_->epoch() != epoch_) {
            gap_ = false;
            return true;
        }
        const SteadyTime now = std::chrono::steady_clock::now();
        return now - last_pull_ > kPullOverdue || now - last_heard_ > 2 * kHeartbeat + seconds{1};
    }

    void pull() {
        const std::size_t batch = settings_.batch - asked_;
        const std::string body =
            "{\"batch\":" + std::to_string(batch) +
            ",\"max_bytes\":" + std::to_string(settings_.max_bytes) +
            ",\"expires\":" + std::to_string(std::chrono::nanoseconds(kReaderPullExpires).count()) +
            ",\"idle_heartbeat\":" + std::to_string(std::chrono::nanoseconds(kHeartbeat).count()) +
            "}";
        last_pull_ = std::chrono::steady_clock::now();
        if (core_->publish_raw(
                "$JS.API.CONSUMER.MSG.NEXT." + settings_.stream + "." + consumer_, inbox_, body, {}
            ))
            asked_ += batch;
    }

    /// False when the handler wants no more.
    bool take(natsMsg* raw) {
        if (const std::string_view status = status_of(raw); !status.empty()) {
            last_heard_ = std::chrono::steady_clock::now();
            if (status == "100") return true;
            const char* pending = nullptr;
            const bool expired =
                natsMsgHeader_Get(raw, "Nats-Pending-Messages", &pending) == NATS_OK &&
                pending != nullptr;
            if (expired) {
                asked_ -= std::min<std::size_t>(asked_, std::strtoull(pending, nullptr, 10));
            } else {
                gap_ = true;  // consumer deleted, bad request: begin anew
            }
            return true;
        }
        const char* reply = natsMsg_GetReply(raw);
        AckInfo info;
        if (reply == nullptr || !parse_ack_subject(reply, info)) return true;
        // A message of the consumer before this one.
        if (info.stream_sequence < next_ ||
            std::string_view(reply).find("." + consumer_ + ".") == std::string_view::npos)
            return true;
        if (info.consumer_sequence != consumer_sequence_ + 1) {
            gap_ = true;
            return true;
        }
        consumer_sequence_ = info.consumer_sequence;
        next_ = info.stream_sequence + 1;
        if (asked_ > 0) --asked_;
        const bool more = handler_({to_message(raw), info.stream_sequence, info.pending});
        // The handler may have waited for its own reader: that is not the server's silence.
        last_heard_ = std::chrono::steady_clock::now();
        return more;
    }

    std::shared_ptr<NatsCore> core_;
    const ReaderSettings settings_;
    Connection::ReadHandler handler_;
    // From here to last_heard_: written before the loop starts, then by the loop thread only.
    std::uint64_t next_;
    std::string inbox_;
    std::string consumer_;
    std::uint64_t consumer_sequence_ = 0;
    std::size_t asked_ = 0;
    std::uint64_t epoch_ = 0;
    bool gap_ = false;
    SteadyTime last_heard_{};
    SteadyTime last_pull_{};  // the loop thread, after start
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_
    natsSubscription* subscription_ = nullptr;
    std::thread loop_;
};

}  // namespace

Result<std::unique_ptr<Receiver>> make_reader(
    std::shared_ptr<NatsCore> core, ReaderSettings settings, Connection::ReadHandler handler
) {
    if (settings.batch == 0) return invalid("bad_reader", "a reader needs a batch of at least 1");
    auto reader =
        std::make_unique<Reader>(std::move(core), std::move(settings), std::move(handler));
    BERTH_TRY(reader->start());
    return std::unique_ptr<Receiver>(std::move(reader));
}

}  // namespace berth::bus
