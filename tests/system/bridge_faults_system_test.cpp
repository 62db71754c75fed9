// SPDX-License-Identifier: Apache-2.0
// The whole suite behind each chat platform when something dies, hangs or is taken away, and its
// secrets, which show up nowhere.
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "bridge_system.hpp"
#include "core/fd.hpp"

namespace berth::testing {
namespace {

constexpr milliseconds kOutage = seconds{30};  // as behaviours ask of a bridge

std::vector<int> first_of_each(std::vector<int> all) {
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
}

std::vector<int> up_to(int count) {
    std::vector<int> out;
    for (int i = 0; i < count; ++i) out.push_back(i);
    return out;
}

TEST_F(BridgeSystem, KillsLoseNothingDoubleNothingAndKeepTheOrder) {
    constexpr int kMany = 30;
    const auto rooms = chat_->conversations(kMany);
    const Watch room(rooms.front());
    const Watch here = home();
    for (int i = 0; i < kMany; ++i) {
        say(room, "nonsense" + std::to_string(i) + "x");
        if (i == 8) suite_->kill9(chat_->platform());
        if (i == 16) suite_->kill9("nats");
        if (i == 24) suite_->kill9("postgres");
    }
    say(here, "run echo survived");
    suite_->kill9(chat_->platform());
    ASSERT_TRUE(suite_->wait_ready(seconds{120}));
    EXPECT_TRUE(
        eventually([&] { return first_of_each(numbers(room.all())).size() >= kMany; }, seconds{180})
    ) << room.told()
      << suite_->logs();
    const auto told = numbers(room.all());
    EXPECT_EQ(first_of_each(told), up_to(kMany));
    EXPECT_TRUE(!chat_->can_find() || told == up_to(kMany)) << "each once";
    (void)here.wait_for("echo survived: succeeded", {}, seconds{120});
    const auto runs = suite_->api("GET", "/v1/runs?limit=100");
    std::size_t started = 0;
    const std::string survived = "c3Vydml2ZWQ=";  // in base64, as the API gives argv
    for (auto at = runs.body.find(survived); at != std::string::npos;
         at = runs.body.find(survived, at + 1))
        ++started;
    EXPECT_EQ(started, 1U) << runs.body;
    release(here);
}

TEST_F(BridgeSystem, AClickAcrossAKillDecidesOnce) {
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uname -s; echo once >>clicked; wc -l <clicked'");
    const Seen card = there.wait_for("May this run?", "Approve");
    click(there, card, "Approve", "olga");
    suite_->kill9(chat_->platform());
    for (const Watch* where : {&here, &there})
        EXPECT_TRUE(where->wait_for("Approved by olga", {}, seconds{120}).buttons.empty());
    EXPECT_TRUE(has(here.wait_for(": succeeded").text, "Linux\\n1"));
    const auto audit = suite_->api("GET", "/v1/approvals?state=approved");
    EXPECT_TRUE(has(audit.body, id_in(card, "ap"))) << audit.body;
    release(here);
}

TEST_F(BridgeSystem, ABusThatIsAwayForHalfAMinuteLosesAndDoublesNothing) {
    constexpr int kMany = 8;
    const auto rooms = chat_->conversations(kMany);
    const Watch room(rooms.back());
    const Watch here = home();
    const Watch there = approvals();
    say(here, "run sh -c 'uname -s; echo after $?'");
    const Seen card = there.wait_for("May this run?", "Approve");
    // Stopped, not killed: every connection stays open and nothing answers.
    const pid_t nats = suite_->pid("nats");
    ASSERT_GT(nats, 0);
    ASSERT_EQ(::kill(nats, SIGSTOP), 0);
    const SteadyTime until = std::chrono::steady_clock::now() + kOutage;
    click(there, card, "Approve", "olga");
    for (int i = 0; i < kMany; ++i) say(room, "nonsense" + std::to_string(i) + "x");
    say(here, "run echo held back");
    EXPECT_FALSE(suite_->eventually(
        [&] { return here.count("echo held back: succeeded") > 0; },
        std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now())
    ));
    ASSERT_EQ(::kill(nats, SIGCONT), 0);
    ASSERT_TRUE(suite_->wait_ready(seconds{120}));
    EXPECT_TRUE(eventually([&] { return numbers(room.all()).size() >= kMany; }, seconds{120}))
        << room.told();
    EXPECT_EQ(numbers(room.all()), up_to(kMany));
    (void)here.wait_for("echo held back: succeeded", {}, seconds{120});
    // Nobody could hear the machine for so long, and nobody gave its run up for that.
    for (const Watch* where : {&here, &there}) {
        (void)where->wait_for("Approved by olga", {}, seconds{120});
        EXPECT_EQ(where->count("Approved by olga"), 1U) << where->told();
        EXPECT_EQ(where->count("Abandoned: "), 0U) << where->told();
    }
    (void)here.wait_for("Linux\\nafter 0", {}, seconds{120});
    EXPECT_EQ(there.count(id_in(card, "ap") + " was abandoned by"), 0U) << there.told();
    EXPECT_EQ(here.count("echo held back: succeeded"), 1U);
    release(here);
}

/// The fake complains of each call that comes before the time that its 429 asked for.
TEST_F(BridgeSystem, A429IsObeyedAndTheOrderKept) {
    constexpr int kMany = 6;
    const auto rooms = chat_->conversations(kMany);
    const Watch room(rooms[1]);
    chat_->limit();
    for (int i = 0; i < kMany; ++i) say(room, "nonsense" + std::to_string(i) + "x");
    EXPECT_TRUE(eventually([&] { return numbers(room.all()).size() >= kMany; }, seconds{120}))
        << room.told();
    EXPECT_EQ(numbers(room.all()), up_to(kMany));
    EXPECT_EQ(chat_->fake().complaints(), "");
}

TEST_F(BridgeSystem, ARevokedTokenIsSeenByEverybodyWhoLooks) {
    chat_->revoke();
    const SteadyTime revoked = std::chrono::steady_clock::now();
    ASSERT_TRUE(suite_->eventually(
        [&] {
            const Json now = suite_->status();
            for (const Json& one : *now.find("parts")->as_array()) {
                if (one.string_or("name", "") == chat_->platform())
                    return has(one.string_or("reason", ""), chat_->revoked_words());
            }
            return false;
        },
        seconds{40}
    )) << suite_->status().dump();
    EXPECT_LT(std::chrono::steady_clock::now() - revoked, seconds{30});
    const auto address = read_file(suite_->data() / "run" / (chat_->platform() + ".addr"));
    ASSERT_TRUE(address);
    http::Client client;
    http::Request request;
    request.url = "http://" + address->substr(0, address->find('\n')) + "/readyz";
    auto ready = client.send(request);
    ASSERT_TRUE(ready);
    EXPECT_EQ(ready->status, 503);
    EXPECT_TRUE(has(ready->body, chat_->revoked_words())) << ready->body;
    request.url.replace(request.url.find("/readyz"), 7, "/metrics");
    ready = client.send(request);
    ASSERT_TRUE(ready);
    EXPECT_TRUE(has(ready->body, "berth_" + chat_->platform() + "_platform_connected 0"));
    for (const std::string& secret : chat_->secrets()) EXPECT_FALSE(has(ready->body, secret));
    chat_->restore();
    ASSERT_TRUE(suite_->wait_ready(seconds{120}));
    const Watch here = home();
    say(here, "whoami");
    (void)here.wait_for("You are ");
}

/// Whatever the deployment wrote, was started with, or left behind.
TEST_F(BridgeSystem, NoSecretShowsUpAnywhere) {
    // What a crash tells goes to the log.
    const pid_t pid = suite_->pid(chat_->platform());
    ASSERT_GT(pid, 0);
    ASSERT_EQ(::kill(pid, SIGABRT), 0);
    ASSERT_TRUE(suite_->eventually([&] {
        const pid_t now = suite_->pid(chat_->platform());
        return now > 0 && now != pid;
    }));
    ASSERT_TRUE(suite_->wait_ready(seconds{120}));
    std::string all;
    for (const char* folder : {"log", "etc", "run"}) {
        for (const auto& file : std::filesystem::directory_iterator(suite_->data() / folder)) {
            if (file.is_regular_file()) all += read_file(file.path(), 256U << 20U).value_or("");
        }
    }
    EXPECT_TRUE(has(all, chat_->platform() + ".addr") || has(all, "signal 6")) << all.size();
    // What every process was started with, and its environment; this one starts the fake.
    const std::string self = std::to_string(::getpid());
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
        const std::string name = process.path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos || name == self) continue;
        std::ifstream line(process.path() / "cmdline", std::ios::binary);
        const std::string words{std::istreambuf_iterator<char>(line), {}};
        if (has(words, "fake.py")) continue;
        std::ifstream environment(process.path() / "environ", std::ios::binary);
        all += words + std::string(std::istreambuf_iterator<char>(environment), {});
    }
    // Events on the bus and rows in the database are in their files.
    for (const char* folder : {"nats", "postgres"}) {
        for (const auto& file :
             std::filesystem::recursive_directory_iterator(suite_->data() / folder)) {
            if (file.is_regular_file()) all += read_file(file.path(), 256U << 20U).value_or("");
        }
    }
    for (const auto& file : std::filesystem::recursive_directory_iterator(suite_->data()))
        EXPECT_FALSE(has(file.path().filename().string(), "core.")) << file.path();
    for (const std::string& secret : chat_->secrets()) EXPECT_FALSE(has(all, secret));
}

}  // namespace
}  // namespace berth::testing
