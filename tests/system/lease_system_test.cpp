// SPDX-License-Identifier: Apache-2.0
// behaviours: leases, as far as the local and the simulated driver go; and every kind of bad input
// to the API.
#include <atomic>
#include <set>
#include <thread>

#include "core/fd.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

class LeaseSystem : public SystemTest {
protected:
    static std::string expires(const http::Response& response) {
        return member(response, "expires_at");
    }
};

TEST_F(LeaseSystem, Case1AcquireTellsEverythingAndIsPendingFirst) {
    const auto made = suite().api("POST", "/v1/leases", R"({"ttl":"1h","idle_timeout":"10m"})");
    EXPECT_TRUE(made.status == 201 || made.status == 202) << made.body;
    for (const char* field : {"id", "slug", "owner", "machine", "expires_at", "created_at"})
        EXPECT_NE(member(made, field), "") << field << made.body;
    EXPECT_EQ(member(made, "state"), "LEASE_STATE_PENDING");
    const auto active =
        suite().api("GET", "/v1/leases/" + member(made, "slug") + "?wait=active&timeout=30s");
    EXPECT_EQ(member(active, "id"), member(made, "id"));
    EXPECT_EQ(member(active, "state"), "LEASE_STATE_ACTIVE");
    release(member(made, "id"));
}

TEST_F(LeaseSystem, Case2OneKeyIsOneLeaseHoweverOftenAndAnotherRequestUnderItAConflict) {
    std::vector<std::string> ids(10);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        threads.emplace_back([&ids, i] {
            ids[i] = member(
                suite().api(
                    "POST", "/v1/leases", R"({"label":"same"})", {{"Idempotency-Key", "one-key"}}
                ),
                "id"
            );
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& id : ids) EXPECT_EQ(id, ids.front());
    ASSERT_NE(ids.front(), "");
    const auto other =
        suite().api("POST", "/v1/leases", R"({"label":"other"})", {{"Idempotency-Key", "one-key"}});
    EXPECT_EQ(other.status, 409) << other.body;
    EXPECT_EQ(member(other, "code"), "idempotency_conflict");
    const auto leases = json_of(suite().api("GET", "/v1/leases").body);
    EXPECT_EQ(leases.find("leases")->as_array()->size(), 1U);
    release(ids.front());
}

TEST_F(LeaseSystem, Case2WhoReusesAtOnceWithOthersHasTheLeaseTheyHave) {
    for (int round = 0; round < 5; ++round) {
        const std::string body =
            R"({"profile":"sim","reuse":true,"label":"tree )" + std::to_string(round) + R"("})";
        std::vector<std::string> ids(10);
        std::vector<std::thread> threads;
        for (std::string& id : ids) {
            threads.emplace_back([&id, &body] {
                id = member(suite().api("POST", "/v1/leases", body), "id");
            });
        }
        for (std::thread& thread : threads) thread.join();
        ASSERT_NE(ids.front(), "");
        const std::set<std::string> leases(ids.begin(), ids.end());
        EXPECT_EQ(leases.size(), 1U) << "round " << round;
        for (const std::string& id : leases) release(id);
    }
}

TEST_F(LeaseSystem, Case3AReleaseBeforeTheMachineIsThereWins) {
    for (int i = 0; i < 5; ++i) {
        const std::string id = member(suite().api("POST", "/v1/leases", "{}"), "id");
        release(id);
        const auto after = suite().api("GET", "/v1/leases/" + id);
        EXPECT_EQ(member(after, "state"), "LEASE_STATE_RELEASED") << after.body;
    }
    EXPECT_TRUE(machines_gone()) << "the late machine is removed";
}

TEST_F(LeaseSystem, Case6AMachineWithAnothersMarkIsToldAsForeignAndNotTakenForGone) {
    const auto told = [](const std::string& machine) {
        const Json drift = json_of(suite().api("GET", "/v1/drift").body);
        std::string all;
        for (const Json& item : *drift.find("items")->as_array()) {
            if (item.string_or("machine", "") == machine)
                all += item.string_or("driver", "") + " " + item.string_or("kind", "");
        }
        return all;
    };
    const auto looked_at = [] {
        const Json drift = json_of(suite().api("GET", "/v1/drift").body);
        for (const Json& look : *drift.find("drivers")->as_array()) {
            if (look.string_or("driver", "") == "local") return look.string_or("looked_at", "");
        }
        return std::string();
    };
    const std::string lease = acquire("{}");
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    const fs::path folder = suite().data() / "machines" / machine;
    const std::string mark = read_file(folder / "node" / "owner").value();
    // And one that no record knows, in a folder that is this deployment's own.
    const std::string stranger = "m_01h00000000000000000000000";
    fs::create_directories(folder.parent_path() / stranger / "node");
    for (const std::string& each : {machine, stranger})
        ASSERT_TRUE(
            write_file_atomic(folder.parent_path() / each / "node" / "owner", "ANOTHER", 0644)
        );
    EXPECT_TRUE(suite().eventually([&] {
        return told(machine) == "local DRIFT_KIND_FOREIGN" &&
               told(stranger) == "local DRIFT_KIND_FOREIGN";
    })) << suite().api("GET", "/v1/drift").body;
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + lease), "state"), "LEASE_STATE_ACTIVE");
    ASSERT_TRUE(write_file_atomic(folder / "node" / "owner", mark, 0644));
    fs::remove_all(folder.parent_path() / stranger);
    EXPECT_TRUE(suite().eventually([&] { return told(machine) + told(stranger) == ""; }));
    EXPECT_EQ(ended(start(lease, "true")).string_or("state", ""), "RUN_STATE_SUCCEEDED");
    // One that is to be removed stays, is told once, and goes when it is ours again.
    ASSERT_TRUE(write_file_atomic(folder / "node" / "owner", "ANOTHER", 0644));
    EXPECT_TRUE(suite().eventually([&] { return told(machine) != ""; }));
    const std::string before = looked_at();
    release(lease);
    EXPECT_TRUE(suite().eventually([&] { return looked_at() != before; }));
    EXPECT_EQ(told(machine), "local DRIFT_KIND_FOREIGN") << suite().api("GET", "/v1/drift").body;
    ASSERT_TRUE(write_file_atomic(folder / "node" / "owner", mark, 0644));
    EXPECT_TRUE(machines_gone());
}

