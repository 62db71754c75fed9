// SPDX-License-Identifier: Apache-2.0
// What Discord says as inbound things, and messages as Discord takes them.
#include "discord/wire.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "chat/length.hpp"
#include "discord/settings.hpp"

namespace berth::discord {
namespace {

using Kind = chat::SendError::Kind;
const Bot kBot{"900", "901"};

Json parse(std::string text) {
    for (char& c : text) c = c == '\'' ? '"' : c;
    auto json = Json::parse(text);
    EXPECT_TRUE(json) << text;
    return json ? *json : Json();
}

const std::string kMention =
    "{'id':'175928847299117063','channel_id':'5','guild_id':'6','channel_type':0,'type':0,'content'"
    ":'<@900> run make',"
    "'author':{'id':'7','username':'ann','global_name':'Ann'},'mentions':[{'id':'900'}]}";

TEST(Inbound, AMentionIsWhatFollowsIt) {
    const Told told = message_of(parse(kMention), kBot);
    ASSERT_TRUE(told.inbound);
    EXPECT_EQ(told.inbound->event_id, "175928847299117063");
    EXPECT_EQ(told.inbound->kind, chat::InboundKind::kMessage);
    EXPECT_EQ(told.inbound->conversation, (chat::Conversation{"5", ""}));
    EXPECT_EQ(told.inbound->text, "run make");
    EXPECT_EQ(told.inbound->person.id, "7");
    EXPECT_EQ(told.inbound->person.name, "Ann");
    EXPECT_FALSE(told.inbound->direct);
    EXPECT_FALSE(told.needs_parent);
    EXPECT_EQ(
        to_rfc3339(told.inbound->at), "2016-04-30T11:18:25.796000Z"
    );  // of Discord's documentation
}

TEST(Inbound, WhatIsNotMeantForTheBot) {
    const auto changed = [](std::string_view from, std::string_view to) {
        std::string text = kMention;
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos);
        return message_of(parse(text.replace(at, from.size(), to)), kBot).inbound.has_value();
    };
    EXPECT_FALSE(changed("'mentions':[{'id':'900'}]", "'mentions':[{'id':'8'}]"));
    EXPECT_FALSE(changed("'username':'ann'", "'username':'ann','bot':true"));
    EXPECT_FALSE(changed("'type':0,'content'", "'type':7,'content'"));
    EXPECT_FALSE(changed("'type':0,'content'", "'webhook_id':'3','type':0,'content'"));
    EXPECT_FALSE(changed("'id':'175928847299117063'", "'id':'x'"));
    EXPECT_FALSE(changed("'author':{'id':'7',", "'author':{"));
    EXPECT_TRUE(changed("'type':0,'content'", "'type':19,'content'"));
    EXPECT_FALSE(message_of(Json(), kBot).inbound);
}

TEST(Inbound, DirectMessagesNeedNoMentionAndThreadsTheirParent) {
    const Told direct = message_of(
        parse("{'id':'1','channel_id':'5','channel_type':1,'type':0,'content':' hi "
              "','author':{'id':'7','username':'a'},"
              "'mentions':[]}"),
        kBot
    );
    ASSERT_TRUE(direct.inbound);
    EXPECT_TRUE(direct.inbound->direct);
    EXPECT_EQ(direct.inbound->text, "hi");
    EXPECT_EQ(direct.inbound->person.name, "a");
    std::string text = kMention;
    text.replace(text.find("'channel_type':0"), 16, "'channel_type':11");
    EXPECT_TRUE(message_of(parse(text), kBot).needs_parent);
}

const std::string kCommand =
    "{'id':'11','application_id':'901','type':2,'token':'tok','channel_id':'5','channel':{'id':'5',"
    "'type':11,'parent_id':'4'},"
    "'guild_id':'6','member':{'user':{'id':'7','username':'ann'}},'data':{'id':'1','name':'berth','"
    "type':1,'options':"
    "[{'type':1,'name':'run','options':[{'type':3,'name':'arguments','value':'make test'}]}]}}";

TEST(Inbound, ACommandIsItsVerbAndArguments) {
    const Told told = interaction_of(parse(kCommand));
    ASSERT_TRUE(told.inbound);
    EXPECT_EQ(told.inbound->kind, chat::InboundKind::kCommand);
    EXPECT_EQ(told.inbound->text, "run make test");
    EXPECT_EQ(told.inbound->conversation, (chat::Conversation{"4", "5"}));
    EXPECT_EQ(told.answer.int_or("type", 0), 5);
    const auto handle = Handle::parse(told.inbound->handle);
    ASSERT_TRUE(handle);
    EXPECT_EQ(handle->kind, Handle::Kind::kCommand);
    EXPECT_EQ(
        handle->application + "/" + handle->person + "/" + handle->interaction + "/" +
            handle->token,
        "901/7/11/tok"
    );
    EXPECT_EQ(handle->text(), told.inbound->handle);
}

TEST(Inbound, AClickAndAModal) {
    const std::string click =
        "{'id':'12','application_id':'901','type':3,'token':'tok','channel':{'id':'5','type':1},'"
        "user':{'id':'7','username':'ann'},'message':"
        "{'id':'99','components':[{'type':1,'components':[{'type':2,'custom_id':'c:abc','label':'"
        "Deny with a reason'}]}]},"
        "'data':{'component_type':2,'custom_id':'b:abc'}}";
    const Told told = interaction_of(parse(click));
    ASSERT_TRUE(told.inbound);
    EXPECT_EQ(told.inbound->kind, chat::InboundKind::kClick);
    EXPECT_EQ(told.inbound->token, "abc");
    EXPECT_EQ(told.inbound->message, "99");
    EXPECT_TRUE(told.inbound->direct);
    EXPECT_EQ(told.answer.int_or("type", 0), 6);

    std::string among_others = click;
    among_others.replace(among_others.find("'type':3"), 8, "'context':2,'type':3");
    EXPECT_FALSE(interaction_of(parse(among_others)).inbound->direct);

    std::string asks = click;
    asks.replace(asks.find("'b:abc'"), 7, "'c:abc'");
    const Told modal = interaction_of(parse(asks));
    EXPECT_FALSE(modal.inbound);
    EXPECT_EQ(modal.answer.int_or("type", 0), 9);
    EXPECT_EQ(modal.answer.find("data")->string_or("custom_id", ""), "m:abc");
    EXPECT_EQ(modal.answer.find("data")->string_or("title", ""), "Deny with a reason");

    for (const std::string form :
         {"'components':[{'type':1,'components':[{'type':4,'custom_id':'comment','value':' why "
          "'}]}]",
          "'components':[{'type':18,'component':{'type':4,'custom_id':'comment','value':'why'}}"
          "]"}) {
        const Told submit = interaction_of(parse(
            "{'id':'13','application_id':'901','type':5,'token':'tok','channel':{'id':'5','type':0}"
            ",'member':{'user':{'id':'7'}},"
            "'message':{'id':'99'},'data':{'custom_id':'m:abc'," +
            form + "}}"
        ));
        ASSERT_TRUE(submit.inbound);
        EXPECT_EQ(submit.inbound->comment, "why");
        EXPECT_EQ(submit.inbound->token, "abc");
        EXPECT_EQ(submit.answer.int_or("type", 0), 6);
    }
}

TEST(Inbound, AnInteractionThatIsNotOursIsNeitherStoredNorAnswered) {
    for (const std::string data :
         {"{'name':'other','type':1}",
          "{'component_type':3,'custom_id':'b:abc'}",
          "{'component_type':2,'custom_id':'b:'}",
          "{'component_type':2,'custom_id':'x:abc'}",
          "{'component_type':2,'custom_id':'b:a b'}",
          "[]"}) {
        for (const std::string kind : {"2", "3", "4", "5", "9"}) {
            const Told told = interaction_of(parse(
                "{'id':'13','application_id':'901','type':" + kind +
                ",'token':'t','channel':{'id':'5','type':0},'user':{'id':'7'},'data':" + data + "}"
            ));
            EXPECT_FALSE(told.inbound) << kind << data;
            EXPECT_TRUE(told.answer.is_null()) << kind << data;
        }
    }
    EXPECT_EQ(
        interaction_of(parse("{'id':'1','type':1,'token':'t'}")).answer.dump(), "{\"type\":1}"
    );
}

TEST(Handles, EndBeforeDiscordDoes) {
    const WallTime now = Clock::system().now();
    const auto id_at = [](WallTime time) {
        const auto millis =
            std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count() -
            1'420'070'400'000;
        return std::to_string(millis << 22);
    };
    Handle handle{Handle::Kind::kCommand, "901", "7", id_at(now - std::chrono::minutes{13}), "tok"};
    EXPECT_TRUE(handle.alive(now));
    handle.interaction = id_at(now - std::chrono::minutes{15});
    EXPECT_FALSE(handle.alive(now));
    for (const std::string text :
         {"",
          "c/9/7/8",
          "x/9/7/8/t",
          "c/9/a/8/t",
          "c/9/7/b/t",
          "c/a/7/8/t",
          "c/9/7/8/",
          "c/9/7/8/t/u"})
        EXPECT_FALSE(Handle::parse(text)) << text;
}

chat::Outgoing markdown(std::string text) {
    chat::Outgoing out;
    out.content.markdown = std::move(text);
    return out;
}

chat::Outgoing card() {
    chat::Outgoing out;
    out.content.is_card = true;
    out.content.card.title = "Run *1*";
    out.content.card.text = "by @everyone in <#5>";
    out.content.card.code = "echo ```x```";
    out.content.card.fields = {{"state", "running"}, {"", ""}};
    out.content.card.footer = "small *print*";
    out.content.card.tone = chat::Tone::kWaiting;
    return out;
}

TEST(Outbound, ACardIsAnEmbed) {
    const Json body = body_of(card());
    ASSERT_EQ(body.find("embeds")->as_array()->size(), 1U);
    const Json& embed = body.find("embeds")->as_array()->front();
    EXPECT_EQ(embed.string_or("title", ""), "Run \\*1\\*");
    EXPECT_EQ(
        embed.string_or("description", ""),
        "by @\u200beveryone in \\<#5\\>\n```\necho `\u200b`\u200b`x`\u200b`\u200b`\n```"
    );
    EXPECT_EQ(embed.find("footer")->string_or("text", ""), "small *print*");
    EXPECT_EQ(embed.find("fields")->as_array()->at(1).string_or("value", ""), "\u200b");
    EXPECT_EQ(body.string_or("content", "-"), "");
    EXPECT_EQ(body.find("allowed_mentions")->dump(), "{\"parse\":[]}");
}

TEST(Outbound, ButtonsComeInRowsOfFive) {
    chat::Outgoing out = card();
    for (int i = 0; i < 7; ++i)
        out.content.card.buttons.push_back(
            {"t" + std::to_string(i),
             "B",
             i == 1 ? chat::ButtonStyle::kDanger : chat::ButtonStyle::kGood,
             i == 1}
        );
    const Json body = body_of(out);
    const auto& rows = *body.find("components")->as_array();
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].find("components")->as_array()->size(), 5U);
    EXPECT_EQ(
        rows[0].find("components")->as_array()->at(1).dump(),
        "{\"type\":2,\"style\":4,\"label\":\"B\",\"custom_id\":\"c:t1\"}"
    );
    EXPECT_EQ(rows[1].find("components")->as_array()->at(1).string_or("custom_id", ""), "b:t6");
}

