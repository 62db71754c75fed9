// SPDX-License-Identifier: Apache-2.0
// Who is silent, and who was never heard at all.
#include "run_manager/presences.hpp"

#include <gtest/gtest.h>

#include "run_manager/settings.hpp"

namespace berth::run {
namespace {

using Verdict = Presences::Verdict;
const SteadyTime kStart{std::chrono::hours{1}};

TEST(Presences, AMachineThatFallsSilentIsSilentAfterItsTime) {
    Presences presences;
    presences.hear("m_1", {"rn_1"}, kStart);
    EXPECT_EQ(presences.judge("m_1", "rn_1", kStart + kMachineSilence), Verdict::kSpeaks);
    const SteadyTime late = kStart + kMachineSilence + milliseconds{1};
    presences.hear("m_2", {}, late);
    EXPECT_EQ(presences.judge("m_1", "rn_1", late), Verdict::kSilent);
    EXPECT_EQ(presences.judge("m_2", "rn_1", late), Verdict::kHasNoSuchRun);
}

// Its first word went by while the bus was being started anew: that is no silence of 20 s.
TEST(Presences, AMachineNeverHeardHasTheWholeTimeFromItsFirstLookOn) {
    Presences presences;
    EXPECT_EQ(presences.judge("m_1", "rn_1", kStart), Verdict::kSpeaks);
    EXPECT_EQ(presences.judge("m_1", "rn_1", kStart + kMachineSilence), Verdict::kSpeaks);
    EXPECT_EQ(
        presences.judge("m_1", "rn_1", kStart + kMachineSilence + milliseconds{1}), Verdict::kSilent
    );
}

TEST(Presences, WhoeverWasDeafBlamesNobody) {
    Presences presences;
    presences.hear("m_1", {}, kStart);
    presences.forget_all();
    const SteadyTime late = kStart + kMachineSilence * 3;
    EXPECT_EQ(presences.judge("m_1", "rn_1", late), Verdict::kSpeaks)
        << "neither its silence nor its list of then counts";
    presences.hear("m_1", {}, late);
    EXPECT_EQ(presences.judge("m_1", "rn_1", late), Verdict::kHasNoSuchRun);
}

TEST(Presences, AMachineThatIsGoneIsForgotten) {
    Presences presences;
    presences.hear("m_1", {}, kStart);
    const SteadyTime late = kStart + kMachineSilence * 3;
    presences.hear("m_2", {}, late);
    EXPECT_EQ(presences.judge("m_1", "rn_1", late), Verdict::kSpeaks) << "as one never heard";
}

}  // namespace
}  // namespace berth::run
