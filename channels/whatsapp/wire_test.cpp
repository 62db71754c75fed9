// SPDX-License-Identifier: Apache-2.0
// Every shape of webhook the bridge may meet, and every request it makes, as text.
#include "whatsapp/wire.hpp"

#include <gtest/gtest.h>

#include "chat/length.hpp"
#include "whatsapp/markup.hpp"

namespace berth::whatsapp {
namespace {

using Kind = chat::SendError::Kind;
constexpr const char* kPhone = "106540352242922";

std::vector<chat::Inbound> read(const std::string& text) {
    auto payload = Json::parse(text);
    EXPECT_TRUE(payload) << text;
    return payload ? inbound_of(*payload, kPhone) : std::vector<chat::Inbound>();
}

/// A webhook of these messages.
std::string hook(const std::string& messages, const std::string& phone = kPhone) {
    return R"({"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"1555","phone_number_id":")" +
           phone +
           R"("},"contacts":[{"profile":{"name":"Ada"},"wa_id":"16505551234"}],"messages":[)" +
           messages + "]}}]}]}";
}

std::string message(const std::string& rest) {
    return R"({"from":"16505551234","id":"wamid.A1","timestamp":"1700000000",)" + rest + "}";
}

TEST(WhatsAppInbound, ReadsAText) {
    const auto events = read(hook(message(
        R"("type":"text","text":{"body":" /berth help "},"context":{"from":"1555","id":"wamid.Q"})"
    )));
    ASSERT_EQ(events.size(), 1U);
    const chat::Inbound& said = events[0];
    EXPECT_EQ(said.event_id, "wamid.A1");
    EXPECT_EQ(said.kind, chat::InboundKind::kMessage);
    EXPECT_EQ(said.conversation, (chat::Conversation{"16505551234", ""}));
    EXPECT_TRUE(said.direct);
    EXPECT_EQ(said.person.id, "16505551234");
    EXPECT_EQ(said.person.name, "Ada");
    EXPECT_EQ(said.text, "/berth help");
    EXPECT_EQ(said.message, "wamid.Q");
    EXPECT_EQ(said.at, from_unix_micros(1'700'000'000'000'000));
}

TEST(WhatsAppInbound, ReadsPresses) {
    for (const char* press :
         {R"("type":"interactive","context":{"id":"wamid.C"},"interactive":{"type":"button_reply","button_reply":{"id":"tok-1","title":"Yes"}})",
          R"("type":"interactive","context":{"id":"wamid.C"},"interactive":{"type":"list_reply","list_reply":{"id":"tok-1","title":"Yes"}})",
          R"("type":"button","context":{"id":"wamid.C"},"button":{"payload":"tok-1","text":"Yes"})"}) {
        const auto events = read(hook(message(press)));
        ASSERT_EQ(events.size(), 1U) << press;
        EXPECT_EQ(events[0].kind, chat::InboundKind::kClick);
        EXPECT_EQ(events[0].token, "tok-1");
        EXPECT_EQ(events[0].message, "wamid.C");
    }
}

TEST(WhatsAppInbound, LeavesOutWhatIsNotSaidToIt) {
    for (const char* other :
         {R"("type":"image","image":{"id":"1"})",
          R"("type":"reaction","reaction":{"emoji":"x"})",
          R"("type":"text")",
          R"("type":"text","text":{"body":"  "})",
          R"("type":"text","text":{"body":7})",
          R"("type":"text","text":[])",
          R"("type":"text","text":{"body":"x"},"group_id":"g")",
          R"("type":"text","text":{"body":"x"},"context":{"forwarded":true})",
          R"("type":"interactive","interactive":{})",
          R"("type":"interactive","interactive":{"button_reply":{"id":""}})",
          R"("type":"button")"}) {
        EXPECT_TRUE(read(hook(message(other))).empty()) << other;
    }
    EXPECT_TRUE(read(hook(message(R"("type":"text","text":{"body":"x"})"), "999")).empty())
        << "another number's";
    EXPECT_TRUE(
        read(hook(R"({"from":"abc","id":"wamid.A","type":"text","text":{"body":"x"}})")).empty()
    );
    EXPECT_TRUE(read(hook(R"({"from":"16505551234","type":"text","text":{"body":"x"}})")).empty());
    for (const char* payload :
         {"{}",
          "[]",
          "7",
          R"({"object":"page","entry":[]})",
          R"({"object":"whatsapp_business_account"})",
          R"({"object":"whatsapp_business_account","entry":[7,{"changes":[{"field":"messages"},{"field":"messages","value":{}}]}]})",
          R"({"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"106540352242922"},"statuses":[{"id":"wamid.A"}]}}]}]})"}) {
        EXPECT_TRUE(read(payload).empty()) << payload;
    }
}

