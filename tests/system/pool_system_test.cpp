// SPDX-License-Identifier: Apache-2.0
// behaviours: leases, cases 9, 10, 12 and what belongs to them: pools, drains, shares, caps,
// budgets, lines and usage, from outside.
#include <signal.h>

#include <atomic>
#include <set>
#include <thread>

#include "core/random.hpp"
#include "replica.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

class PoolSystem : public SystemTest {
protected:
    static Headers as(const std::string& user, const std::string& role = "operator") {
        const auto token = suite().api(
            "POST",
            "/v1/tokens",
            "{\"user\":\"" + user + "\",\"roles\":[\"" + role + "\"],\"label\":\"test\"}"
        );
        EXPECT_LT(token.status, 300) << token.body;
        return {{"Authorization", "Bearer " + member(token, "text")}};
    }
    static Json pool(const std::string& profile) {
        const Json all = json_of(suite().api("GET", "/v1/pools").body);
        for (const Json& each : *all.find("pools")->as_array()) {
            if (each.string_or("profile", "") == profile) return each;
        }
        return {};
    }
    static long count(const std::string& profile, const char* what) {
        const Json found = pool(profile);
        const Json* value = found.find(what);
        return value != nullptr && value->as_int() != nullptr ? *value->as_int() : -1;
    }
    static bool becomes(const std::string& profile, const char* what, long wanted) {
        return suite().eventually([&] { return count(profile, what) == wanted; });
    }
    static std::string state(const std::string& lease) {
        return member(suite().api("GET", "/v1/leases/" + lease), "state");
    }
    static http::Response ask(const std::string& body, const Headers& who = {}) {
        return suite().api("POST", "/v1/leases", body, who);
    }
    static void release_all(const Headers& owner) {
        const Json all = json_of(suite().api("GET", "/v1/leases", {}, owner).body);
        for (const Json& each : *all.find("leases")->as_array()) release(each.string_or("id", ""));
    }
    static std::string machine_state(const std::string& machine) {
        return member(suite().api("GET", "/v1/machines/" + machine), "state");
    }
};

TEST_F(PoolSystem, Case10APoolIsHeldTakenFromAndRefilled) {
    ASSERT_TRUE(becomes("warm", "idle", 2)) << suite().logs();
    std::set<std::string> machines;
    std::vector<std::string> leases;
    for (int i = 0; i < 2; ++i) {
        const auto made = ask(R"({"profile":"warm"})");
        EXPECT_EQ(made.status, 201) << "active at once: " << made.body;
        EXPECT_EQ(member(made, "state"), "LEASE_STATE_ACTIVE");
        machines.insert(member(made, "machine"));
        leases.push_back(member(made, "id"));
    }
    EXPECT_EQ(machines.size(), 2U) << "two acquires never get the same machine";
    EXPECT_TRUE(becomes("warm", "idle", 2)) << "refilled";
    for (const std::string& lease : leases) release(lease);
    EXPECT_TRUE(becomes("warm", "leased", 0));
    EXPECT_TRUE(becomes("warm", "idle", 2)) << "and no more than it holds";
    EXPECT_TRUE(becomes("warm", "draining_machines", 0));
}

TEST_F(PoolSystem, Case10ManyAtOnceNeverGetTheSameMachine) {
    ASSERT_TRUE(becomes("warm", "idle", 2));
    std::vector<http::Response> answers(12);
    std::vector<std::thread> threads;
    for (auto& answer : answers)
        threads.emplace_back([&answer] { answer = ask(R"({"profile":"warm"})"); });
    for (std::thread& thread : threads) thread.join();
    std::set<std::string> machines;
    for (const auto& answer : answers) {
        EXPECT_LT(answer.status, 300) << answer.body;
        machines.insert(member(answer, "machine"));
    }
    EXPECT_EQ(machines.size(), answers.size());
    for (const auto& answer : answers) release(member(answer, "id"));
}

