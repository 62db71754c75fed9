// SPDX-License-Identifier: Apache-2.0
// The platform against the fake Slack, which Slack's own libraries hold to the real one: every way
// in, every way out, every fault.
#include "slack/slack.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "support/fakes/platform_fixture.hpp"
#include "support/secret_folder.hpp"

namespace berth::slack {
namespace {

using berth::testing::eventually;
using berth::testing::PlatformTest;
using Kind = chat::SendError::Kind;

constexpr const char* kChannel = "C0GENERAL1";

class SlackPlatform : public PlatformTest {
protected:
    SlackPlatform() : PlatformTest("slack", {}) {
        settings_.api_url = fake_.api_url() + "/api";
        settings_.bot_token = Secret("xoxb-of-the-tests-only-0123456789");
        settings_.app_token = Secret("xapp-of-the-tests-only-0123456789");
        settings_.signing_secret = Secret("signing-secret-of-the-tests-only");
        settings_.first_retry = milliseconds{20};
        settings_.auth_every = milliseconds{100};
        settings_.ping_every = milliseconds{100};
        settings_.hello = milliseconds{500};
        fake_.tell("channel", R"({"id":"C0GENERAL1","people":["U1"]})");
    }
    void start() { ASSERT_NO_FATAL_FAILURE(PlatformTest::start(make_platform(settings_))); }
    std::string say(const std::string& text, const std::string& more = {}) {
        Json order = Json::object();
        order.set("channel", kChannel).set("user", "U1").set("text", text);
        std::string body = order.dump();
        if (!more.empty()) body = body.substr(0, body.size() - 1) + "," + more + "}";
        return fake_.tell("say", body).string_or("ts", "");
    }
    std::vector<Json> seen(const char* what = "messages") {
        return *fake_.look(std::string("channel/") + kChannel).find(what)->as_array();
    }
    /// The bot's own messages.
    std::vector<Json> posted() {
        std::vector<Json> out;
        for (const Json& one : seen()) {
            if (!one.string_or("bot_id", "").empty()) out.push_back(one);
        }
        return out;
    }
    void fault(const std::string& line) { fake_.tell("faults", R"({"faults":[)" + line + "]}"); }
    std::size_t count(const std::string& event) {
        const Json state = fake_.look("state");
        std::size_t out = 0;
        for (const Json& one : *state.find("events")->as_array())
            out += *one.as_array()->at(0).as_string() == event ? 1 : 0;
        return out;
    }
    static chat::Outgoing words(const std::string& markdown, const std::string& key = "k1") {
        chat::Outgoing out = berth::testing::words_in(kChannel, markdown);
        out.key = key;
        return out;
    }
    static chat::Outgoing card(const std::string& title) {
        chat::Outgoing out = words("");
        out.content.is_card = true;
        out.content.card.title = title;
        out.content.card.code = "git push <!channel>";
        out.content.card.fields = {{"Rule", "pushes"}};
        out.content.card.footer = "ap_1";
        out.content.card.buttons = {
            {"token-yes", "Approve", chat::ButtonStyle::kGood, false},
            {"token-no", "Deny with comment", chat::ButtonStyle::kPlain, true}};
        return out;
    }