std::size_t units(const Json* text) {
    return text == nullptr || text->as_string() == nullptr
               ? 0
               : chat::length(*text->as_string(), chat::Unit::kUtf16);
}

TEST(Outbound, NobodyApprovesWhatIsNotShownWhole) {
    for (const bool plain : {false, true}) {
        for (const std::size_t size : {900U, 4'000U}) {
            chat::Outgoing out = card();
            out.plain = plain;
            out.content.card.text = std::string(800, 't');
            out.content.card.code = std::string(size, 'c') + "``";
            out.content.card.buttons = {
                {"tok1", "Approve", chat::ButtonStyle::kGood, false, true},
                {"tok2", "Deny", chat::ButtonStyle::kDanger, false}};
            const std::string body = body_of(out).dump();
            EXPECT_EQ(body.find("tok1") != std::string::npos, size == 900U) << plain;
            EXPECT_NE(body.find("tok2"), std::string::npos);
            EXPECT_EQ(body.find("berth approvals") == std::string::npos, size == 900U) << plain;
        }
    }
}

TEST(Outbound, NoCardIsTooLarge) {
    for (const std::string piece : {"x", "*", "é", "\U0001F600", "`", "\n", "@"}) {
        chat::Outgoing out = card();
        const auto much = [&](std::size_t count) {
            std::string text;
            for (std::size_t i = 0; i < count; ++i) text += piece;
            return text;
        };
        out.content.card.title = much(600);
        out.content.card.text = much(9'000);
        out.content.card.code = much(9'000);
        out.content.card.footer = much(3'000);
        out.content.card.fields.assign(40, {much(400), much(2'000)});
        const Json body = body_of(out);
        const Json& embed = body.find("embeds")->as_array()->front();
        EXPECT_LE(units(embed.find("title")), kMaxTitle);
        EXPECT_LE(units(embed.find("description")), kMaxDescription);
        std::size_t all = units(embed.find("title")) + units(embed.find("description")) +
                          units(embed.find("footer")->find("text"));
        ASSERT_EQ(embed.find("fields")->as_array()->size(), kMaxFields);
        for (const Json& field : *embed.find("fields")->as_array()) {
            EXPECT_LE(units(field.find("name")), kMaxFieldName);
            EXPECT_LE(units(field.find("value")), kMaxFieldValue);
            EXPECT_GT(units(field.find("value")), 0U);
            all += units(field.find("name")) + units(field.find("value"));
        }
        EXPECT_LE(all, kMaxEmbed) << piece;
        out.plain = true;
        EXPECT_LE(units(body_of(out).find("content")), kMaxContent) << piece;
    }
}

TEST(Outbound, MarkdownIsDiscordsAndMentionsNobody) {
    const auto shown = [](std::string text) {
        return body_of(markdown(std::move(text))).string_or("content", "");
    };
    EXPECT_EQ(shown("**a** *b* ~~c~~ `d*`"), "**a** *b* ~~c~~ ``d*``");
    EXPECT_EQ(shown("# Head\n\ntext"), "# Head\n\ntext");
    EXPECT_EQ(shown("```sh\nls *\n```"), "```sh\nls *\n```");
    EXPECT_EQ(shown("[here](https://x.test/a_b)"), "[here](<https://x.test/a_b>)");
    EXPECT_EQ(
        shown("hi @everyone <@123> <!channel>"),
        "hi @\u200beveryone \\<@\u200b123\\> \\<!channel\\>"
    );
    EXPECT_EQ(shown(""), "\u200b");
}

TEST(Outbound, LongMarkdownLosesNothing) {
    std::string text;
    for (int i = 0; i < 1'990; ++i) text += i % 50 == 49 ? ' ' : '|';
    const Json body = body_of(markdown(text));
    EXPECT_EQ(body.string_or("content", "-"), "");
    const std::string all = body.find("embeds")->as_array()->front().string_or("description", "");
    EXPECT_LE(chat::length(all, chat::Unit::kUtf16), kMaxDescription);
    EXPECT_EQ(std::count(all.begin(), all.end(), '|'), std::count(text.begin(), text.end(), '|'));
}

TEST(Outbound, AFileTravelsWithItsText) {
    chat::Outgoing out = markdown("the output");
    out.content.file_name = "out put\".txt";
    out.content.file_bytes = std::string("a\0b", 3);
    const Json body = body_of(out);
    EXPECT_EQ(body.find("attachments")->dump(), "[{\"id\":\"0\",\"filename\":\"out_put_.txt\"}]");
    const std::string form =
        form_of(body, out.content.file_name, out.content.file_bytes, "B").body();
    EXPECT_NE(form.find("name=\"files[0]\"; filename=\"out_put_.txt\""), std::string::npos);
    EXPECT_NE(form.find(std::string("\r\n\r\na\0b\r\n--B--\r\n", 16)), std::string::npos);
    EXPECT_EQ(form.find("--B\r\n"), 0U);
}

TEST(Outbound, NoncesFitAndDiffer) {
    EXPECT_EQ(nonce_of("01hzzzzzzzzzzzzzzzzzzzzzzz").size(), kMaxNonce);
    EXPECT_NE(nonce_of("01hzzzzzzzzzzzzzzzzzzzzzzz"), nonce_of("01hzzzzzzzzzzzzzzzzzzzzzzy"));
}

TEST(Outbound, ACardIsRecognisedAsDiscordShowsIt) {
    const Json body = body_of(card());
    Json shown = Json::object();
    shown.set("content", "")
        .set("embeds", *body.find("embeds"))
        .set("attachments", Json::array())
        .set("flags", 0);
    EXPECT_TRUE(says_the_same(shown, body));
    chat::Outgoing other = card();
    other.content.card.fields[0].value = "ended";
    EXPECT_FALSE(says_the_same(shown, body_of(other)));
}

TEST(Outbound, CommandsAreAMenuOfVerbs) {
    std::vector<Verb> verbs{
        {"run", std::string(200, 'x'), "COMMAND…"}, {"status", "How it is", ""}};
    for (int i = 0; i < 40; ++i) verbs.push_back({"v" + std::to_string(i), "More", ""});
    const Json commands = commands_of(verbs);
    const Json& berth = commands.as_array()->front();
    EXPECT_EQ(berth.string_or("name", ""), "berth");
    const auto& options = *berth.find("options")->as_array();
    EXPECT_EQ(options.size(), kMaxSubcommands);
    EXPECT_LE(units(options[0].find("description")), kMaxCommandText);
    EXPECT_EQ(options[0].find("options")->as_array()->front().string_or("name", ""), "arguments");
    EXPECT_EQ(options[1].find("options"), nullptr);
}

TEST(Errors, EachIsWhatItMeans) {
    const auto kind = [](int status, std::string body, std::string_view header = {}) {
        return error_of(status, body.empty() ? Json() : parse(std::move(body)), header).kind;
    };
    EXPECT_EQ(kind(401, "{'code':0,'message':'401: Unauthorized'}"), Kind::kUnauthorized);
    EXPECT_EQ(kind(401, "{'code':50027,'message':'Invalid Webhook Token'}"), Kind::kRefused);
    EXPECT_EQ(kind(403, "{'code':50001,'message':'Missing Access'}"), Kind::kRefused);
    EXPECT_EQ(kind(403, "{'code':50007,'message':'Cannot send'}"), Kind::kRefused);
    EXPECT_EQ(kind(403, ""), Kind::kLater);  // a page of what stands in front of Discord
    EXPECT_EQ(kind(404, "{'code':10008,'message':'Unknown Message'}"), Kind::kGone);
    EXPECT_EQ(kind(404, "{'code':10003,'message':'Unknown Channel'}"), Kind::kRefused);
    EXPECT_EQ(kind(400, "{'code':50035,'message':'Invalid Form Body'}"), Kind::kBadMarkup);
    EXPECT_EQ(kind(400, "{'code':20016,'message':'slow mode','retry_after':3}"), Kind::kLater);
    EXPECT_EQ(kind(413, "{'code':40005,'message':'too large'}"), Kind::kRefused);
    EXPECT_EQ(kind(502, ""), Kind::kUnknown);
    EXPECT_EQ(
        error_of(429, parse("{'retry_after':0.5,'global':false}"), "9").retry_after,
        milliseconds{501}
    );
    EXPECT_EQ(error_of(429, parse("{'global':false}"), "9").retry_after, milliseconds{9'001});
    EXPECT_GE(error_of(429, Json(), "1").retry_after, milliseconds{60'000});
    EXPECT_GT(error_of(429, parse("{'retry_after':-1}"), "x").retry_after, milliseconds{0});
}

TEST(DiscordIds, StandInTheOrderOfTime) {
    const WallTime then = time_of("175928847299117063");
    EXPECT_EQ(time_of(id_at(then)), then);
    EXPECT_FALSE(is_before("175928847299117063", id_at(then)));
    EXPECT_TRUE(is_before("99", "100"));
    EXPECT_TRUE(is_before("100", "101"));
    EXPECT_FALSE(is_before("100", "100"));
}

}  // namespace
}  // namespace berth::discord
