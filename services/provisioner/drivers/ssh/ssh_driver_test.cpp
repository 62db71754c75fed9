// SPDX-License-Identifier: Apache-2.0
// The ssh driver over OpenSSH against real ssh servers, each in a Debian of its own: the contract
// that every driver keeps, and what only hosts of other people's ask for.
#include "provisioner/drivers/ssh/ssh_driver.hpp"

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "provisioner/driver_contract.hpp"
#include "support/cloud/booted.hpp"
#include "support/run_or_skip.hpp"

namespace berth::prov::testing {
namespace {

using berth::testing::real_roots;
using berth::testing::RealRoots;

constexpr const char* kDeployment = "ADEPLOYMENT";

/// Two hosts for all tests of this program: a Debian boots in a second, but not for each of forty.
std::vector<RealRoots::Host>& hosts() {
    static std::vector<RealRoots::Host> both = [] {
        std::vector<RealRoots::Host> made;
        made.push_back(real_roots().boot_host());
        made.push_back(real_roots().boot_host());
        return made;
    }();
    return both;
}

/// Installs what a node leaves behind, without a gateway: a user, folders, a process.
class FakeBoot final : public Boot {
public:
    Result<Secret> user_data(const MachineSpec&) override {
        return Secret(
            "set -eu\nid berth >/dev/null 2>&1 || useradd --system --user-group --home-dir "
            "/var/lib/berth berth\nmkdir -p /opt/berth/bin /var/lib/berth/machine\nchown -R "
            "berth:berth /var/lib/berth\n[ -e /var/lib/berth/pid ] || { setsid setpriv "
            "--reuid=berth "
            "--regid=berth --init-groups sleep 1000 >/dev/null 2>&1 </dev/null & echo $! "
            ">/var/lib/berth/pid; }\n" +
            more
        );
    }
    Result<void> replaced(const std::string&) override { return {}; }
    Result<bool> wait_heard(const std::string&, SteadyTime, milliseconds patience) override {
        if (heard) return true;
        std::this_thread::sleep_for(patience);  // what waiting for a silent node takes
        return false;
    }
    Result<void> touch(const std::string& machine, const std::string& place) override {
        const std::lock_guard lock(mutex_);
        places_[machine].push_back(place);
        return {};
    }
    Result<std::vector<std::string>> touched(const std::string& machine) override {
        const std::lock_guard lock(mutex_);
        return places_[machine];
    }
    bool heard = true;
    std::string more;

private:
    std::mutex mutex_;
    std::map<std::string, std::vector<std::string>> places_;
};

class SshWorld final : public DriverWorld {
public:
    SshWorld() {
        for (std::size_t i = 0; i < hosts().size(); ++i) {
            SshHost host;
            host.name = "host" + std::to_string(i);
            host.address = "127.0.0.1";
            host.port = hosts()[i].port;
            host.host_key = hosts()[i].host_key;
            settings.hosts.push_back(std::move(host));
        }
        settings.deployment = kDeployment;
        settings.list_every = milliseconds{0};
        settings.create_deadline = seconds{30};
        for (std::size_t i = 0; i < hosts().size(); ++i) {
            // As the host was: whatever the test before left.
            on(i,
               "kill -9 $(cat /var/lib/berth/pid 2>/dev/null) 2>/dev/null; userdel berth; rm -rf "
               "/etc/berth-machine* /opt/berth /var/lib/berth; true");
        }
    }
    /// What a person at the host would see.
    SshAnswer on(std::size_t host, const std::string& script) {
        const auto said = run_as(host)(settings.hosts[host], Secret(script), seconds{20});
        if (!said) throw std::runtime_error(said.error().describe());
        return *said;
    }
    SshRun run_as(std::size_t host) {
        SshSettings with_key = settings;
        with_key.key_file = hosts()[host].key_file;
        return openssh(with_key);
    }
    std::unique_ptr<SshDriver> start_ssh(CrashPoint crash) {
        auto count = std::make_shared<std::atomic<int>>(0);
        // Each host has a login key of its own here; a deployment has one for all.
        SshRun run = [this, crash, count](
                         const SshHost& host, const Secret& script, milliseconds patience
                     ) -> Result<SshAnswer> {
            const int number = ++*count;
            const bool dies = crash.request != 0 && number >= crash.request;
            if (dies && (!crash.carried_out || number > crash.request)) throw Crashed{};
            if ((unreachable == host.name || unreachable == "*") && times-- > 0)
                return unavailable("unreachable", host.name + " is away as the test wants it");
            const std::size_t index = host.name == "host0" ? 0 : 1;
            auto answer = run_as(index)(host, script, patience);
            if (dies) throw Crashed{};
            return answer;
        };
        return std::make_unique<SshDriver>(settings, boot, std::move(run));
    }
    std::unique_ptr<Driver> start_driver(CrashPoint crash) override { return start_ssh(crash); }
    using DriverWorld::start_driver;
    bool can_crash() const override { return true; }
    MachineSpec make_spec() override {
        MachineSpec spec;
        spec.machine = make_id("m", Clock::system().now(), Random::system());
        spec.org = "default";
        spec.profile.set_name("own");
        spec.profile.set_driver("ssh");
        return spec;
    }
    int machines() override {
        int found = 0;
        for (std::size_t i = 0; i < hosts().size(); ++i)
            found += on(i, "cat /etc/berth-machine 2>/dev/null || true")
                         .out.starts_with(std::string(kDeployment) + " ");
        return found;
    }
    int leftovers() override {
        int found = 0;
        // What is of a machine that is still there is its own.
        for (std::size_t i = 0; i < hosts().size(); ++i)
            found += on(i,
                        "[ -e /etc/berth-machine ] && exit 0; ls -d /etc/berth-machine* /opt/berth "
                        "/var/lib/berth 2>/dev/null; id berth 2>/dev/null; true")
                             .out.empty()
                         ? 0
                         : 1;
        return found;
    }
    bool plant_foreign(const std::string& machine) override {
        on(1, "echo 'ANOTHER " + machine + "' >/etc/berth-machine; mkdir /opt/berth");
        return true;
    }
    bool foreign_is_untouched(const std::string& machine) override {
        return on(1, "cat /etc/berth-machine; ls -d /opt/berth").out ==
               "ANOTHER " + machine + "\n/opt/berth\n";
    }
    bool break_next_list() override {
        unreachable = "*";
        times = 2;
        return true;
    }

