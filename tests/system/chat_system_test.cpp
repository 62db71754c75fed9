// SPDX-License-Identifier: Apache-2.0
// The whole suite with Slack: pairing, runs, approvals by click, kills, outages, a revoked token,
// and secrets that show up nowhere.
#include "slack_suite.hpp"

namespace berth::testing {
namespace {

TEST_F(ChatSystem, ARunInAThreadHasACardThatFollowsItAndItsOutput) {
    const std::string thread = say("hello there");
    say("run sh -c 'for i in 1 2 3; do echo line $i; done; exit 3'", "U1", thread);
    const Json card = wait_for("failed", kChannel, thread);
    EXPECT_TRUE(has(card.dump(), "line 3")) << card.dump();
    EXPECT_TRUE(has(card.dump(), "Exit code: 3")) << card.dump();
    EXPECT_FALSE(has(card.dump(), "\"actions\"")) << "an ended run has no button";
    say("run seq 1 500", "U1", thread);
    const Json file = wait_for("\"files\"", kChannel, thread);
    const std::string files = fake_->look("state").find("files")->dump();
    EXPECT_TRUE(has(files, "1\\n2\\n3\\n")) << files.substr(0, 300);
    EXPECT_TRUE(has(files, "\\n499\\n500\\n"));
    say("history", "U1", thread);
    wait_for("seq 1 500` succeeded", kChannel, thread);
    say("leases", "U1", thread);
    wait_for("profile `default`", kChannel, thread);
    say("release", "U1", thread);
    wait_for("is released", kChannel, thread);
}

TEST_F(ChatSystem, ACanceledRunEnds) {
    const std::string thread = say("about to sleep");
    say("run sleep 600", "U1", thread);
    const Json card = wait_for("sleep 600: running", kChannel, thread);
    click(card, "Cancel", "U1", kChannel);
    wait_for("sleep 600: canceled", kChannel, thread);
    say("release", "U1", thread);
}

TEST_F(ChatSystem, AnApprovalByClickStartsTheHeldCommandAndEveryCardFollows) {
    const std::string thread = say("who are we");
    say("run sh -c 'uname -s; echo after'", "U1", thread);
    const Json here = wait_for("May this run?", kChannel, thread);
    const Json there = wait_for("May this run?", kApprovals);
    EXPECT_TRUE(has(there.dump(), "uname"));
    EXPECT_TRUE(has(there.dump(), "a person shall say"));
    // Whoever asked may not decide; warden says so, and only they see it.
    click(here, "Approve", "U1", kChannel);
    ASSERT_TRUE(eventually(
        [&] {
            for (const Json& one : bots()) {
                if (one.string_or("user", "") == "U1" && one.find("bot_id") == nullptr &&
                    has(one.dump(), "whoever asked does not decide"))
                    return true;
            }
            return false;
        },
        seconds{30}
    )) << fake_->look(std::string("channel/") + kChannel).dump();
    click(there, "Approve", "U2", kApprovals);
    wait_for("Approved by olga", kApprovals);
    const Json decided = wait_for("Approved by olga", kChannel, thread);
    EXPECT_FALSE(has(decided.dump(), "\"actions\""));
    const Json done = wait_for("succeeded", kChannel, thread);
    EXPECT_TRUE(has(done.dump(), "Linux"));
    say("release", "U1", thread);
}

TEST_F(ChatSystem, ADenialWithACommentReachesTheCommand) {
    const std::string thread = say("once more");
    say("run sh -c 'uname -s; echo after $?'", "U1", thread);
    const Json card = wait_for("May this run?", kChannel, thread);
    click(card, "Deny with comment", "U2", kChannel);
    Json views;
    ASSERT_TRUE(eventually([&] {
        views = fake_->look("views");
        return !views.as_object()->empty();
    }));
    fake_->tell(
        "submit",
        R"({"view":")" + views.as_object()->front().first + R"(","comment":"not on a Friday"})"
    );
    wait_for("Denied by olga", kChannel, thread);
    const Json done = wait_for("after 126", kChannel, thread);
    EXPECT_TRUE(has(done.dump(), "not on a Friday"));
    say("release", "U1", thread);
}

TEST_F(ChatSystem, KillsAndOutagesLoseNothingAndDoubleNothing) {
    const std::string thread = say("in the middle");
    for (int i = 0; i < 30; ++i) {
        say("nonsense" + std::to_string(i), "U1", thread);
        if (i == 10) suite_->kill9("slack");
        if (i == 20) suite_->kill9("nats");
    }
    say("run echo survived", "U1", thread);
    suite_->kill9("slack");
    ASSERT_TRUE(suite_->wait_ready());
    wait_for("echo survived: succeeded", kChannel, thread, seconds{120});
    std::vector<int> counts(30, 0);
    ASSERT_TRUE(eventually(
        [&] {
            counts.assign(30, 0);
            for (const Json& one : bots()) {
                if (one.string_or("thread_ts", "") != thread) continue;
                for (int i = 0; i < 30; ++i)
                    counts[static_cast<std::size_t>(i)] +=
                        has(one.dump(), "`nonsense" + std::to_string(i) + "`") ? 1 : 0;
            }
            return std::none_of(counts.begin(), counts.end(), [](int n) { return n == 0; });
        },
        seconds{60}
    ));
    int cards = 0;
    for (const Json& one : bots()) cards += has(one.dump(), "echo survived: ") ? 1 : 0;
    EXPECT_EQ(cards, 1);
    const auto runs = suite_->api("GET", "/v1/runs?limit=100");
    std::size_t started = 0;
    for (auto at = runs.body.find("c3Vydml2ZWQ="); at != std::string::npos;
         at = runs.body.find("c3Vydml2ZWQ=", at + 1))
        ++started;
    EXPECT_EQ(started, 1U) << runs.body;
    say("release", "U1", thread);
}

TEST_F(ChatSystem, ARevokedTokenIsSeenByEverybodyWhoLooks) {
    fake_->tell("revoke", R"({"which":"bot"})");
    const SteadyTime revoked = std::chrono::steady_clock::now();
    ASSERT_TRUE(suite_->eventually(
        [&] {
            const Said status = suite_->berth({"status", "--data", suite_->data().string()});
            return has(status.out + status.err, "invalid_auth");
        },
        seconds{40}
    ));
    EXPECT_LT(std::chrono::steady_clock::now() - revoked, seconds{30});
    const auto address = read_file(suite_->data() / "run" / "slack.addr");
    ASSERT_TRUE(address);
    http::Client client;
    http::Request request;
    request.url = "http://" + address->substr(0, address->find('\n')) + "/readyz";
    auto ready = client.send(request);
    ASSERT_TRUE(ready);
    EXPECT_EQ(ready->status, 503);
    EXPECT_TRUE(has(ready->body, "invalid_auth"));
    request.url.replace(request.url.find("/readyz"), 7, "/metrics");
    ready = client.send(request);
    ASSERT_TRUE(ready);
    EXPECT_TRUE(has(ready->body, "berth_slack_platform_connected 0"));
    EXPECT_FALSE(has(ready->body, kBotToken));
    fake_->tell("restore", R"({"which":"bot"})");
    ASSERT_TRUE(suite_->wait_ready());
}

TEST_F(ChatSystem, NoSecretShowsUpAnywhere) {
    std::string all;
    for (const char* folder : {"log", "etc", "run"}) {
        for (const auto& file : std::filesystem::directory_iterator(suite_->data() / folder)) {
            if (file.is_regular_file()) all += read_file(file.path()).value_or("");
        }
    }
    // What every process of the deployment was started with, and its environment.
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
        for (const char* name : {"cmdline", "environ"}) {
            std::ifstream file(process.path() / name, std::ios::binary);
            all += std::string(std::istreambuf_iterator<char>(file), {});
        }
    }
    for (const char* secret : {kBotToken, kAppToken}) EXPECT_FALSE(has(all, secret));
    // Messages on the bus and rows in the database are in their files.
    for (const char* folder : {"nats", "postgres"}) {
        for (const auto& file :
             std::filesystem::recursive_directory_iterator(suite_->data() / folder)) {
            if (!file.is_regular_file()) continue;
            const std::string bytes = read_file(file.path(), 256U << 20U).value_or("");
            for (const char* secret : {kBotToken, kAppToken})
                EXPECT_FALSE(has(bytes, secret)) << file.path();
        }
    }
}

}  // namespace
}  // namespace berth::testing
