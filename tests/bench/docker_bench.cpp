// SPDX-License-Identifier: Apache-2.0
// From `berth run` to the first byte of output on machines that are containers: with a machine made
// for it (cold) and on a held lease (warm), beside the engine's own create, start and wait. Needs
// root and Debian's docker.io. usage: docker_bench [rounds]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "support/engine/container_engine.hpp"
#include "support/suite/suite.hpp"

namespace berth::bench {
namespace {

using testing::ContainerEngine;
using testing::Suite;
using Steady = std::chrono::steady_clock;

constexpr const char* kWord = "first";

struct Spread {
    double p50 = 0;
    double worst = 0;
};

Spread spread_of(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.back()};
}

/// Milliseconds that each of `rounds` calls took.
Spread timed(int rounds, const std::function<void()>& step) {
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) {
        const auto from = Steady::now();
        step();
        times.push_back(std::chrono::duration<double, std::milli>(Steady::now() - from).count());
    }
    return spread_of(std::move(times));
}

/// Milliseconds from the start of the command line to its first output.
Spread first_byte(Suite& suite, int rounds, const std::vector<std::string>& options) {
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) {
        std::vector<std::string> words{"run", "--no-sync"};
        words.insert(words.end(), options.begin(), options.end());
        words.insert(words.end(), {"--", "echo", kWord});
        const auto from = Steady::now();
        const auto running = suite.start(words, {});
        const bool seen = running->wait_out(kWord);
        times.push_back(std::chrono::duration<double, std::milli>(Steady::now() - from).count());
        const testing::Said said = running->finish();
        if (!seen || said.exit_code != 0) {
            std::fprintf(stderr, "a run failed: %s\n", said.err.c_str());
            std::exit(1);
        }
    }
    return spread_of(std::move(times));
}

/// The peer: what the engine itself takes for a container that says a word.
void bare_container(ContainerEngine& engine) {
    Json request = Json::object();
    request.set("Image", Json(ContainerEngine::kImage));
    request.set("Cmd", Json::strings({"echo", kWord}));
    const std::string id = engine.call("POST", "/containers/create", request).string_or("Id", "");
    (void)engine.call("POST", "/containers/" + id + "/start");
    (void)engine.call("POST", "/containers/" + id + "/wait");
    (void)engine.call("DELETE", "/containers/" + id + "?force=1");
}

int run(int rounds) {
    ContainerEngine engine;
    if (!engine.why_not().empty()) {
        std::fprintf(stderr, "no engine: %s\n", engine.why_not().c_str());
        return 77;
    }
    Suite suite(
        {.settings = "provisioner:\n  docker: {socket: " + engine.socket() +
                     "}\nprofiles:\n  default: {driver: docker, image: '" +
                     std::string(ContainerEngine::kImage) + "'}\n"}
    );
    bare_container(engine);
    const Spread bare = timed(rounds, [&] { bare_container(engine); });
    (void)first_byte(suite, 1, {});
    const Spread cold = first_byte(suite, rounds, {});
    const Json lease = Json::parse(suite.berth({"lease", "--json"}).out).value();
    const std::string id = lease.string_or("id", "");
    (void)first_byte(suite, 1, {"--lease", id});
    const Spread warm = first_byte(suite, rounds * 3, {"--lease", id});
    (void)suite.berth({"release", id});
    std::printf(
        "docker cold: p50 %.0f ms, worst %.0f ms (limit 1500); the engine alone %.0f ms, %.2f x\n"
        "docker warm: p50 %.1f ms, worst %.1f ms (limit 50)\n",
        cold.p50,
        cold.worst,
        bare.p50,
        cold.p50 / bare.p50,
        warm.p50,
        warm.worst
    );
    return 0;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) { return berth::bench::run(argc > 1 ? std::atoi(argv[1]) : 10); }