TEST_F(PoolSystem, Case10AReturnedMachineIsCleanedBeforeItsNextOwner) {
    ASSERT_TRUE(becomes("one", "idle", 1)) << suite().logs();
    const auto first = ask(R"({"profile":"one"})");
    ASSERT_EQ(first.status, 201) << first.body;
    const std::string lease = member(first, "id");
    const std::string run = start(
        lease, "echo secret > token; echo s > ~/.netrc; echo s > /tmp/x; setsid sleep 100 & echo ok"
    );
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    const std::string living = start(lease, "sleep 100");
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/runs/" + living), "state") == "RUN_STATE_RUNNING";
    }));
    release(lease);
    ASSERT_TRUE(becomes("one", "idle", 1)) << suite().logs();
    const Json after = ended(living);
    EXPECT_NE(after.string_or("state", ""), "RUN_STATE_RUNNING") << after.dump();
    const auto second = ask(R"({"profile":"one"})", as("bob"));
    ASSERT_EQ(second.status, 201) << second.body;
    EXPECT_EQ(member(second, "machine"), member(first, "machine")) << "the same machine, clean";
    const std::string look =
        start(member(second, "id"), "ls -A . ~ /tmp; ps ax | grep -c '[s]leep'; exit 7");
    EXPECT_EQ(ended(look).string_or("state", ""), "RUN_STATE_FAILED");
    const auto output = suite().api("GET", "/v1/runs/" + look + "/output?format=text");
    EXPECT_EQ(output.body.find("token"), std::string::npos) << output.body;
    EXPECT_EQ(output.body.find(".netrc"), std::string::npos) << output.body;
    release(member(second, "id"));
    ASSERT_TRUE(becomes("one", "idle", 1));
}

TEST_F(PoolSystem, Case10DrainTakesNoNewLeaseAndEndsWhenTheLastOneDoes) {
    ASSERT_TRUE(becomes("warm", "idle", 2));
    const std::string lease = acquire(R"({"profile":"warm"})");
    const auto drained = suite().api("POST", "/v1/pools/warm/drain", R"({"reason":"new image"})");
    EXPECT_EQ(drained.status, 200) << drained.body;
    const auto refused = ask(R"({"profile":"warm"})");
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(member(refused, "code"), "draining");
    EXPECT_NE(refused.body.find("new image"), std::string::npos) << "with the reason";
    EXPECT_TRUE(becomes("warm", "idle", 0)) << "idle ones go at once";
    EXPECT_EQ(count("warm", "leased"), 1) << "the leased one stays";
    EXPECT_EQ(state(lease), "LEASE_STATE_ACTIVE");
    release(lease);
    EXPECT_TRUE(becomes("warm", "leased", 0));
    EXPECT_TRUE(becomes("warm", "draining_machines", 0)) << "it is over";
    EXPECT_EQ(suite().api("POST", "/v1/pools/warm/drain", R"({"reason":"new disk"})").status, 200);
    EXPECT_NE(ask(R"({"profile":"warm"})").body.find("new disk"), std::string::npos)
        << "the last word holds";
    EXPECT_EQ(suite().api("POST", "/v1/pools/warm/drain").status, 200) << "idempotent";
    EXPECT_EQ(suite().api("POST", "/v1/pools/warm/resume").status, 200);
    EXPECT_TRUE(becomes("warm", "idle", 2));
    EXPECT_EQ(suite().api("POST", "/v1/pools/nope/drain").status, 400);
    EXPECT_EQ(suite().api("POST", "/v1/pools/warm/drain", "{}", as("bob")).status, 403);
}

TEST_F(PoolSystem, TheFleetIsDrainedAndResumed) {
    EXPECT_EQ(suite().api("POST", "/v1/fleet/drain").status, 200);
    for (const char* profile : {"warm", "sim"}) {
        EXPECT_EQ(
            member(ask(std::string(R"({"profile":")") + profile + "\"}"), "code"), "draining"
        );
    }
    EXPECT_EQ(suite().api("POST", "/v1/fleet/resume").status, 200);
    EXPECT_TRUE(becomes("warm", "idle", 2));
    release(acquire(R"({"profile":"sim"})"));
}

