// SPDX-License-Identifier: Apache-2.0
// A chat platform in front of its fake: what the tests of every one share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat/platform.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/fakes/heard.hpp"

namespace berth::testing {

class PlatformTest : public ::testing::Test {
protected:
    PlatformTest(const std::string& name, const std::vector<std::string>& arguments)
        : fake_(name, arguments) {}
    void TearDown() override {
        if (platform_) platform_->stop();
        EXPECT_EQ(fake_.complaints(), "");
    }
    /// Until it is ready.
    void start(std::unique_ptr<chat::Platform> platform) {
        platform_ = std::move(platform);
        ASSERT_TRUE(platform_->start(heard_));
        ASSERT_TRUE(heard_.wait_ready()) << heard_.state().reason;
    }

    FakeProcess fake_;
    Heard heard_;  // outlives each platform, as a database does
    std::unique_ptr<chat::Platform> platform_;
};

inline chat::Outgoing words_in(std::string chat, std::string markdown) {
    chat::Outgoing out;
    out.conversation.chat = std::move(chat);
    out.content.markdown = std::move(markdown);
    return out;
}

}  // namespace berth::testing
