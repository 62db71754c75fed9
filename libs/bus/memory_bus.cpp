// SPDX-License-Identifier: Apache-2.0
// Streams, durables, readers and plain subscriptions in memory, under one mutex and one timer
// thread.
#include "bus/memory_bus.hpp"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "core/random.hpp"

namespace berth::bus {
namespace {

struct DurableMessage {
    std::uint64_t delivered = 0;
    bool held = false;  // a handler has it
    SteadyTime due{};   // when it may be handed out (again)
};

struct Durable {
    MemoryDurable config;
    std::map<std::uint64_t, DurableMessage> open;  // by stream sequence: not acked yet
};

struct Stream {
    MemoryStream config;
    std::map<std::uint64_t, Message> messages;
    std::map<std::string, std::uint64_t> ids;  // Nats-Msg-Id -> sequence
    std::uint64_t last = 0;
};

struct Subscription {
    std::string pattern;
    Connection::MessageHandler handler;
    std::deque<Message> queue;
    bool stopping = false;
};

}  // namespace

struct MemoryServer::State {
    State(std::uint64_t seed, MemoryFaults the_faults) : faults(the_faults), random(seed) {}
    const MemoryFaults faults;
    std::mutex mutex;
    std::condition_variable changed;  // anything below changed
    SeededRandom random;
    std::map<std::string, Stream> streams;
    std::map<std::string, Durable> durables;  // "<stream>/<name>"
    std::set<std::shared_ptr<Subscription>> subscriptions;
    std::multimap<SteadyTime, std::function<void()>>
        timers;  // run by the timer thread without the mutex
    bool stopping = false;
    std::thread timer;

    bool chance(unsigned percent) { return percent > 0 && random.below(100) < percent; }
    milliseconds delay() {
        return faults.max_delay.count() == 0
                   ? milliseconds{0}
                   : milliseconds{static_cast<long long>(
                         random.below(static_cast<std::uint64_t>(faults.max_delay.count()) + 1)
                     )};
    }
    void later(milliseconds wait, std::function<void()> work) {
        if (stopping) return;
        timers.emplace(std::chrono::steady_clock::now() + wait, std::move(work));
        changed.notify_all();
    }

    Result<PubAck> store(const Message& message) {
        for (auto& [name, stream] : streams) {
            bool takes = false;
            for (const std::string& pattern : stream.config.subjects)
                takes = takes || subject_matches(pattern, message.subject);
            if (!takes) continue;
            const std::string id(message.header(kMsgId));
            if (!id.empty() && stream.ids.contains(id)) return PubAck{name, stream.ids[id], true};
            if (stream.messages.size() >= stream.config.max_messages)
                return Error{Fault::kLimit, "stream_full", "the stream is full", {}};
            const std::uint64_t sequence = ++stream.last;
            stream.messages.emplace(sequence, message);
            if (!id.empty()) stream.ids.emplace(id, sequence);
            for (auto& [key, durable] : durables) {
                if (durable.config.stream == name &&
                    subject_matches(durable.config.filter, message.subject)) {
                    durable.open[sequence].due =
                        std::chrono::steady_clock::now() + (chance(faults.reorder_percent)
                                                                ? milliseconds{2} + delay()
                                                                : milliseconds{0});
                }
            }
            changed.notify_all();
            return PubAck{name, sequence, false};
        }
        return unavailable("no_stream", "no stream takes this subject; is the topology applied?");
    }

    void fan_out(const Message& message) {
        for (const auto& subscription : subscriptions) {
            if (!subject_matches(subscription->pattern, message.subject) ||
                chance(faults.drop_percent))
                continue;
            for (int copies = chance(faults.duplicate_percent) ? 2 : 1; copies > 0; --copies) {
                auto& queue = subscription->queue;
                if (!queue.empty() && chance(faults.reorder_percent)) {
                    queue.insert(
                        queue.begin() + static_cast<std::ptrdiff_t>(random.below(queue.size())),
                        message
                    );
                } else {
                    queue.push_back(message);
                }
            }
        }
        changed.notify_all();
    }

