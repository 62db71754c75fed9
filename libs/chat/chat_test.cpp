// SPDX-License-Identifier: Apache-2.0
// What libs/chat does without a platform, a bus or a database.
#include <gtest/gtest.h>

#include "berth/warden/v1/warden.pb.h"
#include "chat/approvals.hpp"
#include "chat/commands.hpp"
#include "chat/limiter.hpp"
#include "chat/markdown.hpp"
#include "chat/output.hpp"
#include "chat/runs.hpp"
#include "chat/settings.hpp"
#include "chat/verbs.hpp"
#include "chat/wire.hpp"
#include "chat/words.hpp"
#include "service/proto_time.hpp"

namespace berth::chat {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text) { return split_words(text).value_or(Words{"<error>"}); }

TEST(Words, AreThoseOfAShell) {
    EXPECT_EQ(words_of("  make   test "), (Words{"make", "test"}));
    EXPECT_EQ(words_of("sh -c 'echo \"a b\"'"), (Words{"sh", "-c", "echo \"a b\""}));
    EXPECT_EQ(words_of("a\"b c\"d 'e'\"f\""), (Words{"ab cd", "ef"}));
    EXPECT_EQ(words_of("\"\" ''"), (Words{"", ""}));
    EXPECT_EQ(words_of("a\\ b \"c\\\"d\\e\" 'f\\g'"), (Words{"a b", "c\"d\\e", "f\\g"}));
    EXPECT_EQ(words_of("\n a\tb \r\n"), (Words{"a", "b"}));
    EXPECT_EQ(words_of(""), Words{});
    EXPECT_EQ(words_of("$HOME *"), (Words{"$HOME", "*"}));
}

TEST(Words, ABackslashIsWhatAShellTakesItFor) {
    EXPECT_EQ(words_of("printf '[%s]' a \\\n  b"), (Words{"printf", "[%s]", "a", "b"}));
    EXPECT_EQ(words_of("mak\\\r\ne \"a\\\nb\" 'a\\\nb'"), (Words{"make", "ab", "a\\\nb"}));
    EXPECT_EQ(words_of("a \\\n"), (Words{"a"}));
    EXPECT_EQ(
        words_of("sh -c \"echo \\$HOME \\`id -u\\` \\a \\\\ \\\"\""),
        (Words{"sh", "-c", "echo $HOME `id -u` \\a \\ \""})
    );
    EXPECT_EQ(words_of("\\$HOME \\a"), (Words{"$HOME", "a"}));
}

TEST(Words, OfSeveralLinesAreNoCommand) {
    for (const char* text : {"rm -rf build\nls src", "a\r\nb", "a \n \n b", "'a'\n\\ b"}) {
        const auto words = split_words(text);
        ASSERT_FALSE(words) << text;
        EXPECT_EQ(words.error().code, "several_lines") << text;
    }
    EXPECT_EQ(words_of("sh -c '\na\nb\n'"), (Words{"sh", "-c", "\na\nb\n"}));
}

TEST(Words, TakeWhatChatClientsMakeOfQuotesAndDashes) {
    EXPECT_EQ(words_of("echo \u201ca b\u201d \u2018c d\u2019"), (Words{"echo", "a b", "c d"}));
    EXPECT_EQ(words_of("make \u2014jobs 2"), (Words{"make", "--jobs", "2"}));
    EXPECT_EQ(words_of("a\u2014b"), (Words{"a\u2014b"}));
    EXPECT_EQ(words_of("make\u00a0test"), (Words{"make", "test"}));
}

TEST(Words, AnOpenQuoteIsAnError) {
    const auto open = split_words("echo 'a");
    ASSERT_FALSE(open);
    EXPECT_EQ(open.error().code, "unclosed_quote");
    EXPECT_EQ(words_of("a\\"), (Words{"a\\"}));
}

