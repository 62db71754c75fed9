// SPDX-License-Identifier: Apache-2.0
// The platform against the fake Telegram, which grammy and the API's description hold to the real
// one: every way in, every way out, every fault.
#include "telegram/telegram.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "support/fakes/platform_fixture.hpp"
#include "support/secret_folder.hpp"

namespace berth::telegram {
namespace {

using berth::testing::eventually;
using berth::testing::PlatformTest;
using Kind = chat::SendError::Kind;

constexpr const char* kToken = "700100200:AAE-a_token_of_the_tests_only-0123456";
constexpr const char* kSecret = "a-webhook_secret-of-the-tests";

class TelegramPlatform : public PlatformTest {
protected:
    TelegramPlatform() : PlatformTest("telegram", {"--token", kToken}) {
        settings_.api_url = fake_.api_url();
        settings_.token = Secret(kToken);
        settings_.menu = {{"berth", "Berth"}, {"run", "Run a command"}};
        settings_.poll = seconds{1};
        settings_.first_pause = milliseconds{10};
        settings_.slowest_pause = milliseconds{50};
        settings_.watch = milliseconds{20};
        settings_.settle = milliseconds{200};
    }
    void start() { ASSERT_NO_FATAL_FAILURE(PlatformTest::start(make_platform(settings_))); }
    std::int64_t say(const std::string& text, const std::string& more = {}, int chat = 5) {
        Json order = Json::object();
        order.set("chat", chat).set("person", 5).set("text", text);
        std::string body = order.dump();
        if (!more.empty()) body = body.substr(0, body.size() - 1) + "," + more + "}";
        return fake_.tell("say", body).int_or("message", 0);
    }
    /// What stands in a chat now, in order.
    std::vector<Json> seen(const std::string& chat = "5") {
        return *fake_.look("chat/" + chat).find("messages")->as_array();
    }
    Json last(const std::string& chat = "5") {
        auto all = seen(chat);
        return all.empty() ? Json() : all.back();
    }
    void fault(const std::string& line) { fake_.tell("faults", "[" + line + "]"); }
    std::size_t requests(const std::string& method) {
        const Json state = fake_.look("state");
        std::size_t count = 0;
        for (const Json& one : *state.find("requests")->as_array())
            count += one.string_or("method", "") == method ? 1 : 0;
        return count;
    }
    static chat::Outgoing words(std::string markdown, std::string chat = "5") {
        return berth::testing::words_in(std::move(chat), std::move(markdown));
    }
    static chat::Outgoing card(std::string title) {
        chat::Outgoing out = words("");
        out.content.is_card = true;
        out.content.card.title = std::move(title);
        out.content.card.buttons = {
            {"token-yes", "Approve", chat::ButtonStyle::kGood, false},
            {"token-no", "Deny", chat::ButtonStyle::kDanger, false}};
        return out;
    }