/// A webhook of this status.
std::vector<chat::Undelivered> read_status(
    const std::string& status, const std::string& errors, const std::string& phone = kPhone
) {
    const auto payload = Json::parse(
        R"({"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":")" +
        phone + R"("},"statuses":[{"id":"wamid.A","recipient_id":"16505551234","status":")" +
        status + R"(")" + errors + "}]}}]}]}"
    );
    EXPECT_TRUE(payload);
    return undelivered_of(*payload, kPhone);
}

TEST(WhatsAppInbound, ReadsWhatDidNotArrive) {
    const std::string closed =
        R"(,"errors":[{"code":131047,"title":"Re-engagement message","message":"Re-engagement message","error_data":{"details":"More than 24 hours."}}])";
    auto told = read_status("failed", closed);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].message, "wamid.A");
    EXPECT_EQ(told[0].chat, "16505551234");
    EXPECT_TRUE(told[0].otherwise);
    EXPECT_EQ(
        told[0].reason,
        "the 24-hour window is closed (131047 Re-engagement message: More than 24 hours.)"
    );
    told = read_status("failed", R"(,"errors":[{"code":131026,"title":"Message undeliverable"}])");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_FALSE(told[0].otherwise);
    EXPECT_EQ(told[0].reason, "131026 Message undeliverable");
    for (const char* none : {"", R"(,"errors":[])", R"(,"errors":{})", R"(,"errors":[7])"}) {
        told = read_status("failed", none);
        ASSERT_EQ(told.size(), 1U) << none;
        EXPECT_EQ(told[0].reason, "no words");
    }
    for (const char* other : {"sent", "delivered", "read", ""})
        EXPECT_TRUE(read_status(other, closed).empty()) << other;
    EXPECT_TRUE(read_status("failed", closed, "999").empty()) << "another number's";
}

TEST(WhatsAppInbound, KeepsTheOrderOfSeveral) {
    const auto events = read(hook(
        message(R"("type":"text","text":{"body":"1"})") + "," + message(R"("type":"image")") + "," +
        message(R"("type":"text","text":{"body":"2"})")
    ));
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].text + events[1].text, "12");
}

chat::Outgoing say(std::string markdown) {
    chat::Outgoing out;
    out.conversation.chat = "16505551234";
    out.content.markdown = std::move(markdown);
    return out;
}

chat::Outgoing card(int buttons) {
    chat::Outgoing out = say("");
    out.content.is_card = true;
    out.content.card.title = "Approve?";
    out.content.card.code = "make test";
    for (int i = 0; i < buttons; ++i) {
        out.content.card.buttons.push_back(
            {"tok-" + std::to_string(i),
             "Button " + std::to_string(i),
             chat::ButtonStyle::kPlain,
             false}
        );
    }
    return out;
}

constexpr const char* kTo =
    R"({"messaging_product":"whatsapp","recipient_type":"individual","to":"16505551234",)";

TEST(WhatsAppOutbound, SaysText) {
    chat::Outgoing out = say("**a** b");
    out.answers = "wamid.Q";
    EXPECT_EQ(
        message_body(out, "")->dump(),
        std::string(kTo) +
            R"("type":"text","context":{"message_id":"wamid.Q"},"text":{"body":"*a* b","preview_url":false}})"
    );
    EXPECT_EQ(
        message_body(card(0), "")->find("text")->string_or("body", ""),
        "*Approve?*\n```\nmake test\n```"
    );
    for (const char* chat : {"", "C123", "123", "+16505551234"}) {
        out.conversation.chat = chat;
        EXPECT_FALSE(message_body(out, "")) << chat;
    }
}

