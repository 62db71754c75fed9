// SPDX-License-Identifier: Apache-2.0
// The fear: something at a provider is billed and nobody knows of it. The provisioner is killed -9
// at each request of a create and of a destroy, before the provider carried it out and after; the
// broker while both are under way. A minute later the provider's whole inventory is what the leases
// say: one machine while there is a lease, nothing at all when there is none, keys and groups too.
//
// Every day a third of the requests, the two kinds of moment in turns; BERTH_CRASH_FULL=1 has all
// of both.
#include <cstdlib>
#include <fstream>

#include "crash_client.hpp"
#include "support/cloud/booted.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

// Requests of one create or destroy: none needs as many.
constexpr int kMostRequests = 40;

template <FakeCloud::Kind kKind>
class CloudCrash : public CrashTest {
public:
    static void SetUpTestSuite() {
        cloud_ = std::make_unique<FakeCloud>(kKind);
        secret_ = fs::temp_directory_path() / ("berth-secret-" + std::to_string(cloud_->port()));
        const bool hetzner = kKind == FakeCloud::Kind::kHetzner;
        const std::string port = std::to_string(cloud_->port());
        std::ofstream(secret_) << (hetzner ? FakeCloud::kHetznerToken : "fake-secret");
        // Looked at rarely: the requests that are counted are those of the create and the destroy.
        const std::string provider =
            hetzner ? "hetzner: {token_file: " + secret_.string() +
                          ", endpoint: 'http://127.0.0.1:" + port + "/v1', list_every: 20s}\n"
                    : "aws: {access_key: AKIDFAKE, secret_key_file: " + secret_.string() +
                          ", endpoint: 'http://{region}.localhost:" + port +
                          "', regions: {eu-central-1: {}}, poll: 50ms, list_every: 20s}\n";
        const std::string profile =
            hetzner ? "{driver: hetzner}\n"
                    : "{driver: aws, ssh: true, types: [t3.small], image: "
                      "'099720109477/ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-*'}\n";
        settings_ =
            "provisioner:\n"
            "  cloud:\n"
            "    gateway_url: 'http://127.0.0.1:{port}'\n"
            "    ssh_public_key: 'ssh-ed25519 "
            "AAAAC3NzaC1lZDI1NTE5AAAAIBBvUKFHhpNv0w1e4zTyTW5bXoSmFUe8yfxhwV5zbxqN test'\n"
            "  " +
            provider + "profiles:\n  default: " + profile;
        SystemTest::SetUpTestSuite();
        host_ = std::make_unique<CloudHost>(*cloud_, boot_presence);
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        host_.reset();
        cloud_.reset();
        fs::remove(secret_);
    }

protected:
    void TearDown() override { EXPECT_EQ(cloud_->complaints(), ""); }

    static std::string inventory() { return cloud_->inventory(); }
    static std::string acquire() {
        return member(acquire_insisting(inventory, kConvergence), "id");
    }
    static void release(const std::string& lease) { release_insisting(lease, inventory); }
    static int machines() { return static_cast<int>(cloud_->running().size()); }
    static bool both() { return std::getenv("BERTH_CRASH_FULL") != nullptr; }

    /// Kills `part` at the n-th request of `action`; false where there was none.
    static bool with_kill(
        const std::string& part, int request, bool after, const std::function<void()>& action
    ) {
        SCOPED_TRACE(
            part + " is killed " + (after ? "after" : "before") + " request " +
            std::to_string(request)
        );
        const bool killed = killed_during(
            part, [&](pid_t pid) { cloud_->kill_at(pid, request, after); }, action
        );
        cloud_->kill_at(0, kMostRequests * 1'000, false);  // nobody, for long
        return killed;
    }
    /// Each request of a create, then each of a destroy.
    static void matrix(const std::string& part, int sampled) {
        const int step = both() ? 1 : sampled;
        int creates = 0;
        int destroys = 0;
        for (int round = 0; round < (both() ? 2 : 1); ++round) {
            const auto after = [&](int request) { return (request + round) % 2 == 0; };
            for (int n = 1; n < kMostRequests && !HasFailure(); n += step) {
                std::string lease;
                if (!with_kill(part, n, after(n), [&] { lease = acquire(); })) {
                    release(lease);
                    break;
                }
                ++creates;
                EXPECT_EQ(machines(), 1) << cloud_->inventory();
                release(lease);
            }
            for (int n = 1; n < kMostRequests && !HasFailure(); n += step) {
                const std::string lease = acquire();
                if (!with_kill(part, n, after(n), [&] { release(lease); })) break;
                ++destroys;
            }
        }
        EXPECT_GT(creates, 1);
        EXPECT_GT(destroys, 1);
        std::printf("%s: killed in %d creates and %d destroys\n", part.c_str(), creates, destroys);
    }

    static inline std::unique_ptr<FakeCloud> cloud_;
    static inline std::unique_ptr<CloudHost> host_;
    static inline fs::path secret_;
};

using HetznerCrash = CloudCrash<FakeCloud::Kind::kHetzner>;
using AwsCrash = CloudCrash<FakeCloud::Kind::kAws>;

TEST_F(HetznerCrash, OfTheProvisionerLeavesNothingAndMakesNothingTwice) { matrix("prov", 3); }
TEST_F(HetznerCrash, OfTheBrokerLeavesNothingAndMakesNothingTwice) { matrix("lease", 5); }
TEST_F(AwsCrash, OfTheProvisionerLeavesNothingAndMakesNothingTwice) { matrix("prov", 3); }
TEST_F(AwsCrash, OfTheBrokerLeavesNothingAndMakesNothingTwice) { matrix("lease", 7); }

}  // namespace
}  // namespace berth::testing
