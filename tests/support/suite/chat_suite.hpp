// SPDX-License-Identifier: Apache-2.0
// The whole suite with a chat bridge on the fake of its platform.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/secret_folder.hpp"
#include "support/suite/suite.hpp"

namespace berth::testing {

/// A deployment where a person has to allow each uname, and olga is an approver beside the admin.
/// Throws where it does not come up.
class ChatSuite {
public:
    /// The fake first, which the bridge's settings name.
    ChatSuite(std::string platform, const std::vector<std::string>& arguments)
        : platform_(std::move(platform)), fake_(platform_, arguments) {}

    FakeProcess& fake() { return fake_; }
    Suite& suite() { return *suite_; }
    /// The path of a file with this secret.
    std::string secret(const std::string& name, const std::string& text) const {
        return secrets_.file(name, text);
    }
    /// `bridge`: the lines of the bridge's settings, indented by two.
    void start(const std::string& bridge) {
        suite_ = std::make_unique<Suite>(SuiteOptions{
            "profiles:\n  default: {driver: local, parallel_runs: 4}\n" + platform_ + ":\n" +
            bridge});
        (void)api("POST", "/v1/users", R"({"name":"olga","roles":["approver"]})");
        const auto token = api("POST", "/v1/tokens", R"({"user":"olga","roles":["approver"]})");
        olga_ = {
            {"BERTH_SERVER", suite_->url()},
            {"BERTH_TOKEN", Json::parse(token.body).value().string_or("text", "")}};
        constexpr const char* kPolicy =
            "version: 1\n"
            "default: allow\n"
            "timeout: 10m\n"
            "rules:\n"
            "  - id: ask-uname\n"
            "    action: ask\n"
            "    reason: a person shall say\n"
            "    match: {executable: uname}\n";
        (void)api("PUT", "/v1/policy", Json::object().set("text", kPolicy).dump());
    }
    void stop() { suite_.reset(); }
    /// What makes `berth` speak as olga.
    const std::map<std::string, std::string>& olga() const { return olga_; }
    /// A new code for who calls `berth` with `env`.
    std::string pairing_code(const std::map<std::string, std::string>& env) {
        Suite::CommandOptions options;
        options.env = env;
        const Said said = suite_->berth({"chat", "pair"}, options);
        static const std::string kBefore = "/berth pair ";
        const auto at = said.out.find(kBefore);
        if (said.exit_code != 0 || at == std::string::npos)
            throw std::runtime_error("berth chat pair: " + said.out + said.err);
        const std::string code = said.out.substr(at + kBefore.size());
        return code.substr(0, code.find_first_of(" \n"));
    }

private:
    http::Response api(const char* method, const char* path, const std::string& body) {
        auto answer = suite_->api(method, path, body);
        if (answer.status >= 300) throw std::runtime_error(std::string(path) + ": " + answer.body);
        return answer;
    }

    const std::string platform_;
    FakeProcess fake_;
    SecretFolder secrets_;
    std::unique_ptr<Suite> suite_;
    std::map<std::string, std::string> olga_;
};

/// Slack, where U1 is the admin and U2 olga.
class SlackSuite : public ChatSuite {
public:
    static constexpr const char* kChannel = "C0GENERAL1";
    static constexpr const char* kApprovals = "C0APPROVAL";
    static constexpr const char* kBotToken = "xoxb-of-the-tests-only-0123456789";
    static constexpr const char* kAppToken = "xapp-of-the-tests-only-0123456789";

    SlackSuite() : ChatSuite("slack", {}) {
        fake().tell("channel", R"({"id":"C0GENERAL1","people":["U1","U2"]})");
        fake().tell("channel", R"({"id":"C0APPROVAL","people":["U1","U2"]})");
        start(
            "  api_url: \"" + fake().url() + "/api\"\n  bot_token_file: \"" +
            secret("bot", kBotToken) + "\"\n  app_token_file: \"" + secret("app", kAppToken) +
            "\"\n  orgs:\n    default:\n      chats: [C0GENERAL1]\n      approvals: [C0APPROVAL]\n"
        );
        pair("U1", {});
        pair("U2", olga());
    }
    std::string say(
        const std::string& text,
        const std::string& user = "U1",
        const std::string& channel = kChannel,
        const std::string& thread = {}
    ) {
        Json order = Json::object();
        order.set("channel", channel).set("user", user).set("text", text);
        if (!thread.empty()) order.set("thread", thread);
        return fake().tell("say", order.dump()).string_or("ts", "");
    }
    /// The bot's messages and whispers in a channel, newest last.
    std::vector<Json> bots(const std::string& channel) {
        std::vector<Json> out;
        const Json all = fake().look("channel/" + channel);
        for (const Json& one : *all.find("messages")->as_array()) {
            if (!one.string_or("bot_id", "").empty()) out.push_back(one);
        }
        for (const Json& one : *all.find("ephemeral")->as_array()) out.push_back(one);
        return out;
    }
    void click(
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
        fake().tell("click", order.dump());
    }

private:
    void pair(const std::string& user, const std::map<std::string, std::string>& env) {
        say("pair " + pairing_code(env), user);
        const auto linked = eventually_one(
            [&] { return bots(kChannel); },
            [&](const Json& one) {
                return one.string_or("user", "") == user &&
                       one.dump().find("You are linked") != std::string::npos;
            },
            seconds{60}
        );
        if (!linked) throw std::runtime_error(user + " was not linked" + suite().logs());
    }
};

}  // namespace berth::testing