    Settings settings_;
};

TEST_F(SlackPlatform, HearsMentionsDirectMessagesCommandsClicksAndComments) {
    start();
    const std::string thread = say("hello");
    ASSERT_TRUE(heard_.wait_events(1));
    say("run make", R"("thread":")" + thread + "\"");
    ASSERT_TRUE(heard_.wait_events(2));
    EXPECT_EQ(heard_.events()[1].text, "run make");
    EXPECT_EQ(heard_.events()[1].conversation, (chat::Conversation{kChannel, thread}));
    EXPECT_EQ(heard_.events()[1].person.id, "T0BERTH001/U1");
    fake_.tell("say", R"({"channel":"D0DIRECT01","user":"U1","text":"leases"})");
    ASSERT_TRUE(heard_.wait_events(3));
    EXPECT_TRUE(heard_.events()[2].direct);
    fake_.tell("command", R"({"channel":"C0GENERAL1","user":"U1","text":"status"})");
    ASSERT_TRUE(heard_.wait_events(4));
    EXPECT_EQ(heard_.events()[3].kind, chat::InboundKind::kCommand);
    const auto sent = platform_->post(card("May this run?"));
    ASSERT_TRUE(sent.value) << sent.error.reason;
    const auto click = [&](const char* label) {
        fake_.tell(
            "click",
            R"({"channel":"C0GENERAL1","user":"U1","ts":")" + sent.value->message +
                R"(","button":")" + label + "\"}"
        );
    };
    click("Approve");
    ASSERT_TRUE(heard_.wait_events(5));
    EXPECT_EQ(heard_.events()[4].token, "token-yes");
    EXPECT_EQ(heard_.events()[4].message, sent.value->message);
    click("Deny with comment");
    Json views;
    ASSERT_TRUE(eventually([&] {
        views = fake_.look("views");
        return !views.as_object()->empty();
    }));
    EXPECT_EQ(heard_.events().size(), 5U) << "a comment is asked for first";
    fake_.tell(
        "submit", R"({"view":")" + views.as_object()->front().first + R"(","comment":"not now"})"
    );
    ASSERT_TRUE(heard_.wait_events(6));
    EXPECT_EQ(heard_.events()[5].token, "token-no");
    EXPECT_EQ(heard_.events()[5].comment, "not now");
    EXPECT_TRUE(eventually([&] { return fake_.look("state").int_or("waiting", -1) == 0; }));
}

TEST_F(SlackPlatform, AcknowledgesOnlyWhatIsStored) {
    fake_.tell("line", R"({"ack_within":0.2})");
    heard_.fail(2);
    start();
    say("one");
    ASSERT_TRUE(heard_.wait_events(1));
    EXPECT_GE(heard_.asked(), 3);
    EXPECT_TRUE(eventually([&] { return fake_.look("state").int_or("waiting", -1) == 0; }));
}

TEST_F(SlackPlatform, OpensTheNewConnectionBeforeTheOldOneEnds) {
    for (const char* reason : {"warning", "refresh_requested"}) {
        if (!platform_) start();
        const std::size_t before = count("hello");
        fake_.tell(
            "disconnect", std::string(R"({"reason":")") + reason + R"(","close_after":1.0})"
        );
        ASSERT_TRUE(eventually([&] { return count("hello") > before; }));
        EXPECT_LT(count("close"), before) << "the old one was still there";
        for (int i = 0; i < 20; ++i) say(reason + std::to_string(i));
        ASSERT_TRUE(eventually([&] { return count("close") == before; }));
        ASSERT_TRUE(heard_.wait_events(heard_.events().size() >= 20 && before > 1 ? 40 : 20));
    }
}

TEST_F(SlackPlatform, SaysThatSocketModeWasSwitchedOffAndGoesOnWhenItIsOn) {
    start();
    fault(
        R"({"method":"apps.connections.open","kind":"error","error":"link_disabled","times":1000})"
    );
    fake_.tell("disconnect", R"({"reason":"link_disabled","close_after":0.05})");
    ASSERT_TRUE(eventually([&] {
        return !heard_.state().ready &&
               heard_.state().reason.find("link_disabled") != std::string::npos;
    })) << heard_.state().reason;
    fake_.tell("faults", R"({"faults":[]})");
    ASSERT_TRUE(heard_.wait_ready());
    say("hello");
    EXPECT_TRUE(heard_.wait_events(1));
}

TEST_F(SlackPlatform, FindsADeadConnectionAndLosesNothing) {
    fake_.tell("line", R"({"ack_within":0.2})");
    start();
    fake_.tell("line", R"({"muted":true})");  // no pong
    ASSERT_TRUE(eventually([&] { return count("close") >= 1; }));
    fake_.tell("line", R"({"muted":false})");
    ASSERT_TRUE(eventually([&] { return fake_.look("state").int_or("connections", 0) == 1; }));
    fake_.tell("line", R"({"cut":true})");  // a broken network
    for (int i = 0; i < 10; ++i) say(std::to_string(i));
    ASSERT_TRUE(heard_.wait_events(10));
    fake_.tell("line", R"({"silent":true,"cut":true})");  // no hello
    ASSERT_TRUE(eventually([&] { return !heard_.state().ready; }));
    fake_.tell("line", R"({"silent":false})");
    ASSERT_TRUE(heard_.wait_ready());
}

TEST_F(SlackPlatform, ARevokedTokenIsToldWithItsReason) {
    start();
    fake_.tell("revoke", R"({"which":"bot"})");
    ASSERT_TRUE(eventually([&] { return !heard_.state().ready; }));
    EXPECT_NE(heard_.state().reason.find("invalid_auth"), std::string::npos)
        << heard_.state().reason;
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kUnauthorized);
    fake_.tell("restore", R"({"which":"bot"})");
    ASSERT_TRUE(heard_.wait_ready());
    fake_.tell("revoke", R"({"which":"app"})");
    ASSERT_TRUE(eventually([&] {
        return heard_.state().reason.find("app token") != std::string::npos;
    }));
    fake_.tell("restore", R"({"which":"app"})");
    ASSERT_TRUE(heard_.wait_ready());
}

