// SPDX-License-Identifier: Apache-2.0
// behaviours: lease 8, from outside: a provider without room is told to whoever asked for a
// machine, with everything that was tried.
#include <fstream>

#include "support/cloud/fake_cloud.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

class Capacity : public SystemTest {
public:
    static void SetUpTestSuite() {
        cloud_ = std::make_unique<FakeCloud>(FakeCloud::Kind::kHetzner);
        folder_ = std::filesystem::temp_directory_path() /
                  ("berth-capacity-" + std::to_string(cloud_->port()));
        std::filesystem::create_directories(folder_);
        const std::string token = folder_ / "token";
        std::ofstream(token) << FakeCloud::kHetznerToken;
        settings_ =
            "provisioner:\n  cloud: {gateway_url: 'http://127.0.0.1:{port}'}\n"
            "  hetzner: {token_file: " +
            token + ", endpoint: 'http://127.0.0.1:" + std::to_string(cloud_->port()) +
            "/v1', list_every: 500ms}\n"
            "profiles:\n"
            "  default: {driver: hetzner, types: [cx22, cx32], locations: [fsn1, nbg1]}\n"
            "  one: {driver: hetzner, types: [cx22], locations: [fsn1]}\n";
        SystemTest::SetUpTestSuite();
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        cloud_.reset();
        std::filesystem::remove_all(folder_);
    }

protected:
    void SetUp() override {
        cloud_->reset();
        cloud_->control(
            "POST",
            "faults",
            Json::parse(R"([{"method":"POST","path":"/servers","kind":"error","status":412,
                             "code":"resource_unavailable","message":"no such server is free",
                             "times":100}])")
                .value()
        );
    }
    void TearDown() override {
        EXPECT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }))
            << cloud_->inventory() << suite().logs();
    }
    /// "hetzner cx22 in fsn1 resource_unavailable", an item each.
    static std::vector<std::string> attempts_of(const Json& told) {
        std::vector<std::string> out;
        const Json* attempts = told.find("attempts");
        if (attempts == nullptr || attempts->as_array() == nullptr) return out;
        for (const Json& attempt : *attempts->as_array()) {
            EXPECT_EQ(attempt.string_or("message", ""), "no such server is free");
            out.push_back(
                attempt.string_or("provider", "") + " " + attempt.string_or("target", "") + " " +
                attempt.string_or("code", "")
            );
        }
        return out;
    }
    static inline const std::vector<std::string> kAll{
        "hetzner cx22 in fsn1 resource_unavailable",
        "hetzner cx32 in fsn1 resource_unavailable",
        "hetzner cx22 in nbg1 resource_unavailable",
        "hetzner cx32 in nbg1 resource_unavailable"};
    static inline std::unique_ptr<FakeCloud> cloud_;
    static inline std::filesystem::path folder_;
};

TEST_F(Capacity, Case8AcquireIsAnsweredWith503AndEachAttempt) {
    const auto said = suite().api("POST", "/v1/leases?wait=active&timeout=50s", "{}");
    EXPECT_EQ(said.status, 503) << said.body << suite().logs();
    EXPECT_EQ(said.header("content-type"), "application/problem+json");
    EXPECT_EQ(member(said, "code"), "capacity_exhausted");
    EXPECT_EQ(attempts_of(json_of(said.body)), kAll);
    const auto one =
        suite().api("POST", "/v1/leases?wait=active&timeout=50s", R"({"profile":"one"})");
    EXPECT_EQ(one.status, 503) << one.body;
    EXPECT_EQ(attempts_of(json_of(one.body)), std::vector<std::string>{kAll[0]})
        << "a type that was named falls back to no other";
}

TEST_F(Capacity, Case8WhoAskedAndCameBackLaterIsToldTheSame) {
    const auto made = suite().api("POST", "/v1/leases", "{}");
    ASSERT_EQ(made.status, 202) << made.body;
    const std::string path = "/v1/leases/" + member(made, "id");
    const auto waited = suite().api("GET", path + "?wait=active&timeout=50s");
    EXPECT_EQ(waited.status, 503) << waited.body;
    EXPECT_EQ(member(waited, "code"), "capacity_exhausted");
    EXPECT_EQ(attempts_of(json_of(waited.body)), kAll);
    const auto looked = suite().api("GET", path);
    EXPECT_EQ(looked.status, 200) << looked.body;
    EXPECT_EQ(member(looked, "state"), "LEASE_STATE_FAILED");
    EXPECT_EQ(member(looked, "end_reason"), "capacity_exhausted");
    EXPECT_EQ(attempts_of(json_of(looked.body)), kAll);
}

TEST_F(Capacity, Case8TheCommandLineSaysEachAttemptAndWhatToDo) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"lease"}, run_sh("true")}) {
        const Said said = suite().berth(words);
        EXPECT_NE(said.exit_code, 0) << said.out;
        for (const char* text :
             {"cx22 in fsn1: resource_unavailable (no such server is free)",
              "cx32 in nbg1: resource_unavailable",
              "try again later"})
            EXPECT_NE(said.err.find(text), std::string::npos) << text << " not in: " << said.err;
    }
}

}  // namespace
}  // namespace berth::testing
