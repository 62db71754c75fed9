// SPDX-License-Identifier: Apache-2.0
// A chat platform in front of its fake: what the tests of every one share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "chat/listener.hpp"
#include "chat/platform.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/fakes/heard.hpp"
#include "support/fakes/long_text.hpp"

namespace berth::testing {

class PlatformTest : public ::testing::Test {
protected:
    PlatformTest(const std::string& name, const std::vector<std::string>& arguments)
        : fake_(name, arguments) {}
    void TearDown() override {
        if (platform_) platform_->stop();
        listener_.reset();
        EXPECT_EQ(fake_.complaints(), "");
    }
    /// Until it is ready.
    void start(std::unique_ptr<chat::Platform> platform) {
        {
            const std::lock_guard lock(replacing_);
            platform_ = std::move(platform);
        }
        ASSERT_TRUE(platform_->start(heard_));
        ASSERT_TRUE(heard_.wait_ready()) << heard_.state().reason;
    }

    /// All pieces of the text, each in the message that `in` makes of it.
    void post_whole(
        const LongText& text, const std::function<chat::Outgoing(const std::string&)>& in
    ) {
        for (const std::string& piece : text.pieces(platform_->traits()))
            ASSERT_TRUE(platform_->post(in(piece)).value) << piece;
    }

    /// Opens the bridge's public listener in front of the platform, and returns its URL.
    std::string listen() {
        listener_ =
            std::move(chat::Listener::start("127.0.0.1:0", [this](const chat::WebRequest& request) {
                          const std::shared_lock lock(replacing_);
                          return platform_->web(request);
                      }).value());
        return "http://" + listener_->address();
    }

    FakeProcess fake_;
    Heard heard_;                  // outlives each platform, as a database does
    std::shared_mutex replacing_;  // of platform_ by start(), while requests come
    std::unique_ptr<chat::Platform> platform_;
    std::unique_ptr<chat::Listener> listener_;
};

inline chat::Outgoing words_in(std::string chat, std::string markdown) {
    chat::Outgoing out;
    out.conversation.chat = std::move(chat);
    out.content.markdown = std::move(markdown);
    return out;
}

}  // namespace berth::testing
