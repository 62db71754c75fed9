// SPDX-License-Identifier: Apache-2.0
// Receiving from NATS: the plain subscription and the durable consumer with its credit pull.
#include <condition_variable>
#include <deque>
#include <thread>
#include <unordered_map>

#include "bus/nats_core.hpp"

namespace berth::bus {
namespace {

// How long one pull stays open at the server. An idle consumer costs one request per this time.
constexpr seconds kPullExpires{30};
// After an answer that means "not now" (consumer missing, too many pulls) before the next try.
constexpr milliseconds kPullBackoff{250};
// The loop wakes at least this often to keep held messages alive and notice reconnects.
constexpr milliseconds kTick{200};

class PlainSubscription final : public Receiver {
public:
    explicit PlainSubscription(std::shared_ptr<NatsCore> core) : core_(std::move(core)) {}
    ~PlainSubscription() override { PlainSubscription::stop(); }

    Result<void> start(
        const std::string& subject, RawHandler handler, std::function<void()> unheard
    ) {
        BERTH_ASSIGN(listener_, core_->listen(subject, std::move(handler), std::move(unheard)));
        return {};
    }

    void stop() override {
        if (listener_) core_->hush(listener_);
        listener_.reset();
    }

private:
    std::shared_ptr<NatsCore> core_;
    std::shared_ptr<NatsLoop::Listener> listener_;
};

/// What the consumer's threads and its deliveries share. Outlives the consumer through
/// deliveries.
struct ConsumerShared {
    explicit ConsumerShared(std::shared_ptr<NatsCore> the_core) : core(std::move(the_core)) {}
    std::shared_ptr<NatsCore> core;
    std::mutex mutex;
    std::condition_variable changed;  // a delivery arrived, or stopping
    std::deque<Delivery> ready;       // guarded by mutex
    std::unordered_map<std::string, SteadyTime>
        held;               // ack subject -> when last kept alive; by mutex
    std::size_t asked = 0;  // credit at the server; by mutex
    bool stopping = false;  // by mutex
};

class NatsPort final : public Delivery::Port {
public:
    NatsPort(std::shared_ptr<ConsumerShared> shared, std::string ack_subject)
        : shared_(std::move(shared)), ack_subject_(std::move(ack_subject)) {}

    void settle(Delivery::Port::Verdict verdict, milliseconds delay) override {
        {
            const std::lock_guard lock(shared_->mutex);
            shared_->held.erase(ack_subject_);
        }
        if (shared_->core->closed()) return;
        BusStats& stats = shared_->core->stats();
        std::string text = "+ACK";
        if (verdict == Verdict::kAck) {
            ++stats.acked;
        } else if (verdict == Verdict::kTerm) {
            ++stats.termed;
            text = "+TERM";
        } else {
            ++(verdict == Verdict::kDropped ? stats.dropped_unsettled : stats.nacked);
            text = "-NAK {\"delay\": " + std::to_string(delay.count() * 1'000'000) + "}";
        }
        // A verdict lost with the connection is a redelivery: the inbox makes that harmless.
        (void)shared_->core->publish_raw(ack_subject_, {}, text, {});
    }

private:
    std::shared_ptr<ConsumerShared> shared_;
    std::string ack_subject_;
};

class DurableConsumer final : public Receiver {
public:
    DurableConsumer(
        std::shared_ptr<NatsCore> core,
        ConsumerSettings settings,
        Connection::DeliveryHandler handler
    )
        : core_(core),
          settings_(std::move(settings)),
          handler_(std::move(handler)),
          shared_(std::make_shared<ConsumerShared>(std::move(core))),
          inbox_(core_->new_inbox()) {}
    ~DurableConsumer() override { DurableConsumer::stop(); }

    Result<void> start() {
        const auto hear = [this](natsMsg* raw) {
            take(raw);
            top_up();
        };
        // Nobody hears the pull: the durable is not there.
        BERTH_ASSIGN(listener_, core_->listen(inbox_, hear, [this] { back_off(SIZE_MAX); }));
        for (std::size_t i = 0; i < settings_.workers; ++i)
            workers_.emplace_back([this] { work(); });
        keeper_ = std::thread([this] { keep(); });
        return {};
    }

    void stop() override {
        {
            const std::lock_guard lock(shared_->mutex);
            if (shared_->stopping) return;
            shared_->stopping = true;
        }
        shared_->changed.notify_all();
        stopped_.notify_all();
        if (listener_) core_->hush(listener_);
        if (keeper_.joinable()) keeper_.join();
        for (std::thread& worker : workers_) worker.join();
        std::deque<Delivery> rest;
        {
            const std::lock_guard lock(shared_->mutex);
            rest.swap(shared_->ready);
        }
        // Handed back at once, so that another replica takes them without waiting for the ack
        // deadline.
        for (Delivery& delivery : rest) delivery.nak(milliseconds{0});
    }

private:
    /// Keeps the credit open over reconnects and refusals, and what is held alive.
    void keep() {
        std::uint64_t epoch = core_->epoch();
        for (;;) {
            top_up();
            std::unique_lock lock(shared_->mutex);
            if (stopped_.wait_for(lock, kTick, [this] { return shared_->stopping; })) return;
            if (core_->closed()) return;
            const SteadyTime now = std::chrono::steady_clock::now();
            // A reconnect forgets our pulls, and a pull that outlived its expiry unanswered is gone
            // too.
            if (core_->epoch() != epoch || now - last_heard_ > kPullExpires + seconds{5}) {
                epoch = core_->epoch();
                last_heard_ = now;
                shared_->asked = 0;
            }
            lock.unlock();
            if (now - last_keep_alive_ > settings_.ack_wait / 6) keep_alive(now);
        }
    }

