// SPDX-License-Identifier: Apache-2.0
// The platform against the fake WhatsApp, which Meta's description holds to the real one: webhooks
// in, messages out, every fault.
#include "whatsapp/whatsapp.hpp"

#include <gtest/gtest.h>

#include "support/fakes/platform_fixture.hpp"
#include "support/secret_folder.hpp"

namespace berth::whatsapp {
namespace {

using berth::testing::eventually;
using berth::testing::PlatformTest;
using Kind = chat::SendError::Kind;

constexpr const char* kToken = "EAAB-a_token_of_the_tests_only.0123456";
constexpr const char* kSecret = "an-app-secret-of-the-tests";
constexpr const char* kPhone = "106540352242922";
constexpr const char* kAda = "16505551234";

class WhatsAppPlatform : public PlatformTest {
protected:
    WhatsAppPlatform()
        : PlatformTest(
              "whatsapp", {"--token", kToken, "--app-secret", kSecret, "--phone-id", kPhone}
          ) {
        settings_.api_url = fake_.api_url();
        settings_.token = Secret(kToken);
        settings_.app_secret = Secret(kSecret);
        settings_.verify_token = Secret("a-verify-token");
        settings_.phone_id = kPhone;
        settings_.watch = milliseconds{20};
        settings_.first_pause = milliseconds{10};
        settings_.slowest_pause = milliseconds{50};
        url_ = listen();
    }
    void start() {
        ASSERT_NO_FATAL_FAILURE(PlatformTest::start(make_platform(settings_)));
        ASSERT_EQ(hook("a-verify-token"), R"({"status":200,"body":"1158201444"})");
    }
    std::string hook(const std::string& token) {
        return fake_
            .tell("hook", R"({"url":")" + url_ + R"(/whatsapp","verify_token":")" + token + "\"}")
            .dump();
    }
    std::string say(const std::string& text) {
        Json order = Json::object();
        order.set("person", kAda).set("name", "Ada").set("text", text);
        return fake_.tell("say", order.dump()).string_or("id", "");
    }
    std::vector<Json> seen() {
        return *fake_.look(std::string("chat/") + kAda).find("messages")->as_array();
    }
    void fault(const std::string& line) { fake_.tell("faults", "[" + line + "]"); }
    static chat::Outgoing words(std::string markdown) {
        return berth::testing::words_in(kAda, std::move(markdown));
    }
    static chat::Outgoing card(std::size_t buttons) {
        chat::Outgoing out = words("");
        out.content.is_card = true;
        out.content.card.title = "Approve?";
        for (std::size_t i = 0; i < buttons; ++i) {
            out.content.card.buttons.push_back(
                {"token-" + std::to_string(i),
                 "Button " + std::to_string(i),
                 chat::ButtonStyle::kPlain,
                 false}
            );
        }
        return out;
    }

