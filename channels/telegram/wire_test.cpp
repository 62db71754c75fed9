// SPDX-License-Identifier: Apache-2.0
// Every shape of update the bridge may meet, and every request it makes, as text.
#include "telegram/wire.hpp"

#include <gtest/gtest.h>

#include "chat/length.hpp"
#include "telegram/markup.hpp"

namespace berth::telegram {
namespace {

const Bot kBot{700, "berth_bot"};
const std::vector<MenuCommand> kMenu = {
    {"berth", "Berth"}, {"run", "Run a command"}, {"help", "Help"}};
const WallTime kNow = from_unix_micros(1'700'000'000'000'000);
constexpr std::string_view kPrivate = R"("chat":{"id":5,"type":"private","first_name":"Ada"})";
constexpr std::string_view kGroup = R"("chat":{"id":-1007,"type":"supergroup","title":"ops"})";
constexpr std::string_view kAda =
    R"("from":{"id":5,"is_bot":false,"first_name":"Ada","last_name":"L","username":"ada"})";

/// A message update of these members.
Json message(std::string_view where, std::string_view rest, std::string_view from = kAda) {
    std::string text = R"({"update_id":42,"message":{"message_id":9,"date":1700000000,)";
    text.append(from).append(",").append(where);
    if (!rest.empty()) text.append(",").append(rest);
    auto parsed = Json::parse(text + "}}");
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Json();
}

std::optional<chat::Inbound> read(const Json& update) {
    return inbound_of(update, kBot, kMenu, kNow);
}

/// "text" and the bot_command entity over its first `size` units.
std::string command(std::string_view text, std::size_t size) {
    return "\"text\":" + Json(text).dump() +
           R"(,"entities":[{"type":"bot_command","offset":0,"length":)" + std::to_string(size) +
           "}]";
}

TEST(TelegramInbound, ReadsADirectMessage) {
    const auto said = read(message(kPrivate, R"("text":"  hello \n there ")"));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->event_id, "700/42");
    EXPECT_EQ(said->kind, chat::InboundKind::kMessage);
    EXPECT_EQ(said->conversation, (chat::Conversation{"5", ""}));
    EXPECT_TRUE(said->direct);
    EXPECT_EQ(said->person.id, "5");
    EXPECT_EQ(said->person.name, "ada");
    EXPECT_EQ(said->text, "hello \n there");
    EXPECT_EQ(said->at, from_unix_micros(1'700'000'000'000'000));
}

struct CommandCase {
    const char* text;
    std::size_t size;
    bool direct;
    const char* read;  ///< nullptr: not for the bot
};

class TelegramCommand : public ::testing::TestWithParam<CommandCase> {};
TEST_P(TelegramCommand, IsReadWhereItIsOurs) {
    const CommandCase& c = GetParam();
    const auto said = read(message(c.direct ? kPrivate : kGroup, command(c.text, c.size)));
    ASSERT_EQ(said.has_value(), c.read != nullptr) << c.text;
    if (!said) return;
    EXPECT_EQ(said->kind, chat::InboundKind::kCommand);
    EXPECT_EQ(said->text, c.read);
}
INSTANTIATE_TEST_SUITE_P(
    All,
    TelegramCommand,
    ::testing::Values(
        CommandCase{"/berth run make  test", 6, true, "run make  test"},
        CommandCase{"/berth", 6, true, ""},
        CommandCase{"/berth@Berth_Bot leases", 16, false, "leases"},
        CommandCase{"/run\nls", 4, false, "run ls"},
        CommandCase{"/RUN ls", 4, false, "run ls"},
        CommandCase{"/run@other_bot ls", 14, false, nullptr},
        CommandCase{"/ban ada", 4, false, nullptr},
        CommandCase{"/ban ada", 4, true, "ban ada"},
        CommandCase{"/ban@berth_bot", 14, false, "ban"},
        CommandCase{"/start", 6, true, "help"},
        CommandCase{"/start ABC123", 6, true, "pair ABC123"},
        CommandCase{"/start", 6, false, nullptr}
    )
);

TEST(TelegramInbound, HearsItsNameInGroupsAndNothingElse) {
    EXPECT_FALSE(read(message(kGroup, R"("text":"chatter")")));
    EXPECT_FALSE(read(message(
        kGroup, R"("text":"hi @other_bot","entities":[{"type":"mention","offset":3,"length":10}])"
    )));
    auto said = read(message(
        kGroup,
        R"("text":"hi @Berth_Bot run","entities":[{"type":"mention","offset":3,"length":10}])"
    ));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->text, "hi  run");
    EXPECT_FALSE(said->direct);
    said = read(message(
        kGroup,
        R"("text":"Berth, go","entities":[{"type":"text_mention","offset":0,"length":5,"user":{"id":700}}])"
    ));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->text, ", go");
    EXPECT_FALSE(read(message(
        kGroup, R"("text":"@berth_bot","entities":[{"type":"mention","offset":0,"length":10}])"
    ))) << "says nothing";
}

TEST(TelegramInbound, CountsEntitiesInUtf16) {
    const auto said = read(message(
        kGroup,
        "\"text\":\"\xF0\x9F\x98\x80 @berth_bot "
        "x\",\"entities\":[{\"type\":\"mention\",\"offset\":3,\"length\":10}]"
    ));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->text, "\xF0\x9F\x98\x80  x");
}

TEST(TelegramInbound, TakesAnswersToTheBot) {
    const auto said = read(message(
        kGroup,
        R"("text":"because","reply_to_message":{"message_id":77,"from":{"id":700,"is_bot":true}})"
    ));
    ASSERT_TRUE(said);
    EXPECT_EQ(said->message, "77");
    EXPECT_FALSE(read(
        message(kGroup, R"("text":"because","reply_to_message":{"message_id":77,"from":{"id":6}})")
    ));
}

TEST(TelegramInbound, KnowsTopicsFromReplyChains) {
    EXPECT_EQ(
        read(message(
                 kGroup, command("/help", 5) + R"(,"message_thread_id":3,"is_topic_message":true)"
             ))
            ->conversation,
        (chat::Conversation{"-1007", "3"})
    );
    EXPECT_EQ(
        read(message(kGroup, command("/help", 5) + R"(,"message_thread_id":3)"))->conversation,
        (chat::Conversation{"-1007", ""})
    );
}

TEST(TelegramInbound, LeavesOutWhatNobodySaidHere) {
    for (const char* more :
         {R"("forward_origin":{"type":"user"})",
          R"("forward_date":1)",
          R"("via_bot":{"id":8})",
          R"("sender_chat":{"id":-5})",
          R"("business_connection_id":"x")"}) {
        EXPECT_FALSE(read(message(kPrivate, command("/help", 5) + "," + more))) << more;
    }
    EXPECT_FALSE(read(
        message(kPrivate, R"("text":"hi")", R"("from":{"id":8,"is_bot":true,"first_name":"b"})")
    ));
    EXPECT_FALSE(read(message(R"("chat":{"id":-9,"type":"channel"})", R"("text":"hi")")));
    EXPECT_FALSE(read(message(kPrivate, R"("photo":[])")));
    EXPECT_FALSE(read(message(kPrivate, R"("text":7)")));
    for (const char* update :
         {"{}",
          "[]",
          "7",
          R"({"update_id":1})",
          R"({"update_id":1,"message":{}})",
          R"({"update_id":1,"message":[]})",
          R"({"update_id":1,"edited_message":{"text":"x"}})",
          R"({"update_id":"1","message":{"text":"x"}})",
          R"({"update_id":1,"callback_query":{}})",
          R"({"update_id":1,"callback_query":{"id":"1","from":{"id":5},"data":"x"}})"}) {
        EXPECT_FALSE(read(*Json::parse(update))) << update;
    }
}

TEST(TelegramInbound, SurvivesEntitiesThatPointNowhere) {
    for (const char* entity :
         {R"({"type":"mention","offset":900,"length":10})",
          R"({"type":"mention","offset":-1,"length":10})",
          R"({"type":"bot_command","offset":0,"length":0})",
          R"({"type":"bot_command","offset":9000000000000000000,"length":9000000000000000000})"}) {
        EXPECT_TRUE(
            read(message(kPrivate, std::string(R"("text":"hi","entities":[)") + entity + "]"))
        ) << entity;
    }
}

TEST(TelegramInbound, ReadsAClick) {
    const auto click = read(*Json::parse(
        R"({"update_id":43,"callback_query":{"id":"900","from":{"id":6,"is_bot":false,"first_name":"Bob"},"chat_instance":"1","data":"tok_EN-1","message":{"message_id":12,"date":0,"chat":{"id":-1007,"type":"supergroup"},"message_thread_id":3,"is_topic_message":true}}})"
    ));
    ASSERT_TRUE(click);
    EXPECT_EQ(click->kind, chat::InboundKind::kClick);
    EXPECT_EQ(click->event_id, "700/43");
    EXPECT_EQ(click->token, "tok_EN-1");
    EXPECT_EQ(click->message, "12");
    EXPECT_EQ(click->handle, "900");
    EXPECT_EQ(click->conversation, (chat::Conversation{"-1007", "3"}));
    EXPECT_EQ(click->person.name, "Bob");
    EXPECT_EQ(click->at, kNow);
}

chat::Outgoing say(std::string markdown, std::string chat = "5", std::string thread = "") {
    chat::Outgoing out;
    out.conversation = {std::move(chat), std::move(thread)};
    out.content.markdown = std::move(markdown);
    return out;
}

TEST(TelegramOutbound, SaysMarkdownAsHtml) {
    const auto call = post_call(say("**a** <b> & `c<d`", "-1007", "3"));
    ASSERT_TRUE(call);
    EXPECT_EQ(call->method, "sendMessage");
    EXPECT_EQ(
        call->parameters.dump(),
        R"({"chat_id":-1007,"message_thread_id":3,"text":"<b>a</b> &lt;b&gt; &amp; <code>c&lt;d</code>","parse_mode":"HTML","link_preview_options":{"is_disabled":true}})"
    );
    chat::Outgoing plain = say("**a** <b>");
    plain.plain = true;
    plain.answers = "12";
    EXPECT_EQ(
        post_call(plain)->parameters.dump(),
        R"({"chat_id":5,"reply_parameters":{"message_id":12,"allow_sending_without_reply":true},"text":"a <b>","link_preview_options":{"is_disabled":true}})"
    );
}

TEST(TelegramOutbound, RefusesConversationsOfOthers) {
    for (const char* chat : {"", "C123", "0", "5 ", "99999999999999999999"})
        EXPECT_FALSE(post_call(say("x", chat))) << chat;
    EXPECT_FALSE(post_call(say("x", "5", "abc")));
    EXPECT_FALSE(edit_call({"5", ""}, "x", say("x")));
}

TEST(TelegramOutbound, EditsInPlaceAndTakesButtonsAway) {
    chat::Outgoing out = say("new", "-1007", "3");
    EXPECT_EQ(
        edit_call(out.conversation, "12", out)->parameters.dump(),
        R"({"chat_id":-1007,"message_id":12,"text":"new","parse_mode":"HTML","link_preview_options":{"is_disabled":true}})"
    );
}

TEST(TelegramOutbound, PutsButtonsInRows) {
    chat::Outgoing out = say("");
    out.content.is_card = true;
    out.content.card.title = "T";
    out.content.card.buttons = {
        {"t1", "Approve", chat::ButtonStyle::kGood, false},
        {"t2", "Deny", chat::ButtonStyle::kDanger, false},
        {"t3", "Deny with a comment", chat::ButtonStyle::kPlain, true}};
    const auto call = post_call(out);
    EXPECT_EQ(
        call->parameters.find("reply_markup")->dump(),
        R"({"inline_keyboard":[[{"text":"Approve","callback_data":"t1","style":"success"},{"text":"Deny","callback_data":"t2","style":"danger"}],[{"text":"Deny with a comment","callback_data":"t3"}]]})"
    );
}

TEST(TelegramOutbound, SendsFilesAsMultipart) {
    chat::Outgoing out = say("the *output*");
    out.content.file_name = "a/\"b\".txt";
    out.content.file_bytes = std::string("1\0\r\n2", 5);
    const auto call = post_call(out);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->method, "sendDocument");
    EXPECT_EQ(
        form_of(*call, "XX").body(),
        "--XX\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n5\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\nthe <i>output</i>\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"parse_mode\"\r\n\r\nHTML\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"document\"; filename=\"a__b_.txt\"\r\n"
        "Content-Type: application/octet-stream\r\n\r\n" +
            std::string("1\0\r\n2", 5) + "\r\n--XX--\r\n"
    );
}

