// SPDX-License-Identifier: Apache-2.0
// What guarding costs: the wall of 2,000 execs at enforce beside the same without a guard, in
// interleaved pairs; the least that it can cost on this kernel; and what a shim adds before a tool.
// usage: guard_bench [pairs] [build | small | loop | a script]
//        guard_bench floor [rounds] [build | small | loop | a script]
//        guard_bench shim [rounds]
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "guard_floor.hpp"
#include "guard_work.hpp"
#include "node_agent/test_guarded_machine.hpp"

namespace berth::node::testing {
namespace {

using Steady = std::chrono::steady_clock;

constexpr const char* kPolicy = R"(version: 1
default: allow
rules:
  - id: no-id
    action: deny
    match: {executable: [id]}
)";

double percentile(std::vector<double> values, double part) {
    std::sort(values.begin(), values.end());
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

/// User and system time of a process and of what it and its own have waited for.
double cpu_seconds(pid_t pid) {
    const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat").value();
    unsigned long times[4] = {};
    const char* rest = stat.c_str() + stat.rfind(')') + 1;
    std::sscanf(
        rest,
        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
        times,
        times + 1,
        times + 2,
        times + 3
    );
    return static_cast<double>(times[0] + times[1] + times[2] + times[3]) /
           static_cast<double>(::sysconf(_SC_CLK_TCK));
}

Cost cost(GuardedMachine& machine, const std::string& run, const std::string& script, bool guard) {
    machine.beat();
    Launch launch = machine.guarded(run, {"sh", "-c", script});
    if (!guard) launch.guard = {};
    const auto from = Steady::now();
    const pid_t supervisor = machine.start(run, launch).pid();
    Reader reader(machine.folder(run));
    bool ended = false;
    while (!ended) {
        machine.beat();
        ended = reader.until_ended(seconds{5});
    }
    const double took = std::chrono::duration<double>(Steady::now() - from).count();
    if (reader.exit().code != 0) {
        std::fprintf(stderr, "the work failed: %s\n", reader.err().c_str());
        std::exit(1);
    }
    const double cpu = cpu_seconds(supervisor);
    reader.send({Word::kDone, 0, 0, 0, 0, {}});
    return {took, cpu};
}

/// The script that is meant, with what it needs in the machine's workspace.
std::string work_of(GuardedMachine& machine, const std::string& what) {
    if (what == "build") write_project(machine.dir / "workspace/project");
    return what == "build" ? kBuild : what == "small" ? kSmall : what == "loop" ? kLoop : what;
}

int bench(int pairs, const std::string& what) {
    GuardedMachine machine(kPolicy);
    if (!machine.usable()) return 1;
    const std::string work = work_of(machine, what);
    std::vector<double> ratios;
    std::vector<double> plain;
    std::vector<double> guarded;
    std::vector<double> work_ratios;
    std::printf("%d pairs of: %s\n", pairs, work.c_str());
    // One pair before the first fills caches and is not counted.
    for (int i = -1; i < pairs; ++i) {
        const std::string name = i < 0 ? "warm" : std::to_string(i);
        Cost costs[2];
        // Who goes first changes, so that a drift of the host favours nobody.
        for (int half = 0; half < 2; ++half) {
            const bool guard = (half + i + 1) % 2 == 1;
            costs[guard ? 1 : 0] = cost(machine, (guard ? "g" : "p") + name, work, guard);
        }
        std::printf(
            "%s: plain %.3f s, enforce %.3f s, ratio %.3f\n",
            name.c_str(),
            costs[0].wall,
            costs[1].wall,
            costs[1].wall / costs[0].wall
        );
        std::fflush(stdout);  // each as it comes
        if (i < 0) continue;
        plain.push_back(costs[0].wall);
        guarded.push_back(costs[1].wall);
        ratios.push_back(costs[1].wall / costs[0].wall);
        work_ratios.push_back(costs[1].cpu / costs[0].cpu);
    }
    std::printf(
        "plain %.3f s, enforce %.3f s (medians); median of ratios %.3f (p10 %.3f, p90 %.3f)\n",
        percentile(plain, 0.5),
        percentile(guarded, 0.5),
        percentile(ratios, 0.5),
        percentile(ratios, 0.1),
        percentile(ratios, 0.9)
    );
    std::printf("of the processors' time: median of ratios %.3f\n", percentile(work_ratios, 0.5));
    const auto entries = machine.audit("g0");
    std::printf(
        "execs: %ld\n",
        std::count_if(
            entries.begin(),
            entries.end(),
            [](const auto& entry) { return entry.fact == "exec_started"; }
        )
    );
    return 0;
}

/// What no guard of this kind can be below: see guard_floor.hpp.
int bench_floor(int rounds, const std::string& what) {
    GuardedMachine machine(kPolicy);
    const std::string work = work_of(machine, what);
    const std::string folder = machine.dir / "workspace";
    std::printf("%d rounds, outside of a sandbox, of: %s\n", rounds, work.c_str());
    constexpr Floor kAll[] = {Floor::kPlain, Floor::kFiltered, Floor::kTraced};
    std::vector<double> plain;
    std::vector<double> walls[3];
    std::vector<double> cpus[3];
    for (int round = -1; round < rounds; ++round) {
        Cost costs[3];
        for (int i = 0; i < 3; ++i) {
            const int which = round % 2 == 0 ? i : 2 - i;
            costs[which] = floor_cost(folder, work, kAll[which]);
        }
        if (round < 0) continue;  // fills caches
        plain.push_back(costs[0].wall);
        for (int i = 0; i < 3; ++i) {
            walls[i].push_back(costs[i].wall / costs[0].wall);
            cpus[i].push_back(costs[i].cpu / costs[0].cpu);
        }
    }
    std::printf("plain %.3f s (median)\n", percentile(plain, 0.5));
    for (const int i : {1, 2})
        std::printf(
            "%s: median of ratios %.3f (p10 %.3f, p90 %.3f), of the processors' time %.3f\n",
            i == 1 ? "filter" : "filter and a tracer that does nothing",
            percentile(walls[i], 0.5),
            percentile(walls[i], 0.1),
            percentile(walls[i], 0.9),
            percentile(cpus[i], 0.5)
        );
    return 0;
}

/// Interleaved rounds of a tool by its own path and by its shim.
int bench_shim(int rounds) {
    GuardedMachine machine(
        "version: 1\ndefault: allow\nrules:\n"
        "  - {id: fine, action: allow, match: {executable: [\"true\"]}}\n",
        "shim"
    );
    if (!machine.usable()) return 1;
    std::vector<double> added;
    std::vector<double> worst;
    for (int i = 0; i < rounds; ++i) {
        Reader& run = machine.finish_guarded(
            std::to_string(i),
            "./probe latency 500 /usr/bin/true; ./probe latency 500 /.berth/tools/true"
        );
        double values[4] = {};
        if (std::sscanf(
                run.out().c_str(), "%lf %lf %lf %lf", values, values + 1, values + 2, values + 3
            ) != 4) {
            std::fprintf(stderr, "%s%s", run.out().c_str(), run.err().c_str());
            return 1;
        }
        added.push_back(values[2] - values[0]);
        worst.push_back(values[3] - values[0]);
    }
    std::printf(
        "shim: adds %.1f us (median of %d rounds' medians), p99 %.1f us\n",
        percentile(added, 0.5),
        rounds,
        percentile(worst, 0.5)
    );
    return 0;
}

}  // namespace
}  // namespace berth::node::testing

int main(int argc, char** argv) {
    berth::node::testing::become_unprivileged(argv);
    if (argc > 1 && std::string(argv[1]) == "shim")
        return berth::node::testing::bench_shim(argc > 2 ? std::atoi(argv[2]) : 20);
    if (argc > 1 && std::string(argv[1]) == "floor")
        return berth::node::testing::bench_floor(
            argc > 2 ? std::atoi(argv[2]) : 20, argc > 3 ? argv[3] : "build"
        );
    const int pairs = argc > 1 ? std::atoi(argv[1]) : 20;
    return berth::node::testing::bench(pairs > 0 ? pairs : 20, argc > 2 ? argv[2] : "build");
}
