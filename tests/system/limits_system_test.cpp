// SPDX-License-Identifier: Apache-2.0
// behaviours: lease 9 with 15. What an org and a profile may have and spend, asked for by many at
// once through two brokers: never one lease too many, never a cent too much.
#include <set>
#include <thread>

#include "replica.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// Of this deployment's settings, below.
constexpr int kOfOrg = 20;
constexpr int kOfProfile = 8;
constexpr long long kBudget = 10'000'000;
constexpr int kAtOnce = 40;

class Limits : public SystemTest {
public:
    static void SetUpTestSuite() {
        SystemTest::SetUpTestSuite();
        for (const char* part : {"lease", "prov"})
            second_.push_back(std::make_unique<Replica>(suite(), part));
    }
    static void TearDownTestSuite() {
        second_.clear();
        SystemTest::TearDownTestSuite();
    }

protected:
    /// Ten users ask at once, four times each; the answers.
    static std::vector<http::Response> ask_at_once(
        const std::function<std::string(int)>& body, const std::string& round
    ) {
        std::vector<Headers> users;
        for (int i = 0; i < kAtOnce / 4; ++i)
            users.push_back(as("user" + round + std::to_string(i)));
        std::vector<http::Response> answers(kAtOnce);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < answers.size(); ++i)
            threads.emplace_back([&, i] {
                answers[i] = suite().api(
                    "POST", "/v1/leases", body(static_cast<int>(i)), users[i % users.size()]
                );
            });
        for (std::thread& thread : threads) thread.join();
        return answers;
    }
    static Headers as(const std::string& user) {
        const auto token = suite().api(
            "POST",
            "/v1/tokens",
            "{\"user\":\"" + user + "\",\"roles\":[\"operator\"],\"label\":\"test\"}"
        );
        EXPECT_LT(token.status, 300) << token.body;
        return {{"Authorization", "Bearer " + member(token, "text")}};
    }
    /// Those that were accepted; the others are refused with `code` and nothing else.
    static std::vector<std::string> accepted(
        const std::vector<http::Response>& answers, const std::string& code
    ) {
        std::vector<std::string> ids;
        std::set<std::string> machines;
        for (const auto& answer : answers) {
            if (answer.status < 300) {
                ids.push_back(member(answer, "id"));
                machines.insert(member(answer, "machine"));
                continue;
            }
            EXPECT_EQ(answer.status, 429) << answer.body;
            EXPECT_EQ(member(answer, "code"), code) << answer.body;
        }
        EXPECT_EQ(machines.size(), ids.size()) << "a machine each";
        return ids;
    }
    static void release_those(const std::vector<std::string>& leases) {
        for (const std::string& lease : leases) release(lease);
    }
    /// What the org has reserved and spent this month.
    static long long money() {
        long long sum = 0;
        const Json usage = json_of(suite().api("GET", "/v1/usage").body);
        for (const Json& row : *usage.find("rows")->as_array())
            sum += std::stoll(row.string_or("reserved_micros", "0")) +
                   std::stoll(row.string_or("spent_micros", "0"));
        return sum;
    }

    static inline std::vector<std::unique_ptr<Replica>> second_;
};

TEST_F(Limits, Case9AnOrgHasAsManyLeasesAsItMayAndNoMore) {
    const auto leases = accepted(
        ask_at_once(
            [](int i) {
                return "{\"profile\":\"" +
                       std::string(
                           i % 3 == 0   ? "sim"
                           : i % 3 == 1 ? "other"
                                        : "third"
                       ) +
                       "\"}";
            },
            "org"
        ),
        "lease_limit"
    );
    // 40 over three profiles of at most 8 are more than the org may have.
    EXPECT_EQ(leases.size(), static_cast<std::size_t>(kOfOrg));
    const auto refused = suite().api("POST", "/v1/leases", R"({"profile":"fourth"})");
    EXPECT_EQ(refused.status, 429) << refused.body;
    EXPECT_NE(member(refused, "detail").find("org default"), std::string::npos) << refused.body;
    release(leases.front());
    const auto again = suite().api("POST", "/v1/leases", R"({"profile":"fourth"})");
    EXPECT_LT(again.status, 300) << "a released one makes room: " << again.body;
    release(member(again, "id"));
    release_those({leases.begin() + 1, leases.end()});
}

TEST_F(Limits, Case9AProfileHasAsManyLeasesAsItMayAndOthersTheirs) {
    const auto leases =
        accepted(ask_at_once([](int) { return R"({"profile":"sim"})"; }, "profile"), "lease_limit");
    EXPECT_EQ(leases.size(), static_cast<std::size_t>(kOfProfile));
    const auto refused = suite().api("POST", "/v1/leases", R"({"profile":"sim"})");
    EXPECT_NE(member(refused, "detail").find("profile 'sim'"), std::string::npos) << refused.body;
    const auto other = suite().api("POST", "/v1/leases", R"({"profile":"other"})");
    EXPECT_LT(other.status, 300) << other.body;
    release(member(other, "id"));
    release_those(leases);
}

TEST_F(Limits, Case9ABudgetOfAnOrgIsNeverOverspentHoweverManyAskAtOnce) {
    // An hour costs 3: three fit in 10, whoever asks; the rest is not enough for a fourth.
    const auto leases = accepted(
        ask_at_once([](int) { return R"({"profile":"paid","ttl":"1h"})"; }, "paid"),
        "budget_exceeded"
    );
    EXPECT_EQ(leases.size(), 3U);
    EXPECT_EQ(money(), 9'000'000);
    const auto refused = suite().api("POST", "/v1/leases", R"({"profile":"paid","ttl":"1h"})");
    EXPECT_NE(member(refused, "detail").find("org default"), std::string::npos) << refused.body;
    const auto last = suite().api("POST", "/v1/leases", R"({"profile":"paid","ttl":"20m"})");
    EXPECT_LT(last.status, 300) << "to the last cent: " << last.body;
    EXPECT_EQ(money(), kBudget);
    EXPECT_EQ(
        member(suite().api("POST", "/v1/leases", R"({"profile":"paid","ttl":"1s"})"), "code"),
        "budget_exceeded"
    );
    // Taken and given back by many at once: at no moment more than there is.
    release_those(leases);
    release(member(last, "id"));
    for (int round = 0; round < 3; ++round) {
        const auto more = accepted(
            ask_at_once(
                [](int i) {
                    return R"({"profile":"paid","ttl":")" + std::to_string(30 + i) + R"(m"})";
                },
                "again" + std::to_string(round)
            ),
            "budget_exceeded"
        );
        EXPECT_GE(more.size(), 2U);
        EXPECT_LE(money(), kBudget) << "round " << round;
        release_those(more);
    }
    EXPECT_LT(money(), 1'000'000) << "what was not used came back";
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
        "  other: {driver: simulated}\n"
        "  third: {driver: simulated}\n"
        "  fourth: {driver: simulated}\n"
        "  paid: {driver: simulated, price_micros_per_hour: 3000000}\n"
        "broker:\n"
        "  limits: {leases_per_org: 20, leases_per_profile: 8, budget_per_org_micros: 10000000}\n"
    );
}