TEST_F(PoolSystem, AMachineIsDrainedAfterItsLeaseAndEveryUserSeesTheStates) {
    ASSERT_TRUE(becomes("warm", "idle", 2));
    const auto made = ask(R"({"profile":"warm"})");
    const std::string machine = member(made, "machine");
    const Headers viewer = as("vera", "viewer");
    const auto seen = suite().api("GET", "/v1/machines/" + machine, {}, viewer);
    EXPECT_EQ(member(seen, "state"), "MACHINE_STATE_LEASED") << seen.body;
    EXPECT_EQ(member(seen, "lease"), "") << "whose it is, is for admins";
    EXPECT_EQ(suite().api("GET", "/v1/pools", {}, viewer).status, 200);
    EXPECT_EQ(suite().api("GET", "/v1/machines?state=leased&profile=warm", {}, viewer).status, 200);
    EXPECT_EQ(suite().api("GET", "/v1/machines?state=silly", {}, viewer).status, 400);
    const auto drained = suite().api("POST", "/v1/machines/" + machine + "/drain");
    EXPECT_EQ(drained.status, 200) << drained.body;
    EXPECT_EQ(machine_state(machine), "MACHINE_STATE_LEASED");
    EXPECT_EQ(suite().api("POST", "/v1/machines/" + machine + "/resume").status, 200);
    EXPECT_EQ(suite().api("POST", "/v1/machines/" + machine + "/drain").status, 200);
    release(member(made, "id"));
    EXPECT_TRUE(suite().eventually([&] { return machine_state(machine) == "MACHINE_STATE_GONE"; }));
    EXPECT_EQ(suite().api("POST", "/v1/machines/" + machine + "/resume").status, 409);
    EXPECT_EQ(suite().api("GET", "/v1/machines/m_00000000000000000000000000").status, 404);
}

TEST_F(PoolSystem, Case9FortyAtOnceAndExactlyAsManyAsTheLimitAllows) {
    constexpr int kLimit = 12;  // leases_per_owner of this test's settings
    const Headers ann = as("ann");
    std::vector<http::Response> answers(40);
    std::vector<std::thread> threads;
    for (auto& answer : answers)
        threads.emplace_back([&] { answer = ask(R"({"profile":"sim"})", ann); });
    for (std::thread& thread : threads) thread.join();
    int accepted = 0;
    for (const auto& answer : answers) {
        if (answer.status < 300) {
            ++accepted;
        } else {
            EXPECT_EQ(answer.status, 429) << answer.body;
            EXPECT_EQ(member(answer, "code"), "lease_limit");
        }
    }
    EXPECT_EQ(accepted, kLimit);
    for (const auto& answer : answers) {
        if (answer.status < 300) release(member(answer, "id"));
    }
    EXPECT_LT(ask(R"({"profile":"sim"})", ann).status, 300) << "a released one makes room";
    release_all(ann);
}

