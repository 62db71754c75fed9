// SPDX-License-Identifier: Apache-2.0
// Slack's payloads, read and written.
#include "slack/wire.hpp"

#include <gtest/gtest.h>

#include "slack/web_api.hpp"

namespace berth::slack {
namespace {

const WallTime kNow = from_unix_micros(1'700'000'000'000'000);

Json json(const std::string& text) {
    auto out = Json::parse(text);
    EXPECT_TRUE(out) << text;
    return out.value_or(Json());
}

const char* const kMention =
    R"({"type":"event_callback","team_id":"T1","event_id":"Ev1","event":{"type":"app_mention",
  "user":"U1","text":"<@UBOT> run echo \u201chi\u201d &lt;x&gt; <http://a.example|a.example>","ts":"1700000000.000100",
  "channel":"C1","thread_ts":"1699999999.000001","team":"T1"}})";

TEST(SlackInbound, AMentionIsAMessageInItsThread) {
    const auto heard = hear_event(json(kMention), kNow);
    ASSERT_TRUE(heard.inbound);
    EXPECT_EQ(heard.inbound->event_id, "Ev1");
    EXPECT_EQ(heard.inbound->kind, chat::InboundKind::kMessage);
    EXPECT_EQ(heard.inbound->conversation, (chat::Conversation{"C1", "1699999999.000001"}));
    EXPECT_EQ(heard.inbound->person.id, "T1/U1");
    EXPECT_EQ(heard.inbound->text, "run echo \u201chi\u201d <x> a.example");
    EXPECT_EQ(heard.inbound->at, kNow);
    EXPECT_FALSE(heard.inbound->direct);
}

TEST(SlackInbound, NothingThatWasTypedIsLost) {
    const std::string typed = "run sh -c 'echo a > x; cat < x; echo \"1 <b> 2\"'";
    EXPECT_EQ(to_typed(escape(typed)), typed);
    EXPECT_EQ(to_typed(typed), typed) << "where it was not escaped";
    EXPECT_EQ(
        to_typed(
            "<@U1> <#C1|ops> <!here> <mailto:a@b.c|a@b.c> <https://a.example/?b&amp;c> <tel:1|1>"
        ),
        "@U1 ops !here a@b.c https://a.example/?b&c 1"
    );
    EXPECT_EQ(to_typed("<<b>> <@"), "<<b>> <@");
}

TEST(SlackInbound, WhatIsNotMeantForTheBotIsNothing) {
    const auto event = [](const std::string& fields) {
        return json(
            R"({"team_id":"T1","event_id":"E","event":{"user":"U1","text":"x","ts":"1.2",)" +
            fields + "}}"
        );
    };
    EXPECT_FALSE(hear_event(event(R"("type":"message","channel":"C1")"), kNow).inbound);
    EXPECT_TRUE(hear_event(event(R"("type":"message","channel":"D1")"), kNow).inbound);
    EXPECT_FALSE(hear_event(event(R"("type":"message","channel":"D1","bot_id":"B1")"), kNow).inbound
    );
    EXPECT_FALSE(
        hear_event(event(R"("type":"message","channel":"D1","subtype":"message_changed")"), kNow)
            .inbound
    );
    EXPECT_FALSE(
        hear_event(event(R"("type":"app_mention","channel":"C1","edited":{"ts":"1.3"})"), kNow)
            .inbound
    );
    EXPECT_FALSE(hear_event(event(R"("type":"reaction_added","channel":"C1")"), kNow).inbound);
    EXPECT_FALSE(hear_event(json("[1]"), kNow).inbound);
    EXPECT_FALSE(hear_event(json(R"({"event":"x"})"), kNow).inbound);
    EXPECT_FALSE(hear_event(json(R"({"event":{"type":7}})"), kNow).inbound);
}

TEST(SlackInbound, ACommandComesWithItsHandle) {
    const Json form = form_fields(
        "team_id=T1&user_id=U1&user_name=anna&channel_id=D7&command=%2Fberth&text=run+make%20test&"
        "trigger_id=13.4&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F1"
    );
    const auto heard = hear_command(form, kNow);
    ASSERT_TRUE(heard.inbound);
    EXPECT_EQ(heard.inbound->text, "run make test");
    EXPECT_TRUE(heard.inbound->direct);
    EXPECT_EQ(heard.inbound->handle, "https://hooks.slack.com/commands/1");
    EXPECT_EQ(heard.inbound->event_id, "slash:13.4");
    EXPECT_FALSE(hear_command(json("{}"), kNow).inbound);
}