TEST_F(SlackPlatform, TokensThatArePutIntoTheirFilesAreTaken) {
    const berth::testing::SecretFolder secrets;
    const Secret bot = settings_.bot_token.read();
    const Secret app = settings_.app_token.read();
    settings_.bot_token = {secrets.file("bot", "xoxb-wrong"), Secret("xoxb-wrong")};
    settings_.app_token = {secrets.file("app", "xapp-wrong"), Secret("xapp-wrong")};
    platform_ = make_platform(settings_);
    ASSERT_TRUE(platform_->start(heard_));
    EXPECT_TRUE(heard_.wait_unready("put a valid one into bot_token_file"));
    (void)secrets.file("bot", bot.reveal());
    EXPECT_TRUE(heard_.wait_unready("put a valid one into app_token_file"));
    (void)secrets.file("app", app.reveal());
    EXPECT_TRUE(heard_.wait_ready());
    EXPECT_TRUE(platform_->post(words("x")).value);
}

TEST_F(SlackPlatform, PostsEditsWhispersAndSharesFiles) {
    start();
    auto message = words("**hello** <!channel> & `x`");
    const auto sent = platform_->post(message);
    ASSERT_TRUE(sent.value) << sent.error.reason;
    ASSERT_EQ(posted().size(), 1U);
    EXPECT_NE(posted()[0].dump().find("*hello* &lt;!channel&gt; &amp; `x`"), std::string::npos)
        << posted()[0].dump();
    const auto edited = platform_->edit(message.conversation, sent.value->message, card("Decided"));
    ASSERT_TRUE(edited.value) << edited.error.reason;
    EXPECT_NE(posted()[0].dump().find("Decided"), std::string::npos);
    auto plain = words("again");
    plain.plain = true;
    ASSERT_TRUE(platform_->edit(message.conversation, sent.value->message, plain).value);
    EXPECT_EQ(posted()[0].find("blocks"), nullptr);

    auto whisper = words("for you alone");
    whisper.only_for = "T0BERTH001/U1";
    ASSERT_TRUE(platform_->post(whisper).value);
    ASSERT_EQ(seen("ephemeral").size(), 1U);
    EXPECT_EQ(seen("ephemeral")[0].string_or("user", ""), "U1");
    const Json command =
        fake_.tell("command", R"({"channel":"C0GENERAL1","user":"U1","text":"help"})");
    whisper.handle = command.string_or("response_url", "");
    for (int i = 0; i < 6; ++i)
        EXPECT_TRUE(platform_->post(whisper).value) << "the sixth goes the ordinary way";
    EXPECT_EQ(seen("ephemeral").size(), 7U);
    whisper.handle = "https://elsewhere.example/hook";
    EXPECT_TRUE(platform_->post(whisper).value) << "an address that is not Slack's is not called";

    auto file = words("The whole output.");
    file.conversation.thread = sent.value->message;
    file.content.file_name = "rn_1.log";
    file.content.file_bytes = std::string("a\0b\xff", 4);
    ASSERT_TRUE(platform_->post(file).value);
    EXPECT_EQ(posted().back().string_or("thread_ts", ""), sent.value->message);
    EXPECT_NE(fake_.look("state").find("files")->dump().find("a\\u0000b\u00ff"), std::string::npos);
    const auto found = platform_->find(file);
    ASSERT_TRUE(found.value && *found.value);
}