TEST(TelegramMarkup, WritesEachConstruct) {
    EXPECT_EQ(
        markdown_text(
            "# T\n\n- a\n- **b** `c`\n\n> q\n\n```c++\nx<y\n```\n~~s~~ *i* "
            "[l](https://e.x/?a=1&b=2)",
            false
        ),
        "<b>T</b>\n\n\xE2\x80\xA2 a\n\xE2\x80\xA2 <b>b</b> "
        "<code>c</code>\n\n<blockquote>q</blockquote>\n\n"
        "<pre><code class=\"language-c++\">x&lt;y</code></pre>\n<s>s</s> <i>i</i> "
        "<a href=\"https://e.x/?a=1&amp;b=2\">l</a>"
    );
    EXPECT_EQ(markdown_text("**`c`**", false), "<code>c</code>") << "code lies in nothing";
    EXPECT_EQ(markdown_text("```<x>\na\n```", false), "<pre>a</pre>");
}

TEST(TelegramMarkup, MentionsNobody) {
    EXPECT_EQ(
        markdown_text("@ada, a@b.c `@ada`", false),
        "@\xE2\x81\xA0"
        "ada, a@b.c <code>@ada</code>"
    );
    chat::Card card;
    card.text = "<b>@ada</b>";
    EXPECT_EQ(
        card_text(card, false),
        "&lt;b&gt;@\xE2\x81\xA0"
        "ada&lt;/b&gt;"
    );
}

