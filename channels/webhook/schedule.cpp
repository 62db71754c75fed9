// SPDX-License-Identifier: Apache-2.0
// Retries: each delivery backs off for itself, and a subscriber that fails again and again as a
// whole.
#include "webhook/schedule.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "webhook/settings.hpp"

namespace berth::webhook {

milliseconds backoff(int failures, Random& random) {
    const int doublings = std::clamp(failures - 1, 0, 20);
    const milliseconds plain =
        std::min<milliseconds>(kFirstRetry * (1LL << doublings), kSlowestRetry);
    const auto fifth = static_cast<std::uint64_t>(plain.count() / 5);
    return plain - milliseconds{plain.count() / 5} +
           milliseconds{static_cast<std::int64_t>(random.below(2 * fifth + 1))};
}

Verdict decide(
    Health& health, Attempts& attempts, const Answer& answer, WallTime now, Random& random
) {
    ++attempts.made;
    if (!attempts.first_at) attempts.first_at = now;
    if (answer.status >= 200 && answer.status < 300) {
        health = {0, {}, {}, health.not_before > now ? health.not_before : WallTime{}};
        return Verdict::kDelivered;
    }
    ++health.failures;
    if (!health.failing_since) health.failing_since = now;
    if (answer.status == 410) return Verdict::kDisable;
    if (now - *attempts.first_at >= kGiveUpAfter)
        return *health.failing_since <= *attempts.first_at ? Verdict::kDisable : Verdict::kGivenUp;
    attempts.next_at = now + backoff(attempts.made, random);
    if (health.failures >= kStreak)
        health.next_at =
            std::max(health.next_at, now + backoff(health.failures - kStreak + 1, random));
    if (answer.retry_after) {
        health.not_before = std::max(health.not_before, now + *answer.retry_after);
        attempts.next_at = std::max(attempts.next_at, now + *answer.retry_after);
    }
    return Verdict::kAgain;
}

std::optional<milliseconds> parse_retry_after(std::string_view text, WallTime now) {
    while (text.ends_with(' ')) text.remove_suffix(1);
    if (text.empty() || text.size() > 40) return std::nullopt;
    const milliseconds most = kGiveUpAfter;
    std::int64_t amount = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
    if (end == text.data() + text.size()) {
        if (error == std::errc::result_out_of_range) return most;
        if (error != std::errc() || amount < 0) return std::nullopt;
        return amount > most.count() / 1'000 ? most : milliseconds{amount * 1'000};
    }
    std::tm parts{};
    const std::string copy(text);
    const char* rest = strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    const auto until = from_unix_micros(static_cast<long long>(timegm(&parts)) * 1'000'000);
    const auto wait = std::chrono::duration_cast<milliseconds>(until - now);
    return std::clamp(wait, milliseconds{0}, most);
}

}  // namespace berth::webhook
