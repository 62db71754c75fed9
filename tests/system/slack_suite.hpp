// SPDX-License-Identifier: Apache-2.0
// A deployment with the Slack bridge on a Slack that Slack's own libraries take for one, an admin
// U1 and an approver U2.
#pragma once

#include <signal.h>

#include <fstream>
#include <thread>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "support/fakes/fake_process.hpp"
#include "system.hpp"

namespace berth::testing {

inline constexpr const char* kChannel = "C0GENERAL1";
inline constexpr const char* kApprovals = "C0APPROVAL";
inline constexpr const char* kBotToken = "xoxb-of-the-tests-only-0123456789";
inline constexpr const char* kAppToken = "xapp-of-the-tests-only-0123456789";

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

class ChatSystem : public ::testing::Test {
public:
    static void SetUpTestSuite() {
        std::string folder = "/tmp/berth-slack-XXXXXX";
        ASSERT_NE(::mkdtemp(folder.data()), nullptr);
        secrets_ = folder;
        std::filesystem::permissions(folder, std::filesystem::perms{0755});
        std::ofstream(secrets_ / "bot") << kBotToken << "\n";
        std::ofstream(secrets_ / "app") << kAppToken << "\n";
        fake_ = std::make_unique<FakeProcess>("slack", std::vector<std::string>{});
        fake_->tell("channel", R"({"id":"C0GENERAL1","people":["U1","U2"]})");
        fake_->tell("channel", R"({"id":"C0APPROVAL","people":["U1","U2"]})");
        SuiteOptions options;
        options.settings =
            "profiles:\n  default: {driver: local, parallel_runs: 4}\nslack:\n  api_url: \"" +
            fake_->url() + "/api\"\n  bot_token_file: \"" + (secrets_ / "bot").string() +
            "\"\n  app_token_file: \"" + (secrets_ / "app").string() +
            "\"\n  orgs:\n    default:\n      chats: [C0GENERAL1]\n      approvals: [C0APPROVAL]\n";
        suite_ = std::make_unique<Suite>(options);
        pair("U1", {});
        const auto made =
            suite_->api("POST", "/v1/users", R"({"name":"olga","roles":["approver"]})");
        ASSERT_LT(made.status, 300) << made.body;
        const auto token =
            suite_->api("POST", "/v1/tokens", R"({"user":"olga","roles":["approver"]})");
        pair("U2", {{"BERTH_SERVER", suite_->url()}, {"BERTH_TOKEN", member(token.body, "text")}});
        const auto applied =
            suite_->api("PUT", "/v1/policy", Json::object().set("text", kPolicy).dump());
        ASSERT_EQ(applied.status, 200) << applied.body;
    }
    static void TearDownTestSuite() {
        suite_.reset();
        EXPECT_EQ(fake_->look("state").find("flaws")->dump(), "[]");
        fake_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(secrets_, ignored);
    }

protected:
    static std::string member(const std::string& body, const char* key) {
        const auto json = Json::parse(body);
        return json ? json->string_or(key, "") : std::string();
    }
    static std::string say(
        const std::string& text, const std::string& user = "U1", const std::string& thread = {}
    ) {
        Json order = Json::object();
        order.set("channel", kChannel).set("user", user).set("text", text);
        if (!thread.empty()) order.set("thread", thread);
        return fake_->tell("say", order.dump()).string_or("ts", "");
    }
    /// The bot's messages and whispers in a channel, newest last.
    static std::vector<Json> bots(const std::string& channel = kChannel) {
        std::vector<Json> out;
        const Json all = fake_->look("channel/" + channel);
        for (const Json& one : *all.find("messages")->as_array()) {
            if (!one.string_or("bot_id", "").empty()) out.push_back(one);
        }
        for (const Json& one : *all.find("ephemeral")->as_array()) out.push_back(one);
        return out;
    }
    static Json wait_for(
        const std::string& words,
        const std::string& channel = kChannel,
        const std::string& thread = {},
        milliseconds patience = seconds{60}
    ) {
        Json found;
        const bool there = eventually(
            [&] {
                for (const Json& one : bots(channel)) {
                    if (!has(one.dump(), words) ||
                        (!thread.empty() && one.string_or("thread_ts", "") != thread))
                        continue;
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
    static void pair(const std::string& user, const std::map<std::string, std::string>& env) {
        Suite::CommandOptions options;
        options.env = env;
        const Said code = suite_->berth({"chat", "pair"}, options);
        ASSERT_EQ(code.exit_code, 0) << code.err;
        ASSERT_TRUE(has(code.out, "/berth pair ")) << code.out;
        std::string words = code.out.substr(code.out.find("pair "));
        words = words.substr(0, words.find('\n'));
        say(words, user);
        ASSERT_TRUE(eventually(
            [&] {
                for (const Json& one : bots()) {
                    if (one.string_or("user", "") == user && has(one.dump(), "You are linked"))
                        return true;
                }
                return false;
            },
            seconds{60}
        )) << suite_->logs();
    }
    static void click(
        const Json& card,
        const std::string& button,
        const std::string& user,
        const std::string& channel
    ) {
        Json order = Json::object();
        order.set("channel", channel)
            .set("ts", card.string_or("ts", ""))
            .set("user", user)
            .set("button", button);
        fake_->tell("click", order.dump());
    }

    static inline std::filesystem::path secrets_;
    static inline std::unique_ptr<FakeProcess> fake_;
    static inline std::unique_ptr<Suite> suite_;
};

}  // namespace berth::testing