TEST(Words, JoinedAndSplitAgainAreTheSame) {
    const Words all{"", "a b", "it's", "\"x\"", "$y", "plain", "a\nb", "--z=1", "\\"};
    EXPECT_EQ(words_of(join_words(all)), all);
    EXPECT_EQ(join_words({"make", "-j2", "a b"}), "make -j2 'a b'");
}

TEST(Words, WhatClientsPutInIsJoinedSoThatItStays) {
    const Words all{
        "it\u2019s",
        "\u201csaid\u201d 'so'",
        "\u2014",
        "\u2014x",
        "a\u2014b",
        "a\u00a0b",
        "\xe2\x80'"};
    EXPECT_EQ(words_of(join_words(all)), all);
    EXPECT_EQ(join_words({"it\u2019s"}), "'it'\"\u2019\"'s'");
}

TEST(Words, AreTakenBackAsTheyAreShown) {
    const Words all{
        "sh",
        "-c",
        "echo one\necho 'two' \\n \u201cthree\u201d it\u2019s",
        "a\u202eb",
        "\t\r\x1b\x7f",
        "\xff\xfe",
        "\U000e0041",
        "\u2026",
        "\u2014\u00a0",
        "",
        "$'x'",
        "it\u2019s"};
    EXPECT_EQ(words_of(shown_words(all)), all) << shown_words(all);
}

TEST(Words, EscapesAreReadAsBashReadsThem) {
    EXPECT_EQ(words_of("sh -c $'echo one\\necho two'"), (Words{"sh", "-c", "echo one\necho two"}));
    EXPECT_EQ(words_of(R"(a$'\t'b$'\'' $'')"), (Words{"a\tb'", ""}));
    EXPECT_EQ(words_of(R"($'\a\b\e\E\f\v\\\"\?')"), (Words{"\a\b\x1b\x1b\f\v\\\"?"}));
    EXPECT_EQ(
        words_of(R"($'\x41\x4g\101\u41 \u202e\U0001F600')"), (Words{"A\4gAA \u202e\U0001f600"})
    );
    EXPECT_EQ(words_of("$'a\nb  c'"), (Words{"a\nb  c"}));
    EXPECT_EQ(words_of("$\u2018it\\\u2019s\\n\u2019"), (Words{"it's\n"})) << "as clients make it";
    EXPECT_EQ(words_of(R"("$'a'" \$'a' '$'a)"), (Words{"$'a'", "$a", "$a"}));
    for (const char* text :
         {R"($'\q')",
          R"($'\x')",
          R"($'a\x00b')",
          R"($'\0')",
          R"($'\400')",
          R"($'\ud800')",
          R"($'\U00110000')"}) {
        const auto words = split_words(text);
        ASSERT_FALSE(words) << text;
        EXPECT_EQ(words.error().code, "bad_escape") << text;
    }
    for (const char* text : {"$'a", R"($'a\')", R"($'\)", "$'a\u2019"}) {
        const auto words = split_words(text);
        ASSERT_FALSE(words) << text;
        EXPECT_EQ(words.error().code, "unclosed_quote") << text;
    }
}

TEST(Words, TheFirstIsTheVerb) {
    EXPECT_EQ(first_word("  RUN  make test").word, "run");
    EXPECT_EQ(first_word("  RUN  make test").rest, "make test");
    EXPECT_EQ(first_word("").word, "");
}

TEST(Words, ACommandIsFoundHoweverBerthIsCalled) {
    for (const char* text :
         {"/berth help",
          "/Berth help",
          "/BERTH\thelp",
          "/berth\nhelp",
          "/berth\u00a0help",
          " \u00a0/berth  help",
          "berth help",
          "Berth help",
          "berth: help",
          "Berth, help",
          "@berth help",
          "@Berth: help",
          "\u200e/berth help",
          "\ufeff \u200b@berth\u200e help",
          "/help",
          " /help"}) {
        const Command found = command_in(text);
        EXPECT_TRUE(found.called) << text;
        EXPECT_EQ(found.text, "help") << text;
    }
    EXPECT_EQ(command_in("/Berth").text, "");
    EXPECT_TRUE(command_in("/usr/bin/x is dangerous").called);
    for (const char* text : {"help", "berths are full", "not on berth", "@berths help", ""})
        EXPECT_FALSE(command_in(text).called) << text;
    EXPECT_EQ(command_in("  run make /berth x").text, "run make /berth x");
}