    SshSettings settings;
    FakeBoot boot;
    std::string unreachable;
    std::atomic<int> times = 0;
};

INSTANTIATE_TEST_SUITE_P(
    Ssh,
    DriverContract,
    ::testing::Values(WorldCase{"ssh", [] { return std::make_unique<SshWorld>(); }}),
    [](const auto& test) { return test.param.name; }
);

class Ssh : public ::testing::Test {
protected:
    Result<void> create(Driver& driver) {
        attempts_.clear();
        return driver.create(spec_, attempts_);
    }
    SshWorld world_;
    MachineSpec spec_ = world_.make_spec();
    Attempts attempts_;
};

TEST_F(Ssh, AHostWhoseKeyIsAnotherIsNotSpokenTo) {
    world_.settings.hosts[0].host_key = hosts()[1].host_key;
    world_.settings.hosts.pop_back();
    const auto made = create(*world_.start_driver());
    ASSERT_FALSE(made);
    ASSERT_EQ(attempts_.size(), 1U);
    EXPECT_EQ(attempts_[0].code, "host_key_mismatch") << attempts_[0].message;
    // One sentence that says what to do, not ssh's banner; and no want of room.
    EXPECT_TRUE(attempts_[0].message.starts_with("host host0 shows another host key"))
        << attempts_[0].message;
    EXPECT_NE(attempts_[0].message.find("provisioner.ssh.hosts.host0.host_key"), std::string::npos);
    EXPECT_EQ(made.error().code, "host_key_mismatch") << made.error().describe();
    const auto listed = world_.start_driver()->list();
    ASSERT_FALSE(listed);
    EXPECT_NE(listed.error().message.find("host_key_mismatch: host host0"), std::string::npos)
        << listed.error().message;
}

TEST_F(Ssh, EachCauseOfAHostThatCannotBeUsedIsToldInAnotherSentence) {
    world_.settings.hosts.pop_back();
    const SshHost right = world_.settings.hosts[0];
    const auto said = [&](const SshHost& host) {
        const auto answer = world_.run_as(0)(host, Secret("true"), seconds{20});
        return answer ? std::string() : answer.error().describe();
    };
    EXPECT_EQ(said(right), "");
    SshHost off = right;
    off.port = 1;
    EXPECT_EQ(
        said(off),
        "unreachable: host host0 does not answer at 127.0.0.1:1: ssh: connect to host 127.0.0.1 "
        "port 1: Connection refused"
    );
    SshHost closed = right;
    closed.user = "nobody";
    EXPECT_TRUE(said(closed).starts_with("ssh_denied: host host0 does not let 'nobody' in"))
        << said(closed);
}

TEST_F(Ssh, AHostThatHasAUserOfThatNameIsLeftAlone) {
    (void)world_.on(0, "useradd berth");
    world_.settings.hosts.pop_back();
    const auto made = create(*world_.start_driver());
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "occupied") << "waiting does not help";
    EXPECT_EQ(attempts_.at(0).code, "occupied");
    EXPECT_EQ(world_.on(0, "id -un berth").out, "berth\n");
    EXPECT_EQ(world_.on(0, "ls /etc/berth-machine*").out, "");
}

TEST_F(Ssh, WhenEveryHostIsTakenEachIsTold) {
    const auto driver = world_.start_driver();
    for (int i = 0; i < 2; ++i) {
        Attempts attempts;
        ASSERT_TRUE(driver->create(world_.make_spec(), attempts));
    }
    const auto made = create(*driver);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, kCapacityExhausted);
    EXPECT_NE(made.error().message.find("host0: taken; host1: taken"), std::string::npos)
        << made.error().message;
    const auto listed = driver->list();
    ASSERT_TRUE(listed);
    for (const std::string& machine : *listed) EXPECT_TRUE(driver->destroy(machine));
}

