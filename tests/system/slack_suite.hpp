// SPDX-License-Identifier: Apache-2.0
// A deployment with the Slack bridge on a Slack that Slack's own libraries take for one, an admin
// U1 and an approver U2.
#pragma once

#include <signal.h>

#include <thread>

#include "chat_test.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::testing {

inline constexpr const char* kChannel = SlackSuite::kChannel;
inline constexpr const char* kApprovals = SlackSuite::kApprovals;
inline constexpr const char* kBotToken = SlackSuite::kBotToken;
inline constexpr const char* kAppToken = SlackSuite::kAppToken;

class ChatSystem : public ChatTest<SlackSuite> {
protected:
    static std::string say(
        const std::string& text, const std::string& user = "U1", const std::string& thread = {}
    ) {
        return chat_->say(text, user, kChannel, thread);
    }
    static std::vector<Json> bots(const std::string& channel = kChannel) {
        return chat_->bots(channel);
    }
    static Json wait_for(
        const std::string& words,
        const std::string& channel = kChannel,
        const std::string& thread = {},
        milliseconds patience = seconds{60}
    ) {
        const auto look = [&] {
            auto all = bots(channel);
            std::erase_if(all, [&](const Json& one) {
                return !thread.empty() && one.string_or("thread_ts", "") != thread;
            });
            return all;
        };
        return wait_for_one(words, channel, look, patience);
    }
    static void click(
        const Json& card,
        const std::string& button,
        const std::string& user,
        const std::string& channel
    ) {
        chat_->click(card, button, user, channel);
    }
};

}  // namespace berth::testing
