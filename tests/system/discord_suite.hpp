// SPDX-License-Identifier: Apache-2.0
// The whole suite with a Discord that discord.js takes for one, and the words the tests use about
// it.
#pragma once

#include <algorithm>

#include "chat_test.hpp"
#include "core/fd.hpp"

namespace berth::testing {

inline constexpr const char* kToken = "MTAw.a-token.of-the-tests-only-0123456789";

/// Where ann is the admin.
class DiscordSuite : public ChatSuite {
public:
    static constexpr std::size_t kRooms = 40;

    DiscordSuite() : ChatSuite("discord", {"--token", kToken}) {
        (void)tell("settings", "{'limits':{}}");
        const Json channels = *fake().look("state").find("channels");
        std::string chats = "\"" + channels.string_or("general", "") + "\"";
        for (std::size_t i = 0; i < kRooms; ++i) {
            rooms_.push_back(
                tell("room", "{'name':'room" + std::to_string(i) + "'}").string_or("id", "")
            );
            chats += ", \"" + rooms_.back() + "\"";
        }
        start(
            "  api_url: \"" + fake().url() + "/api/v10\"\n  token_file: \"" +
            secret("token", kToken) + "\"\n  orgs:\n    default:\n      chats: [" + chats +
            "]\n      approvals: [\"" + channels.string_or("other", "") + "\"]\n"
        );
    }
    Json tell(const std::string& what, std::string body) {
        for (char& c : body) c = c == '\'' ? '"' : c;
        return fake().tell(what, body);
    }
    /// Channels where the bot listens, besides.
    const std::vector<std::string>& rooms() const { return rooms_; }

private:
    std::vector<std::string> rooms_;
};

class DiscordSystem : public ChatTest<DiscordSuite> {
public:
    static void SetUpTestSuite() {
        ChatTest::SetUpTestSuite();
        pair("ann", {});
        pair("olga", chat_->olga());
    }

protected:
    static Json tell(const std::string& what, std::string body) {
        return chat_->tell(what, std::move(body));
    }
    static std::string command(
        const std::string& person,
        const std::string& channel,
        const std::string& verb,
        const std::string& arguments = {}
    ) {
        Json option = Json::object().set("type", 1).set("name", verb);
        if (!arguments.empty()) {
            Json text =
                Json::object().set("type", 3).set("name", "arguments").set("value", arguments);
            option.set("options", Json::array().push(std::move(text)));
        }
        Json order = Json::object().set("person", person).set("channel", channel);
        order.set("options", Json::array().push(std::move(option)));
        return fake_->tell("command", order.dump()).string_or("interaction", "");
    }
    static std::vector<Json> bots(const std::string& channel, const std::string& viewer = {}) {
        std::vector<Json> out;
        const Json all =
            fake_->look("channel/" + channel + (viewer.empty() ? "" : "?as=" + viewer));
        for (const Json& one : *all.find("messages")->as_array()) {
            if (one.bool_or("bot", false)) out.push_back(one);
        }
        return out;
    }
    static Json wait_for(
        const std::string& words,
        const std::string& channel,
        const std::string& viewer = {},
        milliseconds patience = seconds{60}
    ) {
        return wait_for_one(
            words, channel, [&] { return bots(channel, viewer); }, patience
        );
    }
    static void pair(const std::string& person, const std::map<std::string, std::string>& env) {
        command(person, "dm:" + person, "pair", chat_->pairing_code(env));
        wait_for("You are linked", "dm:" + person, person);
    }
    static std::string click(
        const Json& card,
        const std::string& button,
        const std::string& person,
        const std::string& channel
    ) {
        Json order = Json::object();
        order.set("person", person)
            .set("channel", channel)
            .set("message", card.string_or("id", ""))
            .set("button", button);
        return fake_->tell("click", order.dump()).string_or("interaction", "");
    }
};

}  // namespace berth::testing