TEST_F(PoolSystem, Case9ABudgetCountsWhatIsReservedAndGivesBackWhatWasNotUsed) {
    // 10 a month for each owner; "paid" costs 6 an hour.
    const Headers carl = as("carl");
    const auto first = ask(R"({"profile":"paid","ttl":"1h"})", carl);
    ASSERT_LT(first.status, 300) << first.body;
    EXPECT_EQ(member(first, "reserved_micros"), "6000000");
    const auto over = ask(R"({"profile":"paid","ttl":"1h"})", carl);
    EXPECT_EQ(over.status, 429);
    EXPECT_EQ(member(over, "code"), "budget_exceeded") << over.body;
    EXPECT_NE(over.body.find("4.00 EUR"), std::string::npos) << "what is left: " << over.body;
    EXPECT_LT(ask(R"({"profile":"sim"})", carl).status, 300) << "what is free is not refused";
    EXPECT_EQ(
        suite().api("POST", "/v1/leases/" + member(first, "id") + "/release", {}, carl).status, 200
    );
    const auto again = ask(R"({"profile":"paid","ttl":"90m"})", carl);
    EXPECT_LT(again.status, 300) << "what was not used came back: " << again.body;

    const Json usage = json_of(suite().api("GET", "/v1/usage", {}, carl).body);
    EXPECT_EQ(usage.string_or("currency", ""), "EUR");
    bool found = false;
    for (const Json& row : *usage.find("rows")->as_array()) {
        EXPECT_EQ(row.string_or("owner", ""), "carl") << "his own only";
        if (row.string_or("profile", "") != "paid") continue;
        found = true;
        EXPECT_EQ(row.string_or("leases", ""), "1");
        EXPECT_EQ(row.string_or("live_leases", ""), "1");
        EXPECT_EQ(row.string_or("reserved_micros", ""), "9000000");
        EXPECT_LT(std::stoll(row.string_or("spent_micros", "0")), 1'000'000);
    }
    EXPECT_TRUE(found) << usage.dump();
    EXPECT_EQ(suite().api("GET", "/v1/usage?from=2026-13").status, 400);
    const auto of_another = suite().api("GET", "/v1/usage?owner=admin", {}, carl);
    EXPECT_EQ(of_another.status, 403) << of_another.body;
    EXPECT_EQ(member(of_another, "code"), "role_missing");
    EXPECT_EQ(suite().api("GET", "/v1/usage?owner=carl", {}, carl).status, 200) << "that is he";
    EXPECT_GE(
        json_of(suite().api("GET", "/v1/usage?owner=carl").body).find("rows")->as_array()->size(),
        2U
    );
    release_all(carl);
}

TEST_F(PoolSystem, Case12ASharedLeaseIsUsedOrManagedAsItsShareSays) {
    const Headers dora = as("dora");
    const Headers emil = as("emil");
    const auto made = ask("{}", dora);
    const std::string lease = member(made, "id");
    ASSERT_EQ(
        member(
            suite().api("GET", "/v1/leases/" + lease + "?wait=active&timeout=30s", {}, dora),
            "state"
        ),
        "LEASE_STATE_ACTIVE"
    );
    const std::string path = "/v1/leases/" + lease;
    EXPECT_EQ(suite().api("GET", path, {}, emil).status, 404);
    EXPECT_EQ(suite().api("PUT", path + "/shares/emil", R"({"right":"rule"})", dora).status, 400);
    EXPECT_EQ(
        member(suite().api("PUT", path + "/shares/nobody", R"({"right":"use"})", dora), "code"),
        "unknown_user"
    );
    const auto shared = suite().api("PUT", path + "/shares/emil", R"({"right":"use"})", dora);
    EXPECT_EQ(shared.status, 200) << shared.body;
    EXPECT_EQ(member(suite().api("GET", path, {}, emil), "access"), "use");
    EXPECT_EQ(
        json_of(suite().api("GET", "/v1/leases", {}, emil).body).find("leases")->as_array()->size(),
        1U
    );
    EXPECT_EQ(suite().api("POST", path + "/heartbeat", {}, emil).status, 200);
    const auto run =
        suite().api("POST", "/v1/runs", "{\"lease\":\"" + lease + "\",\"argv\":[\"true\"]}", emil);
    EXPECT_LT(run.status, 300) << run.body;
    EXPECT_EQ(member(suite().api("POST", path + "/release", {}, emil), "code"), "share_forbids");
    EXPECT_EQ(suite().api("PUT", path + "/shares/admin", R"({"right":"use"})", emil).status, 403);
    EXPECT_EQ(suite().api("DELETE", path + "/shares/emil", {}, dora).status, 204);
    EXPECT_EQ(suite().api("GET", path, {}, emil).status, 404);
    EXPECT_EQ(suite().api("PUT", path + "/shares/emil", R"({"right":"manage"})", dora).status, 200);
    const auto shares = json_of(suite().api("GET", path + "/shares", {}, emil).body);
    EXPECT_EQ(shares.find("shares")->as_array()->size(), 1U);
    EXPECT_EQ(suite().api("POST", path + "/release", {}, emil).status, 200);
    EXPECT_EQ(member(suite().api("GET", path, {}, dora), "end_reason"), "released");
}

