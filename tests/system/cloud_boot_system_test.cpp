// SPDX-License-Identifier: Apache-2.0
// behaviours: a machine of a cloud boots what it was told, installs the node, enrols once, and runs
// commands; nothing of it is left when its lease ends. The cloud is a strict fake, the machine a
// Debian of its own, the rest real.
#include <cstdlib>
#include <fstream>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "identity/nkeys.hpp"
#include "support/cloud/booted.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kSkipped = 77;

RealRoots& roots() {
    static RealRoots all(
        std::getenv("BERTH_ROOT_CACHE") != nullptr
            ? std::getenv("BERTH_ROOT_CACHE")
            : std::string(std::getenv("BERTH_BIN_DIR")) + "/../cloud_root"
    );
    return all;
}

class CloudBoot : public SystemTest {
public:
    static void SetUpTestSuite() {
        cloud_ = std::make_unique<FakeCloud>(FakeCloud::Kind::kHetzner);
        token_ = fs::temp_directory_path() / ("berth-token-" + std::to_string(cloud_->port()));
        std::ofstream(token_) << FakeCloud::kHetznerToken << "\n";
        settings_ =
            "provisioner:\n"
            "  cloud: {gateway_url: 'http://127.0.0.1:{port}'}\n"
            "  hetzner: {token_file: " +
            token_.string() + ", endpoint: 'http://127.0.0.1:" + std::to_string(cloud_->port()) +
            "/v1', list_every: 1s}\n"
            "profiles:\n"
            "  default: {driver: hetzner}\n"
            "  local: {driver: local}\n";
        SystemTest::SetUpTestSuite();
        host_ = std::make_unique<CloudHost>(*cloud_, [](const std::string& user_data) {
            return roots().boot(user_data);
        });
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        host_.reset();
        cloud_.reset();
        fs::remove(token_);
    }

protected:
    void TearDown() override {
        EXPECT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }))
            << cloud_->inventory() << suite().logs();
        EXPECT_EQ(cloud_->complaints(), "");
    }
    /// An attempt to enrol with this token and a key of its own.
    static http::Response enrol(const std::string& machine, const std::string& token) {
        const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
        const std::string nonce = make_ulid(Clock::system().now(), Random::system());
        const Json body =
            Json::object()
                .set("machine", machine)
                .set("token", token)
                .set("user_public_key", key.public_key())
                .set("nonce", nonce)
                .set("signature", base64url(key.sign("berth-enrol:" + machine + ":" + nonce)));
        return suite().api("POST", "/v1/nodes/enrol", body.dump());
    }
    static inline std::unique_ptr<FakeCloud> cloud_;
    static inline std::unique_ptr<CloudHost> host_;
    static inline fs::path token_;
};

TEST_F(CloudBoot, AMachineThatBootsElsewhereInstallsEnrolsOnceAndRuns) {
    Suite::CommandOptions options;
    options.patience = seconds{150};
    const Said said = suite().berth(
        {"run", "--keep", "--", "sh", "-c", "cat a.txt; cat /etc/debian_version; id -u; exit 37"},
        options
    );
    EXPECT_EQ(said.exit_code, 37) << said.err << suite().logs();
    EXPECT_EQ(said.out.substr(0, 6), "hello\n") << said.out;
    EXPECT_TRUE(said.out.ends_with("\n1000\n")) << said.out;

    const auto running = cloud_->running();
    ASSERT_EQ(running.size(), 1U);
    const std::string user_data = running.begin()->second;
    EXPECT_LT(user_data.size(), 16U << 10U);
    const std::string machine = assigned(user_data, "machine");
    const std::string token = assigned(user_data, "token");
    // The token is dead: it was used once.
    EXPECT_EQ(member(enrol(machine, token), "code"), "token_used");
    EXPECT_EQ(member(enrol(machine, "berth_" + std::string(43, 'A')), "code"), "bad_token")
        << "a guess";
    // Nowhere in what is stored or logged.
    EXPECT_EQ(suite().logs().find(token), std::string::npos);

    const Json leases = json_of(suite().api("GET", "/v1/leases").body);
    release((*leases.find("leases")->as_array())[0].string_or("id", ""));
    ASSERT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }));
    EXPECT_EQ(member(enrol(machine, token), "code"), "bad_token") << "the machine is gone";
}

TEST_F(CloudBoot, WhatIsServedToStrangersSaysNothing) {
    const auto bundle = suite().api("GET", "/v1/nodes/bundle");
    EXPECT_EQ(bundle.status, 200);
    EXPECT_EQ(bundle.body.substr(0, 2), "\x1f\x8b");
    EXPECT_EQ(member(enrol("m_01h00000000000000000000000", ""), "code"), "bad_token");
    EXPECT_EQ(suite().api("POST", "/v1/nodes/enrol", "{\"machine\":\"x\"}").status, 400);
}

TEST_F(CloudBoot, DriftIsEmptyAndEachProviderIsLookedAt) {
    Json drift;
    ASSERT_TRUE(suite().eventually([&] {
        drift = json_of(suite().api("GET", "/v1/drift").body);
        return !drift.string_or("looked_at", "").empty();
    })) << drift.dump()
        << suite().logs();
    EXPECT_EQ(drift.find("items")->as_array()->size(), 0U) << drift.dump();
    for (const Json& look : *drift.find("drivers")->as_array())
        EXPECT_TRUE(look.bool_or("ok", false)) << look.dump();
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    const std::string why = berth::testing::roots().why_not();
    if (!why.empty()) {
        std::fprintf(stderr, "CLOUD BOOT SKIPPED, NOTHING WAS PROVEN: %s\n", why.c_str());
        return berth::testing::kSkipped;
    }
    return RUN_ALL_TESTS();
}
