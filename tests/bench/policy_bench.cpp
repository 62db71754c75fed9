// SPDX-License-Identifier: Apache-2.0
// What a decision costs a command that waits for it: policies of 1,000 rules, plans of every size,
// loading, hashing.
#include <benchmark/benchmark.h>

#include "identity/sha256.hpp"
#include "policy/policy.hpp"
#include "policy/test_plans.hpp"

namespace {

using namespace berth;
using namespace berth::policy;

constexpr int kRules = 1'000;

std::shared_ptr<const Policy> of_rules(std::string (*rule)(int)) {
    std::string text = "version: 1\ndefault: deny\nrules:\n";
    for (int i = 0; i < kRules; ++i)
        text += "  - {id: r" + std::to_string(i) + ", action: ask, match: {" + rule(i) + "}}\n";
    auto policy = Policy::parse(text, "bench.yaml");
    if (!policy) throw std::runtime_error(policy.error().message);
    return *policy;
}

Plan push() {
    Plan plan = plan_of({"git", "-C", "app", "push", "origin", "main", "-f"});
    plan.env = {{"GIT_TRACE", "1", false}};
    return plan;
}

void decide(
    benchmark::State& state, const std::shared_ptr<const Policy>& policy, const Plan& plan
) {
    const Origin origin = origin_of();
    for (auto _ : state) benchmark::DoNotOptimize(policy->decide(plan, origin, WallTime{}));
}

void of_many_programs(benchmark::State& state) {
    decide(
        state,
        of_rules([](int i) {
            return "executable: " +
                   (i == kRules - 1 ? std::string("git") : "tool" + std::to_string(i)) +
                   ", subcommand: push";
        }),
        push()
    );
}
BENCHMARK(of_many_programs);

void of_one_program(benchmark::State& state) {
    decide(
        state,
        of_rules([](int i) {
            return std::string() + "executable: git, subcommand: verb" + std::to_string(i) +
                   ", flags: [\"-f|--force\"]";
        }),
        push()
    );
}
BENCHMARK(of_one_program);

void of_folders(benchmark::State& state) {
    decide(
        state,
        of_rules([](int i) {
            return std::string() + "executable: \"/opt/tool" + std::to_string(i) + "/**\"";
        }),
        push()
    );
}
BENCHMARK(of_folders);

void of_users(benchmark::State& state) {
    decide(
        state,
        of_rules([](int i) {
            return std::string() + "user: \"person" + std::to_string(i) +
                   "\", cwd: \"/workspace/**\"";
        }),
        push()
    );
}
BENCHMARK(of_users);

void of_same_subcommand(benchmark::State& state) {
    decide(
        state,
        of_rules([](int i) {
            return std::string() + "executable: git, subcommand: push, argv: [push, remote" +
                   std::to_string(i) + "]";
        }),
        push()
    );
}
BENCHMARK(of_same_subcommand);

void of_a_template(benchmark::State& state) {
    const auto policy = Policy::parse(template_text("developer"), "developer.yaml");
    decide(state, *policy, push());
}
BENCHMARK(of_a_template);

void digest_of_a_plan(benchmark::State& state) {
    const Plan plan = push();
    for (auto _ : state) benchmark::DoNotOptimize(digest(plan));
}
BENCHMARK(digest_of_a_plan);

void show_of_a_plan(benchmark::State& state) {
    Plan plan = push();
    plan.argv.push_back(std::string(65'536, '\x1b'));
    for (auto _ : state) benchmark::DoNotOptimize(show_plan(plan));
}
BENCHMARK(show_of_a_plan)->Unit(benchmark::kMicrosecond);

void parse_of_1000_rules(benchmark::State& state) {
    std::string text = "version: 1\ndefault: deny\nrules:\n";
    for (int i = 0; i < kRules; ++i)
        text += "  - {id: r" + std::to_string(i) + ", action: ask, match: {executable: tool" +
                std::to_string(i) + "}}\n";
    for (auto _ : state) benchmark::DoNotOptimize(Policy::parse(text, "bench.yaml"));
}
BENCHMARK(parse_of_1000_rules)->Unit(benchmark::kMillisecond);

void load_of_1000_rules(benchmark::State& state) {
    const std::string bytes = of_rules([](int i) {
                                  return std::string() + "executable: tool" + std::to_string(i);
                              })->compiled();
    for (auto _ : state) benchmark::DoNotOptimize(Policy::load(bytes));
}
BENCHMARK(load_of_1000_rules)->Unit(benchmark::kMillisecond);

void sha256_of_a_mebibyte(benchmark::State& state) {
    const std::string bytes(1U << 20U, 'x');
    for (auto _ : state) benchmark::DoNotOptimize(identity::sha256(bytes));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * (1 << 20));
}
BENCHMARK(sha256_of_a_mebibyte);

}  // namespace

BENCHMARK_MAIN();
