// SPDX-License-Identifier: Apache-2.0
// Slack: ann is U000000001, olga U000000002, anybody else U000000003.
#include <stdexcept>

#include "support/suite/chat_suite.hpp"

namespace berth::testing {
namespace {

constexpr const char* kSlackBot = "xoxb-of-the-tests-only-0123456789";
constexpr const char* kSlackApp = "xapp-of-the-tests-only-0123456789";
constexpr std::size_t kSlackRooms = 60;

class SlackSuite final : public ChatSuite {
public:
    SlackSuite() : ChatSuite("slack", {}) {
        tell("channel", "{'id':'C0GENERAL1','people':['U000000001','U000000002']}");
        tell("channel", "{'id':'C0APPROVAL','people':['U000000001','U000000002','U000000003']}");
        start(
            "  api_url: \"" + fake().url() + "/api\"\n  bot_token_file: \"" +
            secret("bot", kSlackBot) + "\"\n  app_token_file: \"" + secret("app", kSlackApp) +
            "\"\n  orgs:\n    default:\n      chats: [C0GENERAL1]\n      approvals: [C0APPROVAL]\n"
        );
        pair("ann", {"C0GENERAL1", {}});
        pair("olga", {"C0APPROVAL", {}});
        thread_ = tell("say", "{'channel':'C0GENERAL1','user':'U000000001','text':'help'}")
                      .string_or("ts", "");
    }
    Place home() override { return {"C0GENERAL1", thread_}; }
    Place approvals() override { return {"C0APPROVAL", {}}; }
    void say(const std::string& person, const Place& place, const std::string& text) override {
        Json order = Json::object();
        order.set("channel", place.chat).set("user", user(person)).set("text", text);
        order.set("twice", text.rfind("nonsense", 0) == 0 && text.size() % 2 == 0);
        if (!place.thread.empty()) order.set("thread", place.thread);
        fake().tell("say", order.dump());
    }
    std::vector<Seen> seen(const Place& place) override {
        std::vector<Seen> out;
        const Json all = fake().look("channel/" + place.chat);
        for (const Json& one : *all.find("messages")->as_array()) {
            if (!one.string_or("bot_id", "").empty()) add(out, one, place);
        }
        for (const Json& one : *all.find("ephemeral")->as_array()) add(out, one, place);
        return out;
    }
    void click(
        const std::string& person, const Place& place, const Seen& card, const std::string& button
    ) override {
        Json order = Json::object();
        order.set("channel", place.chat).set("ts", card.id).set("user", user(person));
        fake().tell("click", order.set("button", button).dump());
    }
    void comment(const std::string&, const Place&, const Seen&, const std::string& text) override {
        Json views;
        if (!eventually([&] {
                views = fake().look("views");
                return !views.as_object()->empty();
            }))
            throw std::runtime_error("no modal was shown" + suite().logs());
        Json order = Json::object();
        order.set("view", views.as_object()->front().first).set("comment", text);
        fake().tell("submit", order.dump());
    }
    void revoke() override { tell("revoke", "{'which':'bot'}"); }
    void restore() override { tell("restore", "{'which':'bot'}"); }
    std::string revoked_words() const override { return "invalid_auth"; }
    std::vector<std::string> secrets() const override { return {kSlackBot, kSlackApp}; }
    std::vector<Place> conversations(std::size_t) override {
        // Slack gives no order between envelopes under way at once; here there is one to be kept.
        tell("line", "{'in_order':true}");
        std::vector<Place> out;
        for (std::size_t i = 0; i < kSlackRooms; ++i)
            out.push_back({"D0SOAK" + std::to_string(1000 + i), {}});
        return out;
    }
    void limit() override {
        tell(
            "faults",
            "{'faults':[{'method':'chat.postMessage','kind':'429','retry_after':2,'times':2}]}"
        );
    }
    void disturb(Random& random) override {
        static const std::vector<std::string> kKinds{
            "429", "500_before", "500_after", "drop_before", "drop_after"};
        switch (random.below(3)) {
            case 0:
                tell(
                    "faults",
                    "{'faults':[{'method':'chat.postMessage','times':3,'retry_after':1,'unwatched':"
                    "true,'kind':'" +
                        kKinds[random.below(kKinds.size())] + "'}]}"
                );
                break;
            case 1: tell("disconnect", "{'reason':'refresh_requested','close_after':0.2}"); break;
            default: tell("line", "{'cut':true}");
        }
    }

private:
    static std::string user(const std::string& person) {
        return person == "ann" ? "U000000001" : person == "olga" ? "U000000002" : "U000000003";
    }
    void add(std::vector<Seen>& out, const Json& one, const Place& place) {
        if (one.string_or("thread_ts", "") != place.thread) return;
        Seen seen{one.string_or("ts", ""), one.dump(), one.string_or("text", ""), {}, one};
        if (one.find("files") != nullptr) seen.text += fake().look("state").find("files")->dump();
        const Json* blocks = one.find("blocks");
        for (const Json& block : blocks == nullptr ? std::vector<Json>{} : *blocks->as_array()) {
            if (block.string_or("type", "") != "actions") continue;
            for (const Json& button : *block.find("elements")->as_array())
                seen.buttons.push_back(button.find("text")->string_or("text", ""));
        }
        out.push_back(std::move(seen));
    }

    std::string thread_;
};

}  // namespace

std::unique_ptr<ChatSuite> make_chat_suite() { return std::make_unique<SlackSuite>(); }

}  // namespace berth::testing