    void run_timers() {
        std::unique_lock lock(mutex);
        while (!stopping) {
            if (timers.empty()) {
                changed.wait(lock);
            } else if (const auto when = timers.begin()->first;
                       std::chrono::steady_clock::now() < when) {
                changed.wait_until(lock, when);
            } else {
                auto work = std::move(timers.begin()->second);
                timers.erase(timers.begin());
                lock.unlock();
                work();
                work = nullptr;  // before the lock: it may hold the last hand on a delivery, which
                                 // settles by it
                lock.lock();
            }
        }
    }
};

class MemoryConnection final : public Connection {
public:
    explicit MemoryConnection(std::shared_ptr<MemoryServer::State> state)
        : state_(std::move(state)) {}
    ~MemoryConnection() override {
        const std::lock_guard lock(state_->mutex);
        *counters_ = nullptr;
    }

    void publish(Message message, PublishDone done, milliseconds timeout) override {
        Result<PubAck> result = PubAck{};
        bool lost_before = false;
        bool lost_after = false;
        milliseconds delay{0};
        {
            const std::lock_guard lock(state_->mutex);
            lost_before = state_->chance(state_->faults.drop_percent / 2);
            lost_after = state_->chance(state_->faults.drop_percent / 2);
            delay = state_->delay();
            if (!lost_before) {
                result = state_->store(message);
                if (result && !result->duplicate) state_->fan_out(message);
            }
            ++(result ? stats().published : stats().publish_errors);
            if (lost_before || lost_after) {
                result = deadline("publish_timeout", "the bus did not confirm the message in time");
                delay = std::min(timeout, milliseconds{50});
            }
            state_->later(delay, [done = std::move(done), result = std::move(result)]() mutable {
                done(std::move(result));
            });
        }
    }

    Result<void> publish_plain(
        std::string_view subject, std::string_view payload, const Headers& headers
    ) override {
        const Message message{std::string(subject), headers, std::string(payload)};
        const std::lock_guard lock(state_->mutex);
        (void)state_->store(message);  // a stream may listen to plain messages too
        state_->fan_out(message);
        return {};
    }

    Result<std::unique_ptr<Receiver>> subscribe(std::string subject, MessageHandler handler)
        override;
    Result<std::unique_ptr<Receiver>> consume(ConsumerSettings settings, DeliveryHandler handler)
        override;
    Result<std::unique_ptr<Receiver>> read(ReaderSettings settings, ReadHandler handler) override;

