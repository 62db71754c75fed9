// SPDX-License-Identifier: Apache-2.0
// What the deployments of every platform share.
#include "support/suite/chat_suite.hpp"

#include <algorithm>
#include <stdexcept>

namespace berth::testing {
namespace {

// What is asked soon is told before it is over, also where a platform takes one message in 3 s.
constexpr const char* kChatPolicy =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "rules:\n"
    "  - id: ask-uname\n"
    "    action: ask\n"
    "    reason: a person shall say\n"
    "    match: {executable: uname}\n"
    "  - id: ask-soon\n"
    "    action: ask\n"
    "    ask: {timeout: 15s}\n"
    "    match: {executable: uptime}\n";

}  // namespace

void ChatSuite::start(const std::string& bridge) {
    suite_ = std::make_unique<Suite>(SuiteOptions{
        "profiles:\n  default: {driver: local, parallel_runs: 4}\n" + platform_ + ":\n" + bridge});
    add_user("olga", "approver");
    (void)api("PUT", "/v1/policy", Json::object().set("text", kChatPolicy).dump());
}

void ChatSuite::add_user(const std::string& name, const std::string& role) {
    const Json roles = Json::strings({role});
    (void)api("POST", "/v1/users", Json::object().set("name", name).set("roles", roles).dump());
    const auto token =
        api("POST", "/v1/tokens", Json::object().set("user", name).set("roles", roles).dump());
    environments_[name] = {
        {"BERTH_SERVER", suite_->url()},
        {"BERTH_TOKEN", Json::parse(token.body).value().string_or("text", "")}};
}

http::Response ChatSuite::api(const char* method, const char* path, const std::string& body) {
    auto answer = suite_->api(method, path, body);
    if (answer.status >= 300) throw std::runtime_error(std::string(path) + ": " + answer.body);
    return answer;
}

Json ChatSuite::tell(const std::string& what, std::string body) {
    std::replace(body.begin(), body.end(), '\'', '"');
    return fake_.tell(what, body);
}

std::string ChatSuite::pairing_code(const std::string& person) {
    Suite::CommandOptions options;
    options.env = environments_[person];
    const Said said = suite_->berth({"chat", "pair"}, options);
    static const std::string kBefore = "/berth pair ";
    const auto at = said.out.find(kBefore);
    if (said.exit_code != 0 || at == std::string::npos)
        throw std::runtime_error("berth chat pair: " + said.out + said.err);
    const std::string code = said.out.substr(at + kBefore.size());
    return code.substr(0, code.find_first_of(" \n"));
}

void ChatSuite::pair(const std::string& person, const Place& place) {
    const auto linked = [&] {
        const auto all = seen(place);
        return std::count_if(all.begin(), all.end(), [](const Seen& one) {
            return one.text.find("You are linked") != std::string::npos;
        });
    };
    const auto before = linked();
    say(person, place, "pair " + pairing_code(person));
    if (!eventually([&] { return linked() > before; }, seconds{60}))
        throw std::runtime_error(person + " was not linked" + suite_->logs());
}

std::vector<std::string> ChatSuite::labels(const Json* list) {
    std::vector<std::string> out;
    if (list == nullptr || list->as_array() == nullptr) return out;
    for (const Json& one : *list->as_array()) {
        if (one.as_string() != nullptr) out.push_back(*one.as_string());
    }
    return out;
}

}  // namespace berth::testing