TEST_F(LeaseSystem, Case4HeartbeatExtendsTheIdleEndNeverPastTheTtlNeverRevives) {
    const std::string id = acquire(R"({"profile":"sim","ttl":"4s","idle_timeout":"3s"})");
    const std::string before = expires(suite().api("GET", "/v1/leases/" + id));
    const auto beat = suite().api("POST", "/v1/leases/" + id + "/heartbeat");
    EXPECT_EQ(beat.status, 200) << beat.body;
    EXPECT_GT(expires(beat), before);
    const std::string created = member(beat, "created_at");
    ASSERT_TRUE(suite().eventually([&] {
        const auto again = suite().api("POST", "/v1/leases/" + id + "/heartbeat");
        if (again.status == 200) {
            EXPECT_LE(*parse_rfc3339(expires(again)), *parse_rfc3339(created) + seconds{4})
                << "never past its ttl";
        }
        return again.status == 409;
    }));
    const auto late = suite().api("POST", "/v1/leases/" + id + "/heartbeat");
    EXPECT_EQ(late.status, 409);
    EXPECT_EQ(member(late, "code"), "lease_ended");
}

TEST_F(LeaseSystem, Case4ALeaseWithALiveRunIsNotIdle) {
    const std::string id = acquire(R"({"idle_timeout":"1s"})");
    const std::string run = start(id, "sleep 3; echo alive");
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_SUCCEEDED") << end.dump();
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/leases/" + id), "state") == "LEASE_STATE_EXPIRED";
    })) << "idle after the run";
    EXPECT_TRUE(machines_gone());
}

