// SPDX-License-Identifier: Apache-2.0
// The lease broker's numbers: heartbeats and acquisitions, also over a long history, warm pools,
// and what ten thousand live leases cost.
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "load.hpp"

namespace berth::bench {
namespace {

/// Ended leases, written as the broker would have.
void add_ended(const Suite& suite, int count) {
    suite.sql(
        "INSERT INTO lease.leases SELECT 'ls_' || lpad(i::text, 26, '0'), 'old-' || i % 3000, "
        "'default', "
        "'admin', 'sim', 'm_' || lpad(i::text, 26, '0'), 'released', "
        "now() - interval '2 days', now() - interval '2 days', now() - interval '1 day', now() - "
        "interval '1 day', 3600000, 600000, '', false, 0, 'released', 3 "
        "FROM generate_series(1, " +
        std::to_string(count) + ") i ON CONFLICT DO NOTHING; ANALYZE lease.leases"
    );
}

long pool_count(Suite& suite, const std::string& profile, const char* what) {
    const Json all = Json::parse(suite.api("GET", "/v1/pools").body).value();
    for (const Json& pool : *all.find("pools")->as_array()) {
        if (pool.string_or("profile", "") == profile) return *pool.find(what)->as_int();
    }
    return -1;
}

/// Waits until the pool is so; -1 when it does not become so.
double until_pool(Suite& suite, const std::string& profile, const char* what, long wanted) {
    const auto began = Steady::now();
    while (since(began) < 120) {
        if (pool_count(suite, profile, what) == wanted) return since(began);
        ::usleep(20'000);
    }
    return -1;
}

/// CPU seconds that a process and the children it has now have used.
double cpu_seconds(pid_t pid) {
    double sum = 0;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string name = entry.path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        std::ifstream file(entry.path() / "stat");
        std::string text((std::istreambuf_iterator<char>(file)), {});
        const std::size_t after = text.rfind(')');
        if (after == std::string::npos) continue;
        std::istringstream rest(text.substr(after + 2));
        std::string state;
        long parent = 0;
        rest >> state >> parent;
        if (std::stol(name) != pid && parent != pid) continue;
        std::string skip;
        for (int i = 0; i < 9; ++i) rest >> skip;  // up to field 13
        long user = 0;
        long system = 0;
        rest >> user >> system;
        sum += static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
    return sum;
}

net::HttpRequest heartbeat(const std::string& lease) {
    return post("/v1/leases/" + lease + "/heartbeat");
}

/// One heartbeat; false where it failed.
bool beat(net::HttpClient& client, const Suite& suite, const std::string& lease) {
    auto request = heartbeat(lease);
    request.headers.set("Authorization", "Bearer " + suite.token());
    const auto response = client.send(request);
    return response && response->status == 200;
}

}  // namespace

void bench_leases(bool heartbeats, bool acquires) {
    Suite suite({"profiles:\n  default: {driver: local}\n  sim: {driver: simulated}\n"});
    double few_p50 = 0;
    for (const int ended : {100, 100'000}) {
        add_ended(suite, ended);
        const std::string text = std::to_string(ended) + " ended leases";
        if (heartbeats) {
            const std::string id = acquire(suite, "sim");
            std::vector<std::string> ids{id};
            for (int i = 1; i < 100; ++i) ids.push_back(acquire(suite, "sim"));
            const auto beat = [&](int i) {
                return heartbeat(ids[static_cast<std::size_t>(i) % ids.size()]);
            };
            (void)drive(suite, 4, 2'000, beat);  // warm
            const Load one = drive(suite, 1, 3'000, beat);
            print("heartbeat, 1 connection, " + text, one);
            print("heartbeat, 10 connections, " + text, drive(suite, 10, 20'000, beat));
            if (ended == 100)
                few_p50 = one.p50_ms;
            else
                std::printf(
                    "heartbeat at 100,000 ended against 100: %.2f x (limit 1.2 x)\n",
                    one.p50_ms / few_p50
                );
            for (const std::string& each : ids)
                (void)suite.api("POST", "/v1/leases/" + each + "/release");
        }
        if (acquires)
            print("acquire, 50 connections, " + text, drive(suite, 50, 3'000, [](int) {
                      return post("/v1/leases", R"({"profile":"sim"})");
                  }));
    }
}

/// Acquisitions from a warm pool of a thousand, and a hundred releases at once.
void bench_pool() {
    Suite suite(
        {"profiles:\n  default: {driver: local}\n  warm: {driver: simulated, warm_min: 1000}\n"
         "  sim: {driver: simulated}\n"}
    );
    std::printf("a pool of 1,000 filled in %.1f s\n", until_pool(suite, "warm", "idle", 1'000));
    const auto acquire_warm = [](int) { return post("/v1/leases", R"({"profile":"warm"})"); };
    (void)drive(suite, 4, 100, acquire_warm);
    (void)until_pool(suite, "warm", "idle", 1'000);
    print("acquire from a warm pool, 1 connection", drive(suite, 1, 300, acquire_warm));
    (void)until_pool(suite, "warm", "idle", 1'000);
    print("acquire from a warm pool, 50 connections", drive(suite, 50, 1'000, acquire_warm));
    std::vector<std::string> ids(100);
    for (std::string& id : ids) id = acquire(suite, "sim");
    const auto began = Steady::now();
    print("100 releases at once", drive(suite, 100, 100, [&](int i) {
              return post("/v1/leases/" + ids[static_cast<std::size_t>(i)] + "/release");
          }));
    (void)until_pool(suite, "sim", "draining_machines", 0);
    std::printf(
        "100 releases at once: all machines gone after %.2f s (limit 5 s), %ld leased\n",
        since(began),
        pool_count(suite, "sim", "leased")
    );
}

/// Ten thousand live leases that are kept alive every 30 s; and lists over a long history.
void bench_fleet() {
    Suite suite(
        {"profiles:\n  default: {driver: local}\n  sim: {driver: simulated, idle_timeout: "
         "2h}\n"}
    );
    constexpr int kLive = 10'000;
    constexpr int kRate = kLive / 30;
    std::vector<std::string> ids(kLive);
    const Load made =
        drive(suite, 50, kLive, [](int) { return post("/v1/leases", R"({"profile":"sim"})"); });
    print("acquire until 10,000 leases live, 50 connections", made);
    std::string cursor;
    for (std::size_t i = 0; i < ids.size();) {
        const Json page =
            Json::parse(suite.api("GET", "/v1/leases?limit=100&cursor=" + cursor).body).value();
        for (const Json& lease : *page.find("leases")->as_array())
            if (i < ids.size()) ids[i++] = lease.string_or("id", "");
        cursor = page.string_or("next_cursor", "");
        if (cursor.empty()) break;
    }
    (void)until_pool(suite, "sim", "leased", kLive);
    const std::vector<const char*> parts{"lease", "gateway", "nats", "postgres"};
    const auto cpu = [&](const char* part) { return cpu_seconds(suite.pid(part)); };
    std::vector<double> before;
    for (const char* part : parts) before.push_back(cpu(part));
    constexpr int kSeconds = 15;
    const auto began = Steady::now();
    std::atomic<int> sent{0};
    std::atomic<int> failed{0};
    constexpr int kThreads =
        4;  // one waits for its answer, and would fall behind on a busy machine
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            net::HttpClient client(suite.url());
            while (since(began) < kSeconds) {  // an even pace, as thousands of clients make it
                if (sent.load() >= since(began) * kRate) {
                    ::usleep(500);
                    continue;
                }
                const auto number = static_cast<std::size_t>(sent++);
                failed += beat(client, suite, ids[number % ids.size()]) ? 0 : 1;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    const double seconds = since(began);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        std::printf(
            "10,000 live leases, %d heartbeats/s (%d failed): %-8s %5.1f %% of a core%s\n",
            static_cast<int>(sent / seconds),
            failed.load(),
            parts[i],
            (cpu(parts[i]) - before[i]) / seconds * 100,
            i == 0 ? " (limit 15)" : ""
        );
    }
    const auto list = [](int) {
        net::HttpRequest request;
        request.path = "/v1/leases?limit=100";
        return request;
    };
    double few[2] = {0, 0};
    for (const int ended : {100, 100'000}) {
        add_ended(suite, ended);
        const std::string text = ", " + std::to_string(ended) + " ended leases";
        (void)drive(suite, 1, 50, list);
        const Load pages = drive(suite, 1, 300, list);
        print("list of 100, 1 connection" + text, pages);
        const Load more =
            drive(suite, 1, 300, [](int) { return post("/v1/leases", R"({"profile":"sim"})"); });
        print("acquire, 1 connection" + text, more);
        if (ended == 100) {
            few[0] = pages.p50_ms;
            few[1] = more.p50_ms;
        } else {
            std::printf(
                "at 100,000 ended against 100: list %.2f x, acquire %.2f x (limit 1.2 x)\n",
                pages.p50_ms / few[0],
                more.p50_ms / few[1]
            );
        }
    }
}

/// How late leases end while a thousand others are kept alive as fast as they can be.
void bench_expiry() {
    Suite suite(
        {"profiles:\n  default: {driver: local}\n  sim: {driver: simulated, idle_timeout: 2h}\n"}
    );
    constexpr int kKept = 1'000;
    constexpr int kEnding = 50;
    const auto ids = [&](int count, const std::string& body) {
        std::vector<std::string> out;
        for (int i = 0; i < count; ++i) {
            const auto made = suite.api("POST", "/v1/leases", body);
            out.push_back(Json::parse(made.body).value().string_or("id", ""));
        }
        return out;
    };
    const std::vector<std::string> kept = ids(kKept, R"({"profile":"sim"})");
    (void)until_pool(suite, "sim", "leased", kKept);
    for (const bool storm : {false, true}) {
        std::atomic<bool> over{false};
        std::atomic<int> sent{0};
        std::atomic<int> failed{0};
        std::vector<std::thread> threads;
        const auto began = Steady::now();
        for (int t = 0; storm && t < 16; ++t) {
            threads.emplace_back([&] {
                net::HttpClient client(suite.url());
                while (!over) {
                    const auto number = static_cast<std::size_t>(sent++);
                    failed += beat(client, suite, kept[number % kept.size()]) ? 0 : 1;
                }
            });
        }
        // Their ends lie within the storm, some 10 ms apart.
        const std::vector<std::string> ending =
            ids(kEnding, R"({"profile":"sim","idle_timeout":"10s"})");
        std::vector<double> late;
        for (const std::string& id : ending) {
            Json lease;
            while (lease.string_or("ended_at", "").empty()) {
                if (since(began) > 60) throw std::runtime_error("no end: " + lease.dump());
                ::usleep(100'000);
                lease = Json::parse(suite.api("GET", "/v1/leases/" + id).body).value();
            }
            const auto at = parse_rfc3339(lease.string_or("ended_at", ""));
            const auto due = parse_rfc3339(lease.string_or("expires_at", ""));
            late.push_back(std::chrono::duration<double>(*at - *due).count());
        }
        const double seconds = since(began);
        over = true;
        for (std::thread& thread : threads) thread.join();
        std::sort(late.begin(), late.end());
        std::printf(
            "%d leases end%s: median %.2f s, last %.2f s after their time (limit 2 s)\n",
            kEnding,
            storm ? (", " + std::to_string(static_cast<int>(sent / seconds)) + " heartbeats/s (" +
                     std::to_string(failed) + " failed) for 1,000 others")
                        .c_str()
                  : ", nothing else happens",
            late[late.size() / 2],
            late.back()
        );
    }
}

}  // namespace berth::bench