TEST_F(Ssh, ManyAtOnceShareNoHost) {
    const auto driver = world_.start_driver();
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i)
        threads.emplace_back([&, spec = world_.make_spec()] {
            Attempts attempts;
            if (driver->create(spec, attempts)) ++made;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(made, 2);
    EXPECT_EQ(driver->list().value().size(), 2U);
    const auto listed = driver->list();
    ASSERT_TRUE(listed);
    for (const std::string& machine : *listed) EXPECT_TRUE(driver->destroy(machine));
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

TEST_F(Ssh, AHostThatIsAwayHoldsUpNoOthersButIsNotForgotten) {
    world_.unreachable = "host1";
    world_.times = 1'000;
    const auto driver = world_.start_driver();
    ASSERT_TRUE(create(*driver));
    EXPECT_TRUE(driver->destroy(spec_.machine)) << "its host was there";
    EXPECT_TRUE(driver->destroy(world_.make_spec().machine)) << "it never touched any host";
    // What is on the other host is seen, tended and removed as ever, and what is not is told.
    const auto other = world_.make_spec();
    Attempts attempts;
    ASSERT_TRUE(driver->create(other, attempts));
    const auto again = world_.start_driver();
    const auto listed = again->list();
    ASSERT_TRUE(listed) << listed.error().describe();
    EXPECT_EQ(*listed, std::vector<std::string>{other.machine});
    EXPECT_NE(again->unseen().find("host1"), std::string::npos) << again->unseen();
    EXPECT_EQ(again->tend(other).value(), Condition::kWorking);
    const auto nowhere = again->tend(world_.make_spec());
    ASSERT_FALSE(nowhere) << "it may be on the host that is away: not missing";
    EXPECT_TRUE(again->destroy(other.machine));
    EXPECT_EQ(world_.machines(), 0);
}

TEST_F(Ssh, AMachineWhoseHostIsAwayIsNotGone) {
    world_.unreachable = "host0";
    world_.times = 1;
    ASSERT_TRUE(create(*world_.start_driver())) << "on the other";
    world_.unreachable = "host1";
    world_.times = 1'000;
    const auto failed = world_.start_driver()->destroy(spec_.machine);
    ASSERT_FALSE(failed);
    EXPECT_TRUE(is_retryable(failed.error().fault)) << failed.error().describe();
    EXPECT_EQ(world_.machines(), 1);
    world_.times = 0;
    EXPECT_TRUE(world_.start_driver()->destroy(spec_.machine));
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

TEST_F(Ssh, AMachineThatNoHostTookIsGoneThoughAnotherHostIsAway) {
    (void)world_.on(0, "useradd berth");
    world_.unreachable = "host1";
    world_.times = 1'000;
    ASSERT_FALSE(create(*world_.start_driver()));
    const auto done = world_.start_driver()->destroy(spec_.machine);
    EXPECT_TRUE(done) << done.error().describe();
}

TEST_F(Ssh, AnInstallationThatFailsSaysWhyAndIsRemoved) {
    world_.boot.more = "echo 'no room on the disk' >&2; exit 9\n";
    const auto driver = world_.start_driver();
    const auto made = create(*driver);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "not_installed");
    EXPECT_NE(made.error().message.find("no room on the disk"), std::string::npos);
    EXPECT_TRUE(driver->destroy(spec_.machine));
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

}  // namespace
}  // namespace berth::prov::testing

int main(int argc, char** argv) {
    const int code = berth::testing::run_or_skip(
        argc, argv, "SSH DRIVER", berth::testing::real_roots().why_not()
    );
    berth::prov::testing::hosts().clear();
    return code;
}