TEST_F(PoolSystem, OwnersTakeTurnsInLineAndTheirPlaceIsVisible) {
    ASSERT_TRUE(suite().eventually([] { return count("tight", "leased") == 0; }));
    const std::string held = acquire(R"({"profile":"tight"})");
    const auto refused = ask(R"({"profile":"tight"})");
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(member(refused, "code"), "pool_exhausted") << refused.body;
    const Headers fay = as("fay");
    const Headers gus = as("gus");
    const std::string body = R"({"profile":"tight","wait":"1m"})";
    const auto fay1 = ask(body, fay);
    const auto fay2 = ask(body, fay);
    const auto gus1 = ask(body, gus);
    EXPECT_EQ(fay1.status, 202) << fay1.body;
    EXPECT_EQ(member(fay1, "machine"), "");
    const auto place = [](const http::Response& lease) {
        const Json now = json_of(suite().api("GET", "/v1/leases/" + member(lease, "id")).body);
        return *now.find("queue_position")->as_int();
    };
    EXPECT_EQ(place(fay1), 1);
    EXPECT_EQ(place(gus1), 2) << "an owner's second lease comes after everybody's first";
    EXPECT_EQ(place(fay2), 3);
    EXPECT_EQ(count("tight", "waiting"), 3);
    release(held);
    const auto active = [](const http::Response& lease) {
        return suite().eventually([&] { return state(member(lease, "id")) == "LEASE_STATE_ACTIVE"; }
        );
    };
    EXPECT_TRUE(active(fay1));
    EXPECT_EQ(place(gus1), 1);
    release(member(fay2, "id"));  // canceled: it leaves the line
    EXPECT_EQ(count("tight", "waiting"), 1);
    release(member(fay1, "id"));
    EXPECT_TRUE(active(gus1)) << suite().logs();
    release(member(gus1, "id"));
}

TEST_F(PoolSystem, AWaitThatIsOverEndsWithAClearError) {
    ASSERT_TRUE(suite().eventually([] { return count("tight", "leased") == 0; }));
    const std::string held = acquire(R"({"profile":"tight","wait":"20s"})");
    const auto waiting = ask(R"({"profile":"tight","wait":"1s"})");
    ASSERT_EQ(waiting.status, 202) << waiting.body;
    const auto over =
        suite().api("GET", "/v1/leases/" + member(waiting, "id") + "?wait=active&timeout=20s");
    EXPECT_EQ(over.status, 503) << over.body;
    EXPECT_EQ(member(over, "code"), "pool_exhausted");
    EXPECT_NE(member(over, "detail"), "");
    EXPECT_EQ(state(member(waiting, "id")), "LEASE_STATE_FAILED");
    EXPECT_EQ(state(held), "LEASE_STATE_ACTIVE");
    EXPECT_EQ(member(ask(R"({"profile":"tight","wait":"25h"})"), "field"), "wait");
    release(held);
}