TEST(WhatsAppOutbound, SendsFilesAndTemplates) {
    chat::Outgoing out = say("all *of* it");
    out.content.file_name = "out.txt";
    out.content.file_bytes = "line";
    EXPECT_EQ(
        message_body(out, "77")->dump(),
        std::string(kTo) +
            R"("type":"document","document":{"id":"77","filename":"out.txt","caption":"all _of_ it"}})"
    );
    EXPECT_EQ(
        form_of(out.content, "XX").body(),
        "--XX\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\ntext/plain\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; "
        "filename=\"out.txt\"\r\nContent-Type: text/plain\r\n\r\nline\r\n--XX--\r\n"
    );
    EXPECT_EQ(
        template_body(say("a\n\n- b\tc"), {"berth_news", "en_US"})->dump(),
        std::string(kTo) +
            R"("type":"template","template":{"name":"berth_news","language":{"policy":"deterministic","code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"a • b c"}]}]}})"
    );
}

TEST(WhatsAppOutbound, AsksByATemplateWithButtons) {
    chat::Outgoing out = card(2);
    EXPECT_FALSE(approval_body(out, {"berth_approval", "en"})) << "nothing to decide";
    out.content.card.buttons[0].needs_code = true;
    EXPECT_EQ(
        approval_body(out, {"berth_approval", "en"})->find("template")->find("components")->dump(),
        R"([{"type":"body","parameters":[{"type":"text","text":"Approve? make test"}]},{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"tok-0"}]},{"type":"button","sub_type":"quick_reply","index":"1","parameters":[{"type":"payload","payload":"tok-1"}]}])"
    );
    // Nobody approves what does not stand there word for word.
    for (const auto& code :
         {std::string("a\tb"),
          std::string("a  b"),
          std::string("a\n b"),
          std::string("a\xE2\x8F\x8E b"),
          std::string(2'000, 'x')}) {
        out.content.card.code = code;
        EXPECT_FALSE(approval_body(out, {"berth_approval", "en"})) << code;
    }
    EXPECT_FALSE(approval_body(say("words"), {"berth_approval", "en"}));
    out.content.card.code = "a\n\nb";
    const auto lines = approval_body(out, {"berth_approval", "en"});
    ASSERT_TRUE(lines);
    EXPECT_NE(lines->dump().find("a\xE2\x8F\x8E \xE2\x8F\x8E b"), std::string::npos);
}

TEST(WhatsAppOutbound, HasThreeButtonsOrAList) {
    EXPECT_EQ(
        message_body(card(2), "")->find("interactive")->dump(),
        R"({"type":"button","body":{"text":"*Approve?*\n```\nmake test\n```"},"action":{"buttons":[{"type":"reply","reply":{"id":"tok-0","title":"Button 0"}},{"type":"reply","reply":{"id":"tok-1","title":"Button 1"}}]}})"
    );
    chat::Outgoing out = card(4);
    out.content.card.buttons[3].label = "A label that is too long for a row";
    EXPECT_EQ(
        message_body(out, "")->find("interactive")->find("action")->dump(),
        R"({"button":"Choose","sections":[{"rows":[{"id":"tok-0","title":"Button 0"},{"id":"tok-1","title":"Button 1"},{"id":"tok-2","title":"Button 2"},{"id":"tok-3","title":"A label that is too lon…","description":"A label that is too long for a row"}]}]})"
    );
    // Labels that are the same after the cut would be refused.
    out = card(2);
    for (auto& button : out.content.card.buttons) button.label = "Deny with a comment, please";
    EXPECT_EQ(
        message_body(out, "")->find("interactive")->find("action")->dump(),
        R"({"buttons":[{"type":"reply","reply":{"id":"tok-0","title":"Deny with a comment…"}},{"type":"reply","reply":{"id":"tok-1","title":"Deny with a comme… 2"}}]})"
    );
}

TEST(WhatsAppMarkup, WritesEachConstruct) {
    EXPECT_EQ(
        markdown_text(
            "# T\n\n- a\n- **b** `c`\n\n> q\n\n```sh\nx*y*\n```\n~~s~~ *i* [l](https://e.x/a_b)",
            false
        ),
        "*T*\n\n• a\n• *b* `c`\n\n> q\n\n```\nx*y*\n```\n~s~ _i_ l (https://e.x/a_b)"
    );
    EXPECT_EQ(markdown_text("**a\nb **", true), "**a\nb **");
    EXPECT_EQ(markdown_text("**a\nb**", false), "*a*\n*b*");
    EXPECT_EQ(markdown_text("***x***", false), "*_x_*");
}

TEST(WhatsAppMarkup, NothingInPlainTextMarks) {
    EXPECT_EQ(
        literal("*a* snake_case _b_ ~c~ `d`\n> e"),
        "*\xE2\x81\xA0"
        "a*\xE2\x81\xA0 snake_case _\xE2\x81\xA0"
        "b_\xE2\x81\xA0 ~\xE2\x81\xA0"
        "c~\xE2\x81\xA0 `\xE2\x81\xA0"
        "d`\xE2\x81\xA0\n>\xE2\x81\xA0 e"
    );
    chat::Card out;
    out.title = "T";
    out.code = "a ``` b";
    EXPECT_EQ(
        card_text(out, false, 400), "*T*\n```\na `\xE2\x81\xA0`\xE2\x81\xA0`\xE2\x81\xA0 b\n```"
    );
}

TEST(WhatsAppMarkup, CutsWhatIsTooLongAndKeepsTheCommand) {
    EXPECT_EQ(
        chat::length(markdown_text(std::string(9'000, 'x'), false), chat::Unit::kUtf16), kMaxText
    );
    chat::Card out;
    out.title = std::string(500, 't');
    out.text = std::string(5'000, 'x');
    out.code = std::string(5'000, 'c');
    for (int i = 0; i < 30; ++i)
        out.fields.push_back({std::string(100, 'l'), std::string(5'000, 'v')});
    out.footer = "the end";
    for (const bool plain : {false, true}) {
        const std::string text = card_text(out, plain, kMaxBody);
        EXPECT_LE(chat::length(text, chat::Unit::kUtf16), kMaxBody);
        EXPECT_GE(std::count(text.begin(), text.end(), 'c'), 450);
        EXPECT_NE(text.find("the end"), std::string::npos);
    }
}

struct ErrorCase {
    int status;
    const char* body;
    Kind kind;
};
class WhatsAppError : public ::testing::TestWithParam<ErrorCase> {};
TEST_P(WhatsAppError, IsUnderstood) {
    auto body = Json::parse(GetParam().body);
    EXPECT_EQ(error_of(GetParam().status, body ? *body : Json()).kind, GetParam().kind)
        << GetParam().body;
}
INSTANTIATE_TEST_SUITE_P(
    All,
    WhatsAppError,
    ::testing::Values(
        ErrorCase{
            400, R"({"error":{"code":131047,"message":"Re-engagement message"}})", Kind::kRefused},
        ErrorCase{400, R"({"error":{"code":131026,"message":"undeliverable"}})", Kind::kRefused},
        ErrorCase{400, R"({"error":{"code":100,"message":"Invalid parameter"}})", Kind::kRefused},
        ErrorCase{401, R"({"error":{"code":190,"message":"expired"}})", Kind::kUnauthorized},
        ErrorCase{403, R"({"error":{"code":200,"message":"permission"}})", Kind::kUnauthorized},
        ErrorCase{401, "", Kind::kUnauthorized},
        ErrorCase{429, R"({"error":{"code":4,"message":"limit"}})", Kind::kLater},
        ErrorCase{400, R"({"error":{"code":130429,"message":"rate"}})", Kind::kLater},
        ErrorCase{400, R"({"error":{"code":131056,"message":"pair rate"}})", Kind::kLater},
        ErrorCase{503, R"({"error":{"code":131016,"message":"unavailable"}})", Kind::kLater},
        ErrorCase{502, "<html>", Kind::kLater},
        ErrorCase{500, R"({"error":{"code":131000,"message":"went wrong"}})", Kind::kFailed},
        ErrorCase{200, "<html>", Kind::kUnknown}
    )
);

}  // namespace
}  // namespace berth::whatsapp
