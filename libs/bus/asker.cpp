// SPDX-License-Identifier: Apache-2.0
// Asking, hearing, asking again: the asker's half of the handler protocol.
#include "bus/asker.hpp"

#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>
#include <unordered_map>

#include "berth/common/v1/common.pb.h"
#include "bus/completion.hpp"
#include "core/id.hpp"
#include "core/text.hpp"

namespace berth::bus {
namespace {

constexpr std::size_t kMaxOpen = 65'536;
// The publish of one attempt; the ask's own deadline ends it earlier.
constexpr milliseconds kPublishTimeout{5'000};

struct Open {
    Ask ask;
    Asker::Done done;
    std::uint64_t serial = 0;  // makes attempts of equal command ids distinct
    unsigned attempt = 0;
    SteadyTime until;
    WallTime deadline;
    milliseconds reask_after{};
};

/// The asks under way. Shared with the publishes of their attempts, whose confirmations may come
/// after the asker is gone.
struct OpenAsks {
    std::mutex mutex;
    std::unordered_map<std::uint64_t, std::shared_ptr<Open>> open;  // by mutex

    void finish(std::uint64_t serial, Result<Answer> result) {
        std::shared_ptr<Open> done;
        {
            const std::lock_guard lock(mutex);
            const auto it = open.find(serial);
            if (it == open.end()) return;
            done = std::move(it->second);
            open.erase(it);
        }
        done->done(std::move(result));
    }
};

/// Who must answer: the subject's service token, and for a node its machine.
struct Replier {
    std::string_view token;
    std::string_view instance;  // empty: any
};

Replier expected_replier(std::string_view subject) {
    const auto tokens = split(subject, '.');
    if (tokens.size() < 4) return {};
    if (tokens[2] == "node") return {tokens[2], tokens[3]};
    return {tokens[2], {}};
}

class AskerImpl final : public Asker {
public:
    AskerImpl(Connection& connection, AskerSettings settings)
        : connection_(connection), settings_(std::move(settings)) {
        reply_to_ = "berth.rpl." + settings_.token + "." + settings_.instance;
        source_ = "berth/" + settings_.token + "/" + settings_.instance;
    }
    ~AskerImpl() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (timer_.joinable()) timer_.join();
        reconnect_.reset();
        replies_.reset();
        std::vector<std::shared_ptr<Open>> rest;
        {
            const std::lock_guard lock(mutex_);
            for (auto& [id, open] : open_) rest.push_back(open);
            open_.clear();
        }
        for (const auto& open : rest)
            open->done(unavailable("asker_stopped", "the service is stopping"));
    }

    Result<void> start() {
        BERTH_ASSIGN(replies_, connection_.subscribe(reply_to_ + ".>", [this](Message message) {
            hear(message);
        }));
        reconnect_ = connection_.on_reconnect([this] { ask_all_again(); });
        timer_ = std::thread([this] { run_timer(); });
        return {};
    }

    void ask(Ask ask, Done done) override {
        if (ask.command_id.empty())
            ask.command_id = make_ulid(Clock::system().now(), Random::system());
        auto open = std::make_shared<Open>();
        open->until = std::chrono::steady_clock::now() + ask.timeout;
        open->deadline = Clock::system().now() + ask.timeout;
        open->reask_after = settings_.reask_after;
        open->ask = std::move(ask);
        open->done = std::move(done);
        bool full = false;
        {
            const std::lock_guard lock(mutex_);
            full = open_.size() >= kMaxOpen;
            if (!full) {
                open->serial = next_serial_++;
                open_.emplace(open->serial, open);
                schedule(
                    open->serial,
                    std::min(open->until, std::chrono::steady_clock::now() + open->reask_after)
                );
            }
        }
        if (full) {
            open->done(Error{
                Fault::kLimit, "too_many_asks", "too many requests are waiting for an answer", {}});
            return;
        }
        send(open);
    }

private:
    void schedule(std::uint64_t serial, SteadyTime when) {
        const bool first = timers_.empty() || when < timers_.top().first;
        timers_.emplace(when, serial);
        if (first) changed_.notify_one();
    }

    void send(const std::shared_ptr<Open>& open) {
        Message message;
        message.subject = open->ask.subject;
        message.payload = open->ask.payload;
        unsigned attempt = 0;
        {
            const std::lock_guard lock(mutex_);
            attempt = ++open->attempt;
        }
        const std::string& id = open->ask.command_id;
        message.headers.reserve(8);
        const auto header = [&message](std::string_view name, std::string value) {
            message.headers.emplace_back(name, std::move(value));
        };
        header(
            kMsgId,
            id + "/" + settings_.instance + "-" + std::to_string(open->serial) + "-" +
                std::to_string(attempt)
        );
        header(kCeSpecVersion, "1.0");
        header(kCeId, id);
        header(kCeType, open->ask.type);
        header(kCeSource, source_);
        header(kReplyTo, reply_to_);
        header(kDeadline, to_rfc3339(open->deadline));
        if (!open->ask.correlation_id.empty()) header(kCorrelationId, open->ask.correlation_id);
        const auto left =
            std::chrono::ceil<milliseconds>(open->until - std::chrono::steady_clock::now());
        const std::uint64_t serial = open->serial;
        connection_.publish(
            std::move(message),
            [asks = asks_, serial](Result<PubAck> stored) {
                // A publish that timed out is asked again by the timer; a refusal will not get
                // better.
                if (!stored && stored.error().fault != Fault::kDeadline)
                    asks->finish(serial, std::move(stored).error());
            },
            std::clamp(left, milliseconds{1}, kPublishTimeout)
        );
    }

    void finish(std::uint64_t serial, Result<Answer> result) {
        asks_->finish(serial, std::move(result));
    }

    void hear(const Message& message) {
        // berth.rpl.<asker>.<instance>.<replier>.<replier instance>.<command id>; the cause names
        // the attempt.
        const auto tokens = split(message.subject, '.');
        const std::string_view cause = message.header(kCausationId);
        const auto slash = cause.find('/');
        if (tokens.size() != 7 || slash == std::string_view::npos ||
            cause.substr(0, slash) != tokens[6])
            return;
        const auto parts = split(cause.substr(slash + 1), '-');
        if (parts.size() < 3) return;
        std::uint64_t serial = 0;
        for (const char c : parts[parts.size() - 2])
            serial = serial * 10 + static_cast<std::uint64_t>(c - '0');
        {
            const std::lock_guard lock(mutex_);
            const auto it = open_.find(serial);
            if (it == open_.end() || it->second->ask.command_id != tokens[6]) return;
            const Replier expected = expected_replier(it->second->ask.subject);
            if (tokens[4] != expected.token ||
                (!expected.instance.empty() && tokens[5] != expected.instance)) {
                return;  // somebody answered who was not asked
            }
        }
        if (message.header(kStatus) == "failure") {
            common::v1::Failure failure;
            if (!failure.ParseFromString(message.payload)) {
                finish(serial, internal("bad_reply", "the owner's refusal could not be read"));
                return;
            }
            finish(
                serial,
                Error{
                    fault_from_string(failure.fault()),
                    failure.code(),
                    failure.message(),
                    failure.field()}
            );
            return;
        }
        finish(serial, Answer{std::string(message.header(kCeType)), message.payload});
    }

    void ask_all_again() {
        std::vector<std::shared_ptr<Open>> all;
        {
            const std::lock_guard lock(mutex_);
            for (auto& [serial, open] : open_) all.push_back(open);
        }
        for (const auto& open : all) send(open);
    }

    void run_timer() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            // Nobody is woken for what was answered.
            while (!timers_.empty() && !open_.contains(timers_.top().second)) timers_.pop();
            if (timers_.empty()) {
                changed_.wait(lock);
                continue;
            }
            const auto [when, serial] = timers_.top();
            if (std::chrono::steady_clock::now() < when) {
                changed_.wait_until(lock, when);
                continue;
            }
            timers_.pop();
            const std::shared_ptr<Open> open = open_.at(serial);
            const bool over = std::chrono::steady_clock::now() >= open->until;
            if (!over) {
                open->reask_after *= 2;
                schedule(
                    serial,
                    std::min(open->until, std::chrono::steady_clock::now() + open->reask_after)
                );
            }
            lock.unlock();
            if (over) {
                finish(
                    serial,
                    deadline(
                        "no_answer",
                        "no answer from " + std::string(expected_replier(open->ask.subject).token) +
                            " in time; the request may still take effect"
                    )
                );
            } else {
                send(open);
            }
            lock.lock();
        }
    }