TEST_F(PoolSystem, AHundredReleasesAtOnceLeaveNoMachine) {
    std::vector<std::string> leases;
    std::vector<Headers> owners;
    for (int i = 0; i < 10; ++i) owners.push_back(as("owner" + std::to_string(i)));
    for (int i = 0; i < 100; ++i) {
        const auto made = ask(R"({"profile":"sim"})", owners[static_cast<std::size_t>(i) % 10]);
        ASSERT_LT(made.status, 300) << made.body;
        leases.push_back(member(made, "id"));
    }
    ASSERT_TRUE(becomes("sim", "leased", 100));
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i) {
        threads.emplace_back([&leases, i] {
            for (std::size_t j = static_cast<std::size_t>(i); j < leases.size(); j += 10)
                release(leases[j]);
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(suite().eventually([] {
        return count("sim", "leased") == 0 && count("sim", "draining_machines") == 0;
    }));
    const auto took = std::chrono::steady_clock::now() - began;
    RecordProperty(
        "gone_ms",
        static_cast<int>(std::chrono::duration_cast<milliseconds>(took).count())  // `suite_bench`
    );
}

TEST_F(PoolSystem, Case15TwoBrokersKeepLimitsAndNeverShareAMachine) {
    const Replica second(suite(), "lease");
    const Headers hal = as("hal");
    std::vector<http::Response> answers(40);
    std::vector<std::thread> threads;
    for (auto& answer : answers)
        threads.emplace_back([&] { answer = ask(R"({"profile":"warm"})", hal); });
    for (std::thread& thread : threads) thread.join();
    std::set<std::string> machines;
    int accepted = 0;
    for (const auto& answer : answers) {
        if (answer.status >= 300) {
            EXPECT_EQ(member(answer, "code"), "lease_limit") << answer.body;
            continue;
        }
        ++accepted;
        machines.insert(member(answer, "machine"));
    }
    EXPECT_EQ(accepted, 12);
    EXPECT_EQ(machines.size(), 12U);
    release_all(hal);
    EXPECT_TRUE(becomes("warm", "leased", 0));
    EXPECT_TRUE(becomes("warm", "idle", 2));
}

// Case 15 with 7: a broker or a provisioner is killed at any moment of taking, returning and
// cleaning a machine.
TEST_F(PoolSystem, Case15KilledAtAnyMomentThePoolIsWholeAgainAndNothingIsTakenTwice) {
    const Replica second(suite(), "lease");
    const Replica second_provisioner(suite(), "prov");
    ASSERT_TRUE(becomes("one", "idle", 1));
    SeededRandom random(Random::system().next());
    constexpr int kRounds = 6;
    for (int round = 0; round < kRounds; ++round) {
        ASSERT_TRUE(suite().wait_ready());
        const pid_t victim = suite().pid(round % 3 == 2 ? "prov" : "lease");
        ASSERT_GT(victim, 0);
        const milliseconds moment{static_cast<long long>(random.below(60))};
        std::thread killer([&] {
            std::this_thread::sleep_for(moment);  // the moment of the crash is what varies
            ::kill(victim, SIGKILL);
        });
        const std::string key = "pool-" + std::to_string(random.next());
        http::Response made;
        EXPECT_TRUE(suite().eventually([&] {
            made = suite().api(
                "POST",
                "/v1/leases",
                R"({"profile":"one","wait":"30s"})",
                {{"Idempotency-Key", key}}
            );
            return made.status == 201 || made.status == 202;
        })) << made.body
            << suite().logs();
        const std::string lease = member(made, "id");
        EXPECT_TRUE(suite().eventually([&] { return state(lease) == "LEASE_STATE_ACTIVE"; }))
            << suite().logs();
        EXPECT_TRUE(suite().eventually([&] {
            return suite().api("POST", "/v1/leases/" + lease + "/release").status == 200;
        }));
        killer.join();
    }
    ASSERT_TRUE(suite().wait_ready());
    EXPECT_TRUE(becomes("one", "idle", 1)) << suite().logs();
    EXPECT_TRUE(becomes("one", "leased", 0));
    EXPECT_TRUE(becomes("one", "draining_machines", 0));
    EXPECT_EQ(suite().machines().size(), 1U) << "one folder for the one machine of the pool";
}

// What lost commands leave: a create or a destroy that was not taken in its time, an end that was
// not heard.
TEST_F(PoolSystem, AMachineOfWhichNothingIsHeardIsLookedAfterAgain) {
    const auto age = [](const std::string& machine, const std::string& state) {
        (void)suite().sql(
            "UPDATE lease.machines SET state = '" + state +
            "', changed_at = now() - interval '1 hour' WHERE id = '" + machine + "'"
        );
    };
    const auto is_gone = [](const std::string& machine) {
        return suite().eventually([&] { return machine_state(machine) == "MACHINE_STATE_GONE"; });
    };
    const std::string lease = acquire(R"({"profile":"sim"})");
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    release(lease);
    ASSERT_TRUE(is_gone(machine));
    age(machine, "draining");
    EXPECT_TRUE(is_gone(machine)) << "its end was not heard: " << suite().logs();

    const std::string lost = acquire(R"({"profile":"sim"})");
    const std::string kept = member(suite().api("GET", "/v1/leases/" + lost), "machine");
    age(kept, "draining");
    EXPECT_TRUE(is_gone(kept)) << "its destroy was lost: " << suite().logs();
    EXPECT_EQ(
        suite().sql("SELECT state FROM prov.resources WHERE machine = '" + kept + "'"), "gone\n"
    );
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + lost), "end_reason"), "machine_gone");

    const std::string never = "m_01j0000000000000000000000a";
    (void)suite().sql(
        "INSERT INTO lease.machines (id, org, profile, driver, state, lease, created_at, revision, "
        "changed_at) VALUES ('" +
        never + "', 'default', 'sim', 'sim', 'provisioning', '', now(), 1, now())"
    );
    EXPECT_EQ(machine_state(never), "MACHINE_STATE_PROVISIONING");
    age(never, "provisioning");
    EXPECT_TRUE(is_gone(never)) << "its create was not taken in time: " << suite().logs();
}

