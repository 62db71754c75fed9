// SPDX-License-Identifier: Apache-2.0
// Messages, commands, clicks and cards against the fake, with every fault of its API.
#include "discord/test_world.hpp"

namespace berth::discord {
namespace {

using berth::testing::eventually;

class Receiving : public World {};

TEST_F(Receiving, WhatIsSaidToTheBot) {
    start();
    const std::string id = say("run true");
    const chat::Inbound first = heard(0);
    EXPECT_EQ(first.event_id, id);
    EXPECT_EQ(first.text, "run true");
    EXPECT_EQ(first.conversation, (chat::Conversation{general_, ""}));
    tell("message", "{'person':'ann','channel':'general','text':'chatter'}");
    tell(
        "message", "{'person':'robot','bot':true,'channel':'general','text':'beep','mention':true}"
    );
    say("status", "dm:bob", "bob");
    const chat::Inbound direct = heard(1);
    EXPECT_TRUE(direct.direct);
    EXPECT_EQ(direct.text, "status");
    say("in a thread", "thread");
    EXPECT_EQ(heard(2).conversation, (chat::Conversation{general_, thread_}));
    EXPECT_EQ(heard_.events().size(), 3U);
}

TEST_F(Receiving, ACommandIsStoredBeforeItIsAnswered) {
    start();
    heard_.fail(3);
    const std::string interaction = command();
    ASSERT_TRUE(eventually([&] { return heard_.asked() >= 1; }));
    EXPECT_TRUE(fake_.look("interaction/" + interaction).find("answer")->is_null());
    const chat::Inbound asked = heard(0);
    EXPECT_EQ(asked.kind, chat::InboundKind::kCommand);
    EXPECT_EQ(asked.text, "run make test");
    EXPECT_EQ(asked.event_id, interaction);
    EXPECT_TRUE(eventually([&] {
        return fake_.look("interaction/" + interaction).int_or("answer", 0) == 5;
    }));
}

TEST_F(Receiving, AClickAndItsComment) {
    start();
    const auto posted = platform_->post(card("Approve?"));
    ASSERT_TRUE(posted.value) << posted.error.reason;
    const std::string& id = posted.value->message;
    const auto click = [&](const std::string& button) {
        return tell(
                   "click",
                   "{'person':'bob','channel':'general','message':'" + id + "','button':'" +
                       button + "'}"
        )
            .string_or("interaction", "");
    };
    const std::string plain = click("Approve");
    const chat::Inbound first = heard(0);
    EXPECT_EQ(first.kind, chat::InboundKind::kClick);
    EXPECT_EQ(first.token, "yes");
    EXPECT_EQ(first.message, id);
    EXPECT_EQ(first.person.name, "Bob");
    EXPECT_TRUE(eventually([&] {
        return fake_.look("interaction/" + plain).int_or("answer", 0) == 6;
    }));
    const std::string asking = click("Deny");
    ASSERT_TRUE(eventually([&] {
        return fake_.look("interaction/" + asking).int_or("answer", 0) == 9;
    }));
    EXPECT_EQ(heard_.events().size(), 1U);
    tell("submit", "{'interaction':'" + asking + "','values':{'comment':'too dangerous'}}");
    const chat::Inbound second = heard(1);
    EXPECT_EQ(second.token, "no");
    EXPECT_EQ(second.comment, "too dangerous");
    EXPECT_EQ(second.message, id);
}

class Answering : public World {
protected:
    /// A command that was said and acknowledged.
    chat::Inbound asked() {
        const std::size_t before = heard_.events().size();
        command();
        return heard(before);
    }
    chat::Outgoing answer(
        const chat::Inbound& to, std::string text, std::string key = "01hzzzzzzzzzzzzzzzzzzzzza0"
    ) {
        chat::Outgoing out = message(std::move(text), std::move(key));
        out.handle = to.handle;
        return out;
    }
};

TEST_F(Answering, TakesThePlaceOfThinkingAndThenFollows) {
    start();
    const chat::Inbound to = asked();
    const auto first = platform_->post(answer(to, "one"));
    ASSERT_TRUE(first.value) << first.error.reason;
    const auto second = platform_->post(answer(to, "two", "01hzzzzzzzzzzzzzzzzzzzzza1"));
    ASSERT_TRUE(second.value) << second.error.reason;
    const auto stands = mine();
    ASSERT_EQ(stands.size(), 2U);
    EXPECT_EQ(stands[0].string_or("content", ""), "one");
    EXPECT_FALSE(stands[0].bool_or("loading", true));
    EXPECT_EQ(stands[0].string_or("id", ""), first.value->message);
    EXPECT_EQ(stands[1].string_or("content", ""), "two");
    ASSERT_TRUE(platform_->edit({general_, ""}, first.value->message, message("one, changed")).value
    );
    EXPECT_EQ(mine()[0].string_or("content", ""), "one, changed");
}

TEST_F(Answering, ForOnePersonAlone) {
    start();
    const chat::Inbound to = asked();
    chat::Outgoing only = answer(to, "you may not");
    only.only_for = to.person.id;
    const auto posted = platform_->post(only);
    ASSERT_TRUE(posted.value) << posted.error.reason;
    EXPECT_TRUE(mine().empty());
    ASSERT_EQ(mine("general", "ann").size(), 1U);
    only.content.markdown = "you may not, still";
    ASSERT_TRUE(platform_->edit({general_, ""}, posted.value->message, only).value);
    EXPECT_EQ(mine("general", "ann")[0].string_or("content", ""), "you may not, still");
    only.handle.clear();
    EXPECT_EQ(platform_->edit({general_, ""}, posted.value->message, only).error.kind, Kind::kGone);
}

TEST_F(Answering, AfterTheTokenEndedInTheChannel) {
    start();
    const chat::Inbound to = asked();
    tell("settings", "{'token_life':-1}");
    ASSERT_TRUE(platform_->post(answer(to, "late")).value);
    EXPECT_EQ(mine().back().string_or("content", ""), "late");
    EXPECT_EQ(mine().size(), 2U);  // "thinking" stays; Discord itself takes that away
}

TEST_F(Answering, AnotherProcessFindsOutWhatIsStillToBeFilled) {
    start();
    const chat::Inbound first = asked();
    const chat::Inbound second = asked();
    ASSERT_TRUE(platform_->post(answer(first, "one")).value);
    platform_->stop();
    platform_.reset();
    start();
    ASSERT_TRUE(platform_->post(answer(first, "one more", "01hzzzzzzzzzzzzzzzzzzzzza1")).value);
    ASSERT_TRUE(platform_->post(answer(second, "two", "01hzzzzzzzzzzzzzzzzzzzzza2")).value);
    const auto stands = mine();
    ASSERT_EQ(stands.size(), 3U) << Json(stands).dump();
    EXPECT_EQ(stands[0].string_or("content", ""), "one");
    EXPECT_EQ(stands[1].string_or("content", ""), "two");
    EXPECT_EQ(stands[2].string_or("content", ""), "one more");
    const auto found = platform_->find(answer(second, "two", "01hzzzzzzzzzzzzzzzzzzzzza2"));
    ASSERT_TRUE(found.value && *found.value);
    EXPECT_EQ((*found.value)->message, stands[1].string_or("id", ""));
}

class Posting : public World {
protected:
    void SetUp() override { tell("settings", "{'limits':{}}"); }
    void fault(const std::string& fault) { tell("faults", "[" + fault + "]"); }
    Kind kind_of(const chat::Outgoing& out) {
        const auto result = platform_->post(out);
        EXPECT_FALSE(result.value);
        return result.error.kind;
    }
};

TEST_F(Posting, CardsFilesAndThreads) {
    start();
    ASSERT_TRUE(platform_->post(card("Title")).value);
    chat::Outgoing file = message("the output", "01hzzzzzzzzzzzzzzzzzzzzzz1");
    file.content.file_name = "output.txt";
    file.content.file_bytes = "line\n";
    file.conversation = {general_, thread_};
    ASSERT_TRUE(platform_->post(file).value);
    EXPECT_EQ(mine()[0].find("embeds")->as_array()->front().string_or("title", ""), "Title");
    EXPECT_EQ(
        mine("thread")[0].find("files")->dump(), R"([{"name":"output.txt","text":"line\n"}])"
    );
    chat::Outgoing loud = message(
        "@everyone <@" + fake_.look("state").string_or("bot", "") + ">",
        "01hzzzzzzzzzzzzzzzzzzzzzz2"
    );
    ASSERT_TRUE(platform_->post(loud).value);
    EXPECT_EQ(mine().back().find("told")->dump(), "[]");
    EXPECT_FALSE(mine().back().bool_or("everyone", true));
}

TEST_F(Posting, TheSameKeyTwiceIsOneMessage) {
    start();
    const auto first = platform_->post(message("once"));
    const auto again = platform_->post(message("once"));
    ASSERT_TRUE(first.value && again.value);
    EXPECT_EQ(first.value->message, again.value->message);
    EXPECT_EQ(mine().size(), 1U);
}

TEST_F(Posting, WhatMayHaveGoneOutIsFoundOrPostedOnce) {
    start();
    int number = 0;
    for (const std::string broken :
         {"{'kind':'error','status':502,'when':'after','method':'POST','path':'/messages$'}",
          "{'kind':'error','status':502,'when':'before','method':'POST','path':'/messages$'}",
          "{'kind':'drop','when':'after','method':'POST','path':'/messages$'}",
          "{'kind':'drop','when':'before','method':'POST','path':'/messages$'}"}) {
        for (const bool is_card : {false, true}) {
            fault(broken);
            const std::string words = "number " + std::to_string(number);
            chat::Outgoing out = is_card ? card(words) : message(words);
            out.key = "01hzzzzzzzzzzzzzzzzzzzzz" + std::to_string(10 + number);
            ++number;
            EXPECT_EQ(kind_of(out), Kind::kUnknown) << broken;
            const auto found = platform_->find(out);
            ASSERT_TRUE(found.value) << found.error.reason;
            if (is_card) {
                EXPECT_EQ(found.value->has_value(), broken.find("after") != std::string::npos)
                    << broken;
            }
            if (!*found.value) {
                ASSERT_TRUE(platform_->post(out).value);
            }
            EXPECT_EQ(mine().size(), static_cast<std::size_t>(number)) << broken;
        }
    }
    tell("settings", "{'history_nonce':true}");
    const auto found = platform_->find(message("other words", "01hzzzzzzzzzzzzzzzzzzzzz10"));
    ASSERT_TRUE(found.value);
    EXPECT_TRUE(found.value->has_value());
}

TEST_F(Posting, OfTwoEqualCardsEachIsFoundAsItself) {
    start();
    chat::Outgoing first = card("make: starting");
    first.content.card.buttons = {{"tok1", "Cancel", chat::ButtonStyle::kDanger, false}};
    first.key = "01hzzzzzzzzzzzzzzzzzzzzz90";
    chat::Outgoing second = first;
    second.content.card.buttons[0].token = "tok2";
    second.key = "01hzzzzzzzzzzzzzzzzzzzzz91";
    const auto sent = platform_->post(first);
    ASSERT_TRUE(sent.value);
    const auto none = platform_->find(second);
    ASSERT_TRUE(none.value);
    EXPECT_FALSE(none.value->has_value()) << "the other's is not adopted";
    first.content.card.buttons[0].token = "tok3";  // drawn anew after a crash
    const auto found = platform_->find(first);
    ASSERT_TRUE(found.value && *found.value);
    EXPECT_EQ((*found.value)->message, sent.value->message);
}

TEST_F(Posting, BudgetsAreKeptPerRouteAndInAll) {
    start();
    tell("settings", "{'limits':{'POST /channels/{channel_id}/messages':[2,3.0]}}");
    ASSERT_TRUE(platform_->post(message("a", "01hzzzzzzzzzzzzzzzzzzzzzz1")).value);
    ASSERT_TRUE(platform_->post(message("b", "01hzzzzzzzzzzzzzzzzzzzzzz2")).value);
    const auto third = platform_->post(message("c", "01hzzzzzzzzzzzzzzzzzzzzzz3"));
    EXPECT_EQ(third.error.kind, Kind::kLater);
    EXPECT_GT(third.error.retry_after, milliseconds{1'000});
    chat::Outgoing elsewhere = message("d", "01hzzzzzzzzzzzzzzzzzzzzzz4");
    elsewhere.conversation.chat = other_;
    EXPECT_TRUE(platform_->post(elsewhere).value);
    const auto refusals = [&] {
        std::size_t count = 0;
        const Json state = fake_.look("state");
        for (const Json& request : *state.find("requests")->as_array())
            count += request.int_or("status", 0) == 429 ? 1 : 0;
        return count;
    };
    EXPECT_EQ(refusals(), 0U);  // known beforehand: nothing was asked in vain
    fault("{'kind':'429_global','retry_after':2.5,'method':'POST','path':'/messages$'}");
    chat::Outgoing refused = elsewhere;
    refused.key = "01hzzzzzzzzzzzzzzzzzzzzzz5";
    const auto global = platform_->post(refused);
    EXPECT_EQ(global.error.kind, Kind::kLater);
    EXPECT_GE(global.error.retry_after, milliseconds{2'500});
    EXPECT_EQ(
        platform_->edit({other_, ""}, mine("other")[0].string_or("id", ""), elsewhere).error.kind,
        Kind::kLater
    );
    EXPECT_EQ(refusals(), 1U);
}

TEST_F(Posting, ALongTextStandsThereWhole) {
    start();
    tell("settings", "{'limits':{}}");
    const berth::testing::LongText text(300);
    int number = 0;
    ASSERT_NO_FATAL_FAILURE(post_whole(text, [&](const auto& piece) {
        return message(piece, "01hzzzzzzzzzzzzzzzzzzzzz" + std::to_string(10 + number++));
    }));
    std::vector<std::string> shown;
    for (const Json& one : mine()) shown.push_back(one.string_or("content", ""));
    text.expect_whole(shown, true);
}

TEST_F(Posting, A429NamesItsWait) {
    start();
    fault("{'kind':'429','retry_after':7.25,'method':'POST','path':'/messages$'}");
    const auto result = platform_->post(message("x"));
    EXPECT_EQ(result.error.kind, Kind::kLater);
    EXPECT_EQ(result.error.retry_after, milliseconds{7'251});
}

TEST_F(Posting, RefusalsNameTheirReason) {
    start();
    for (const std::string access : {"closed", "mute", "blocked"}) {
        tell("access", "{'channel':'general','access':'" + access + "'}");
        EXPECT_EQ(kind_of(message("x")), Kind::kRefused) << access;
    }
    tell("access", "{'channel':'general','access':'open'}");
    chat::Outgoing nowhere = message("x");
    nowhere.conversation.chat = "123";
    EXPECT_EQ(kind_of(nowhere), Kind::kRefused);
    nowhere.conversation.chat = "C123/../x";
    EXPECT_EQ(kind_of(nowhere), Kind::kRefused);
    const auto posted = platform_->post(message("x"));
    ASSERT_TRUE(posted.value);
    tell("delete", "{'channel':'general','message':'" + posted.value->message + "'}");
    EXPECT_EQ(
        platform_->edit({general_, ""}, posted.value->message, message("y")).error.kind, Kind::kGone
    );
    fault("{'kind':'error','status':400,'code':50035,'method':'POST','path':'/messages$','times':2}"
    );
    EXPECT_EQ(kind_of(message("x", "01hzzzzzzzzzzzzzzzzzzzzzz8")), Kind::kBadMarkup);
    chat::Outgoing plain = message("x", "01hzzzzzzzzzzzzzzzzzzzzzz9");
    plain.plain = true;
    EXPECT_EQ(kind_of(plain), Kind::kRefused);
    change_token("another");
    EXPECT_EQ(kind_of(message("x", "01hzzzzzzzzzzzzzzzzzzzzzza")), Kind::kUnauthorized);
}

class Endpoint : public World {
protected:
    chat::WebResponse post(
        const std::string& body, const std::string& stamp, const std::string& signature
    ) {
        chat::WebRequest request;
        request.method = "POST";
        request.path = "/interactions";
        request.headers = {{"x-signature-timestamp", stamp}, {"x-signature-ed25519", signature}};
        request.body = body;
        return platform_->web(request);
    }
};

TEST_F(Endpoint, RefusesWhatDiscordDidNotSignNow) {
    make();
    EXPECT_EQ(post("{}", "1", "00").status, 503);  // it does not know the key yet
    start();
    const auto signed_request = [&](const std::string& forge) {
        return tell("sign", "{'body':'{}','forge':'" + forge + "'}");
    };
    const auto sent = [&](const std::string& forge) {
        const Json parts = signed_request(forge);
        return post(
            parts.string_or("body", ""),
            parts.string_or("stamp", ""),
            parts.string_or("signature", "")
        );
    };
    for (const std::string forge : {"key", "body", "old", "none"}) {
        EXPECT_EQ(sent(forge).status, 401) << forge;
        EXPECT_EQ(
            sent(forge).refused,
            forge == "old" ? "the signature is not of the last five minutes"
                           : "the signature is not Discord's"
        ) << forge;
    }
    EXPECT_EQ(sent("").status, 400);  // signed, and no interaction
    EXPECT_EQ(sent("").refused, "");
    const Json good = tell("sign", R"({"body":"{\"type\":1,\"id\":\"1\",\"token\":\"t\"}"})");
    const auto pong = post(
        good.string_or("body", ""), good.string_or("stamp", ""), good.string_or("signature", "")
    );
    EXPECT_EQ(pong.status, 200);
    EXPECT_EQ(pong.body, "{\"type\":1}");
    EXPECT_EQ(
        post(
            good.string_or("body", ""),
            good.string_or("stamp", "") + "0",
            good.string_or("signature", "")
        )
            .status,
        401
    );
    EXPECT_EQ(post(good.string_or("body", ""), good.string_or("stamp", ""), "zz").status, 401);
    chat::WebRequest get;
    get.method = "GET";
    EXPECT_EQ(platform_->web(get).status, 405);
    EXPECT_TRUE(heard_.events().empty());
}

TEST_F(Endpoint, StoresACommandBeforeItIsAnswered) {
    start();
    const Json parts = tell(
        "sign_command",
        "{'person':'ann','channel':'general','options':[{'type':1,'name':'status'}]}"
    );
    heard_.fail(1);
    const auto send = [&] {
        return post(
            parts.string_or("body", ""),
            parts.string_or("stamp", ""),
            parts.string_or("signature", "")
        );
    };
    EXPECT_EQ(send().status, 503);
    EXPECT_TRUE(heard_.events().empty());
    const auto answer = send();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "{\"type\":5}");
    ASSERT_EQ(heard_.events().size(), 1U);
    EXPECT_EQ(heard_.events()[0].text, "status");
}

}  // namespace
}  // namespace berth::discord