TEST(Words, WhatNobodySeesIsNoPartOfTheFirst) {
    for (const char* text :
         {"\u200eapprove x",
          "\ufeff \u2067approve\u2069 x",
          "app\u00adrove x",
          "\u061capprove x"}) {
        EXPECT_EQ(first_word(text).word, "approve") << text;
        EXPECT_EQ(first_word(text).rest, "x") << text;
    }
    EXPECT_EQ(first_word("\u200e").word, "");
    EXPECT_EQ(first_word("\u2010 \u202f").word, "\u2010");
}

TEST(Words, NamesAreFoundInASentence) {
    EXPECT_EQ(
        names_in("Please (approve:AP_1f), @Berth!\u200e a\u200bp_2"),
        (Words{"please", "approve", "ap_1f", "@berth", "ap_2"})
    );
    EXPECT_EQ(names_in("map_reduce x@berth.dev"), (Words{"map_reduce", "x@berth", "dev"}));
    EXPECT_EQ(names_in(" \u2026 "), Words{});
}

TEST(Words, ANameIsFoundInWhatStandsAroundIt) {
    for (const char* word :
         {"ap_1f",
          "`ap_1f`",
          "AP_1f",
          "Ap_1f.",
          "\"ap_1f\",",
          "(`ap_1f`):",
          "<ap_1f>",
          "*ap_1f*",
          "\u201cap_1f\u201d",
          "\u2018Ap_1f\u2019?",
          "\u200eap_1f\u200f",
          "\u2068`\ufeffap_1f\u2069`."})
        EXPECT_EQ(name_of(word), "ap_1f") << word;
    EXPECT_EQ(name_of("``"), "");
    EXPECT_EQ(name_of("calm-otter"), "calm-otter");
    EXPECT_TRUE(is_id("ap_1f"));
    EXPECT_TRUE(is_id("rn_1f"));
    EXPECT_TRUE(is_id("ap_1f", "ap"));
    for (const char* word : {"rn_1f", "ap-1f", "ap_", "app_1", "ap", "", "fine"})
        EXPECT_FALSE(is_id(word, "ap")) << word;
}

TEST(Code, IsShownAsItIs) {
    for (const char* text :
         {"make", "echo `id`", "`", "``x``", "` a", " a ", "*x* _y_ <@U1> \\", "  ", "a``b`c"})
        EXPECT_EQ(to_plain("see " + code(text) + " there"), "see " + std::string(text) + " there");
    EXPECT_EQ(to_plain("x " + code("a\nb")), "x a\u23ceb");
    EXPECT_EQ(to_plain("x " + code(std::string(40, '`'))).size(), 42U) << "one of them is a '";
}

TEST(Code, OfSeveralLinesIsABlockThatNothingInItEnds) {
    for (const std::string text :
         {"git push\nin /work", "a\n```\nb", "````\n~~~", "`x`", "  two\n    four"}) {
        EXPECT_EQ(
            to_plain("- one:\n" + code_block(text) + "- two").find("\n" + text + "\n") !=
                std::string::npos,
            true
        ) << to_plain("- one:\n" + code_block(text) + "- two");
    }
}