TEST_F(SlackPlatform, ALongTextStandsThereWhole) {
    start();
    const berth::testing::LongText text(300);
    ASSERT_NO_FATAL_FAILURE(post_whole(text, [](const auto& piece) { return words(piece); }));
    std::vector<std::string> shown;
    for (const Json& one : posted()) {
        std::string read;
        for (const Json& block : *one.find("blocks")->as_array())
            read += block.find("text")->string_or("text", "") + "\n";
        // What clients show of Slack's three escapes.
        for (const auto& [escape, sign] : {std::pair("&lt;", "<"), {"&gt;", ">"}, {"&amp;", "&"}}) {
            for (auto at = read.find(escape); at != std::string::npos; at = read.find(escape))
                read.replace(at, std::string_view(escape).size(), sign);
        }
        shown.push_back(read);
    }
    text.expect_whole(shown, true);
}

TEST_F(SlackPlatform, AFailureMeansWhatItDid) {
    start();
    fault(R"({"method":"chat.postMessage","kind":"429","retry_after":7,"unwatched":true})");
    auto result = platform_->post(words("x"));
    EXPECT_EQ(result.error.kind, Kind::kLater);
    EXPECT_EQ(result.error.retry_after, seconds{7});
    for (const char* kind : {"500_before", "drop_before", "500_after", "drop_after"}) {
        const std::string key = std::string("key-") + kind;
        fault(std::string(R"({"method":"chat.postMessage","kind":")") + kind + "\"}");
        const std::size_t before = posted().size();
        result = platform_->post(words("x", key));
        EXPECT_EQ(result.error.kind, Kind::kUnknown) << kind;
        const bool done = std::string(kind).ends_with("after");
        EXPECT_EQ(posted().size(), before + (done ? 1 : 0)) << kind;
        const auto found = platform_->find(words("x", key));
        ASSERT_TRUE(found.value) << kind;
        EXPECT_EQ(found.value->has_value(), done) << kind;
    }
    fault(R"({"method":"chat.postMessage","kind":"error","error":"invalid_blocks"})");
    EXPECT_EQ(platform_->post(words("x")).error.kind, Kind::kBadMarkup);
    EXPECT_EQ(platform_->edit({kChannel, ""}, "1.1", words("x")).error.kind, Kind::kGone);
    auto elsewhere = words("x");
    elsewhere.conversation.chat = "C0NOWHERE1";
    EXPECT_EQ(platform_->post(elsewhere).error.kind, Kind::kRefused);
    fake_.tell("archive", R"({"channel":"C0GENERAL1"})");
    result = platform_->post(words("x"));
    EXPECT_EQ(result.error.kind, Kind::kRefused);
    EXPECT_EQ(result.error.reason, "is_archived");
}

TEST_F(SlackPlatform, FindsAMessageAtTheEndOfALongThread) {
    start();
    auto message = words("x", "filler");
    message.conversation.thread = say("hello");
    std::string before;
    for (int i = 0; i < 610; ++i) before = platform_->post(message).value->message;
    message.key = "wanted";
    const auto sent = platform_->post(message);
    // What is older than the row by more than the clocks may differ is not looked at.
    const auto point = before.find('.');
    message.since =
        from_unix_micros(
            std::stoll(before.substr(0, point)) * 1'000'000 + std::stoll(before.substr(point + 1))
        ) +
        std::chrono::minutes{5};
    const auto found = platform_->find(message);
    ASSERT_TRUE(found.value && *found.value);
    EXPECT_EQ((*found.value)->message, sent.value->message);
}

