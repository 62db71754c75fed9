// SPDX-License-Identifier: Apache-2.0
// A resource's states against every order in which creates, destroys and their results may come.
#include "provisioner/resource.hpp"

#include <gtest/gtest.h>

namespace berth::prov {
namespace {

const WallTime kNow = from_unix_micros(1'800'000'000'000'000);

Resource in(ResourceState state) {
    Resource resource;
    resource.machine = "m_1";
    resource.state = state;
    return resource;
}

TEST(Resource, ADestroyWinsOverACreateUnderWay) {
    Resource resource = in(ResourceState::kCreating);
    ASSERT_TRUE(want_destroyed(resource, kNow));
    EXPECT_FALSE(created(resource)) << "the late success makes nothing ready";
    EXPECT_EQ(resource.state, ResourceState::kDestroying);
    create_failed(resource, "x", true, 3, kNow);
    EXPECT_EQ(resource.state, ResourceState::kDestroying);
    destroyed(resource);
    EXPECT_EQ(resource.state, ResourceState::kGone);
    EXPECT_FALSE(want_destroyed(resource, kNow));
}

TEST(Resource, APassingFailureIsTriedAgainLaterAndNotForEver) {
    Resource resource = in(ResourceState::kCreating);
    create_failed(resource, "busy", false, 3, kNow);
    EXPECT_EQ(resource.state, ResourceState::kCreating);
    EXPECT_GT(resource.next_at, kNow);
    create_failed(resource, "busy", false, 3, kNow);
    create_failed(resource, "busy", false, 3, kNow);
    EXPECT_EQ(resource.state, ResourceState::kFailed);
    EXPECT_TRUE(want_destroyed(resource, kNow)) << "whatever was half made can still be removed";
}

TEST(Resource, WhatWaitsForAnImageHasNotFailedHoweverOftenItLooks) {
    Resource resource = in(ResourceState::kCreating);
    for (int i = 0; i < 1'000; ++i) create_waits(resource, "still being fetched", kNow);
    EXPECT_EQ(resource.state, ResourceState::kCreating);
    EXPECT_EQ(resource.attempts, 0);
    EXPECT_GT(resource.next_at, kNow);
    ASSERT_TRUE(want_destroyed(resource, kNow));
    create_waits(resource, "still being fetched", kNow);
    EXPECT_EQ(resource.next_at, kNow) << "its removal does not wait";
}

TEST(Resource, AFinalFailureIsFinalAtOnce) {
    Resource resource = in(ResourceState::kCreating);
    create_failed(resource, "no such image", true, 3, kNow);
    EXPECT_EQ(resource.state, ResourceState::kFailed);
}

TEST(Resource, ADestroyIsRetriedForEverAtABoundedPace) {
    Resource resource = in(ResourceState::kDestroying);
    for (int i = 0; i < 1'000; ++i) {
        destroy_failed(resource, "away", seconds{30}, kNow);
        ASSERT_EQ(resource.state, ResourceState::kDestroying);
        ASSERT_LE(resource.next_at, kNow + seconds{30});
    }
}

TEST(Resource, OnlyAReadyMachineCanVanish) {
    for (const ResourceState state :
         {ResourceState::kCreating,
          ResourceState::kReady,
          ResourceState::kDestroying,
          ResourceState::kGone,
          ResourceState::kFailed}) {
        Resource resource = in(state);
        EXPECT_EQ(vanished(resource), state == ResourceState::kReady);
        EXPECT_EQ(resource_state(state_name(state)), state);
    }
}

}  // namespace
}  // namespace berth::prov