const char* const kActions =
    R"({"type":"block_actions","user":{"id":"U1","username":"anna","team_id":"T1"},
  "channel":{"id":"C1"},"message":{"ts":"17.1","thread_ts":"16.1"},"trigger_id":"99.1",
  "response_url":"https://hooks.slack.com/actions/1","actions":[{"action_id":"%","value":"tok"}]})";

Json actions(const std::string& id) {
    std::string text = kActions;
    text.replace(text.find('%'), 1, id);
    return json(text);
}

TEST(SlackInbound, AButtonIsAClickAndOneThatAsksIsAModalFirst) {
    const auto click = hear_interaction(actions("berth_press_0"), kNow);
    ASSERT_TRUE(click.inbound);
    EXPECT_EQ(click.inbound->token, "tok");
    EXPECT_EQ(click.inbound->message, "17.1");
    EXPECT_EQ(click.inbound->conversation, (chat::Conversation{"C1", "16.1"}));
    EXPECT_EQ(click.inbound->event_id, "click:99.1");
    EXPECT_FALSE(hear_interaction(actions("other_app"), kNow).inbound);
    const auto asked = hear_interaction(actions("berth_ask_2"), kNow);
    EXPECT_FALSE(asked.inbound);
    ASSERT_TRUE(asked.modal);
    EXPECT_EQ(asked.modal->trigger, "99.1");
    const Json view = json(asked.modal->view);
    Json submission =
        json(R"({"type":"view_submission","user":{"id":"U1","team_id":"T1"},"trigger_id":"1"})");
    Json back = view;
    back.set("id", "V1")
        .set("state", json(R"({"values":{"comment":{"comment":{"value":"not now"}}}})"));
    submission.set("view", back);
    const auto submitted = hear_interaction(submission, kNow);
    ASSERT_TRUE(submitted.inbound);
    EXPECT_EQ(submitted.inbound->comment, "not now");
    EXPECT_EQ(submitted.inbound->token, "tok");
    EXPECT_EQ(submitted.inbound->message, "17.1");
    EXPECT_EQ(submitted.inbound->event_id, "view:V1");
}

// The example of Slack's own documentation
// (api.slack.com/authentication/verifying-requests-from-slack).
constexpr const char* kSecret = "8f742231b10e8888abcd99yyyzzz85a5";
constexpr const char* kBody =
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
    "channel_name="
    "foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url="
    "https%3A%2F%2Fhooks."
    "slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
    "398738663015.47445629121."
    "803a0bc887a14d10d2c447fce8b6703c";
constexpr const char* kSigned =
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

