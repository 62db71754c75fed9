// SPDX-License-Identifier: Apache-2.0
// The whole suite with a Discord that discord.js takes for one, and the words the tests use about
// it.
#pragma once

#include <algorithm>
#include <fstream>

#include "core/fd.hpp"
#include "support/fakes/fake_process.hpp"
#include "system.hpp"

namespace berth::testing {

inline constexpr const char* kToken = "MTAw.a-token.of-the-tests-only-0123456789";

inline constexpr const char* kPolicy =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "rules:\n"
    "  - id: ask-uname\n"
    "    action: ask\n"
    "    reason: a person shall say\n"
    "    match: {executable: uname}\n";

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

class DiscordSystem : public ::testing::Test {
public:
    static void SetUpTestSuite() {
        std::string folder = "/tmp/berth-discord-XXXXXX";
        ASSERT_NE(::mkdtemp(folder.data()), nullptr);
        secrets_ = folder;
        std::filesystem::permissions(folder, std::filesystem::perms{0755});
        std::ofstream(secrets_ / "token") << kToken << "\n";
        fake_ =
            std::make_unique<FakeProcess>("discord", std::vector<std::string>{"--token", kToken});
        (void)tell("settings", "{'limits':{}}");
        const Json channels = *fake_->look("state").find("channels");
        std::string chats = "\"" + channels.string_or("general", "") + "\"";
        for (std::size_t i = 0; i < kRooms; ++i) {
            rooms_.push_back(
                tell("room", "{'name':'room" + std::to_string(i) + "'}").string_or("id", "")
            );
            chats += ", \"" + rooms_.back() + "\"";
        }
        SuiteOptions options;
        options.settings =
            "profiles:\n  default: {driver: local, parallel_runs: 4}\ndiscord:\n  api_url: \"" +
            fake_->url() + "/api/v10\"\n  token_file: \"" + (secrets_ / "token").string() +
            "\"\n  orgs:\n    default:\n      chats: [" + chats + "]\n      approvals: [\"" +
            channels.string_or("other", "") + "\"]\n";
        suite_ = std::make_unique<Suite>(options);
        pair("ann", {});
        const auto made =
            suite_->api("POST", "/v1/users", R"({"name":"olga","roles":["approver"]})");
        ASSERT_LT(made.status, 300) << made.body;
        const auto token =
            suite_->api("POST", "/v1/tokens", R"({"user":"olga","roles":["approver"]})");
        const auto parsed = Json::parse(token.body);
        ASSERT_TRUE(parsed) << token.body;
        pair(
            "olga",
            {{"BERTH_SERVER", suite_->url()}, {"BERTH_TOKEN", parsed->string_or("text", "")}}
        );
        const auto applied =
            suite_->api("PUT", "/v1/policy", Json::object().set("text", kPolicy).dump());
        ASSERT_EQ(applied.status, 200) << applied.body;
    }
    static void TearDownTestSuite() {
        suite_.reset();
        if (fake_) {
            EXPECT_EQ(fake_->look("state").find("flaws")->dump(), "[]");
            EXPECT_EQ(fake_->look("state").find("violations")->dump(), "[]");
        }
        fake_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(secrets_, ignored);
    }

protected:
    static Json tell(const std::string& what, std::string body) {
        for (char& c : body) c = c == '\'' ? '"' : c;
        return fake_->tell(what, body);
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
        Json found;
        const bool there = eventually(
            [&] {
                for (const Json& one : bots(channel, viewer)) {
                    if (!has(one.dump(), words)) continue;
                    found = one;
                    return true;
                }
                return false;
            },
            patience
        );
        EXPECT_TRUE(there) << "nobody said " << words << "\n"
                           << fake_->look("channel/" + channel).dump() << suite_->logs();
        return found;
    }
    static void pair(const std::string& person, const std::map<std::string, std::string>& env) {
        Suite::CommandOptions options;
        options.env = env;
        const Said code = suite_->berth({"chat", "pair"}, options);
        ASSERT_EQ(code.exit_code, 0) << code.err;
        ASSERT_TRUE(has(code.out, "/berth pair ")) << code.out;
        std::string words = code.out.substr(code.out.find("pair ") + 5);
        words = words.substr(0, words.find_first_of(" \n"));
        command(person, "dm:" + person, "pair", words);
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

    static constexpr std::size_t kRooms = 40;
    static inline std::vector<std::string> rooms_;  ///< channels where the bot listens, besides
    static inline std::filesystem::path secrets_;
    static inline std::unique_ptr<FakeProcess> fake_;
    static inline std::unique_ptr<Suite> suite_;
};

}  // namespace berth::testing