    Settings settings_;
    std::string url_;
};

TEST_F(WhatsAppPlatform, ALongTextStandsThereWhole) {
    start();
    say("hello");
    const berth::testing::LongText text(300);
    ASSERT_NO_FATAL_FAILURE(post_whole(text, [](const auto& piece) { return words(piece); }));
    std::vector<std::string> shown;
    for (const Json& one : seen()) {
        if (one.bool_or("bot", false)) shown.push_back(one.string_or("text", ""));
    }
    text.expect_whole(shown, true);
}

TEST_F(WhatsAppPlatform, HearsInOrderAndAnswersOnlyWhenStored) {
    start();
    heard_.fail(2);
    for (int i = 0; i < 5; ++i) say("w\xC3\xB6rd " + std::to_string(i));
    ASSERT_TRUE(heard_.wait_events(5));
    for (std::size_t i = 0; i < 5; ++i)
        EXPECT_EQ(heard_.events()[i].text, "w\xC3\xB6rd " + std::to_string(i));
    EXPECT_EQ(heard_.asked(), 7);
    EXPECT_EQ(heard_.events()[0].person.name, "Ada");
    // Meta posts again what it thinks was not taken: with the same id.
    EXPECT_TRUE(eventually([&] { return fake_.look("state").int_or("pending", 1) == 0; }));
    fake_.tell("redeliver", R"({"count":1})");
    ASSERT_TRUE(heard_.wait_events(6));
    EXPECT_EQ(heard_.events()[5].event_id, heard_.events()[4].event_id);
}

TEST_F(WhatsAppPlatform, RefusesForgeries) {
    start();
    const std::string body =
        R"({\"object\":\"whatsapp_business_account\",\"entry\":[{\"id\":\"1\",\"changes\":[{\"field\":\"messages\",\"value\":{\"metadata\":{\"phone_number_id\":\"106540352242922\"},\"messages\":[{\"from\":\"16505551234\",\"id\":\"wamid.X\",\"timestamp\":\"1\",\"type\":\"text\",\"text\":{\"body\":\"/berth halt\"}}]}}]}]})";
    const auto deliver = [&](const std::string& how) {
        return fake_.tell("deliver", R"({"body":")" + body + R"(","signature":")" + how + "\"}")
            .int_or("status", 0);
    };
    EXPECT_EQ(deliver("none"), 401);
    EXPECT_EQ(deliver("wrong"), 401);
    EXPECT_EQ(deliver("other"), 401);
    EXPECT_TRUE(heard_.events().empty());
    EXPECT_EQ(deliver("right"), 200);
    EXPECT_TRUE(heard_.wait_events(1));
    EXPECT_EQ(hook("another"), R"({"status":403,"body":"{}"})");
    EXPECT_EQ(platform_->web({"GET", "/whatsapp", "hub.mode=other", {}, ""}).status, 400);
    EXPECT_EQ(platform_->web({"PUT", "/whatsapp", "", {}, ""}).status, 405);
    EXPECT_EQ(platform_->web({"POST", "/else", "", {}, "{}"}).status, 404);
}

TEST_F(WhatsAppPlatform, IgnoresStatusesAndMedia) {
    start();
    fake_.tell("status", std::string(R"({"person":")") + kAda + R"(","id":"wamid.A"})");
    fake_.tell(
        "raw",
        std::string(R"({"person":")") + kAda +
            R"(","message":{"type":"image","image":{"id":"1","mime_type":"image/jpeg"}}})"
    );
    say("words");
    ASSERT_TRUE(heard_.wait_events(1));
    EXPECT_EQ(heard_.events()[0].text, "words");
    EXPECT_EQ(heard_.asked(), 1);
}

