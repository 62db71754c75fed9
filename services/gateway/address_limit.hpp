// SPDX-License-Identifier: Apache-2.0
// How often one address may do what costs something and needs no token.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "core/error.hpp"
#include "core/time.hpp"

namespace berth::gateway {

/// Thread-safe. A bucket of `burst` per address that fills again at `per_minute`. At most kMost
/// addresses are remembered: beyond that the whole world shares one bucket, so that nobody gets
/// room by having many addresses.
class AddressLimit {
public:
    static constexpr std::size_t kMost = 10'000;

    AddressLimit(double burst, double per_minute) : burst_(burst), per_ms_(per_minute / 60'000) {}

    bool take(const std::string& address, SteadyTime now) {
        const std::lock_guard lock(mutex_);
        if (!buckets_.contains(address) && buckets_.size() >= kMost) forget_full(now);
        const bool crowded = !buckets_.contains(address) && buckets_.size() >= kMost;
        Bucket& bucket =
            buckets_.try_emplace(crowded ? "" : address, Bucket{burst_, now}).first->second;
        bucket.left = left(bucket, now);
        bucket.at = now;
        if (bucket.left < 1) return false;
        bucket.left -= 1;
        return true;
    }

private:
    struct Bucket {
        double left = 0;
        SteadyTime at;
    };
    double left(const Bucket& bucket, SteadyTime now) const {
        const auto passed = std::chrono::duration_cast<milliseconds>(now - bucket.at).count();
        return std::min(burst_, bucket.left + static_cast<double>(passed) * per_ms_);
    }
    void forget_full(SteadyTime now) {
        std::erase_if(buckets_, [&](const auto& each) { return left(each.second, now) >= burst_; });
    }

    const double burst_;
    const double per_ms_;
    std::mutex mutex_;
    std::map<std::string, Bucket> buckets_;  // by mutex_
};

inline Error too_often() {
    return limit("too_often", "this address asks too often; try again in a minute");
}

}  // namespace berth::gateway
