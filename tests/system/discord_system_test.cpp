// SPDX-License-Identifier: Apache-2.0
// The whole suite with Discord: pairing, a run in a thread, an
// approval by click, a denial in a modal, and kills in the middle of it all.
#include "discord_suite.hpp"

namespace berth::testing {
namespace {

TEST_F(DiscordSystem, ARunInAThreadHasACardThatFollowsIt) {
    command("ann", "thread", "run", "sh -c 'for i in 1 2 3; do echo line $i; done; exit 3'");
    const Json card = wait_for("Exit code", "thread");
    EXPECT_TRUE(has(card.dump(), "line 3")) << card.dump();
    EXPECT_EQ(card.find("components")->dump(), "[]") << "an ended run has no button";
    EXPECT_FALSE(card.bool_or("loading", true));
    command("ann", "thread", "run", "seq 1 500");
    ASSERT_TRUE(eventually(
        [&] {
            for (const Json& one : bots("thread")) {
                if (has(one.find("files")->dump(), "\\n499\\n500\\n")) return true;
            }
            return false;
        },
        seconds{60}
    )) << fake_->look("channel/thread").dump();
    command("ann", "thread", "release");
    wait_for("is released", "thread", "ann");
}

TEST_F(DiscordSystem, AnApprovalByClickStartsTheHeldCommandAndEveryCardFollows) {
    command("ann", "thread", "run", "sh -c 'uname -s; echo after'");
    const Json here = wait_for("May this run?", "thread");
    const Json there = wait_for("May this run?", "other");
    EXPECT_TRUE(has(there.dump(), "uname"));
    click(there, "Approve", "olga", "other");
    wait_for("Approved by olga", "other");
    const Json decided = wait_for("Approved by olga", "thread");
    EXPECT_EQ(decided.string_or("id", "-"), here.string_or("id", ""));
    EXPECT_EQ(decided.find("components")->dump(), "[]");
    wait_for("Linux", "thread");
}

TEST_F(DiscordSystem, ADenialInAModalReachesTheCommand) {
    command("ann", "thread", "run", "sh -c 'uname -s; echo after $?'");
    Json card;
    ASSERT_TRUE(eventually(
        [&] {
            for (const Json& one : bots("thread")) {
                if (!has(one.dump(), "May this run?") || one.find("components")->dump() == "[]")
                    continue;
                card = one;
                return true;
            }
            return false;
        },
        seconds{60}
    )) << suite_->logs();
    const std::string asking = click(card, "Deny with comment", "olga", "thread");
    ASSERT_TRUE(eventually([&] {
        return fake_->look("interaction/" + asking).int_or("answer", 0) == 9;
    }));
    tell("submit", "{'interaction':'" + asking + "','values':{'comment':'not on a Friday'}}");
    wait_for("Denied by olga", "thread");
    const Json done = wait_for("after 126", "thread");
    EXPECT_TRUE(has(done.dump(), "not on a Friday"));
}

TEST_F(DiscordSystem, KillsLoseNothingAndDoubleNothing) {
    constexpr int kMany = 30;
    for (int i = 0; i < kMany; ++i) {
        tell(
            "message",
            "{'person':'ann','channel':'dm:ann','text':'nonsense" + std::to_string(i) + "x'}"
        );
        if (i == 8) suite_->kill9("discord");
        if (i == 16) suite_->kill9("nats");
        if (i == 24) suite_->kill9("postgres");
    }
    command("ann", "general", "run", "echo survived");
    suite_->kill9("discord");
    ASSERT_TRUE(suite_->wait_ready());
    std::vector<int> order;
    ASSERT_TRUE(eventually(
        [&] {
            order.clear();
            for (const Json& one : bots("dm:ann")) {
                for (int i = 0; i < kMany; ++i) {
                    if (has(one.string_or("content", ""), "nonsense" + std::to_string(i) + "x"))
                        order.push_back(i);
                }
            }
            return order.size() >= kMany;
        },
        seconds{120}
    )) << order.size()
       << suite_->logs();
    std::vector<int> wanted;
    for (int i = 0; i < kMany; ++i) wanted.push_back(i);
    EXPECT_EQ(order, wanted) << "each once, in order";
    wait_for("survived", "general", {}, seconds{120});
    int cards = 0;
    for (const Json& one : bots("general")) cards += has(one.dump(), "echo survived") ? 1 : 0;
    EXPECT_EQ(cards, 1);
    const Json state = fake_->look("state");
    EXPECT_GE(state.find("counts")->int_or("resumed", 0), 1);
    EXPECT_EQ(state.find("counts")->int_or("identified", 0), 1)
        << "the session outlives its process";
}

TEST_F(DiscordSystem, TheTokenShowsUpNowhere) {
    std::string all;
    for (const char* folder : {"log", "etc", "run"}) {
        for (const auto& file : std::filesystem::directory_iterator(suite_->data() / folder)) {
            if (file.is_regular_file()) all += read_file(file.path()).value_or("");
        }
    }
    const pid_t pid = suite_->pid("discord");
    for (const char* name : {"cmdline", "environ"}) {
        std::ifstream file("/proc/" + std::to_string(pid) + "/" + name, std::ios::binary);
        all += std::string(std::istreambuf_iterator<char>(file), {});
    }
    for (const char* folder : {"nats", "postgres"}) {
        for (const auto& file :
             std::filesystem::recursive_directory_iterator(suite_->data() / folder)) {
            if (file.is_regular_file()) all += read_file(file.path(), 256U << 20U).value_or("");
        }
    }
    EXPECT_FALSE(has(all, kToken));
}

}  // namespace
}  // namespace berth::testing
