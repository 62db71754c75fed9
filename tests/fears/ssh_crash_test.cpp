// SPDX-License-Identifier: Apache-2.0
// The fear: a host of somebody's stays ours for ever. The provisioner is killed -9 at each login of
// a create and of a destroy, before the host has heard of it and after it has done what it was
// told; in the end the host has one machine while there is a lease, and nothing of us when there is
// none: no mark, no user, no folder, no process.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "crash_client.hpp"
#include "support/cloud/booted.hpp"
#include "support/run_or_skip.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

// Logins of one create or destroy: none needs as many.
constexpr int kMostLogins = 12;

class SshCrash : public CrashTest {
public:
    static void SetUpTestSuite() {
        own_ = real_roots().boot_host();
        std::string pattern = "/tmp/berth-ssh-crash-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
        folder_ = pattern;
        ::chmod(folder_.c_str(), 0777);  // the suite runs as another user
        key_ = folder_ / "key";
        std::ofstream(key_) << read_file(own_.key_file).value();
        shell(
            "/",
            "chmod 600 " + key_.string() + "; ! id berth >/dev/null 2>&1 || chown berth " +
                key_.string()
        );
        wrap_ssh();
        settings_ =
            "provisioner:\n"
            "  cloud: {gateway_url: 'http://127.0.0.1:{port}'}\n"
            "  ssh: {key_file: " +
            key_.string() + ", list_every: 20s, hosts: {old: {address: 127.0.0.1, port: " +
            std::to_string(own_.port) + ", host_key: '" + own_.host_key +
            "'}}}\nprofiles:\n  default: {driver: ssh}\n";
        SystemTest::SetUpTestSuite();
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        own_.machine.reset();
        fs::remove_all(folder_);
    }

protected:
    /// The ssh that the suite finds: counts logins, and kills at the one that `order` names.
    static void wrap_ssh() {
        const std::string dir = folder_.string();
        const fs::path bin = folder_ / "bin";
        fs::create_directories(bin);
        std::ofstream(bin / "ssh")
            << "#!/bin/sh\n"
               "n=0\n"
               "[ -e "
            << dir << "/order ] && read pid at after <" << dir << "/order && n=$(flock " << dir
            << "/lock sh -c 'n=$(($(cat " << dir << "/count) + 1)); echo $n >" << dir
            << "/count; echo $n' </dev/null)\n"
               "if [ $n -gt 0 ] && [ $n = \"$at\" ]; then\n"
               "    code=255\n"
               "    [ $after = 0 ] || { /usr/bin/ssh \"$@\"; code=$?; }\n"
               "    rm -f "
            << dir
            << "/order\n"
               "    kill -9 $pid\n"
               "    exit $code\n"
               "fi\n"
               "exec /usr/bin/ssh \"$@\"\n";
        fs::permissions(bin / "ssh", fs::perms(0755));
        ::setenv("PATH", (bin.string() + ":" + std::getenv("PATH")).c_str(), 1);
    }
    static void order(pid_t pid, int login, bool after) {
        for (const char* name : {"count", "lock"}) {
            std::ofstream(folder_ / name) << "0\n";
            fs::permissions(folder_ / name, fs::perms(0666));
        }
        std::ofstream(folder_ / "order.new") << pid << " " << login << " " << after << "\n";
        fs::rename(folder_ / "order.new", folder_ / "order");
    }
    /// What a person at the host sees of us; nothing at all where there is no machine.
    static std::string inventory() {
        auto said = launch(
            {"/usr/bin/ssh",
             "-F",
             "/dev/null",
             "-p",
             std::to_string(own_.port),
             "-i",
             own_.key_file,
             "-o",
             "StrictHostKeyChecking=no",
             "-o",
             "UserKnownHostsFile=/dev/null",
             "-o",
             "LogLevel=ERROR",
             "root@127.0.0.1",
             "cat /etc/berth-machine 2>/dev/null; ls -d /etc/berth-machine?* /opt/berth "
             "/var/lib/berth 2>/dev/null; id -un berth 2>/dev/null; ls /proc | while read p; do "
             "tr '\\0' ' ' 2>/dev/null </proc/$p/cmdline | grep -o '/opt/bert[h]/[^ ]*' | head -1; "
             "done; true"},
            "/",
            {{"PATH", "/usr/bin:/bin"}},
            true
        );
        return said->finish().out;
    }
    static std::string acquire() {
        const http::Response active = acquire_insisting(inventory, kConvergence * 2);
        EXPECT_NE(inventory().find(member(active, "machine")), std::string::npos) << inventory();
        return member(active, "id");
    }
    static void release(const std::string& lease) { release_insisting(lease, inventory); }
    /// Kills the service at the n-th login of `action`; false where there was none.
    static bool with_kill(
        const std::string& service, int login, bool after, const std::function<void()>& action
    ) {
        SCOPED_TRACE(
            service + " killed " + (after ? "after" : "before") + " login " + std::to_string(login)
        );
        const bool killed = killed_during(
            service, [&](pid_t pid) { order(pid, login, after); }, action
        );
        fs::remove(folder_ / "order");
        return killed;
    }

    /// Kills it at each login there is; in how many creates and destroys.
    static std::pair<int, int> kill_at_each_login(const std::string& service, bool after) {
        std::pair<int, int> kills;
        for (int n = 1; n < kMostLogins && !HasFailure(); ++n) {
            std::string lease;
            const bool killed = with_kill(service, n, after, [&] { lease = acquire(); });
            const bool killed_again = with_kill(service, n, after, [&] { release(lease); });
            kills.first += killed;
            kills.second += killed_again;
            if (!killed && !killed_again) break;
        }
        std::printf(
            "%s killed in %d creates and %d destroys\n", service.c_str(), kills.first, kills.second
        );
        return kills;
    }

    static inline RealRoots::Host own_;
    static inline fs::path folder_;
    static inline fs::path key_;
};

TEST_F(SshCrash, OfTheProvisionerLeavesNothingAndMakesNothingTwice) {
    const auto before = kill_at_each_login("prov", false);
    const auto after = kill_at_each_login("prov", true);
    EXPECT_GT(before.first + after.first, 2);
    EXPECT_GT(before.second + after.second, 1);
}

TEST_F(SshCrash, OfTheBrokerLeavesNothingAndMakesNothingTwice) {
    const auto kills = kill_at_each_login("lease", true);
    EXPECT_GT(kills.first, 1);
    EXPECT_GT(kills.second, 0);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::run_or_skip(
        argc, argv, "SSH CRASHES", berth::testing::real_roots().why_not()
    );
}