    Settings settings_;
};

TEST_F(TelegramPlatform, HearsInOrderAndConfirmsOnlyWhatIsStored) {
    heard_.fail(2);
    start();
    for (int i = 0; i < 5; ++i) say("word " + std::to_string(i));
    ASSERT_TRUE(heard_.wait_events(5));
    const auto events = heard_.events();
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(events[i].text, "word " + std::to_string(i));
    EXPECT_GE(heard_.asked(), 3) << "two refusals, then the same again";
    EXPECT_TRUE(eventually([&] { return fake_.look("state").find("waiting")->dump() == "[]"; }));
    // Telegram sends again what it thinks was not confirmed: the same ids.
    fake_.tell("redeliver", R"({"count":2})");
    say("word 5");
    ASSERT_TRUE(heard_.wait_events(6));
    EXPECT_EQ(heard_.events().back().text, "word 5");
}

TEST_F(TelegramPlatform, NothingIsLostOverARestart) {
    heard_.fail(1'000'000);
    start();
    say("one");
    ASSERT_TRUE(eventually([&] { return heard_.asked() > 0; }));
    platform_->stop();
    heard_.fail(0);
    start();
    ASSERT_TRUE(heard_.wait_events(1));
    EXPECT_EQ(heard_.events()[0].text, "one");
}

TEST_F(TelegramPlatform, SetsTheMenu) {
    start();
    EXPECT_EQ(
        fake_.look("state").find("commands")->dump(),
        R"([{"command":"berth","description":"Berth"},{"command":"run","description":"Run a command"}])"
    );
}

TEST_F(TelegramPlatform, IgnoresEditsAndChatter) {
    fake_.tell("chat", R"({"id":-1007})");
    start();
    say("chatter", R"("deliver":true)", -1007);
    const std::int64_t message = say("first");
    fake_.tell(
        "change", R"({"chat":5,"text":"changed","message":)" + std::to_string(message) + "}"
    );
    say("second");
    ASSERT_TRUE(heard_.wait_events(2));
    EXPECT_EQ(heard_.events()[0].text, "first");
    EXPECT_EQ(heard_.events()[1].text, "second");
}

TEST_F(TelegramPlatform, PostsMarkdownAnswersTopicsAndFiles) {
    fake_.tell("chat", R"({"id":-1007,"forum":true,"topics":[3]})");
    start();
    const std::int64_t asked = say("hello");
    chat::Outgoing out = words("**bold** & `code` @ada");
    out.answers = std::to_string(asked);
    const auto sent = platform_->post(out);
    ASSERT_TRUE(sent.value) << sent.error.reason;
    Json shown = last();
    EXPECT_EQ(std::to_string(shown.int_or("message", 0)), sent.value->message);
    EXPECT_EQ(
        shown.string_or("text", ""),
        "bold & code @\xE2\x81\xA0"
        "ada"
    );
    EXPECT_EQ(shown.int_or("answers", 0), asked);
    EXPECT_EQ(shown.find("notified")->dump(), "[]");
    out = words("in the topic", "-1007");
    out.conversation.thread = "3";
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(last("-1007").int_or("thread", 0), 3);
    out.conversation.thread = "4";
    EXPECT_EQ(platform_->post(out).error.kind, Kind::kRefused);
    out = words("all of it");
    out.content.file_name = "output.txt";
    out.content.file_bytes = "line\n";
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(last().find("file")->dump(), R"({"name":"output.txt","text":"line\n"})");
    EXPECT_EQ(last().string_or("text", ""), "all of it");
}

TEST_F(TelegramPlatform, TheLongestTextIsTaken) {
    start();
    say("hello");
    std::string faces;
    for (int i = 0; i < 2'048; ++i) faces += "\xF0\x9F\x98\x80";
    for (const std::string& text :
         {faces,
          "**" + faces + "**",
          "```\n" + std::string(4'096, '<') + "\n```",
          std::string(9'000, 'x')}) {
        const auto sent = platform_->post(words(text));
        EXPECT_TRUE(sent.value) << sent.error.reason;
    }
    chat::Outgoing out = card(std::string(500, '&'));
    out.content.card.code = std::string(9'000, '<');
    EXPECT_TRUE(platform_->post(out).value);
    EXPECT_LE(last().string_or("text", "").size(), 4'100U);
}

TEST_F(TelegramPlatform, ACardIsClickedAndEditedInPlace) {
    start();
    say("hello");
    const auto sent = platform_->post(card("Approve?"));
    ASSERT_TRUE(sent.value) << sent.error.reason;
    EXPECT_EQ(last().find("buttons")->dump(), R"(["Approve","Deny"])");
    const std::string click =
        R"({"chat":5,"person":{"id":6,"name":"bob"},"button":"Approve","message":)" +
        sent.value->message + "}";
    const std::string query = fake_.tell("click", click).string_or("query", "");
    ASSERT_TRUE(heard_.wait_events(2));
    const chat::Inbound heard = heard_.events()[1];
    EXPECT_EQ(heard.kind, chat::InboundKind::kClick);
    EXPECT_EQ(heard.token, "token-yes");
    EXPECT_EQ(heard.message, sent.value->message);
    EXPECT_EQ(heard.person.id, "6");
    chat::Outgoing after = card("Approved by bob");
    after.content.card.buttons.clear();
    after.handle = heard.handle;
    ASSERT_TRUE(platform_->edit({"5", ""}, sent.value->message, after).value);
    EXPECT_EQ(last().string_or("text", ""), "Approved by bob");
    EXPECT_EQ(last().find("buttons")->dump(), "[]");
    EXPECT_EQ(last().int_or("edits", 0), 1);
    EXPECT_EQ(platform_->edit({"5", ""}, sent.value->message, after).error.kind, Kind::kUnchanged);
    EXPECT_EQ(fake_.try_tell("click", click), 404) << "the buttons are gone";
    EXPECT_TRUE(eventually([&] { return fake_.look("query/" + query).find("answer")->is_object(); })
    ) << "the waiting sign went";
    fake_.tell("remove", R"({"chat":5,"message":)" + sent.value->message + "}");
    EXPECT_EQ(platform_->edit({"5", ""}, sent.value->message, card("x")).error.kind, Kind::kGone);
}

TEST_F(TelegramPlatform, AShortAnswerToAClickIsSeenByItsPresserAlone) {
    start();
    say("hello");
    const auto sent = platform_->post(card("Approve?"));
    ASSERT_TRUE(sent.value);
    const auto click = [&] {
        return fake_
            .tell(
                "click",
                R"({"chat":5,"person":6,"button":"Approve","message":)" + sent.value->message + "}"
            )
            .string_or("query", "");
    };
    const std::string query = click();
    ASSERT_TRUE(heard_.wait_events(2));
    chat::Outgoing out = words("*Somebody else* decided already");
    out.only_for = "6";
    out.handle = heard_.events()[1].handle;
    const std::size_t before = seen().size();
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(seen().size(), before);
    EXPECT_EQ(
        fake_.look("query/" + query).find("answer")->dump(),
        R"({"text":"Somebody else decided already","alert":true})"
    );
    // The handle has ended: the words go to the chat.
    ASSERT_TRUE(platform_->post(out).value);
    EXPECT_EQ(seen().size(), before + 1);
    // A click that nobody answers loses its waiting sign all the same.
    const std::string silent = click();
    EXPECT_TRUE(eventually([&] { return fake_.look("query/" + silent).find("answer")->is_object(); }
    ));
}

TEST_F(TelegramPlatform, ALongTextStandsThereWhole) {
    start();
    say("hello");
    const berth::testing::LongText text(300);
    ASSERT_NO_FATAL_FAILURE(post_whole(text, [](const auto& piece) { return words(piece); }));
    std::vector<std::string> shown;
    for (const Json& one : seen()) {
        if (!one.bool_or("bot", false)) continue;
        shown.push_back(one.string_or("text", ""));
        EXPECT_NE(one.find("entities")->dump().find("\"pre\""), std::string::npos) << "as code";
    }
    text.expect_whole(shown, false);
}

TEST_F(TelegramPlatform, UnderstandsRefusals) {
    fake_.tell("chat", R"({"id":-7,"title":"old"})");
    start();
    say("hello");
    fault(R"({"method":"sendMessage","kind":"error","status":429,"retry_after":7,"unwatched":true})"
    );
    auto refused = platform_->post(words("x"));
    EXPECT_EQ(refused.error.kind, Kind::kLater);
    EXPECT_EQ(refused.error.retry_after, seconds{7});
    fault(
        R"({"method":"sendMessage","kind":"error","status":502,"text":"<html>Bad Gateway</html>"})"
    );
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kLater);
    fault(
        R"({"method":"sendMessage","kind":"error","status":400,"description":"Bad Request: can't parse entities: x"})"
    );
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kBadMarkup);
    EXPECT_EQ(platform_->post(words("x", "404")).error.kind, Kind::kRefused);
    EXPECT_EQ(platform_->post(words("x", "C0123")).error.kind, Kind::kRefused);
    fake_.tell("block", R"({"chat":5})");
    refused = platform_->post(words("x"));
    EXPECT_EQ(refused.error.kind, Kind::kRefused);
    EXPECT_NE(refused.error.reason.find("blocked by the user"), std::string::npos);
    // A group that became a supergroup: the message follows it, and so do later ones.
    fake_.tell("upgrade", R"({"chat":-7,"to":-1007})");
    ASSERT_TRUE(platform_->post(words("moved", "-7")).value);
    ASSERT_TRUE(platform_->post(words("again", "-7")).value);
    EXPECT_EQ(seen("-1007").size(), 2U);
}

TEST_F(TelegramPlatform, AGroupHearsTwentyMessagesAMinute) {
    start();
    const chat::Rate group = platform_->traits().rate_of("-1007");
    EXPECT_LE(group.burst + 60 * group.per_second, 20.0);
    EXPECT_EQ(platform_->traits().rate_of("7").per_second, 1.0);
}

TEST_F(TelegramPlatform, SaysWhereItIsNotKnownWhetherAMessageWent) {
    start();
    say("hello");
    ASSERT_TRUE(platform_->post(words("warm")).value) << "the connection is kept from here on";
    fault(R"({"method":"sendMessage","kind":"drop_after"})");
    EXPECT_EQ(platform_->post(words("dropped")).error.kind, Kind::kUnknown);
    fault(R"({"method":"sendMessage","kind":"error_after","status":500})");
    EXPECT_EQ(platform_->post(words("failed")).error.kind, Kind::kFailed);
    EXPECT_EQ(seen().size(), 4U) << "each of them once";
    fault(R"({"method":"sendMessage","kind":"late","ms":300})");
    EXPECT_TRUE(platform_->post(words("late")).value);
    Settings nowhere = settings_;
    nowhere.api_url = "http://127.0.0.1:1";
    EXPECT_EQ(make_platform(nowhere)->post(words("x")).error.kind, Kind::kLater)
        << "nothing went out";
}

TEST_F(TelegramPlatform, ASecondPollerIsTold) {
    start();
    fault(
        R"({"method":"getUpdates","kind":"error","status":409,"times":5,"description":"Conflict: terminated by other getUpdates request"})"
    );
    EXPECT_TRUE(heard_.wait_unready("another program receives this bot's updates"));
    EXPECT_TRUE(heard_.wait_ready());
    // And a real one: both get the conflict in turn.
    http::Client other;
    http::Request poll;
    poll.method = "POST";
    poll.url = fake_.url() + "/bot" + kToken + "/getUpdates";
    poll.headers = {{"Content-Type", "application/json"}};
    poll.body = R"({"timeout":1,"offset":-1})";
    (void)other.send(poll);
    EXPECT_TRUE(heard_.wait_ready());
    say("still heard");
    EXPECT_TRUE(heard_.wait_events(1));
}

TEST_F(TelegramPlatform, ComesBackAfterBadGateways) {
    start();
    fault(
        R"({"method":"getUpdates","kind":"error","status":502,"times":3,"text":"<html>Bad Gateway</html>"},{"method":"getUpdates","kind":"drop","times":2})"
    );
    EXPECT_TRUE(heard_.wait_unready("502"));
    say("afterwards");
    EXPECT_TRUE(heard_.wait_events(1));
    EXPECT_TRUE(heard_.wait_ready());
    // Updates whose answer got lost come again.
    fault(R"({"method":"getUpdates","kind":"drop_after","times":1})");
    say("again");
    EXPECT_TRUE(heard_.wait_events(2));
}

TEST_F(TelegramPlatform, TakesAWebhookAwayThatStandsInItsWay) {
    start();
    fake_.tell("token", std::string(R"({"token":")") + kToken + "\"}");
    http::Client other;
    http::Request hook;
    hook.method = "POST";
    hook.url = fake_.url() + "/bot" + kToken + "/setWebhook";
    hook.headers = {{"Content-Type", "application/json"}};
    hook.body = R"({"url":"http://127.0.0.1:1/"})";
    ASSERT_TRUE(other.send(hook));
    EXPECT_TRUE(heard_.wait_unready("webhook is active"));
    EXPECT_TRUE(heard_.wait_ready());
    EXPECT_TRUE(fake_.look("state").find("webhook")->is_null());
}

TEST_F(TelegramPlatform, ARevokedTokenIsToldAndANewOneIsNeeded) {
    start();
    fake_.tell("token", R"({"token":"700100200:another"})");
    EXPECT_TRUE(heard_.wait_unready("refuses the bot's token"));
    EXPECT_EQ(heard_.state().reason.find("AAE-a_token"), std::string::npos);
    const auto refused = platform_->post(words("x"));
    EXPECT_EQ(refused.error.kind, Kind::kUnauthorized);
    EXPECT_EQ(refused.error.reason.find("AAE-a_token"), std::string::npos);
    fake_.tell("token", std::string(R"({"token":")") + kToken + "\"}");
    EXPECT_TRUE(heard_.wait_ready());
}

TEST_F(TelegramPlatform, ATokenThatIsPutIntoItsFileIsTaken) {
    const berth::testing::SecretFolder secrets;
    settings_.token = {secrets.file("token", kToken), Secret(kToken)};
    start();
    fake_.tell("token", R"({"token":"700100200:another"})");
    EXPECT_TRUE(heard_.wait_unready("put a valid one into token_file"));
    (void)secrets.file("token", "700100200:another");
    EXPECT_TRUE(heard_.wait_ready());
    say("hello");
    EXPECT_TRUE(heard_.wait_events(1));
    EXPECT_TRUE(platform_->post(words("x")).value);
}

TEST_F(TelegramPlatform, StopsWithinASecondOrTwo) {
    settings_.poll = seconds{20};
    start();
    const auto before = std::chrono::steady_clock::now();
    platform_->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - before, seconds{5});
}

class TelegramWebhook : public TelegramPlatform {
protected:
    TelegramWebhook() {
        settings_.webhook_url = listen() + "/hooks/telegram";
        settings_.webhook_secret = Secret(kSecret);
    }
    std::int64_t forge(const std::string& secret) {
        const std::string update =
            R"({"update":{"update_id":1,"message":{"message_id":1,"date":1,"text":"/berth halt","from":{"id":5,"is_bot":false,"first_name":"a"},"chat":{"id":5,"type":"private"}}},"secret":)";
        return fake_.tell("deliver", update + secret + "}").int_or("status", 0);
    }
};

TEST_F(TelegramWebhook, HearsInOrderAndAnswersOnlyWhenStored) {
    start();
    EXPECT_EQ(fake_.look("state").find("webhook")->string_or("secret_token", ""), kSecret);
    heard_.fail(2);
    for (int i = 0; i < 5; ++i) say("word " + std::to_string(i));
    ASSERT_TRUE(heard_.wait_events(5));
    for (std::size_t i = 0; i < 5; ++i)
        EXPECT_EQ(heard_.events()[i].text, "word " + std::to_string(i));
    EXPECT_EQ(heard_.asked(), 7);
}

TEST_F(TelegramWebhook, RefusesForgeries) {
    start();
    EXPECT_EQ(forge("\"wrong\""), 401);
    EXPECT_EQ(forge("null"), 401);
    EXPECT_EQ(forge(std::string("\"") + kSecret + "x\""), 401);
    EXPECT_TRUE(heard_.events().empty());
    EXPECT_EQ(forge(std::string("\"") + kSecret + "\""), 200);
    EXPECT_TRUE(heard_.wait_events(1));
    const std::vector<std::pair<std::string, std::string>> right = {
        {"x-telegram-bot-api-secret-token", kSecret}};
    EXPECT_EQ(platform_->web({"POST", "/hooks/telegram", "", right, "{"}).status, 400);
    EXPECT_EQ(platform_->web({"POST", "/hooks/telegram", "", right, "[]"}).status, 400);
    EXPECT_EQ(platform_->web({"GET", "/hooks/telegram", "", right, ""}).status, 405);
    EXPECT_EQ(platform_->web({"POST", "/else", "", right, "{}"}).status, 404);
    EXPECT_EQ(
        platform_->web({"POST", "/hooks/telegram", "", right, R"({"update_id":9})"}).status, 200
    ) << "nothing for it";
}

TEST_F(TelegramWebhook, WatchesTokenAndAddress) {
    start();
    http::Client other;
    http::Request hook;
    hook.method = "POST";
    hook.url = fake_.url() + "/bot" + kToken + "/deleteWebhook";
    ASSERT_TRUE(other.send(hook));
    EXPECT_TRUE(heard_.wait_unready("took this bot's webhook away"));
    EXPECT_TRUE(heard_.wait_ready());
    fake_.tell("token", R"({"token":"700100200:another"})");
    EXPECT_TRUE(heard_.wait_unready("refuses the bot's token"));
    fake_.tell("token", std::string(R"({"token":")") + kToken + "\"}");
    EXPECT_TRUE(heard_.wait_ready());
}

}  // namespace
}  // namespace berth::telegram
