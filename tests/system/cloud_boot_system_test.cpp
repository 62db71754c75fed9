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
#include "support/run_or_skip.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

int bus_port() {
    static const int port = free_port();
    return port;
}

class CloudBoot : public SystemTest {
public:
    static void SetUpTestSuite() {
        cloud_ = std::make_unique<FakeCloud>(FakeCloud::Kind::kHetzner);
        token_ = fs::temp_directory_path() / ("berth-token-" + std::to_string(cloud_->port()));
        std::ofstream(token_) << FakeCloud::kHetznerToken << "\n";
        own_ = real_roots().boot_host();
        // The suite runs as another user, who must be able to read the key it logs in with.
        key_ = token_.string() + "-key";
        std::ofstream(key_) << read_file(own_.key_file).value();
        shell("/", "chmod 600 " + key_ + "; ! id berth >/dev/null 2>&1 || chown berth " + key_);
        // Machines elsewhere come by TLS, with the authority they were told at their boot.
        settings_ = "bus: {public: '127.0.0.1:" + std::to_string(bus_port()) +
                    "', listen: '127.0.0.1:" + std::to_string(bus_port()) +
                    "'}\n"
                    "provisioner:\n"
                    "  cloud: {gateway_url: 'http://127.0.0.1:{port}'}\n"
                    "  hetzner: {token_file: " +
                    token_.string() +
                    ", endpoint: 'http://127.0.0.1:" + std::to_string(cloud_->port()) +
                    "/v1', list_every: 1s}\n"
                    "  ssh: {key_file: " +
                    key_ + ", list_every: 1s, hosts: {old: {address: 127.0.0.1, port: " +
                    std::to_string(own_.port) + ", host_key: '" + own_.host_key +
                    "'}}}\n"
                    "profiles:\n"
                    "  default: {driver: hetzner}\n"
                    "  own: {driver: ssh}\n"
                    "  pooled: {driver: hetzner, max_machines: 1}\n";
        SystemTest::SetUpTestSuite();
        host_ = std::make_unique<CloudHost>(*cloud_, [](const std::string& user_data) {
            return real_roots().boot(user_data);
        });
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        host_.reset();
        cloud_.reset();
        fs::remove(token_);
        fs::remove(key_);
        own_.machine.reset();
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
    /// What a person at the host sees.
    static std::string on_host(const std::string& script) {
        std::vector<std::string> argv{"ssh", "-F", "/dev/null", "-p", std::to_string(own_.port)};
        argv.insert(argv.end(), {"-i", own_.key_file, "-o", "StrictHostKeyChecking=no", "-o"});
        argv.insert(argv.end(), {"UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"});
        argv.insert(argv.end(), {"root@127.0.0.1", script});
        const Said said = launch(argv, "/", {{"PATH", std::getenv("PATH")}}, true)->finish();
        return said.out + said.err;
    }
    static inline fs::path token_;
    static inline std::string key_;
    static inline RealRoots::Host own_;
};

TEST_F(CloudBoot, AMachineThatBootsElsewhereInstallsEnrolsOnceAndRuns) {
    Suite::CommandOptions options;
    options.patience = seconds{150};
    const Said said = suite().berth(
        run_sh("cat a.txt; cat /etc/debian_version; id -u; exit 37", {"--keep"}), options
    );
    EXPECT_EQ(said.exit_code, 37) << said.err << suite().logs();
    EXPECT_EQ(said.out.substr(0, 6), "hello\n") << said.out;
    EXPECT_TRUE(said.out.ends_with("\n1000\n")) << said.out;

    const auto running = cloud_->running();
    ASSERT_EQ(running.size(), 1U);
    const std::string user_data = running.begin()->second;
    EXPECT_LT(user_data.size(), 16U << 10U);
    EXPECT_NE(
        user_data.find("nats_url: tls://127.0.0.1:" + std::to_string(bus_port())), std::string::npos
    );
    EXPECT_NE(user_data.find("BEGIN CERTIFICATE"), std::string::npos);
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

TEST_F(CloudBoot, ABootedMachineIsCleanedForWhoeverWaits) {
    Suite::CommandOptions options;
    options.patience = seconds{150};
    const Said first = suite().berth(
        run_sh(
            "echo mine | tee /tmp/mine ~/mine > mine; setsid -f sleep 600",
            {"--keep", "--no-sync", "--profile", "pooled"}
        ),
        options
    );
    ASSERT_EQ(first.exit_code, 0) << first.err << suite().logs();
    const Json leases = json_of(suite().api("GET", "/v1/leases").body);
    const Json& mine = (*leases.find("leases")->as_array())[0];
    const auto next = suite().api("POST", "/v1/leases", R"({"profile":"pooled","wait":"5m"})");
    const std::string id = member(next, "id");
    EXPECT_EQ(member(next, "state"), "LEASE_STATE_PENDING");
    release(mine.string_or("id", ""));
    ASSERT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/leases/" + id), "state") == "LEASE_STATE_ACTIVE";
    })) << suite().logs();
    EXPECT_EQ(
        member(suite().api("GET", "/v1/leases/" + id), "machine"), mine.string_or("machine", "")
    );
    EXPECT_EQ(cloud_->running().size(), 1U);
    const Said second = suite().berth(run_sh(
        "ls -A . ~ /tmp; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60[0]'",
        {"--lease", id, "--no-sync"}
    ));
    EXPECT_EQ(second.out.find("mine"), std::string::npos) << second.out;
    EXPECT_TRUE(second.out.ends_with("\n0\n")) << second.out << second.err;
    release(id);
}

TEST_F(CloudBoot, AHostThatSomebodyHasRunsCommandsAndIsGivenBackAsItWas) {
    const std::string look = "ls -A /opt /var/lib /etc | grep -v -- -$; cut -d: -f1 /etc/passwd";
    const std::string before = on_host(look);
    Suite::CommandOptions options;
    options.patience = seconds{150};
    const Said said =
        suite().berth(run_sh("cat a.txt; hostname; exit 21", {"--profile", "own"}), options);
    EXPECT_EQ(said.exit_code, 21) << said.err << suite().logs();
    EXPECT_EQ(said.out.substr(0, 6), "hello\n") << said.out;
    std::string after;
    // Debian's own copies of the user database end in a dash and stay.
    EXPECT_TRUE(suite().eventually([&] { return (after = on_host(look)) == before; }))
        << after << suite().logs();
    EXPECT_EQ(
        on_host("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -- '--dir "
                "/var/lib/[b]erth'; done; true"),
        ""
    );
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
    return berth::testing::run_or_skip(
        argc, argv, "CLOUD BOOT", berth::testing::real_roots().why_not()
    );
}
