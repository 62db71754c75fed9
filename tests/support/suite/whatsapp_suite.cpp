// SPDX-License-Identifier: Apache-2.0
// WhatsApp: a conversation is a person, so that a test with many of them has many users.
#include <stdexcept>

#include "support/free_port.hpp"
#include "support/suite/chat_suite.hpp"

namespace berth::testing {
namespace {

constexpr const char* kWhatsAppToken = "EAAB-a_token_of_the_tests_only.0123456";
constexpr const char* kWhatsAppSecret = "an-app-secret-of-the-tests";
constexpr const char* kWhatsAppVerify = "a-verify-token-of-the-tests";
constexpr const char* kWhatsAppPhone = "106540352242922";
constexpr const char* kAnn = "16505551234";
constexpr const char* kOlga = "16505559876";
constexpr std::int64_t kWhatsAppFirstNumber = 16505560000;
// Meta lets a burst of 45 messages to one person pass, then one in six seconds.
constexpr std::size_t kWhatsAppBurst = 40;
constexpr std::size_t kWhatsAppMostNumbers = 100;

class WhatsAppSuite final : public ChatSuite {
public:
    WhatsAppSuite()
        : ChatSuite(
              "whatsapp",
              {"--token",
               kWhatsAppToken,
               "--app-secret",
               kWhatsAppSecret,
               "--phone-id",
               kWhatsAppPhone}
          ) {
        const std::string listen = "127.0.0.1:" + std::to_string(free_port());
        start(
            "  api_url: \"" + fake().url() + "\"\n  phone_number_id: \"" + kWhatsAppPhone +
            "\"\n  web_listen: \"" + listen + "\"\n  token_file: \"" +
            secret("token", kWhatsAppToken) + "\"\n  app_secret_file: \"" +
            secret("secret", kWhatsAppSecret) + "\"\n  verify_token_file: \"" +
            secret("verify", kWhatsAppVerify) + "\"\n  orgs:\n    default:\n      approvals: [\"" +
            kOlga + "\"]\n"
        );
        const std::string order = std::string("{'verify_token':'") + kWhatsAppVerify +
                                  "','url':'http://" + listen + "/whatsapp'}";
        if (!eventually(
                [&] { return tell("hook", order).int_or("status", 0) == 200; }, seconds{60}
            ))
            throw std::runtime_error("the webhook was not registered" + suite().logs());
        pair("ann", {kAnn, {}});
        pair("olga", {kOlga, {}});
    }
    Place home() override { return {kAnn, {}}; }
    Place approvals() override { return {kOlga, {}}; }
    void say(const std::string&, const Place& place, const std::string& text) override {
        fake().tell("say", Json::object().set("person", place.chat).set("text", text).dump());
    }
    std::vector<Seen> seen(const Place& place) override {
        std::vector<Seen> out;
        const Json all = fake().look("chat/" + place.chat);
        for (const Json& one : *all.find("messages")->as_array()) {
            if (!one.bool_or("bot", false)) continue;
            out.push_back(
                {one.string_or("id", ""),
                 one.dump(),
                 one.string_or("text", ""),
                 labels(one.find("buttons")),
                 one}
            );
        }
        return out;
    }
    void click(const std::string&, const Place& place, const Seen& card, const std::string& button)
        override {
        Json order = Json::object().set("person", place.chat).set("id", card.id);
        fake().tell("click", order.set("button", button).dump());
    }
    void comment(
        const std::string& person, const Place& place, const Seen&, const std::string& text
    ) override {
        say(person, place, text);
    }
    void revoke() override { tell("token", "{'token':'another'}"); }
    void restore() override { tell("token", std::string("{'token':'") + kWhatsAppToken + "'}"); }
    std::string revoked_words() const override { return "token"; }
    std::vector<std::string> secrets() const override {
        return {kWhatsAppToken, kWhatsAppSecret, kWhatsAppVerify};
    }
    std::vector<Place> conversations(std::size_t messages) override {
        const std::size_t count = std::min(kWhatsAppMostNumbers, messages / kWhatsAppBurst + 10);
        while (rooms_.size() < count) {
            const auto index = static_cast<std::int64_t>(rooms_.size());
            const Place room{std::to_string(kWhatsAppFirstNumber + index), {}};
            const std::string user = "user" + std::to_string(index);
            add_user(user, "operator");
            pair(user, room);
            rooms_.push_back(room);
        }
        return rooms_;
    }
    void limit() override {
        tell(
            "faults", "[{'route':'messages','kind':'error','status':429,'code':130429,'times':2}]"
        );
    }
    void disturb(Random& random) override {
        // Each before anything is done, and said so: what may have been done goes out once more.
        static const std::vector<std::string> kFaults{
            "{'route':'messages','kind':'error','status':429,'code':130429,'times':2}",
            "{'route':'messages','kind':'error','status':502,'text':'<html>','times':3}"};
        const auto which = random.below(kFaults.size() + 1);
        if (which == kFaults.size()) {
            tell("redeliver", "{'count':5}");
        } else {
            tell("faults", "[" + kFaults[which] + "]");
        }
    }
    bool edits() const override { return false; }
    bool can_find() const override { return false; }

private:
    std::vector<Place> rooms_;
};

}  // namespace

std::unique_ptr<ChatSuite> make_chat_suite() { return std::make_unique<WhatsAppSuite>(); }

}  // namespace berth::testing
