// SPDX-License-Identifier: Apache-2.0
// A thousand seeds of messages lost, doubled and reordered and of crashes between any two steps;
// and the proof that the rare branches were really walked. BERTH_SIM_SEED=<n> replays one seed and
// tells its story, BERTH_SIM_SEEDS=<n> tries as many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "scenario.hpp"

namespace berth::sim {
namespace {

constexpr std::uint64_t kSeeds = 1'000;
// Fewer seeds than this cannot be asked to reach what is rare.
constexpr std::uint64_t kEnoughForRarities = 500;

constexpr const char* kRarities[] = {
    "publish lost",
    "PubAck lost",
    "delivery lost",
    "delivery doubled",
    "ack lost",
    "reply lost",
    "reply not stored",
    "message stored twice",
    "publish de-duplicated",
    "redelivery",
    "asked again",
    "answered after asking again",
    "outcome repeated",
    "expired",
    "idempotency conflict",
    "one key, two askers, one lease",
    "delivered again while under way",
    "held through an outage",
    "published by the relay",
    "a reader dropped an older revision",
    "crash before the commit",
    "crash between commit and publish",
    "crash between publish and reply",
    "crash between reply and ack",
    "crash between PubAck and the row's end",
    "crash between driver and record",
    "crash between the actor's commit and publish",
    "crash between the reaper's commit and publish",
    "crash of a node agent",
    "crash between record and exec",
    "crash between exec and ack",
    "crash between exec and telling it",
    "crash between end and telling it",
    "crash between tombstone and removal",
    "crash at any time",
    "crash for long",
    "destroy before create",
    "destroy during create",
    "created and already unwanted",
    "destroy of what is going or gone",
    "creation tried again",
    "destruction tried again",
    "machine made after its provisioner crashed",
    "orphan removed",
    "a ready machine vanished",
    "machine failed",
    "machine ready after its lease ended",
    "machine gone before it was ready",
    "lease failed with its creation",
    "lease failed with its machine",
    "lease expired: ttl",
    "lease expired: idle",
    "pending lease expired",
    "release of an ended lease",
    "one-shot lease released by its run",
    "an acked start forgotten",
    "stale attachment dropped",
    "lease active with a live run at the end",
    "duplicate start",
    "end before start",
    "end of an ended run",
    "start came too late",
    "supervisor died before exec",
    "run taken up again",
    "end while the node agent was away",
    "run queued",
    "queued run placed",
    "canceled before it started",
    "cancel told again at the start",
    "cancel of a run the machine does not have",
    "cancel of a run that is starting or ended",
    "run lost with its machine",
    "run lost in silence",
    "run lost: never started",
    "run ended succeeded",
    "run ended canceled",
    "run ended lost",
    "run ended running",
    "client lost",
    "a client asks again after its restart",
    "a client asks anew after silence",
};

std::uint64_t number_of(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(Simulation, HoldsItsPromisesUnderEverySeed) {
    Counters counters;
    if (std::getenv("BERTH_SIM_SEED") != nullptr) {
        const std::uint64_t seed = number_of("BERTH_SIM_SEED", 1);
        for (const std::string& what : play(seed, counters, true)) ADD_FAILURE() << what;
        return;
    }
    const std::uint64_t seeds = number_of("BERTH_SIM_SEEDS", kSeeds);
    int failed = 0;
    for (std::uint64_t seed = 1; seed <= seeds && failed < 5; ++seed) {
        const auto violations = play(seed, counters, false);
        if (violations.empty()) continue;
        ++failed;
        ADD_FAILURE() << "BERTH_SIM_SEED=" << seed << ": " << violations.front() << " ("
                      << violations.size() << " in all)";
    }
    if (std::getenv("BERTH_SIM_COUNTS") != nullptr) {
        for (const auto& [what, times] : counters) std::cout << times << '\t' << what << '\n';
    }
    if (failed > 0 || seeds < kEnoughForRarities) return;
    for (const char* rare : kRarities) EXPECT_GT(counters[rare], 0U) << "never reached: " << rare;
}

// The suite's own proof that a seed decides everything: else a printed seed would replay nothing.
TEST(Simulation, ReplaysASeedExactly) {
    Counters first;
    Counters second;
    EXPECT_EQ(play(7, first, false), play(7, second, false));
    EXPECT_EQ(first, second);
    Counters other;
    play(8, other, false);
    EXPECT_NE(first, other);
}

}  // namespace
}  // namespace berth::sim