    /// Asks for more when less than half of the credit is open.
    void top_up() {
        std::size_t batch = 0;
        {
            const std::lock_guard lock(shared_->mutex);
            const std::size_t used = shared_->asked + shared_->held.size();
            if (shared_->stopping || shared_->asked > settings_.max_in_flight / 2 ||
                used >= settings_.max_in_flight ||
                std::chrono::steady_clock::now() < no_pull_before_)
                return;
            batch = settings_.max_in_flight - used;
            shared_->asked += batch;
        }
        const std::string body =
            "{\"batch\":" + std::to_string(batch) +
            ",\"expires\":" + std::to_string(std::chrono::nanoseconds(kPullExpires).count()) + "}";
        const auto sent = core_->publish_raw(
            "$JS.API.CONSUMER.MSG.NEXT." + settings_.stream + "." + settings_.durable,
            inbox_,
            body,
            {}
        );
        if (!sent) back_off(batch);
    }

    void back_off(std::size_t lost_credit) {
        const std::lock_guard lock(shared_->mutex);
        shared_->asked -= std::min(shared_->asked, lost_credit);
        no_pull_before_ = std::chrono::steady_clock::now() + kPullBackoff;
    }

    // The loop's thread.
    void take(natsMsg* raw) {
        {
            const std::lock_guard lock(shared_->mutex);
            last_heard_ = std::chrono::steady_clock::now();
        }
        if (const std::string_view status = status_of(raw); !status.empty()) {
            if (status == "100") return;
            const char* pending = nullptr;
            if (status == "408" &&
                natsMsgHeader_Get(raw, "Nats-Pending-Messages", &pending) == NATS_OK &&
                pending != nullptr) {
                const std::lock_guard lock(shared_->mutex);
                shared_->asked -=
                    std::min<std::size_t>(shared_->asked, std::strtoull(pending, nullptr, 10));
            } else {
                back_off(SIZE_MAX);
            }
            return;
        }
        const char* reply = natsMsg_GetReply(raw);
        AckInfo info;
        if (reply == nullptr || !parse_ack_subject(reply, info)) return;
        BusStats& stats = core_->stats();
        ++stats.delivered;
        if (info.delivered > 1) ++stats.redelivered;
        Delivery delivery(
            to_message(raw),
            info.stream_sequence,
            info.delivered,
            std::make_unique<NatsPort>(shared_, reply)
        );
        {
            const std::lock_guard lock(shared_->mutex);
            if (shared_->asked > 0) --shared_->asked;
            shared_->held.emplace(reply, std::chrono::steady_clock::now());
            if (settings_.workers > 0) {
                shared_->ready.push_back(std::move(delivery));
                shared_->changed.notify_one();
                return;
            }
        }
        handler_(std::move(delivery));
    }

    void keep_alive(SteadyTime now) {
        last_keep_alive_ = now;
        std::vector<std::string> due;
        {
            const std::lock_guard lock(shared_->mutex);
            for (auto& [subject, last] : shared_->held) {
                if (now - last < settings_.ack_wait / 3) continue;
                last = now;
                due.push_back(subject);
            }
        }
        for (const std::string& subject : due) (void)core_->publish_raw(subject, {}, "+WPI", {});
    }

    void work() {
        for (;;) {
            std::unique_lock lock(shared_->mutex);
            shared_->changed.wait(lock, [this] {
                return shared_->stopping || !shared_->ready.empty();
            });
            if (shared_->stopping) return;
            Delivery delivery = std::move(shared_->ready.front());
            shared_->ready.pop_front();
            lock.unlock();
            handler_(std::move(delivery));
        }
    }

    std::shared_ptr<NatsCore> core_;
    const ConsumerSettings settings_;
    Connection::DeliveryHandler handler_;
    std::shared_ptr<ConsumerShared> shared_;
    const std::string inbox_;
    SteadyTime no_pull_before_{};                               // by shared_->mutex
    SteadyTime last_heard_ = std::chrono::steady_clock::now();  // by shared_->mutex
    SteadyTime last_keep_alive_{};                              // keeper_
    std::condition_variable stopped_;                           // with shared_->mutex
    std::shared_ptr<NatsLoop::Listener> listener_;
    std::thread keeper_;
    std::vector<std::thread> workers_;
};

}  // namespace

Result<std::unique_ptr<Receiver>> make_raw_subscription(
    std::shared_ptr<NatsCore> core,
    std::string subject,
    RawHandler handler,
    std::function<void()> unheard
) {
    auto subscription = std::make_unique<PlainSubscription>(std::move(core));
    BERTH_TRY(subscription->start(subject, std::move(handler), std::move(unheard)));
    return std::unique_ptr<Receiver>(std::move(subscription));
}

Result<std::unique_ptr<Receiver>> make_subscription(
    std::shared_ptr<NatsCore> core, std::string subject, Connection::MessageHandler handler
) {
    return make_raw_subscription(
        std::move(core),
        std::move(subject),
        [handler = std::move(handler)](natsMsg* raw) {
            if (status_of(raw).empty()) handler(to_message(raw));
        }
    );
}

Result<std::unique_ptr<Receiver>> make_consumer(
    std::shared_ptr<NatsCore> core, ConsumerSettings settings, Connection::DeliveryHandler handler
) {
    if (settings.max_in_flight == 0) return invalid("bad_consumer", "a consumer needs credit");
    auto consumer =
        std::make_unique<DurableConsumer>(std::move(core), std::move(settings), std::move(handler));
    BERTH_TRY(consumer->start());
    return std::unique_ptr<Receiver>(std::move(consumer));
}

}  // namespace berth::bus
