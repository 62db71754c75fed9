// SPDX-License-Identifier: Apache-2.0
// Token buckets.
#include "chat/limiter.hpp"

#include <algorithm>
#include <cmath>

namespace berth::chat {
namespace {

// A chat whose budget is full again is as good as a new one.
constexpr std::size_t kLookForIdle = 1'000;

milliseconds until_one(double tokens, const Rate& rate) {
    if (tokens >= 1.0 || rate.per_second <= 0) return milliseconds{0};
    return milliseconds{
        static_cast<long long>(std::ceil((1.0 - tokens) * 1'000.0 / rate.per_second))};
}

}  // namespace

void Limiter::Bucket::fill(const Rate& rate, SteadyTime now) {
    const double passed = std::chrono::duration<double>(now - at).count();
    tokens = std::min(std::max(1.0, rate.burst), tokens + std::max(0.0, passed) * rate.per_second);
    at = now;
}

bool Limiter::Chat::idle(SteadyTime now) const {
    Bucket filled = bucket;
    filled.fill(rate, now);
    return filled.tokens >= std::max(1.0, rate.burst) &&
           std::none_of(paused.begin(), paused.end(), [&](const auto& each) {
               return each.second > now;
           });
}

std::size_t Limiter::available(std::string_view route, SteadyTime now) {
    return holds(paused_, route, now) ? 0 : left(now);
}

std::size_t Limiter::left(SteadyTime now) {
    if (!begun_) {
        begun_ = true;
        all_ = {std::max(1.0, overall_.burst), now};
    }
    all_.fill(overall_, now);
    return all_.tokens < 1.0 ? 0 : static_cast<std::size_t>(all_.tokens);
}

std::vector<std::string> Limiter::held_back(
    std::string_view route, SteadyTime now, double reserve
) {
    std::vector<std::string> out;
    for (auto& [name, chat] : chats_) {
        chat.bucket.fill(chat.rate, now);
        if (chat.bucket.tokens < 1.0 + reserve || holds(chat.paused, route, now))
            out.push_back(name);
    }
    return out;
}

Limiter::Chat& Limiter::chat_of(const std::string& chat, SteadyTime now) {
    const auto [at, made] = chats_.try_emplace(chat);
    if (made) {
        const Rate rate = rate_of_ == nullptr ? per_chat_ : rate_of_(chat);
        at->second = {rate, {std::max(1.0, rate.burst), now}, {}};
    }
    return at->second;
}

void Limiter::take(const std::string& chat, SteadyTime now) {
    if (chats_.size() >= kLookForIdle) forget(now);
    Chat& taken = chat_of(chat, now);
    taken.bucket.fill(taken.rate, now);
    taken.bucket.tokens -= 1.0;
    (void)left(now);
    all_.tokens -= 1.0;
}

void Limiter::pause(const std::string& chat, std::string_view route, SteadyTime until) {
    SteadyTime& paused = chat_of(chat, until - seconds{1}).paused[std::string(route)];
    paused = std::max(paused, until);
}

void Limiter::pause_all(std::string_view route, SteadyTime until) {
    SteadyTime& paused = paused_[std::string(route)];
    paused = std::max(paused, until);
}

bool Limiter::paused(const std::string& chat, std::string_view route, SteadyTime now) const {
    const auto at = chats_.find(chat);
    return holds(paused_, route, now) ||
           (at != chats_.end() && holds(at->second.paused, route, now));
}

bool Limiter::holds(const Pauses& pauses, std::string_view route, SteadyTime now) {
    const auto pause = pauses.find(std::string(route));
    return pause != pauses.end() && pause->second > now;
}

milliseconds Limiter::next(SteadyTime now, milliseconds idle) {
    milliseconds out = idle;
    const auto sooner = [&](milliseconds wait) {
        out = std::min(out, std::max(wait, milliseconds{1}));
    };
    if (begun_ && left(now) == 0) sooner(until_one(all_.tokens, overall_));
    const auto then = [&](const Pauses& pauses) {
        for (const auto& [route, until] : pauses) {
            if (until > now) sooner(std::chrono::ceil<milliseconds>(until - now));
        }
    };
    then(paused_);
    for (auto& [name, chat] : chats_) {
        chat.bucket.fill(chat.rate, now);
        if (chat.bucket.tokens < 1.0) sooner(until_one(chat.bucket.tokens, chat.rate));
        then(chat.paused);
    }
    return out;
}

void Limiter::forget(SteadyTime now) {
    std::erase_if(chats_, [&](const auto& each) { return each.second.idle(now); });
}

}  // namespace berth::chat
