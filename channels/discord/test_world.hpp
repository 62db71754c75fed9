// SPDX-License-Identifier: Apache-2.0
// The platform in front of the fake Discord, and a sink that listens: what the tests of both halves
// share.
#pragma once

#include <gtest/gtest.h>

#include <mutex>
#include <string>

#include "discord/discord.hpp"
#include "support/fakes/platform_fixture.hpp"

namespace berth::discord {

using Kind = chat::SendError::Kind;

inline Json quoted(std::string text) {
    for (char& c : text) c = c == '\'' ? '"' : c;
    auto json = Json::parse(text);
    EXPECT_TRUE(json) << text;
    return json ? *json : Json();
}

class World : public berth::testing::PlatformTest {
protected:
    static constexpr const char* kToken = "MTAw.token.of-the-tests";

    World() : PlatformTest("discord", {"--token", kToken}) {
        const Json state = fake_.look("state");
        general_ = state.find("channels")->string_or("general", "");
        other_ = state.find("channels")->string_or("other", "");
        thread_ = state.find("channels")->string_or("thread", "");
    }

    /// As if its file had changed: the bridge reads it on threads of its own.
    void change_token(std::string token) {
        const std::lock_guard lock(token_mutex_);
        token_ = std::move(token);
    }

    void make() {
        Options options;
        options.token = [this] {
            const std::lock_guard lock(token_mutex_);
            return Secret(token_);
        };
        options.api_url = fake_.api_url() + "/api/v10";
        options.verbs = {{"run", "Runs a command", "COMMAND…"}, {"status", "How it is", ""}};
        platform_ = make_platform(std::move(options));
    }
    void start() {
        make();
        ASSERT_NO_FATAL_FAILURE(PlatformTest::start(std::move(platform_)));
    }

    Json tell(const std::string& what, std::string body) {
        for (char& c : body) c = c == '\'' ? '"' : c;
        return fake_.tell(what, body);
    }
    std::string say(
        const std::string& text,
        const std::string& channel = "general",
        const std::string& person = "ann"
    ) {
        return tell(
                   "message",
                   "{'person':'" + person + "','channel':'" + channel + "','text':'" + text +
                       "','mention':true}"
        )
            .string_or("id", "");
    }
    std::string command(
        const std::string& arguments = "make test", const std::string& channel = "general"
    ) {
        return tell(
                   "command",
                   "{'person':'ann','channel':'" + channel +
                       "','options':[{'type':1,'name':'run','options':[{'type':3,'name':'arguments'"
                       ",'value':'" +
                       arguments + "'}]}]}"
        )
            .string_or("interaction", "");
    }
    /// What stands in a channel now.
    Json::Array shown(const std::string& place = "general", const std::string& viewer = "") {
        const Json seen = fake_.look("channel/" + place + (viewer.empty() ? "" : "?as=" + viewer));
        return *seen.find("messages")->as_array();
    }
    Json::Array mine(const std::string& place = "general", const std::string& viewer = "") {
        Json::Array out;
        for (const Json& message : shown(place, viewer)) {
            if (message.bool_or("bot", false)) out.push_back(message);
        }
        return out;
    }
    std::int64_t counted(const std::string& what) {
        return fake_.look("state").find("counts")->int_or(what, 0);
    }
    chat::Inbound heard(std::size_t number) {
        EXPECT_TRUE(heard_.wait_events(number + 1));
        const auto events = heard_.events();
        return number < events.size() ? events[number] : chat::Inbound();
    }

    chat::Outgoing message(std::string markdown, std::string key = "01hzzzzzzzzzzzzzzzzzzzzzz0")
        const {
        chat::Outgoing out = berth::testing::words_in(general_, std::move(markdown));
        out.key = std::move(key);
        return out;
    }
    chat::Outgoing card(std::string title) const {
        chat::Outgoing out = message("");
        out.content.is_card = true;
        out.content.card.title = std::move(title);
        out.content.card.fields = {{"state", "waiting"}};
        out.content.card.buttons = {
            {"yes", "Approve", chat::ButtonStyle::kGood, false},
            {"no", "Deny", chat::ButtonStyle::kDanger, true}};
        return out;
    }

    std::mutex token_mutex_;
    std::string token_ = kToken;  // by token_mutex_
    std::string general_, other_, thread_;
};

}  // namespace berth::discord