TEST(SlackSignature, IsThatOfTheDocumentation) {
    EXPECT_EQ(signature(kSecret, "1531420618", kBody), kSigned);
    const WallTime then = from_unix_micros(1'531'420'618'000'000);
    constexpr std::string_view kForged = "the signature is not Slack's";
    constexpr std::string_view kOld = "the signature is not of the last five minutes";
    EXPECT_EQ(forgery(kSecret, "1531420618", kSigned, kBody, then), "");
    EXPECT_EQ(forgery(kSecret, "1531420618", kSigned, kBody, then + seconds{300}), "");
    EXPECT_EQ(forgery(kSecret, "1531420618", kSigned, kBody, then + seconds{301}), kOld);
    EXPECT_EQ(forgery(kSecret, "1531420618", kSigned, kBody, then - seconds{301}), kOld);
    EXPECT_EQ(forgery(kSecret, "1531420619", kSigned, kBody, then), kForged);
    EXPECT_EQ(forgery(kSecret, "1531420618", kSigned, std::string(kBody) + "x", then), kForged);
    EXPECT_EQ(forgery("other", "1531420618", kSigned, kBody, then), kForged);
    EXPECT_EQ(forgery("", "1531420618", signature("", "1531420618", kBody), kBody, then), kForged);
    EXPECT_EQ(forgery(kSecret, "", kSigned, kBody, then), kForged);
    EXPECT_EQ(forgery(kSecret, "99999999999999999999", kSigned, kBody, then), kForged);
}

TEST(SlackBlocks, WhatIsShownIsNotRead) {
    chat::Content content;
    content.is_card = true;
    content.card.title = "May <!channel> this run?";
    content.card.code = "git push <!everyone> ```x``` *b*";
    content.card.fields = {{"Rule", "<@U1>"}};
    content.card.buttons = {
        {"tok1", "Approve", chat::ButtonStyle::kGood, false},
        {"tok2", "Deny with comment", chat::ButtonStyle::kPlain, true}};
    const Message message = to_message(content, false);
    EXPECT_EQ(message.text, "May &lt;!channel&gt; this run?");
    const std::string blocks = message.blocks.dump();
    // Only in elements that Slack takes as they are.
    EXPECT_NE(
        blocks.find(R"({"type":"text","text":"git push <!everyone> ```x``` *b*"})"),
        std::string::npos
    ) << blocks;
    EXPECT_EQ(blocks.find("mrkdwn"), std::string::npos);
    EXPECT_NE(blocks.find(R"("action_id":"berth_press_0")"), std::string::npos);
    EXPECT_NE(blocks.find(R"("action_id":"berth_ask_1")"), std::string::npos);
    EXPECT_TRUE(to_message(content, true).blocks.is_null());
}

TEST(SlackBlocks, MarkdownBecomesMrkdwn) {
    EXPECT_EQ(to_mrkdwn("**bold** and *it* `co<de`"), "*bold* and _it_ `co&lt;de`");
    EXPECT_EQ(to_mrkdwn("[x](https://a.example/?a=1&b=2)"), "<https://a.example/?a=1&amp;b=2|x>");
    EXPECT_EQ(to_mrkdwn("```\na <b>\n```"), "```\na &lt;b&gt;\n```");
    EXPECT_EQ(to_mrkdwn("<!channel>"), "&lt;!channel&gt;");
}

TEST(SlackBlocks, CodeKeepsItsBackTicks) {
    EXPECT_EQ(to_mrkdwn("``echo `id` x``"), "```\necho `id` x\n```");
    EXPECT_EQ(to_mrkdwn("````\na```b\n````"), "```\na``\u200b`b\n```");
}

TEST(SlackBlocks, AreWithinTheLimits) {
    chat::Content content;
    content.is_card = true;
    content.card.title = std::string(500, 't');
    content.card.text = std::string(5'000, 'x');
    content.card.code = std::string(9'000, 'c');
    for (int i = 0; i < 20; ++i) content.card.fields.push_back({"l", std::string(3'000, 'v')});
    const Message message = to_message(content, false);
    EXPECT_LE(message.text.size(), 3'003U);
    const Json& header = message.blocks.as_array()->at(0);
    EXPECT_EQ(header.find("text")->string_or("text", "").size(), 149U + 3U);
    EXPECT_EQ(message.blocks.as_array()->at(3).find("fields")->as_array()->size(), 10U);
}

TEST(SlackBlocks, NobodyApprovesWhatIsNotShownWhole) {
    chat::Content content;
    content.is_card = true;
    content.card.buttons = {{"tok1", "Approve", chat::ButtonStyle::kGood, false, true}};
    for (const std::size_t size : {3'000U, 3'001U}) {
        content.card.code = std::string(size, 'c');
        const std::string blocks = to_message(content, false).blocks.dump();
        EXPECT_EQ(blocks.find("tok1") != std::string::npos, size == 3'000U);
        EXPECT_EQ(blocks.find("berth approvals") == std::string::npos, size == 3'000U);
    }
}

TEST(SlackErrors, AreWhatTheyMeanForTheMessage) {
    using Kind = chat::SendError::Kind;
    EXPECT_EQ(error_of("token_revoked").kind, Kind::kUnauthorized);
    EXPECT_EQ(error_of("missing_scope").kind, Kind::kRefused) << "of one method";
    EXPECT_EQ(error_of("invalid_blocks").kind, Kind::kBadMarkup);
    EXPECT_EQ(error_of("message_not_found").kind, Kind::kGone);
    EXPECT_EQ(error_of("is_archived").kind, Kind::kRefused);
    EXPECT_EQ(error_of("internal_error").kind, Kind::kUnknown);
    EXPECT_EQ(error_of(429, "30").kind, Kind::kLater);
    EXPECT_EQ(error_of(429, "30").retry_after, seconds{30});
    EXPECT_EQ(error_of(429, "soon").retry_after, seconds{5});
    EXPECT_EQ(error_of(502, "").kind, Kind::kUnknown);
    EXPECT_EQ(error_of(unavailable("http_unreachable", "x")).kind, Kind::kLater);
    EXPECT_EQ(error_of(deadline("http_timeout", "x")).kind, Kind::kUnknown);
}

}  // namespace
}  // namespace berth::slack