// How late they end, with and without the storm: `suite_bench expiry`.
TEST_F(LeaseSystem, AThousandLeasesThatEndTogetherAllEndUnderAHeartbeatStorm) {
    constexpr int kThreads = 4;
    constexpr std::size_t kEach = 250;
    constexpr std::size_t kFirst = 25;
    constexpr milliseconds kPace{4};  // with which every lease beats once a second, no faster
    std::vector<std::vector<std::string>> ids(kThreads);
    const auto in_threads = [&ids](const auto& work) {
        std::vector<std::thread> threads;
        for (auto& mine : ids) threads.emplace_back([&mine, &work] { work(mine); });
        for (std::thread& thread : threads) thread.join();
    };
    const auto make = [&in_threads](std::size_t each, WallTime end) {
        in_threads([each, end](std::vector<std::string>& mine) {
            while (mine.size() < each) {
                const auto left =
                    std::chrono::duration_cast<milliseconds>(end - Clock::system().now());
                const auto made = suite().api(
                    "POST",
                    "/v1/leases",
                    R"({"profile":"sim","ttl":")" + std::to_string(left.count()) + R"(ms"})"
                );
                ASSERT_LT(made.status, 300) << made.body;
                mine.push_back(member(made, "id"));
            }
        });
    };
    // The first ones show how long this machine takes for all.
    const WallTime begun = Clock::system().now();
    make(kFirst, begun + seconds{60});
    for (auto& mine : ids) {
        for (const std::string& id : mine) release(id);
        mine.clear();
    }
    const auto all = (Clock::system().now() - begun) * (kEach / kFirst);
    const WallTime end = Clock::system().now() + all + seconds{5};
    make(kEach, end);
    ASSERT_LT(Clock::system().now(), end) << "too slow to make them in time";
    // Every lease is used over and over until it is over: what the reaper finds touched, too.
    std::atomic<int> beats = 0;
    in_threads([&beats, end, kPace](const std::vector<std::string>& mine) {
        for (std::size_t i = 0; Clock::system().now() < end + seconds{2}; ++i) {
            const std::string path = "/v1/leases/" + mine[i % mine.size()] + "/heartbeat";
            if (suite().api("POST", path).status == 200) ++beats;
            std::this_thread::sleep_for(kPace);  // a rate, not a wait for something
        }
    });
    EXPECT_GT(beats, 1'000);
    ASSERT_TRUE(suite().eventually([] {
        return json_of(suite().api("GET", "/v1/leases?limit=1").body)
            .find("leases")
            ->as_array()
            ->empty();
    })) << suite().logs();
    milliseconds latest{};
    for (const auto& mine : ids) {
        for (const std::string& id : mine) {
            const auto lease = suite().api("GET", "/v1/leases/" + id);
            ASSERT_EQ(member(lease, "end_reason"), "ttl") << lease.body;
            const auto late = std::chrono::duration_cast<milliseconds>(
                *parse_rfc3339(member(lease, "ended_at")) - *parse_rfc3339(expires(lease))
            );
            ASSERT_GE(late, milliseconds{0}) << lease.body;
            latest = std::max(latest, late);
        }
    }
    RecordProperty("latest_ms", static_cast<int>(latest.count()));
}

TEST_F(LeaseSystem, Case11SlugAndIdAreAsGoodAndReleaseIsIdempotent) {
    const auto made = suite().api("POST", "/v1/leases", R"({"profile":"sim"})");
    const std::string slug = member(made, "slug");
    EXPECT_LE(slug.size(), 41U);
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(suite().api("POST", "/v1/leases/" + slug + "/release").status, 200);
    EXPECT_EQ(suite().api("DELETE", "/v1/leases/" + member(made, "id")).status, 200);
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + slug), "end_reason"), "released");
}

