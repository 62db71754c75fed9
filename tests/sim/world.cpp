// SPDX-License-Identifier: Apache-2.0
// What happens next, in the order of virtual time.
#include "world.hpp"

#include <cstdio>

namespace berth::sim {

void World::after(milliseconds delay, std::function<void()> action) {
    planned_.push({now_ + delay, next_order_++, std::move(action)});
}

void World::run_until(WallTime end) {
    while (!planned_.empty() && planned_.top().when <= end) {
        // The queue hands out const references only; the action leaves before its place in the
        // queue goes.
        auto next = std::move(const_cast<Planned&>(planned_.top()));
        planned_.pop();
        now_ = next.when;
        next.action();
    }
    now_ = end;
}

void World::count(std::string_view what) {
    const auto found = counters_.find(what);
    if (found == counters_.end())
        counters_.emplace(std::string(what), 1);
    else
        ++found->second;
}

void World::tell(const std::string& who, const std::string& what) const {
    if (!telling_) return;
    const auto ms = now_.time_since_epoch() / milliseconds{1} % 10'000'000;
    std::printf("%9.3f %-10s %s\n", static_cast<double>(ms) / 1000.0, who.c_str(), what.c_str());
}

}  // namespace berth::sim
