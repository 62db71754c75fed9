// SPDX-License-Identifier: Apache-2.0
// Discord: verbs are slash commands, anything else names the bot.
#include <set>
#include <stdexcept>

#include "support/suite/chat_suite.hpp"

namespace berth::testing {
namespace {

constexpr const char* kDiscordToken = "MTAw.a-token.of-the-tests-only-0123456789";
constexpr std::size_t kDiscordRooms = 40;

class DiscordSuite final : public ChatSuite {
public:
    DiscordSuite() : ChatSuite("discord", {"--token", kDiscordToken}) {
        tell("settings", "{'limits':{}}");
        const Json channels = *fake().look("state").find("channels");
        approvals_ = channels.string_or("other", "");
        std::string chats = "\"" + channels.string_or("general", "") + "\"";
        for (std::size_t i = 0; i < kDiscordRooms; ++i) {
            rooms_.push_back(
                {tell("room", "{'name':'room" + std::to_string(i) + "'}").string_or("id", ""), {}}
            );
            chats += ", \"" + rooms_.back().chat + "\"";
        }
        start(
            "  api_url: \"" + fake().url() + "/api/v10\"\n  token_file: \"" +
            secret("token", kDiscordToken) + "\"\n  orgs:\n    default:\n      chats: [" + chats +
            "]\n      approvals: [\"" + approvals_ + "\"]\n"
        );
        pair("ann", {"dm:ann", {}});
        pair("olga", {"dm:olga", {}});
    }
    Place home() override { return {"thread", {}}; }
    Place approvals() override { return {approvals_, {}}; }
    void say(const std::string& person, const Place& place, const std::string& text) override {
        const std::string verb = text.substr(0, text.find(' '));
        Json order = Json::object().set("person", person).set("channel", place.chat);
        if (verb.rfind("nonsense", 0) == 0) {
            fake().tell("message", order.set("text", text).set("mention", true).dump());
            return;
        }
        Json option = Json::object().set("type", 1).set("name", verb);
        if (verb.size() < text.size()) {
            Json rest = Json::object().set("type", 3).set("name", "arguments");
            rest.set("value", text.substr(verb.size() + 1));
            option.set("options", Json::array().push(std::move(rest)));
        }
        order.set("options", Json::array().push(std::move(option)));
        fake().tell("command", order.dump());
    }
    std::vector<Seen> seen(const Place& place) override {
        std::vector<Seen> out;
        std::set<std::string> known;
        for (const char* viewer : {"ann", "olga"}) {
            const Json all = fake().look("channel/" + place.chat + "?as=" + viewer);
            for (const Json& one : *all.find("messages")->as_array()) {
                const std::string id = one.string_or("id", "");
                if (!one.bool_or("bot", false) || !known.insert(id).second) continue;
                Seen seen{id, one.dump(), one.string_or("content", ""), {}, one};
                for (const Json& row : *one.find("components")->as_array()) add(seen, row);
                out.push_back(std::move(seen));
            }
        }
        return out;
    }
    void click(
        const std::string& person, const Place& place, const Seen& card, const std::string& button
    ) override {
        Json order = Json::object();
        order.set("person", person).set("channel", place.chat).set("message", card.id);
        clicked_ =
            fake().tell("click", order.set("button", button).dump()).string_or("interaction", "");
    }
    void comment(const std::string&, const Place&, const Seen&, const std::string& text) override {
        constexpr int kModal = 9;
        if (!eventually([&] {
                return fake().look("interaction/" + clicked_).int_or("answer", 0) == kModal;
            }))
            throw std::runtime_error("no modal was shown" + suite().logs());
        tell("submit", "{'interaction':'" + clicked_ + "','values':{'comment':'" + text + "'}}");
    }
    void revoke() override { tell("token", "{'token':'another'}"); }
    void restore() override { tell("token", std::string("{'token':'") + kDiscordToken + "'}"); }
    std::string revoked_words() const override { return "token"; }
    std::vector<std::string> secrets() const override { return {kDiscordToken}; }
    std::vector<Place> conversations(std::size_t) override { return rooms_; }
    void limit() override {
        tell(
            "faults",
            "[{'method':'POST','path':'/messages$','kind':'429','retry_after':2,'times':2}]"
        );
    }
    void disturb(Random& random) override {
        static const std::vector<std::string> kBreaks{
            "{'do':'reconnect'}",
            "{'do':'drop'}",
            "{'do':'invalid','resumable':true}",
            "{'do':'invalid','resumable':false}",
            "{'do':'close','code':4000}"};
        tell("gateway", kBreaks[random.below(kBreaks.size())]);
    }

private:
    static void add(Seen& seen, const Json& part) {
        const std::string label = part.string_or("label", "");
        if (!label.empty() && !part.bool_or("disabled", false)) seen.buttons.push_back(label);
        const Json* inner = part.find("components");
        if (inner == nullptr || inner->as_array() == nullptr) return;
        for (const Json& one : *inner->as_array()) add(seen, one);
    }

    std::string approvals_;
    std::vector<Place> rooms_;
    std::string clicked_;
};

}  // namespace

std::unique_ptr<ChatSuite> make_chat_suite() { return std::make_unique<DiscordSuite>(); }

}  // namespace berth::testing
