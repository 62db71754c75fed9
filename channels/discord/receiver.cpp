// SPDX-License-Identifier: Apache-2.0
// Stored first, acknowledged second.
#include "discord/receiver.hpp"

#include "log/log.hpp"

namespace berth::discord {
namespace {

using Kind = chat::SendError::Kind;

constexpr milliseconds kLookEvery{100};  // while the queue is full

}  // namespace

void Receiver::start(chat::Sink& sink) {
    sink_ = &sink;
    thread_ = std::thread([this] { work(); });
}

void Receiver::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

bool Receiver::push(Arrival arrival, const std::function<bool()>& given_up) {
    // A modal is no event yet, only an answer that is due.
    if (!arrival.told.inbound && !arrival.told.answer.is_null()) interactions_.answer(arrival.told);
    std::unique_lock lock(mutex_);
    if (queue_.size() >= kMaxQueue) {
        ++waiting_;
        while (!stopping_ && queue_.size() >= kMaxQueue && !given_up())
            changed_.wait_for(lock, kLookEvery);
        --waiting_;
    }
    if (stopping_ || queue_.size() >= kMaxQueue) return false;
    queue_.push_back(std::move(arrival));
    changed_.notify_all();
    return true;
}

bool Receiver::pause(milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void Receiver::work() {
    for (;;) {
        std::vector<Arrival> batch;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (stopping_) return;  // what is queued was never counted: it comes again
            while (!queue_.empty() && batch.size() < kMaxBatch) {
                batch.push_back(std::move(queue_.front()));
                queue_.pop_front();
            }
        }
        changed_.notify_all();
        if (!store(batch)) return;
    }
}

bool Receiver::store(std::vector<Arrival>& batch) {
    std::vector<chat::Inbound> events;
    for (Arrival& arrival : batch) {
        if (!arrival.told.inbound) continue;
        if (arrival.told.needs_parent && !find_parent(*arrival.told.inbound)) return false;
        if (!arrival.told.interaction.empty()) interactions_.expect(arrival.told.interaction);
        events.push_back(*arrival.told.inbound);
    }
    if (!events.empty()) {
        for (auto done = sink_->accept(events); !done; done = sink_->accept(events)) {
            log::warning(
                "what was said on Discord cannot be stored yet", {{"error", done.error()}}
            );
            if (!pause(kAcceptRetry)) return false;
        }
    }
    for (const Arrival& arrival : batch) {
        if (arrival.told.inbound && !arrival.told.interaction.empty())
            interactions_.answer(arrival.told);
        keeper_.advance(arrival.session, arrival.seq);
    }
    keeper_.remember(false);
    return true;
}

/// Lists of allowed chats name channels: a thread counts as the channel it lies in.
bool Receiver::find_parent(chat::Inbound& inbound) {
    const std::string id = inbound.conversation.chat;
    auto known = parents_.find(id);
    while (known == parents_.end()) {
        Call call;
        call.route = "/channels/{id}";
        call.major = id;
        call.path = "/channels/" + id;
        const Answer answer = api_.call(call);
        if (!answer.ok &&
            (answer.error.kind == Kind::kLater || answer.error.kind == Kind::kUnknown ||
             answer.error.kind == Kind::kUnauthorized)) {
            if (!pause(std::max(answer.error.retry_after, kFirstBackoff))) return false;
            continue;
        }
        std::string parent = answer.body.string_or("parent_id", "");
        const std::int64_t kind = answer.body.int_or("type", -1);
        const bool is_thread = answer.ok && kind >= 10 && kind <= 12 && is_id(parent);
        if (parents_.size() >= kMaxChannels) parents_.erase(parents_.begin());
        known = parents_.emplace(id, is_thread ? std::move(parent) : id).first;
    }
    if (known->second != id) inbound.conversation = {known->second, id};
    return true;
}

Result<void> Receiver::accept(Told& told) {
    interactions_.expect(told.interaction);
    auto done = sink_->accept({*told.inbound});
    interactions_.set(
        told.interaction, done ? Interactions::State::kOpen : Interactions::State::kDead
    );
    return done;
}

}  // namespace berth::discord