SteadyTime at(double second) {
    return SteadyTime{} + std::chrono::duration_cast<SteadyTime::duration>(
                              std::chrono::duration<double>(1'000 + second)
                          );
}

TEST(Limiter, EachChatHasItsBudget) {
    Limiter limiter({1.0, 2.0}, {100.0, 100.0});
    EXPECT_EQ(limiter.available("post", at(0)), 100U);
    limiter.take("a", at(0));
    EXPECT_TRUE(limiter.held_back("post", at(0)).empty());
    limiter.take("a", at(0));
    EXPECT_EQ(limiter.held_back("post", at(0)), Words{"a"});
    limiter.take("b", at(0));
    EXPECT_EQ(limiter.held_back("post", at(0)), Words{"a"});
    EXPECT_EQ(limiter.next(at(0), seconds{5}), milliseconds{1'000});
    EXPECT_TRUE(limiter.held_back("post", at(1.01)).empty());
}

TEST(Limiter, ChatsMayDiffer) {
    Limiter limiter({100.0, 100.0}, {100.0, 100.0}, [](std::string_view chat) {
        return chat == "group" ? Rate{0.25, 1.0} : Rate{1.0, 1.0};
    });
    limiter.take("group", at(0));
    limiter.take("person", at(0));
    EXPECT_EQ(limiter.next(at(0), seconds{5}), seconds{1});
    EXPECT_EQ(limiter.held_back("post", at(1.01)), Words{"group"});
    EXPECT_EQ(limiter.next(at(1.01), seconds{5}), milliseconds{2'990});
    EXPECT_TRUE(limiter.held_back("post", at(4.01)).empty());
}

TEST(Limiter, AllChatsTogetherHaveOne) {
    Limiter limiter({100.0, 100.0}, {10.0, 3.0});
    for (const char* chat : {"a", "b", "c"}) {
        EXPECT_GT(limiter.available("post", at(0)), 0U);
        limiter.take(chat, at(0));
    }
    EXPECT_EQ(limiter.available("post", at(0)), 0U);
    EXPECT_EQ(limiter.next(at(0), seconds{5}), milliseconds{100});
    EXPECT_EQ(limiter.available("post", at(0.21)), 2U);
}

TEST(Limiter, APauseIsOfOneRouteOfOneChat) {
    Limiter limiter({100.0, 100.0}, {100.0, 100.0});
    limiter.pause("a", "post", at(30));
    limiter.pause("a", "post", at(10));  // a shorter one later changes nothing
    EXPECT_EQ(limiter.held_back("post", at(29)), Words{"a"});
    EXPECT_TRUE(limiter.held_back("edit", at(29)).empty());
    EXPECT_TRUE(limiter.held_back("post", at(30)).empty());
}

TEST(Limiter, APauseMayBeOfARouteEverywhere) {
    Limiter limiter({100.0, 100.0}, {100.0, 100.0});
    const SteadyTime t = std::chrono::steady_clock::now();
    limiter.pause_all("edit", t + seconds{30});
    EXPECT_EQ(limiter.available("edit", t), 0U);
    EXPECT_EQ(limiter.available("post", t), 100U);
    EXPECT_TRUE(limiter.paused("C1", "edit", t));
    EXPECT_FALSE(limiter.paused("C1", "find", t));
    EXPECT_EQ(limiter.next(t, seconds{60}), seconds{30});
    EXPECT_EQ(limiter.available("edit", t + seconds{31}), 100U);
}

TEST(Limiter, AReserveIsKeptForWhatIsUrgent) {
    Limiter limiter({1.0, 4.0}, {100.0, 100.0});
    limiter.take("a", at(0));
    limiter.take("a", at(0));
    EXPECT_TRUE(limiter.held_back("edit", at(0)).empty());
    EXPECT_EQ(limiter.held_back("edit", at(0), 1.5), Words{"a"});
    EXPECT_TRUE(limiter.held_back("edit", at(1), 1.5).empty());
}

TEST(Limiter, ForgetsChatsThatRest) {
    Limiter limiter({1'000.0, 1.0}, {1e6, 1e6});
    for (int i = 0; i < 5'000; ++i) limiter.take("c" + std::to_string(i), at(i));
    EXPECT_LE(limiter.held_back("post", at(4'999)).size(), 1U);
}

TEST(Wire, ComesBackAsItWent) {
    Inbound inbound;
    inbound.event_id = "E1";
    inbound.kind = InboundKind::kClick;
    inbound.conversation = {"C1", "17.2"};
    inbound.direct = true;
    inbound.person = {"T/U", "Olga \"the\" O"};
    inbound.text = "a\nb\u2028";
    inbound.token = "tok";
    inbound.comment = "why";
    inbound.message = "m";
    inbound.handle = "h";
    inbound.at = from_unix_micros(1'700'000'000'000'001);
    const auto back = inbound_from_json(to_json(inbound));
    ASSERT_TRUE(back);
    EXPECT_EQ(to_json(*back), to_json(inbound));
    EXPECT_EQ(back->conversation, inbound.conversation);
    EXPECT_EQ(back->at, inbound.at);
    Content content;
    content.is_card = true;
    content.card = {
        "t", Tone::kBad, "x", "c", {{"l", "v"}}, {{"tok", "Go", ButtonStyle::kGood, true}}, "f"};
    const auto card = content_from_json(to_json(content));
    ASSERT_TRUE(card);
    EXPECT_EQ(to_json(*card), to_json(content));
    EXPECT_TRUE(card->card.buttons.at(0).asks_comment);
    // Bytes that are no text do not keep a message from being stored.
    inbound.text = "\xff\xfe";
    EXPECT_TRUE(inbound_from_json(to_json(inbound)));
    EXPECT_FALSE(inbound_from_json("{"));
}

TEST(Commands, EachHasAHandlerAndALineOfHelp) {
    const std::string all = help("/berth ");
    for (const Verb& verb : verbs()) {
        EXPECT_NE(verb.handler, nullptr) << verb.name;
        EXPECT_FALSE(verb.summary.empty());
        EXPECT_EQ(find_verb(verb.name), &verb);
        EXPECT_NE(all.find("/berth " + std::string(verb.name)), std::string::npos);
    }
    for (const char* name :
         {"run",
          "attach",
          "cancel",
          "leases",
          "release",
          "approvals",
          "approve",
          "deny",
          "halt",
          "resume",
          "status",
          "history",
          "whoami",
          "help",
          "pair"})
        EXPECT_NE(find_verb(name), nullptr) << name;
    EXPECT_EQ(find_verb("expose"), nullptr);
    EXPECT_EQ(usage_of(*find_verb("attach"), "").rfind("`attach RUN`", 0), 0U);
}

TEST(Commands, RolesReachAsInTheGateway) {
    using Needs = Verb::Needs;
    EXPECT_TRUE(may({}, Needs::kNobody));
    EXPECT_FALSE(may({}, Needs::kViewer));
    EXPECT_TRUE(may({"viewer"}, Needs::kViewer));
    EXPECT_TRUE(may({"approver"}, Needs::kViewer));
    EXPECT_FALSE(may({"viewer", "approver"}, Needs::kOperator));
    EXPECT_TRUE(may({"operator"}, Needs::kOperator));
    EXPECT_TRUE(may({"admin"}, Needs::kOperator));
}

warden::v1::Approval approval() {
    warden::v1::Approval out;
    out.set_id("ap_1");
    out.set_state(warden::v1::APPROVAL_STATE_PENDING);
    out.set_shown("git push\nin /work `x` <!channel>");
    out.mutable_origin()->set_user("anna");
    out.mutable_origin()->set_run("rn_1");
    out.mutable_origin()->set_machine("m_1");
    out.mutable_origin()->set_level(warden::v1::GUARD_LEVEL_SHIM);
    out.mutable_terms()->set_rule("pushes");
    *out.mutable_deadline() = service::to_timestamp(from_unix_micros(1'700'000'000'000'000));
    return out;
}

std::string field(const Card& card, const std::string& label) {
    for (const auto& each : card.fields) {
        if (each.label == label) return each.value;
    }
    return "<none>";
}

TEST(ApprovalCard, ShowsWhatWardenShowsWordForWord) {
    const Card card = approval_card(approval());
    EXPECT_EQ(card.code, "git push\nin /work `x` <!channel>");
    EXPECT_EQ(field(card, "Asked by"), "anna");
    EXPECT_EQ(field(card, "Rule"), "pushes");
    EXPECT_EQ(field(card, "Machine"), "m_1 (guard: shim)");
    EXPECT_EQ(field(card, "Until"), "2023-11-14 22:13:20 UTC");
    ASSERT_EQ(card.buttons.size(), 3U);
    EXPECT_FALSE(card.buttons[0].asks_comment);
    EXPECT_TRUE(card.buttons[2].asks_comment);
}

TEST(ApprovalCard, AnEndedOneHasNoButtonsAndSaysWhoDecided) {
    auto decided = approval();
    decided.set_decided_by("olga");
    decided.set_comment("not today");
    for (const auto& [state, title] :
         {std::pair(warden::v1::APPROVAL_STATE_APPROVED, "Approved by olga"),
          std::pair(warden::v1::APPROVAL_STATE_DENIED, "Denied by olga"),
          std::pair(warden::v1::APPROVAL_STATE_EXPIRED, "Expired: nobody decided in time"),
          std::pair(warden::v1::APPROVAL_STATE_REVOKED, "Revoked by olga"),
          std::pair(warden::v1::APPROVAL_STATE_ABANDONED, "Abandoned: who asked is gone")}) {
        decided.set_state(state);
        const Card card = approval_card(decided);
        EXPECT_EQ(card.title, title);
        EXPECT_TRUE(card.buttons.empty());
        EXPECT_EQ(card.text, "not today");
        EXPECT_EQ(card.code, decided.shown());
    }
}

TEST(ApprovalCard, AQuorumShowsHowFarItIs) {
    auto waiting = approval();
    waiting.mutable_terms()->set_quorum(2);
    auto* vote = waiting.add_votes();
    vote->set_user("olga");
    vote->set_approve(true);
    const Card card = approval_card(waiting);
    EXPECT_EQ(field(card, "Approvals needed"), "2");
    EXPECT_EQ(field(card, "So far"), "olga");
    EXPECT_EQ(card.buttons.size(), 3U);
}

TEST(RunCard, TellsTheStateTheTimeAndTheExitCode) {
    run::v1::Run run;
    RunCard what;
    what.command = "make test";
    what.user = "anna";
    const WallTime now = from_unix_micros(1'700'000'065'000'000);
    EXPECT_EQ(run_card(run, what, now).title, "make test: waiting for a machine");
    EXPECT_EQ(run_card(run, what, now).buttons.size(), 1U);
    run.set_id("rn_1");
    run.set_state(run::v1::RUN_STATE_RUNNING);
    *run.mutable_started_at() = service::to_timestamp(now - seconds{65});
    what.output = "ok";
    Card card = run_card(run, what, now);
    EXPECT_EQ(card.title, "make test: running");
    EXPECT_EQ(field(card, "Duration"), "1 min 5 s");
    EXPECT_EQ(card.code, "ok");
    EXPECT_EQ(card.footer, "rn_1 by anna");
    run.set_state(run::v1::RUN_STATE_FAILED);
    run.set_exit_code(2);
    *run.mutable_ended_at() = service::to_timestamp(now - seconds{60});
    card = run_card(run, what, now);
    EXPECT_EQ(field(card, "Exit code"), "2");
    EXPECT_EQ(field(card, "Duration"), "5.0 s");
    EXPECT_EQ(card.tone, Tone::kBad);
    EXPECT_TRUE(card.buttons.empty());
    what.failure = "there is no profile 'x'";
    EXPECT_EQ(run_card({}, what, now).title, "make test: not started");
}

TEST(Tail, ShowsTheLastLinesAsATerminalWould) {
    Tail tail;
    tail.add("one\ntwo\n\x1b[31mthree\x1b[0m\nprogress 1%\rprogress 99%\r\nlast");
    EXPECT_EQ(tail.text(12, 1'500), "one\ntwo\nthree\nprogress 99%\nlast");
    EXPECT_EQ(tail.text(2, 1'500), "\u2026\nprogress 99%\nlast");
    EXPECT_EQ(tail.text(12, 18), "\u2026\nprogress 99%\nlast");
    EXPECT_EQ(Tail().text(12, 100), "");
}

TEST(Tail, KeepsWithinItsBounds) {
    Tail tail;
    for (int i = 0; i < 100'000; ++i) tail.add("line " + std::to_string(i) + "\n");
    const std::string text = tail.text(3, 1'500);
    EXPECT_EQ(text, "\u2026\nline 99997\nline 99998\nline 99999");
    Tail wide;
    wide.add(std::string(10'000, 'x') + "\u00e4\u00e4\u00e4");
    EXPECT_EQ(wide.text(5, 5), "\u2026\n\u00e4\u00e4");
    Tail odd;
    odd.add("\xff\xfe ok\x1b");
    EXPECT_EQ(odd.text(5, 100), "\uFFFD\uFFFD ok");
}

TEST(Frames, OnlyTheNextOneCounts) {
    Frames frames;
    run::v1::OutputFrame frame;
    frame.set_data("abc");
    EXPECT_EQ(frames.take(frame), "abc");
    EXPECT_EQ(frames.take(frame), std::nullopt);  // the same again
    frame.set_offset(5);
    EXPECT_EQ(frames.take(frame), std::nullopt);  // before its turn
    frame.set_offset(3);
    frame.set_stream(run::v1::STREAM_BERTH);
    EXPECT_EQ(frames.take(frame), "abc");  // a notice takes no place
    EXPECT_EQ(frames.offset(), 3U);
}

BridgeSettings settings(const std::string& text, Result<void>* finished = nullptr) {
    const auto document = config::Document::parse(text, "test");
    config::Reader reader(document->root());
    auto out = read_bridge_settings(reader);
    const auto done = reader.finish();
    if (finished != nullptr) *finished = done;
    return out;
}

TEST(Settings, NameWhoseChatsTheyAre) {
    Result<void> finished;
    const auto all = settings(
        "orgs:\n  acme: {chats: [C1], approvals: [C2, C3/17.5], people: [U1]}\n  other: {chats: "
        "[D1]}\n",
        &finished
    );
    ASSERT_TRUE(finished);
    ASSERT_NE(all.of_chat("C3"), nullptr);
    EXPECT_EQ(all.of_chat("C3")->org, "acme");
    EXPECT_EQ(all.of_chat("D1")->org, "other");
    EXPECT_EQ(all.of_chat("X"), nullptr);
    EXPECT_EQ(all.of_org("acme")->approvals.at(1), (Conversation{"C3", "17.5"}));
    EXPECT_TRUE(may_speak(*all.of_org("acme"), "U1"));
    EXPECT_FALSE(may_speak(*all.of_org("acme"), "U2"));
    EXPECT_TRUE(may_speak(*all.of_org("other"), "U2"));
}

TEST(Settings, AChatOfTwoOrgsIsRefused) {
    Result<void> finished;
    (void)settings("orgs:\n  acme: {chats: [C1]}\n  other: {chats: [C1]}\n", &finished);
    ASSERT_FALSE(finished);
    EXPECT_NE(finished.error().message.find("C1"), std::string::npos);
    (void)settings("web_listen: x\n", &finished);
    ASSERT_FALSE(finished);
}

}  // namespace
}  // namespace berth::chat