TEST_F(LeaseSystem, Case12AStrangerFindsNothing) {
    const std::string id = acquire(R"({"profile":"sim"})");
    const auto token = suite().api(
        "POST", "/v1/tokens", R"({"user":"mallory","roles":["operator"],"label":"test"})"
    );
    ASSERT_LT(token.status, 300) << token.body;
    const std::vector<std::pair<std::string, std::string>> as_mallory{
        {"Authorization", "Bearer " + member(token, "text")}};
    EXPECT_EQ(suite().api("GET", "/v1/leases/" + id, {}, as_mallory).status, 404);
    EXPECT_EQ(suite().api("POST", "/v1/leases/" + id + "/heartbeat", {}, as_mallory).status, 404);
    EXPECT_EQ(suite().api("POST", "/v1/leases/" + id + "/release", {}, as_mallory).status, 404);
    EXPECT_EQ(
        suite()
            .api("POST", "/v1/runs", "{\"lease\":\"" + id + "\",\"argv\":[\"true\"]}", as_mallory)
            .status,
        404
    );
    EXPECT_EQ(
        json_of(suite().api("GET", "/v1/leases", {}, as_mallory).body)
            .find("leases")
            ->as_array()
            ->size(),
        0U
    );
    release(id);
}

TEST_F(LeaseSystem, Case13BadInputIsToldWithItsFieldAndNeverA500) {
    const std::string id = acquire(R"({"profile":"sim"})");
    struct Bad {
        const char* path;
        std::string body;
        int status;
        const char* field;
    };
    const std::vector<Bad> all{
        {"/v1/leases", R"({"profile":"nope"})", 400, "profile"},
        {"/v1/leases", R"({"ttl":"-5m"})", 400, "ttl"},
        {"/v1/leases", R"({"ttl":"5"})", 400, "ttl"},
        {"/v1/leases", R"({"idle_timeout":"0s"})", 400, "idle_timeout"},
        {"/v1/leases", R"({"surprise":1})", 400, "surprise"},
        {"/v1/leases", R"({"ttl":17})", 400, "ttl"},
        {"/v1/leases", R"({"ttl":"481m"})", 400, "ttl"},  // the profile's is 8h
        {"/v1/leases", R"({"ttl":)", 400, nullptr},
        {"/v1/leases", "[]", 400, nullptr},
        {"/v1/leases", "\xff\xfe", 400, nullptr},
        {"/v1/leases", std::string(100'000, '['), 400, nullptr},
        {"/v1/leases", "{\"label\":\"" + std::string(300, 'x') + "\"}", 400, "label"},
        {"/v1/leases", "{\"label\":\"" + std::string(10'000'000, 'x') + "\"}", 413, nullptr},
        {"/v1/runs", R"({"argv":["true"]})", 400, "lease"},
        {"/v1/runs", "{\"lease\":\"" + id + "\",\"argv\":[]}", 400, "argv"},
        {"/v1/runs", "{\"lease\":\"" + id + "\",\"argv\":\"true\"}", 400, "argv"},
        {"/v1/runs", "{\"lease\":\"" + id + "\",\"argv\":[\"a\"],\"cwd\":\"/etc\"}", 400, "cwd"},
        {"/v1/runs",
         "{\"lease\":\"" + id + "\",\"argv\":[\"a\"],\"timeout\":\"-1s\"}",
         400,
         "timeout"},
        {"/v1/runs", R"({"lease":"ls_00000000000000000000000000","argv":["a"]})", 404, nullptr},
        {"/v1/leases/nope/heartbeat", "", 404, nullptr},
        {"/v1/runs/nope/cancel", "", 404, nullptr},
    };
    for (const Bad& bad : all) {
        const auto response = suite().api("POST", bad.path, bad.body);
        EXPECT_EQ(response.status, bad.status)
            << bad.path << " " << bad.body.substr(0, 80) << " -> " << response.body;
        EXPECT_EQ(response.header("content-type"), "application/problem+json")
            << bad.body.substr(0, 80);
        if (bad.field != nullptr) {
            EXPECT_EQ(member(response, "field"), bad.field)
                << bad.body.substr(0, 80) << " -> " << response.body;
        }
        EXPECT_NE(member(response, "code"), "") << response.body;
    }
    EXPECT_EQ(suite().api("GET", "/v1/leases/ls_00000000000000000000000000").status, 404);
    EXPECT_EQ(suite().api("GET", "/v1/leases?limit=101").status, 400);
    EXPECT_EQ(suite().api("GET", "/v1/leases?cursor=zzz&limit=5").status, 400);
    EXPECT_EQ(suite().api("PUT", "/v1/leases").status, 405);
    EXPECT_EQ(suite().api("GET", "/v1/nothing").status, 404);
    EXPECT_EQ(
        suite().api("POST", "/v1/leases", "{}", {{"Content-Type", "text/plain"}}).status, 415
    );
    EXPECT_EQ(
        suite().api("GET", "/v1/leases", {}, {{"Authorization", "Bearer nonsense"}}).status, 401
    );
    EXPECT_EQ(suite().api("GET", "/v1/leases", {}, {{"Authorization", ""}}).status, 401);
    release(id);
    EXPECT_EQ(suite().status().string_or("state", ""), "ready") << "still alive, all of it";
}

TEST_F(LeaseSystem, AnExpiredTokenIsRefused) {
    const auto token = suite().api(
        "POST",
        "/v1/tokens",
        "{\"label\":\"short\",\"roles\":[\"viewer\"],\"expires_at\":\"" +
            to_rfc3339(Clock::system().now() + seconds{2}) + "\"}"
    );
    ASSERT_LT(token.status, 300) << token.body;
    const std::vector<std::pair<std::string, std::string>> with{
        {"Authorization", "Bearer " + member(token, "text")}};
    EXPECT_EQ(suite().api("GET", "/v1/whoami", {}, with).status, 200);
    EXPECT_EQ(suite().api("POST", "/v1/leases", "{}", with).status, 403) << "a viewer only looks";
    EXPECT_TRUE(suite().eventually([&] {
        return suite().api("GET", "/v1/whoami", {}, with).status == 401;
    }));
}

TEST_F(LeaseSystem, Case14EndedLeasesStayReadable) {
    const std::string id = acquire(R"({"profile":"sim"})");
    release(id);
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + id), "state"), "LEASE_STATE_RELEASED");
    const auto all = json_of(suite().api("GET", "/v1/leases?all=1&limit=1").body);
    EXPECT_EQ(all.find("leases")->as_array()->size(), 1U);
    EXPECT_NE(all.string_or("next_cursor", ""), "") << "more pages follow";
}