TEST_F(PoolSystem, APoolThatCannotBeFilledSaysWhyAndDoesNotHammerItsProvider) {
    ASSERT_TRUE(suite().eventually([] {
        return pool("cursed").string_or("last_error", "").find("unknown_driver") == 0;
    })) << suite().logs();
    const Json all = json_of(suite().api("GET", "/v1/machines?profile=cursed&all=1").body);
    EXPECT_LE(all.find("machines")->as_array()->size(), 12U) << "it pauses longer each time";
    EXPECT_NE(pool("cursed").string_or("retry_at", ""), "");
}

TEST_F(PoolSystem, AnOwnerMayHaveLimitsOfItsOwn) {
    const Headers ci = as("ci");
    std::vector<std::string> leases;
    for (int i = 0; i < 13; ++i) {
        const auto lease = ask(R"({"profile":"sim"})", ci);
        EXPECT_LT(lease.status, 300) << i << lease.body;
        leases.push_back(member(lease, "id"));
    }
    EXPECT_EQ(member(ask(R"({"profile":"sim"})", ci), "code"), "lease_limit") << "13 of 13";
    for (const std::string& lease : leases) release(lease);
    EXPECT_EQ(member(ask(R"({"profile":"paid","ttl":"1h"})", ci), "code"), "budget_exceeded");
    const Json usage = json_of(suite().api("GET", "/v1/usage", {}, ci).body);
    EXPECT_NE(usage.dump().find("1000000"), std::string::npos) << usage.dump();
}

TEST_F(PoolSystem, ProfilesAreListed) {
    const Json all = json_of(suite().api("GET", "/v1/profiles").body);
    std::set<std::string> names;
    for (const Json& each : *all.find("profiles")->as_array())
        names.insert(each.string_or("name", ""));
    EXPECT_TRUE(names.contains("warm") && names.contains("paid") && names.contains("default"));
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc,
        argv,
        "profiles:\n"
        "  default: {driver: local}\n"
        "  sim: {driver: simulated}\n"
        "  warm: {driver: simulated, warm_min: 2}\n"
        "  one: {driver: local, warm_min: 1, max_machines: 1, parallel_runs: 4}\n"
        "  tight: {driver: simulated, max_machines: 1}\n"
        "  paid: {driver: simulated, price_micros_per_hour: 6000000}\n"
        "  cursed: {driver: aws, warm_min: 1}\n"
        "broker:\n"
        "  limits: {leases_per_owner: 12, budget_per_owner_micros: 10000000, "
        "owners: {ci: {leases: 13, budget_micros: 1000000}}}\n"
    );
}
