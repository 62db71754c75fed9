// SPDX-License-Identifier: Apache-2.0
// Telegram: ann works in a forum's topic; every group hears commands alone.
#include <algorithm>
#include <stdexcept>

#include "support/suite/chat_suite.hpp"

namespace berth::testing {
namespace {

constexpr const char* kTelegramToken = "700100200:AAE-a_token_of_the_tests_only-0123456";
constexpr std::size_t kTelegramGroups = 240;  // 20 messages a minute in each
constexpr std::int64_t kTelegramFirstGroup = -1003000;

class TelegramSuite final : public ChatSuite {
public:
    TelegramSuite() : ChatSuite("telegram", {"--token", kTelegramToken}) {
        tell("chat", "{'id':-1001,'title':'ops','forum':true,'topics':[7]}");
        tell("chat", "{'id':-1002,'title':'approvals'}");
        std::string chats = "\"-1001\"";
        for (std::size_t i = 0; i < kTelegramGroups; ++i) {
            groups_.push_back(
                {std::to_string(kTelegramFirstGroup - static_cast<std::int64_t>(i)), {}}
            );
            tell("chat", "{'id':" + groups_.back().chat + ",'title':'room'}");
            chats += ", \"" + groups_.back().chat + "\"";
        }
        start(
            "  api_url: \"" + fake().url() + "\"\n  token_file: \"" +
            secret("token", kTelegramToken) + "\"\n  orgs:\n    default:\n      chats: [" + chats +
            "]\n      approvals: [\"-1002\"]\n"
        );
        pair("ann", {"501", {}});
        pair("olga", {"502", {}});
    }
    Place home() override { return {"-1001", "7"}; }
    Place approvals() override { return {"-1002", {}}; }
    void say(const std::string& person, const Place& place, const std::string& text) override {
        fake().tell("say", words(person, place, "/berth " + text).dump());
    }
    std::vector<Seen> seen(const Place& place) override {
        std::vector<Seen> out;
        const Json all = fake().look("chat/" + place.chat);
        for (const Json& one : *all.find("messages")->as_array()) {
            const auto thread = one.int_or("thread", 0);
            if (!one.bool_or("bot", false) ||
                (thread == 0 ? "" : std::to_string(thread)) != place.thread)
                continue;
            out.push_back(
                {std::to_string(one.int_or("message", 0)),
                 one.dump(),
                 one.string_or("text", ""),
                 labels(one.find("buttons")),
                 one}
            );
        }
        // A short answer for one person alone is a notice over the chat.
        const Json queries = *fake().look("state").find("queries");
        for (const auto& [id, query] : *queries.as_object()) {
            const Json* answer = query.find("answer");
            if (answer != nullptr && !answer->string_or("text", "").empty())
                out.push_back({"query" + id, answer->dump(), {}, {}, query});
        }
        return out;
    }
    void click(
        const std::string& person, const Place& place, const Seen& card, const std::string& button
    ) override {
        Json order = Json::object().set("person", who(person)).set("button", button);
        order.set("chat", std::int64_t{std::stoll(place.chat)});
        fake().tell("click", order.set("message", std::int64_t{std::stoll(card.id)}).dump());
    }
    void comment(
        const std::string& person, const Place& place, const Seen& card, const std::string& text
    ) override {
        Json order = words(person, place, text);
        fake().tell("say", order.set("reply_to", std::int64_t{std::stoll(card.id)}).dump());
    }
    void revoke() override { tell("token", "{'token':'700100200:another'}"); }
    void restore() override { tell("token", std::string("{'token':'") + kTelegramToken + "'}"); }
    std::string revoked_words() const override { return "Unauthorized"; }
    std::vector<std::string> secrets() const override { return {kTelegramToken}; }
    std::vector<Place> conversations(std::size_t) override { return groups_; }
    void limit() override {
        tell(
            "faults",
            "[{'method':'sendMessage','kind':'error','status':429,'retry_after':2,'times':2}]"
        );
    }
    void disturb(Random& random) override {
        // Each before anything is done, and said so: what may have been done goes out once more.
        static const std::vector<std::string> kFaults{
            "{'method':'sendMessage','kind':'error','status':429,'retry_after':1,'times':2,'"
            "unwatched':true}",
            "{'method':'sendMessage','kind':'error','status':502,'times':3}",
            "{'method':'getUpdates','kind':'error','status':502,'times':2}",
            "{'method':'getUpdates','kind':'drop'}"};
        tell("faults", "[" + kFaults[random.below(kFaults.size())] + "]");
    }
    bool can_find() const override { return false; }

private:
    static Json who(const std::string& person) {
        return Json::object()
            .set(
                "id",
                person == "ann"    ? 501
                : person == "olga" ? 502
                                   : 503
            )
            .set("name", person);
    }
    static Json words(const std::string& person, const Place& place, const std::string& text) {
        Json order = Json::object().set("person", who(person)).set("text", text);
        order.set("chat", std::int64_t{std::stoll(place.chat)});
        if (!place.thread.empty()) order.set("thread", std::int64_t{std::stoll(place.thread)});
        return order;
    }

    std::vector<Place> groups_;
};

}  // namespace

std::unique_ptr<ChatSuite> make_chat_suite() { return std::make_unique<TelegramSuite>(); }

}  // namespace berth::testing