TEST_F(LeaseSystem, ALeaseThatEndedUnderItsRunShowsNoLiveRun) {
    const std::string id = acquire(R"({"ttl":"4s"})");
    const std::string run = start(id, "sleep 60");
    const auto lease = [&id] { return json_of(suite().api("GET", "/v1/leases/" + id).body); };
    ASSERT_TRUE(suite().eventually([&] {
        return lease().string_or("state", "") == "LEASE_STATE_EXPIRED";
    }));
    (void)ended(run);
    EXPECT_EQ(lease().int_or("live_runs", 0), 0) << lease().dump();
}

TEST_F(LeaseSystem, AProfileThatCannotBeMadeFailsWithItsReason) {
    const auto made = suite().api("POST", "/v1/leases", R"({"profile":"broken"})");
    const std::string id = member(made, "id");
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/leases/" + id), "state") == "LEASE_STATE_FAILED";
    }));
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + id), "end_reason"), "unknown_driver");
}

TEST_F(LeaseSystem, EventsOfALeaseAreToldInOrderOverSse) {
    const std::string id = acquire(R"({"profile":"sim"})");
    release(id);
    auto events = suite().start({"events", "--from", "1", "--json"}, {});
    ASSERT_TRUE(events->wait_out("lease.released." + id)) << events->out();
    events->signal(SIGINT);
    const std::string out = events->finish().out;
    const auto created = out.find("lease.created." + id);
    const auto activated = out.find("lease.activated." + id);
    const auto released = out.find("lease.released." + id);
    EXPECT_TRUE(created < activated && activated < released && released != std::string::npos)
        << out.substr(0, 2'000);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc,
        argv,
        "profiles:\n  default: {driver: local}\n  sim: {driver: simulated}\n  broken: "
        "{driver: aws}\n"
    );
}