TEST(TelegramMarkup, CutsWhatIsTooLong) {
    const std::string face = "\xF0\x9F\x98\x80";
    std::string faces;
    for (int i = 0; i < 3'000; ++i) faces += face;
    EXPECT_EQ(chat::length(markdown_text(faces, false), chat::Unit::kUtf16), 4'095U)
        << "whole characters";
    EXPECT_LE(chat::length(markdown_text("**" + faces + "**", true), chat::Unit::kUtf16), kMaxText);
    EXPECT_EQ(markdown_text("**" + std::string(4'096, '<') + "**", false).size(), 4'096U * 4 + 7);
}

TEST(TelegramMarkup, ShowsACard) {
    chat::Card card;
    card.title = "Approve <this>?";
    card.tone = chat::Tone::kWaiting;
    card.text = "asked by ada";
    card.code = "rm -rf /tmp/x && echo <done>";
    card.fields = {{"cwd", "/work"}, {"rule", "a&b"}};
    card.footer = "ap_1";
    EXPECT_EQ(
        card_text(card, false),
        "<b>\xE2\x8F\xB3 Approve &lt;this&gt;?</b>\nasked by ada\n<b>cwd: </b>/work\n<b>rule: "
        "</b>a&amp;b\n"
        "<pre>rm -rf /tmp/x &amp;&amp; echo &lt;done&gt;</pre>\n<i>ap_1</i>"
    );
    EXPECT_EQ(
        card_text(card, true),
        "\xE2\x8F\xB3 Approve <this>?\nasked by ada\ncwd: /work\nrule: a&b\nrm -rf /tmp/x && echo "
        "<done>\nap_1"
    );
}

TEST(TelegramMarkup, CutsACardAndKeepsItsEnds) {
    chat::Card card;
    card.title = std::string(500, 't');
    card.text = std::string(5'000, 'x');
    card.code = std::string(5'000, 'c');
    for (int i = 0; i < 30; ++i)
        card.fields.push_back({std::string(100, 'l'), std::string(5'000, 'v')});
    card.footer = "the end";
    const std::string text = card_text(card, true);
    EXPECT_LE(chat::length(text, chat::Unit::kUtf16), kMaxText);
    EXPECT_TRUE(text.ends_with("\nthe end"));
    EXPECT_GE(std::count(text.begin(), text.end(), 'c'), 1'000)
        << "what would be run is still shown";
}

TEST(TelegramMarkup, NobodyApprovesWhatIsNotShownWhole) {
    for (const bool plain : {false, true}) {
        for (const std::size_t size : {3'000U, 4'000U}) {
            chat::Outgoing out = say("", "-1007", "3");
            out.plain = plain;
            out.content.is_card = true;
            out.content.card.text = std::string(500, 't');
            out.content.card.code = std::string(size, 'c') + "<&";
            out.content.card.buttons = {
                {"tok1", "Approve", chat::ButtonStyle::kGood, false, true},
                {"tok2", "Deny", chat::ButtonStyle::kDanger, false}};
            for (const auto& call : {post_call(out), edit_call({"-1007", ""}, "5", out)}) {
                const std::string sent = call->parameters.dump();
                EXPECT_EQ(sent.find("tok1") != std::string::npos, size == 3'000U) << plain;
                EXPECT_NE(sent.find("tok2"), std::string::npos);
                EXPECT_EQ(sent.find("berth approvals") == std::string::npos, size == 3'000U);
            }
        }
    }
}

struct ErrorCase {
    int status;
    const char* body;
    chat::SendError::Kind kind;
    int retry_seconds;
};
class TelegramError : public ::testing::TestWithParam<ErrorCase> {};
TEST_P(TelegramError, IsUnderstood) {
    const ErrorCase& c = GetParam();
    auto body = Json::parse(c.body);
    const auto error = error_of(c.status, body ? *body : Json());
    EXPECT_EQ(error.kind, c.kind) << c.body;
    EXPECT_EQ(error.retry_after, seconds{c.retry_seconds});
    EXPECT_TRUE(error.reason.starts_with(std::to_string(c.status)));
}
using Kind = chat::SendError::Kind;
INSTANTIATE_TEST_SUITE_P(
    All,
    TelegramError,
    ::testing::Values(
        ErrorCase{
            429,
            R"({"ok":false,"description":"Too Many Requests","parameters":{"retry_after":7}})",
            Kind::kLater,
            7},
        ErrorCase{429, R"({"parameters":{"retry_after":99999999}})", Kind::kLater, 3'600},
        ErrorCase{429, "", Kind::kLater, 0},
        ErrorCase{502, "<html>", Kind::kLater, 0},
        ErrorCase{503, "", Kind::kLater, 0},
        ErrorCase{500, "{}", Kind::kFailed, 0},
        ErrorCase{504, "", Kind::kFailed, 0},
        ErrorCase{200, "<html>", Kind::kUnknown, 0},
        ErrorCase{401, R"({"description":"Unauthorized"})", Kind::kUnauthorized, 0},
        ErrorCase{404, R"({"description":"Not Found"})", Kind::kUnauthorized, 0},
        ErrorCase{
            403, R"({"description":"Forbidden: bot was blocked by the user"})", Kind::kRefused, 0},
        ErrorCase{400, R"({"description":"Bad Request: chat not found"})", Kind::kRefused, 0},
        ErrorCase{
            400,
            R"({"description":"Bad Request: message is not modified: specified"})",
            Kind::kUnchanged,
            0},
        ErrorCase{
            400, R"({"description":"Bad Request: can't parse entities: x"})", Kind::kBadMarkup, 0},
        ErrorCase{
            400, R"({"description":"Bad Request: message to edit not found"})", Kind::kGone, 0},
        ErrorCase{413, R"({"description":"Request Entity Too Large"})", Kind::kRefused, 0}
    )
);

TEST(TelegramError, TellsWhereAChatWent) {
    EXPECT_EQ(migrated_to(*Json::parse(R"({"parameters":{"migrate_to_chat_id":-1007}})")), "-1007");
    EXPECT_EQ(migrated_to(*Json::parse("{}")), "");
}

TEST(TelegramMenu, IsCutToTheLimits) {
    EXPECT_EQ(
        menu_call({{"run", "Run"}}).parameters.dump(),
        R"({"commands":[{"command":"run","description":"Run"}]})"
    );
    EXPECT_EQ(answer_call("9", "").parameters.dump(), R"({"callback_query_id":"9"})");
    EXPECT_EQ(
        answer_call("9", "no").parameters.dump(),
        R"({"callback_query_id":"9","text":"no","show_alert":true})"
    );
}

}  // namespace
}  // namespace berth::telegram