TEST_F(SlackPlatform, AWaitIsOfTheMethodButForPosts) {
    start();
    const auto sent = platform_->post(words("x"));
    const auto refused = [&](const std::string& method) {
        fault(R"({"method":")" + method + R"(","kind":"429","retry_after":7,"unwatched":true})");
    };
    refused("chat.postMessage");
    EXPECT_FALSE(platform_->post(words("x")).error.everywhere);
    refused("chat.update");
    auto error = platform_->edit({kChannel, ""}, sent.value->message, words("y")).error;
    EXPECT_TRUE(error.everywhere);
    EXPECT_EQ(error.retry_after, seconds{7});
    refused("conversations.history");
    error = platform_->find(words("x")).error;
    EXPECT_TRUE(error.everywhere);
    EXPECT_EQ(error.retry_after, seconds{7});
}

TEST_F(SlackPlatform, AScopeThatOneMethodLacksIsNotTheTokensEnd) {
    fault(R"({"method":"files.getUploadURLExternal","kind":"error","error":"missing_scope"})");
    start();
    auto file = words("");
    file.content.file_name = "output.txt";
    file.content.file_bytes = "x";
    EXPECT_EQ(platform_->post(file).error.kind, Kind::kRefused);
    EXPECT_TRUE(platform_->post(words("x")).value);
    fault(R"({"method":"auth.test","kind":"error","error":"missing_scope","times":100})");
    ASSERT_TRUE(eventually([&] { return !heard_.state().ready; }));
}

TEST_F(SlackPlatform, WaitsForANewConnectionAsLongAsSlackAsks) {
    fault(R"({"method":"apps.connections.open","kind":"429","retry_after":2})");
    const SteadyTime began = std::chrono::steady_clock::now();
    start();
    EXPECT_GE(std::chrono::steady_clock::now() - began, seconds{2});
}

class SlackHttp : public SlackPlatform {
protected:
    void start_listening() {
        settings_.socket_mode = false;
        start();
        fake_.tell("webhook", R"({"url":")" + listen() + R"(/slack"})");
    }
    Json forge(const std::string& more) {
        return fake_.tell(
            "forge",
            R"({"type":"events_api","payload":{"type":"event_callback","event_id":"E","event":{"type":"app_mention","user":"U1","text":"x","ts":"1.2","channel":"C1"}})" +
                more + "}"
        );
    }
};

TEST_F(SlackHttp, TakesSignedRequestsAndNoOthers) {
    start_listening();
    say("run make");
    ASSERT_TRUE(heard_.wait_events(1));
    fake_.tell("command", R"({"channel":"C0GENERAL1","user":"U1","text":"status & more"})");
    ASSERT_TRUE(heard_.wait_events(2));
    EXPECT_EQ(heard_.events()[1].text, "status & more");
    const auto sent = platform_->post(card("May this run?"));
    ASSERT_TRUE(sent.value);
    fake_.tell(
        "click",
        R"({"channel":"C0GENERAL1","user":"U1","button":"Approve","ts":")" + sent.value->message +
            "\"}"
    );
    ASSERT_TRUE(heard_.wait_events(3));
    EXPECT_EQ(forge(R"(,"secret":"another")").int_or("status", 0), 401);
    EXPECT_EQ(forge(R"(,"timestamp":"1700000000")").int_or("status", 0), 401);
    EXPECT_EQ(forge(R"(,"signature":"v0=00")").int_or("status", 0), 401);
    EXPECT_EQ(heard_.events().size(), 3U);
    EXPECT_EQ(forge("").int_or("status", 0), 200);
    ASSERT_TRUE(heard_.wait_events(4));
    const Json challenge = fake_.tell(
        "forge", R"({"type":"events_api","payload":{"type":"url_verification","challenge":"abc"}})"
    );
    EXPECT_EQ(challenge.string_or("body", ""), "abc");
}

TEST_F(SlackHttp, WhatIsNotStoredIsNotTakenAndComesAgain) {
    fake_.tell("line", R"({"ack_within":0.1})");
    start_listening();
    heard_.fail(2);
    say("one");
    ASSERT_TRUE(heard_.wait_events(1));
    EXPECT_GE(heard_.asked(), 3);
}

}  // namespace
}  // namespace berth::slack
