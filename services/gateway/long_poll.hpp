// SPDX-License-Identifier: Apache-2.0
// Answering a GET when something has happened: ask, watch, ask again.
#pragma once

#include <mutex>
#include <optional>

#include "gateway/api.hpp"

namespace berth::gateway {

/// Asks `query` until `satisfied(reply)` or the wait is over, woken by the entity's events; then
/// answers with the newest reply. Safety: the watch begins before the query whose answer is
/// trusted, so no change between the two is missed. Liveness: a lost event costs at most
/// kWaitRecheck. Reply has id() and org(). `conclude` answers with the newest reply; without one it
/// is sent as it is.
template <typename Reply, typename Query>
class LongPoll : public std::enable_shared_from_this<LongPoll<Reply, Query>> {
public:
    using Satisfied = bool (*)(const Reply&);
    using Conclude = void (*)(const CallPtr&, const Reply&);
    LongPoll(
        Api& api,
        CallPtr call,
        std::string subject,
        std::string noun,
        Query query,
        Satisfied satisfied,
        milliseconds timeout,
        Conclude conclude = nullptr
    )
        : api_(api),
          call_(std::move(call)),
          subject_(std::move(subject)),
          noun_(std::move(noun)),
          query_(std::move(query)),
          satisfied_(satisfied),
          conclude_(conclude),
          until_(std::chrono::steady_clock::now() + timeout) {}

    void start() {
        const std::weak_ptr<LongPoll> weak = this->shared_from_this();
        call_->responder.on_abandoned([weak] {
            if (const auto self = weak.lock()) self->end();
        });
        look();
    }

private:
    void look() {
        {
            const std::lock_guard lock(mutex_);
            if (done_) return;
            if (busy_) {
                again_ = true;
                return;
            }
            busy_ = true;
        }
        ask_raw(
            api_,
            call_,
            subject_,
            query_,
            {},
            [self = this->shared_from_this()](Result<std::string> bytes) { self->heard(bytes); }
        );
    }

    void heard(const Result<std::string>& bytes) {
        const auto read = read_reply<Reply>(bytes);
        if (!read) return answer(read.error());
        const Reply& reply = *read;
        const bool over = satisfied_(reply) || std::chrono::steady_clock::now() >= until_;
        bool first = false;
        bool again = false;
        {
            const std::lock_guard lock(mutex_);
            busy_ = false;
            first = !watching_;
            watching_ = true;
            again = std::exchange(again_, false);
            last_ = reply;
        }
        if (over) return answer(std::nullopt);
        if (first) {
            watch(reply);
            again = true;
        }
        if (again) return look();
    }

    void watch(const Reply& reply) {
        const std::weak_ptr<LongPoll> weak = this->shared_from_this();
        auto handle = api_.hub.watch(reply.org(), noun_, reply.id(), [weak] {
            if (const auto self = weak.lock()) self->look();
        });
        {
            const std::lock_guard lock(mutex_);
            watch_ = std::move(handle);
        }
        tick();
    }

    // Keeps this object alive until the wait is over.
    void tick() {
        const auto now = std::chrono::steady_clock::now();
        if (now >= until_) return answer(std::nullopt);
        const auto left = std::chrono::ceil<milliseconds>(until_ - now);
        api_.workers.after(std::min(left, kWaitRecheck), [self = this->shared_from_this()] {
            {
                const std::lock_guard lock(self->mutex_);
                if (self->done_) return;
            }
            self->look();
            self->tick();
        });
    }

    void answer(const std::optional<Error>& error) {
        std::optional<Reply> reply;
        {
            const std::lock_guard lock(mutex_);
            if (done_) return;
            done_ = true;
            reply = last_;
        }
        end();
        if (error || !reply)
            return call_->fail(error ? *error : deadline("no_answer", "no answer in time"));
        if (conclude_ != nullptr) return conclude_(call_, *reply);
        call_->json(200, *reply);
    }

    void end() {
        std::shared_ptr<void> watch;
        const std::lock_guard lock(mutex_);
        done_ = true;
        watch.swap(watch_);
    }

    Api& api_;
    const CallPtr call_;
    const std::string subject_;
    const std::string noun_;
    const Query query_;
    const Satisfied satisfied_;
    const Conclude conclude_;
    const SteadyTime until_;
    std::mutex mutex_;
    bool busy_ = false;            // by mutex_
    bool again_ = false;           // by mutex_
    bool done_ = false;            // by mutex_
    bool watching_ = false;        // by mutex_
    std::optional<Reply> last_;    // by mutex_
    std::shared_ptr<void> watch_;  // by mutex_
};

/// ?timeout of a long poll: at most kMaxWait.
Result<milliseconds> read_wait(const net::Query& query);

}  // namespace berth::gateway
