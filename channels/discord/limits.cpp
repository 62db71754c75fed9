// SPDX-License-Identifier: Apache-2.0
// Counting.
#include "discord/limits.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "discord/settings.hpp"

namespace berth::discord {
namespace {

constexpr milliseconds kSecond{1'000};
constexpr milliseconds kLongest{3'600'000};

milliseconds until(SteadyTime time, SteadyTime now) {
    return std::chrono::ceil<milliseconds>(time - now);
}

}  // namespace

RateLimits::Key RateLimits::key_of(const std::string& route, const std::string& major) const {
    const auto known = buckets_.find(route);
    return {known == buckets_.end() ? route : known->second, major};
}

milliseconds RateLimits::take(
    const std::string& route, const std::string& major, bool by_token, SteadyTime now
) {
    while (!invalid_.empty() && now - invalid_.front() > kInvalidWindow) invalid_.pop_front();
    if (invalid_.size() >= static_cast<std::size_t>(kMaxInvalid))
        return until(invalid_.front() + kInvalidWindow, now);
    if (!by_token && closed_until_ > now) return until(closed_until_, now);
    const auto budget = budgets_.find(key_of(route, major));
    if (budget != budgets_.end() && budget->second.remaining <= 0 && budget->second.reset > now)
        return until(budget->second.reset, now);
    if (!by_token) {
        while (!recent_.empty() && now - recent_.front() >= kSecond) recent_.pop_front();
        if (recent_.size() >= kGlobalPerSecond) return until(recent_.front() + kSecond, now);
        recent_.push_back(now);
    }
    if (budget != budgets_.end() && budget->second.reset > now) --budget->second.remaining;
    return milliseconds{0};
}

void RateLimits::learn(
    const std::string& route, const std::string& major, const BudgetHeaders& headers, SteadyTime now
) {
    if (!headers.bucket.empty() && buckets_.size() < kMaxBudgets) buckets_[route] = headers.bucket;
    long long remaining = 0;
    const char* const end = headers.remaining.data() + headers.remaining.size();
    if (headers.remaining.empty() ||
        std::from_chars(headers.remaining.data(), end, remaining).ec != std::errc{})
        return;
    const double seconds = std::strtod(headers.reset_after.c_str(), nullptr);
    if (!(seconds >= 0 && seconds <= 3'600)) return;
    const SteadyTime reset =
        now + std::chrono::ceil<milliseconds>(std::chrono::duration<double>(seconds));
    forget(now);
    Budget& budget = budgets_[key_of(route, major)];
    // Answers overtake each other: within one window the smaller number is the newer one.
    if (budget.reset > now && reset <= budget.reset + milliseconds{100}) {
        budget.remaining = std::min(budget.remaining, remaining);
    } else {
        budget = {remaining, reset};
    }
}

void RateLimits::refused(
    const std::string& route,
    const std::string& major,
    bool everywhere,
    milliseconds wait,
    SteadyTime now
) {
    wait = std::min(wait, kLongest);
    if (everywhere) {
        closed_until_ = std::max(closed_until_, now + wait);
    } else {
        forget(now);
        budgets_[key_of(route, major)] = {0, now + wait};
    }
}

void RateLimits::invalid(SteadyTime now) {
    invalid_.push_back(now);
    while (invalid_.size() > static_cast<std::size_t>(kMaxInvalid)) invalid_.pop_front();
}

void RateLimits::forget(SteadyTime now) {
    if (budgets_.size() < kMaxBudgets) return;
    std::erase_if(budgets_, [&](const auto& each) { return each.second.reset <= now; });
    if (budgets_.size() >= kMaxBudgets) budgets_.erase(budgets_.begin());
}

}  // namespace berth::discord
