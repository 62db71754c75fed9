// SPDX-License-Identifier: Apache-2.0
// The arithmetic of RateBudget.
#include "provisioner/drivers/hetzner/rate_budget.hpp"

#include <algorithm>
#include <cmath>

namespace berth::prov::hetzner {
namespace {

constexpr double kSecondsPerHour = 3600.0;
// A 429 without a Retry-After: the account gets about one request back per second.
constexpr seconds kPauseAfterRefusal{2};
// A provider that names a longer pause than this is not believed: an hour fills the whole budget.
constexpr seconds kLongestPause{3600};

double in_seconds(SteadyTime::duration span) { return std::chrono::duration<double>(span).count(); }

}  // namespace

RateBudget::RateBudget(long long per_hour, double reserve_share)
    : limit_(static_cast<double>(std::max(1LL, per_hour))),
      reserve_share_(reserve_share),
      tokens_(limit_),
      per_second_(limit_ / kSecondsPerHour) {}

void RateBudget::fill(SteadyTime now) {
    if (filled_ && now > *filled_)
        tokens_ = std::min(limit_, tokens_ + in_seconds(now - *filled_) * per_second_);
    if (!filled_ || now > *filled_) filled_ = now;
}

milliseconds RateBudget::take(SteadyTime now, bool urgent) {
    fill(now);
    if (now < closed_until_) return std::chrono::ceil<milliseconds>(closed_until_ - now);
    const double floor = urgent ? 0.0 : limit_ * reserve_share_;
    if (tokens_ - 1.0 < floor) {
        const double missing = floor + 1.0 - tokens_;
        return milliseconds{static_cast<long long>(std::ceil(missing / per_second_ * 1000.0))};
    }
    tokens_ -= 1.0;
    return milliseconds{0};
}

void RateBudget::heard(const RateNotice& notice, SteadyTime now, WallTime wall) {
    fill(now);
    if (notice.limit && *notice.limit > 0) {
        limit_ = static_cast<double>(*notice.limit);
        per_second_ = limit_ / kSecondsPerHour;
    }
    // Answers overtake one another and requests are under way: only a lower figure is news, unless
    // the account has more than we thought by a margin that no overtaking explains.
    if (notice.remaining) {
        const auto left = static_cast<double>(std::max(0LL, *notice.remaining));
        constexpr double kOvertaking = 32.0;
        if (left < tokens_ || left > tokens_ + kOvertaking) tokens_ = std::min(left, limit_);
        if (left < 1.0 && notice.reset_unix) {
            // Its own word on how fast it fills: whole again at reset.
            const auto whole = seconds{*notice.reset_unix} -
                               std::chrono::duration_cast<seconds>(wall.time_since_epoch());
            if (whole > seconds{0} && whole <= kLongestPause)
                per_second_ = std::max(per_second_, limit_ / static_cast<double>(whole.count()));
        }
    }
    if (notice.refused) {
        const seconds pause =
            std::clamp(notice.retry_after.value_or(kPauseAfterRefusal), seconds{0}, kLongestPause);
        closed_until_ = std::max(closed_until_, now + pause);
    }
}

double RateBudget::available(SteadyTime now) {
    fill(now);
    return tokens_;
}

}  // namespace berth::prov::hetzner