TEST_F(WhatsAppPlatform, PostsTextFilesAndCards) {
    start();
    const std::string asked = say("hello");
    chat::Outgoing out = words("**bold** & `code`");
    out.answers = asked;
    const auto sent = platform_->post(out);
    ASSERT_TRUE(sent.value) << sent.error.reason;
    EXPECT_EQ(seen().back().string_or("id", ""), sent.value->message);
    EXPECT_EQ(seen().back().string_or("text", ""), "*bold* & `code`");
    EXPECT_EQ(seen().back().string_or("answers", ""), asked);
    out = words("all of it");
    out.content.file_name = "output.txt";
    out.content.file_bytes = "line\n";
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(seen().back().find("file")->dump(), R"({"name":"output.txt","text":"line\n"})");
    for (const std::size_t buttons : {std::size_t{2}, std::size_t{3}, std::size_t{5}}) {
        const auto shown = platform_->post(card(buttons));
        ASSERT_TRUE(shown.value) << shown.error.reason;
        EXPECT_EQ(seen().back().find("buttons")->as_array()->size(), buttons);
        fake_.tell(
            "click",
            std::string(R"({"person":")") + kAda + R"(","button":"Button 1","id":")" +
                shown.value->message + "\"}"
        );
    }
    ASSERT_TRUE(heard_.wait_events(4));
    for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(heard_.events()[i].token, "token-1");
    out = card(2);
    out.content.card.code = std::string(9'000, '`');
    EXPECT_TRUE(platform_->post(out).value);
    EXPECT_TRUE(platform_->post(words(std::string(9'000, '*'))).value);
}

TEST_F(WhatsAppPlatform, SaysThatTheWindowIsClosedOrUsesATemplate) {
    start();
    say("hello");
    const std::string late = std::string(R"({"person":")") + kAda + R"(","hours":25})";
    fake_.tell("silence", late);
    const auto refused = platform_->post(words("too late"));
    EXPECT_EQ(refused.error.kind, Kind::kRefused);
    EXPECT_NE(refused.error.reason.find("24-hour window is closed"), std::string::npos);
    platform_->stop();
    fake_.tell("template", R"({"name":"berth_news","language":"en"})");
    settings_.window_template = {"berth_news", "en"};
    start();
    ASSERT_TRUE(platform_->post(words("still\n\nheard")).value);
    EXPECT_EQ(seen().back().string_or("template", ""), "berth_news");
    EXPECT_EQ(seen().back().string_or("text", ""), "still heard");
}

TEST_F(WhatsAppPlatform, AsksForADecisionByATemplateWithButtons) {
    fake_.tell("template", R"({"name":"berth_news","language":"en"})");
    fake_.tell(
        "template", R"({"name":"berth_approval","language":"en","buttons":["Approve","Deny"]})"
    );
    settings_.window_template = {"berth_news", "en"};
    settings_.approval_template = {"berth_approval", "en"};
    start();
    say("hello");
    fake_.tell("silence", std::string(R"({"person":")") + kAda + R"(","hours":25})");
    chat::Outgoing out = card(2);
    out.content.card.buttons[0].needs_code = true;
    out.content.card.code = "make deploy";
    const auto asked = platform_->post(out);
    ASSERT_TRUE(asked.value) << asked.error.reason;
    EXPECT_EQ(seen().back().string_or("template", ""), "berth_approval");
    fake_.tell(
        "click",
        std::string(R"({"person":")") + kAda + R"(","button":"Deny","id":")" +
            asked.value->message + "\"}"
    );
    ASSERT_TRUE(heard_.wait_events(2));
    EXPECT_EQ(heard_.events()[1].kind, chat::InboundKind::kClick);
    EXPECT_EQ(heard_.events()[1].token, "token-1");
    EXPECT_EQ(heard_.events()[1].message, asked.value->message);
    // What does not stand there word for word has no buttons.
    fake_.tell("silence", std::string(R"({"person":")") + kAda + R"(","hours":25})");
    out.content.card.code = "make  deploy";
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(seen().back().string_or("template", ""), "berth_news");
}

TEST_F(WhatsAppPlatform, TellsWhatDidNotArrive) {
    start();
    say("hello");
    fault(R"({"route":"messages","kind":"undelivered","code":131047,"times":1})");
    const auto first = platform_->post(words("1"));
    ASSERT_TRUE(first.value);
    auto told = heard_.wait_undelivered(1);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].message, first.value->message);
    EXPECT_EQ(told[0].chat, kAda);
    EXPECT_FALSE(told[0].otherwise) << "no template is set";
    platform_->stop();
    fake_.tell("template", R"({"name":"berth_news","language":"en"})");
    settings_.window_template = {"berth_news", "en"};
    start();
    fault(R"({"route":"messages","kind":"undelivered","code":131026})");
    ASSERT_TRUE(platform_->post(words("2")).value);
    fault(R"({"route":"messages","kind":"undelivered","code":131047})");
    chat::Outgoing third = words("3");
    ASSERT_TRUE(platform_->post(third).value);
    told = heard_.wait_undelivered(3);
    ASSERT_EQ(told.size(), 3U);
    EXPECT_FALSE(told[1].otherwise);
    EXPECT_TRUE(told[2].otherwise);
    third.otherwise = true;
    ASSERT_TRUE(platform_->post(third).value);
    EXPECT_EQ(seen().back().string_or("template", ""), "berth_news");
}

TEST_F(WhatsAppPlatform, ACardThatEndedIsSaidAnew) {
    start();
    say("hello");
    const auto sent = platform_->post(card(2));
    ASSERT_TRUE(sent.value);
    EXPECT_FALSE(platform_->traits().edits);
    ASSERT_TRUE(platform_->edit({kAda, ""}, sent.value->message, card(0)).value);
    EXPECT_EQ(seen().back().string_or("answers", ""), sent.value->message);
    EXPECT_EQ(seen().back().find("buttons")->dump(), "[]");
}

TEST_F(WhatsAppPlatform, ShowsAPlanWholeBeforeItMayBeApproved) {
    start();
    say("hello");
    chat::Outgoing message = card(2);
    message.content.card.buttons[0].needs_code = true;
    message.content.card.code = std::string(1'200, 'x') + "; rm -rf /";
    ASSERT_TRUE(platform_->post(message).value);
    ASSERT_EQ(seen().size(), 3U);
    EXPECT_NE(seen()[1].string_or("text", "").find("rm -rf /"), std::string::npos);
    EXPECT_EQ(seen()[2].find("buttons")->as_array()->size(), 2U);
    // Nor is there a button where no message would hold it.
    message.content.card.code = std::string(4'500, 'x') + "; rm -rf /";
    ASSERT_TRUE(platform_->post(message).value);
    ASSERT_EQ(seen().size(), 4U);
    EXPECT_EQ(seen()[3].find("buttons")->as_array()->size(), 1U);
    EXPECT_NE(seen()[3].string_or("text", "").find("berth approvals"), std::string::npos);
}

TEST_F(WhatsAppPlatform, UnderstandsRefusals) {
    start();
    EXPECT_EQ(platform_->post(words("a stranger")).error.kind, Kind::kRefused);
    say("hello");
    fault(R"({"route":"messages","kind":"error","status":429,"code":130429})");
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kLater);
    fault(R"({"route":"messages","kind":"error","status":502,"text":"<html>"})");
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kLater);
    ASSERT_TRUE(platform_->post(words("1")).value) << "the connection is kept from here on";
    fault(R"({"route":"messages","kind":"error_after","status":500,"code":131000})");
    EXPECT_EQ(platform_->post(words("2")).error.kind, Kind::kFailed);
    fault(R"({"route":"messages","kind":"drop_after"})");
    EXPECT_EQ(platform_->post(words("3")).error.kind, Kind::kUnknown);
    EXPECT_EQ(seen().size(), 4U) << "each of them once";
    chat::Outgoing file = words("");
    file.content.file_name = "a.txt";
    file.content.file_bytes = "x";
    fault(R"({"route":"media","kind":"drop_after"})");
    EXPECT_EQ(platform_->post(file).error.kind, Kind::kLater) << "an upload alone does nothing";
    fault(R"({"route":"messages","kind":"late","ms":200})");
    EXPECT_TRUE(platform_->post(words("4")).value);
    fake_.tell("block", std::string(R"({"person":")") + kAda + "\"}");
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kRefused);
}

TEST_F(WhatsAppPlatform, ARevokedTokenIsTold) {
    start();
    fake_.tell("token", R"({"token":"another"})");
    EXPECT_TRUE(heard_.wait_unready("refuses the token"));
    EXPECT_EQ(heard_.state().reason.find(kToken), std::string::npos);
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kUnauthorized);
    fake_.tell("token", std::string(R"({"token":")") + kToken + "\"}");
    EXPECT_TRUE(heard_.wait_ready());
    fault(R"({"route":"number","kind":"error","status":502,"text":"<html>"})");
    EXPECT_TRUE(heard_.wait_unready("does not answer"));
    EXPECT_TRUE(heard_.wait_ready());
}

TEST_F(WhatsAppPlatform, ATokenThatIsPutIntoItsFileIsTaken) {
    const berth::testing::SecretFolder secrets;
    settings_.token = {secrets.file("token", kToken), Secret(kToken)};
    start();
    fake_.tell("token", R"({"token":"another"})");
    EXPECT_TRUE(heard_.wait_unready("put a valid one into token_file"));
    (void)secrets.file("token", "another");
    EXPECT_TRUE(heard_.wait_ready());
    say("hello");
    EXPECT_TRUE(platform_->post(words("x")).value);
}

}  // namespace
}  // namespace berth::whatsapp