    Result<std::string> request(std::string_view subject, std::string_view, milliseconds) override {
        constexpr std::string_view kInfo = "$JS.API.STREAM.INFO.";
        const std::lock_guard lock(state_->mutex);
        const auto it = subject.starts_with(kInfo)
                            ? state_->streams.find(std::string(subject.substr(kInfo.size())))
                            : state_->streams.end();
        if (it == state_->streams.end())
            return unavailable("no_responders", "the memory bus has no such JetStream API");
        return "{\"state\":{\"last_seq\":" + std::to_string(it->second.last) + "}}";
    }
    bool connected() const override { return true; }
    std::shared_ptr<void> on_reconnect(std::function<void()>) override {
        return std::make_shared<int>(0);
    }
    Result<void> flush(milliseconds) override { return {}; }

private:
    std::shared_ptr<MemoryServer::State> state_;
    // Where deliveries count what becomes of them; they may outlive the connection. By the state's
    // mutex.
    const std::shared_ptr<BusStats*> counters_ = std::make_shared<BusStats*>(&stats());
};

namespace {

/// A thread that runs `step` until it says stop or stop() is called.
template <typename StatePtr>
class Loop : public Receiver {
public:
    Loop(
        StatePtr state,
        std::function<void(std::unique_lock<std::mutex>&, const bool& stopping)> body,
        std::size_t threads
    )
        : state_(std::move(state)) {
        for (std::size_t i = 0; i < threads; ++i) {
            threads_.emplace_back([this, body] {
                std::unique_lock lock(state_->mutex);
                while (!stopping_ && !state_->stopping) body(lock, stopping_);
            });
        }
    }
    ~Loop() override { Loop::stop(); }
    void stop() override {
        {
            const std::lock_guard lock(state_->mutex);
            stopping_ = true;
        }
        state_->changed.notify_all();
        for (std::thread& thread : threads_) {
            if (!thread.joinable()) continue;
            if (thread.get_id() == std::this_thread::get_id()) {
                thread.detach();
            } else {
                thread.join();
            }
        }
        if (on_stop) on_stop();
    }
    std::function<void()> on_stop;

private:
    StatePtr state_;
    bool stopping_ = false;  // by the state's mutex
    std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<Receiver>> MemoryConnection::subscribe(
    std::string subject, MessageHandler handler
) {
    auto subscription = std::make_shared<Subscription>();
    subscription->pattern = std::move(subject);
    {
        const std::lock_guard lock(state_->mutex);
        state_->subscriptions.insert(subscription);
    }
    auto loop = std::make_unique<Loop<std::shared_ptr<MemoryServer::State>>>(
        state_,
        [state = state_,
         subscription,
         handler = std::move(handler)](std::unique_lock<std::mutex>& lock, const bool&) {
            if (subscription->queue.empty()) {
                state->changed.wait(lock);
                return;
            }
            Message message = std::move(subscription->queue.front());
            subscription->queue.pop_front();
            lock.unlock();
            handler(std::move(message));
            lock.lock();
        },
        1
    );
    loop->on_stop = [state = state_, subscription] {
        const std::lock_guard lock(state->mutex);
        state->subscriptions.erase(subscription);
    };
    return std::unique_ptr<Receiver>(std::move(loop));
}

Result<std::unique_ptr<Receiver>> MemoryConnection::consume(
    ConsumerSettings settings, DeliveryHandler handler
) {
    const std::string key = settings.stream + "/" + settings.durable;
    {
        const std::lock_guard lock(state_->mutex);
        if (!state_->durables.contains(key)) return not_found("no_consumer", "no durable " + key);
    }
    class Port final : public Delivery::Port {
    public:
        Port(
            std::shared_ptr<MemoryServer::State> state,
            std::string the_key,
            std::uint64_t sequence,
            std::shared_ptr<BusStats*> counters
        )
            : state_(std::move(state)),
              key_(std::move(the_key)),
              sequence_(sequence),
              counters_(std::move(counters)) {}
        void settle(Verdict verdict, milliseconds delay) override {
            const std::lock_guard lock(state_->mutex);
            if (BusStats* const stats = *counters_; stats != nullptr) {
                ++(verdict == Verdict::kAck    ? stats->acked
                   : verdict == Verdict::kTerm ? stats->termed
                   : verdict == Verdict::kNak  ? stats->nacked
                                               : stats->dropped_unsettled);
            }
            Durable& durable = state_->durables.at(key_);
            const auto it = durable.open.find(sequence_);
            if (it == durable.open.end()) return;
            it->second.held = false;
            if (verdict == Verdict::kNak || verdict == Verdict::kDropped) {
                it->second.due = std::chrono::steady_clock::now() + delay;
            } else {
                durable.open.erase(it);
                Stream& stream = state_->streams.at(durable.config.stream);
                if (stream.config.work_queue) stream.messages.erase(sequence_);
            }
            state_->changed.notify_all();
        }

    private:
        std::shared_ptr<MemoryServer::State> state_;
        std::string key_;
        std::uint64_t sequence_;
        std::shared_ptr<BusStats*> counters_;
    };
    return std::unique_ptr<Receiver>(std::make_unique<Loop<std::shared_ptr<MemoryServer::State>>>(
        state_,
        [this,
         state = state_,
         key,
         handler = std::move(handler)](std::unique_lock<std::mutex>& lock, const bool&) {
            Durable& durable = state->durables.at(key);
            const SteadyTime now = std::chrono::steady_clock::now();
            SteadyTime next = now + seconds{1};
            for (auto& [sequence, entry] : durable.open) {
                if (entry.held) continue;
                if (entry.due > now) {
                    next = std::min(next, entry.due);
                    continue;
                }
                ++entry.delivered;
                if (state->chance(state->faults.drop_percent)) {
                    entry.due = now + durable.config.ack_wait;  // lost on the way: comes again
                    continue;
                }
                ++stats().delivered;
                if (entry.delivered > 1) ++stats().redelivered;
                const bool twice = state->chance(state->faults.duplicate_percent);
                entry.held = !twice;  // a doubled delivery reaches another worker too
                entry.due = now;
                const std::uint64_t taken = sequence;
                Delivery delivery(
                    state->streams.at(durable.config.stream).messages.at(taken),
                    taken,
                    entry.delivered,
                    std::make_unique<Port>(state, key, taken, counters_)
                );
                lock.unlock();
                handler(std::move(delivery));
                lock.lock();
                return;
            }
            state->changed.wait_until(lock, next);
        },
        std::max<std::size_t>(settings.workers, 1)
    ));
}

Result<std::unique_ptr<Receiver>> MemoryConnection::read(
    ReaderSettings settings, ReadHandler handler
) {
    {
        const std::lock_guard lock(state_->mutex);
        const auto it = state_->streams.find(settings.stream);
        if (it == state_->streams.end())
            return not_found("no_stream", "no stream " + settings.stream);
        if (settings.start_sequence == 0) settings.start_sequence = it->second.last + 1;
    }
    auto next = std::make_shared<std::uint64_t>(settings.start_sequence);
    auto done = std::make_shared<bool>(false);
    return std::unique_ptr<Receiver>(std::make_unique<Loop<std::shared_ptr<MemoryServer::State>>>(
        state_,
        [state = state_,
         settings,
         next,
         done,
         handler = std::move(handler)](std::unique_lock<std::mutex>& lock, const bool&) {
            Stream& stream = state->streams.at(settings.stream);
            auto it = stream.messages.lower_bound(*next);
            while (it != stream.messages.end() &&
                   !subject_matches(settings.filter, it->second.subject))
                ++it;
            if (*done || it == stream.messages.end()) {
                state->changed.wait(lock);
                return;
            }
            std::uint64_t pending = 0;
            for (auto rest = std::next(it); rest != stream.messages.end(); ++rest) {
                if (subject_matches(settings.filter, rest->second.subject)) ++pending;
            }
            ReadMessage message{it->second, it->first, pending};
            *next = it->first + 1;
            lock.unlock();
            const bool more = handler(std::move(message));
            lock.lock();
            *done = !more;
        },
        1
    ));
}

MemoryServer::MemoryServer(
    std::uint64_t seed,
    MemoryFaults faults,
    std::vector<MemoryStream> streams,
    std::vector<MemoryDurable> durables
)
    : state_(std::make_shared<State>(seed, faults)) {
    for (MemoryStream& stream : streams) {
        const std::string name = stream.name;
        state_->streams[name].config = std::move(stream);
    }
    for (MemoryDurable& durable : durables) {
        const std::string key = durable.stream + "/" + durable.name;
        state_->durables[key].config = std::move(durable);
    }
    state_->timer = std::thread([state = state_] { state->run_timers(); });
}

MemoryServer::~MemoryServer() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
    }
    state_->changed.notify_all();
    state_->timer.join();
    // What waits may hold deliveries, which hold the state: a ring. Let go outside the lock, for
    // they settle by it.
    std::multimap<SteadyTime, std::function<void()>> rest;
    {
        const std::lock_guard lock(state_->mutex);
        rest.swap(state_->timers);
    }
}

std::unique_ptr<Connection> MemoryServer::connect() {
    return std::make_unique<MemoryConnection>(state_);
}

std::size_t MemoryServer::stored(const std::string& stream) {
    const std::lock_guard lock(state_->mutex);
    return state_->streams.at(stream).messages.size();
}

}  // namespace berth::bus
