// SPDX-License-Identifier: Apache-2.0
// What the suite's benchmarks share: requests from many connections at once, and their times.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/fd.hpp"
#include "net/http_client.hpp"
#include "support/suite/suite.hpp"

namespace berth::bench {

namespace fs = std::filesystem;
using testing::Said;
using testing::Suite;
using Steady = std::chrono::steady_clock;

inline double since(Steady::time_point from) {
    return std::chrono::duration<double>(Steady::now() - from).count();
}

struct Load {
    double p50_ms = 0;
    double p99_ms = 0;
    double per_second = 0;
    int failures = 0;
};

/// `connections` threads, each with its own keep-alive connection, share `total` requests.
inline Load drive(
    const Suite& suite, int connections, int total, const std::function<net::HttpRequest(int)>& make
) {
    std::atomic<int> next{0};
    std::atomic<int> failures{0};
    std::vector<std::vector<double>> times(static_cast<std::size_t>(connections));
    const auto began = Steady::now();
    std::vector<std::thread> threads;
    for (int t = 0; t < connections; ++t) {
        threads.emplace_back([&, t] {
            net::HttpClient client(suite.url());
            for (int i = next++; i < total; i = next++) {
                net::HttpRequest request = make(i);
                request.headers.set("Authorization", "Bearer " + suite.token());
                if (!request.body.empty()) request.headers.set("Content-Type", "application/json");
                const auto from = Steady::now();
                const auto response = client.send(request);
                times[static_cast<std::size_t>(t)].push_back(since(from) * 1e3);
                if (!response || response->status >= 300) ++failures;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    const double seconds = since(began);
    std::vector<double> all;
    for (const auto& some : times) all.insert(all.end(), some.begin(), some.end());
    std::sort(all.begin(), all.end());
    return {
        all[all.size() / 2],
        all[all.size() * 99 / 100],
        static_cast<double>(total) / seconds,
        failures.load()};
}

inline void print(const std::string& name, const Load& load) {
    std::printf(
        "%-52s p50 %7.2f ms  p99 %7.2f ms  %7.0f/s  %d failed\n",
        name.c_str(),
        load.p50_ms,
        load.p99_ms,
        load.per_second,
        load.failures
    );
    std::fflush(stdout);
}

inline net::HttpRequest post(const std::string& path, const std::string& body = {}) {
    net::HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.body = body;
    return request;
}

inline std::string acquire(Suite& suite, const std::string& profile) {
    const auto made = suite.api("POST", "/v1/leases", "{\"profile\":\"" + profile + "\"}");
    const std::string id = Json::parse(made.body).value().string_or("id", "");
    (void)suite.api("GET", "/v1/leases/" + id + "?wait=active&timeout=20s");
    return id;
}

// lease_bench.cpp
void bench_leases(bool heartbeats, bool acquires);
void bench_pool();
void bench_fleet();
void bench_expiry();
// decision_bench.cpp
void bench_decisions();

}  // namespace berth::bench