    using Timer = std::pair<SteadyTime, std::uint64_t>;
    Connection& connection_;
    const AskerSettings settings_;
    std::string reply_to_;
    std::string source_;
    const std::shared_ptr<OpenAsks> asks_ = std::make_shared<OpenAsks>();
    std::mutex& mutex_ = asks_->mutex;
    std::unordered_map<std::uint64_t, std::shared_ptr<Open>>& open_ = asks_->open;  // by mutex_
    std::condition_variable changed_;
    std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;  // by mutex_
    std::uint64_t next_serial_ = 1;                                          // by mutex_
    bool stopping_ = false;                                                  // by mutex_
    std::shared_ptr<void> reconnect_;
    std::thread timer_;
    std::unique_ptr<Receiver> replies_;
};

}  // namespace

Result<std::unique_ptr<Asker>> Asker::create(Connection& connection, AskerSettings settings) {
    if (!is_subject_token(settings.token) || !is_subject_token(settings.instance)) {
        return invalid("bad_asker", "an asker's token and instance are subject tokens");
    }
    auto asker = std::make_unique<AskerImpl>(connection, std::move(settings));
    BERTH_TRY(asker->start());
    return std::unique_ptr<Asker>(std::move(asker));
}

Result<Answer> Asker::ask_wait(Ask ask) {
    const auto completion = std::make_shared<Completion<Answer>>();
    const milliseconds timeout = ask.timeout;
    this->ask(std::move(ask), [completion](Result<Answer> result) {
        completion->set(std::move(result));
    });
    auto result = completion->wait_until(std::chrono::steady_clock::now() + timeout + seconds{1});
    if (!result)
        return deadline("no_answer", "no answer in time; the request may still take effect");
    return std::move(*result);
}

std::string reply_subject(
    std::string_view reply_to,
    std::string_view replier,
    std::string_view replier_instance,
    std::string_view command_id
) {
    std::string subject(reply_to);
    for (const std::string_view token : {replier, replier_instance, command_id}) {
        subject += '.';
        subject += token;
    }
    return subject;
}

}  // namespace berth::bus
