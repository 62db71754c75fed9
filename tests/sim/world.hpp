// SPDX-License-Identifier: Apache-2.0
// The simulated world: one thread, virtual time, one seed that decides everything.
#pragma once

#include <functional>
#include <map>
#include <queue>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "core/time.hpp"

namespace berth::sim {

/// How often something rare happened, over all seeds: a simulation that never reached its rare
/// branches proves nothing, so the suite asks for them.
using Counters = std::map<std::string, std::uint64_t, std::less<>>;

/// The clock, the dice and the list of what happens next. Everything of a simulation hangs on one
/// world and dies with it.
class World {
public:
    World(std::uint64_t seed, Counters& counters) : random_(seed), counters_(counters) {}

    WallTime now() const { return now_; }
    /// `action` happens `delay` from now; equal times in the order they were asked for.
    void after(milliseconds delay, std::function<void()> action);
    void run_until(WallTime end);

    /// True with this probability while faults go on, never after.
    bool fault(unsigned per_mille) { return faults_ && random_.below(1'000) < per_mille; }
    /// True with this probability at any time: what clients and machines do, which is no fault.
    bool dice(unsigned percent) { return random_.below(100) < percent; }
    milliseconds between(int least, int most) {
        return milliseconds{
            least + static_cast<int>(random_.below(static_cast<std::uint64_t>(most - least) + 1))};
    }
    std::uint64_t below(std::uint64_t limit) { return random_.below(limit); }
    void end_faults() { faults_ = false; }
    bool faults() const { return faults_; }

    void count(std::string_view what);
    /// Something that must never be. The first one is what the seed is reported with.
    void violated(std::string what) { violations_.push_back(std::move(what)); }
    const std::vector<std::string>& violations() const { return violations_; }
    /// A line of the story, kept only while a seed is replayed.
    void tell(const std::string& who, const std::string& what) const;
    void tell_story(bool on) { telling_ = on; }
    std::uint64_t fresh() { return ++next_id_; }

private:
    struct Planned {
        WallTime when;
        std::uint64_t order;
        std::function<void()> action;
        bool operator>(const Planned& other) const {
            return when != other.when ? when > other.when : order > other.order;
        }
    };
    SeededRandom random_;
    Counters& counters_;
    WallTime now_{std::chrono::hours{24 * 365 * 50}};
    std::priority_queue<Planned, std::vector<Planned>, std::greater<>> planned_;
    std::uint64_t next_order_ = 0;
    std::uint64_t next_id_ = 0;
    bool faults_ = true;
    bool telling_ = false;
    std::vector<std::string> violations_;
};

}  // namespace berth::sim
