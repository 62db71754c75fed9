// SPDX-License-Identifier: Apache-2.0
// The local driver with real node agents on a real bus: the contract that every driver keeps, and
// the steps of its own at which it may be cut short.
#include "provisioner/drivers/local/local_driver.hpp"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <set>

#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/random.hpp"
#include "process/process_id.hpp"
#include "process/spawn.hpp"
#include "provisioner/driver_contract.hpp"
#include "support/eventually.hpp"
#include "support/nats/nats_server.hpp"
#include "topology/apply.hpp"
#include "topology/deployment.hpp"

namespace berth::prov::testing {
namespace {

namespace fs = std::filesystem;
using berth::testing::NatsServer;

constexpr milliseconds kApiPatience{10'000};

/// The programs of a machine, where an unprivileged user may run them.
fs::path programs;

/// A bus as a deployment has it: nodes come with users of their own.
struct Bus {
    Bus()
        : deployment(make_deployment()),
          server(start_server(deployment.conf)),
          admin(connect("topology")),
          provisioner(connect("prov")) {
        const auto applied = topology::apply_topology(
            topology::builtin(),
            [this](std::string_view subject, std::string_view json) {
                return admin->request(subject, json, kApiPatience);
            }
        );
        if (!applied) throw std::runtime_error(applied.error().describe());
    }
    static topology::Deployment make_deployment() {
        topology::DeploymentOptions options;
        options.port = -1;
        return topology::generate(
                   topology::builtin(), programs / "nats", options, Clock::system().now()
        )
            .value();
    }
    static NatsServer start_server(const fs::path& conf) {
        berth::testing::NatsServerOptions options;
        options.conf = conf;
        return NatsServer::start(options);
    }
    /// As the provisioner, or as the tool that applies the topology.
    std::unique_ptr<bus::Connection> connect(const std::string& user) const {
        return bus::connect(
                   {.url = server.url(),
                    .name = "test",
                    .inbox_prefix = "_INBOX." + user,
                    .credentials = bus::credentials_from_file(deployment.creds.at(user).string()),
                    .on_closed = {}}
        ).value();
    }
    identity::KeyPair account() const {
        return identity::KeyPair::from_seed(identity::read_seed(deployment.account_seed).value())
            .value();
    }
    topology::Deployment deployment;
    NatsServer server;
    std::unique_ptr<bus::Connection> admin;
    std::unique_ptr<bus::Connection> provisioner;
};

Bus& nats() {
    static Bus bus;
    return bus;
}

/// A connection whose requests end where the provisioner is to die.
class DyingConnection final : public bus::Connection {
public:
    DyingConnection(bus::Connection& real, CrashPoint crash) : real_(real), crash_(crash) {}
    void publish(bus::Message message, PublishDone done, milliseconds timeout) override {
        real_.publish(std::move(message), std::move(done), timeout);
    }
    Result<void> publish_plain(
        std::string_view subject, std::string_view payload, const bus::Headers& headers
    ) override {
        return real_.publish_plain(subject, payload, headers);
    }
    Result<std::unique_ptr<bus::Receiver>> subscribe(std::string subject, MessageHandler handler)
        override {
        return real_.subscribe(std::move(subject), std::move(handler));
    }
    Result<std::unique_ptr<bus::Receiver>> consume(
        bus::ConsumerSettings settings, DeliveryHandler handler
    ) override {
        return real_.consume(std::move(settings), std::move(handler));
    }
    Result<std::unique_ptr<bus::Receiver>> read(bus::ReaderSettings settings, ReadHandler handler)
        override {
        return real_.read(std::move(settings), std::move(handler));
    }
    Result<std::string> request(
        std::string_view subject, std::string_view payload, milliseconds timeout
    ) override {
        const int number = ++count_;
        const bool dies = crash_.request != 0 && number >= crash_.request;
        if (dies && (!crash_.carried_out || number > crash_.request)) throw Crashed{};
        auto answer = real_.request(subject, payload, timeout);
        if (dies) throw Crashed{};
        return answer;
    }
    bool connected() const override { return real_.connected(); }
    std::shared_ptr<void> on_reconnect(std::function<void()> handler) override {
        return real_.on_reconnect(std::move(handler));
    }
    Result<void> flush(milliseconds timeout) override { return real_.flush(timeout); }

private:
    bus::Connection& real_;
    const CrashPoint crash_;
    std::atomic<int> count_ = 0;
};

class LocalWorld final : public DriverWorld {
public:
    LocalWorld() {
        std::string pattern = (programs / "machines-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
        dir_ = pattern;
    }
    ~LocalWorld() override {
        for (const auto& entry : fs::directory_iterator(dir_)) {
            process::SpawnSpec spec;
            spec.argv = {
                (programs / "berth-node").string(), "--destroy", "--dir", entry.path().string()};
            spec.stdin_fd = process::kNull;
            if (auto child = process::spawn(spec)) (void)child->wait(seconds{20});
        }
        std::error_code ignored;
        fs::remove_all(dir_, ignored);
        for (const std::string& durable : durables())
            (void)nats().provisioner->request(
                "$JS.API.CONSUMER.DELETE.CMD_NODE." + durable, "", kApiPatience
            );
    }
    std::unique_ptr<Driver> start_driver(CrashPoint crash) override {
        dying_.push_back(std::make_unique<DyingConnection>(*nats().provisioner, crash));
        enrolments_.push_back(std::make_unique<Enrolment>(*dying_.back(), nats().account()));
        LocalDriverSettings settings{
            dir_, (programs / "berth-node").string(), nats().server.url(), deployment(), {}};
        return std::make_unique<LocalDriver>(std::move(settings), *enrolments_.back(), *presences_);
    }
    using DriverWorld::start_driver;
    bool can_crash() const override { return true; }
    MachineSpec make_spec() override {
        MachineSpec spec;
        spec.machine = make_id("m", Clock::system().now(), Random::system());
        spec.org = "default";
        spec.slug = "calm-otter";
        spec.profile.set_name("default");
        spec.profile.set_driver("local");
        spec.profile.set_guard("none");
        made_.push_back(spec.machine);
        return spec;
    }
    int machines() override { return static_cast<int>(ours().size()); }
    /// What belongs to no machine that is there: folders without a mark, durables, processes.
    int leftovers() override {
        const auto there = ours();
        const auto is_there = [&there](const std::string& text) {
            return std::any_of(there.begin(), there.end(), [&text](const std::string& machine) {
                return text.find(machine) != std::string::npos;
            });
        };
        int found = 0;
        for (const std::string& durable : durables()) found += is_there(durable) ? 0 : 1;
        for (const auto& entry : fs::directory_iterator(dir_)) {
            const std::string name = entry.path().filename().string();
            found += is_there(name) || foreign_.contains(name) ? 0 : 1;
        }
        for (const std::string& command : commands()) found += is_there(command) ? 0 : 1;
        return found;
    }
    bool plant_foreign(const std::string& machine) override {
        foreign_.insert(machine);
        fs::create_directories(dir_ / machine / "node");
        return write_file_atomic(dir_ / machine / "node" / "owner", "ANOTHER", 0600).has_value() &&
               write_file_atomic(dir_ / machine / "kept", "theirs", 0600).has_value();
    }
    bool foreign_is_untouched(const std::string& machine) override {
        const auto names = std::distance(fs::directory_iterator(dir_ / machine), {});
        return text_of(machine, "node/owner") == "ANOTHER" &&
               text_of(machine, "kept") == "theirs" && names == 2;
    }
    bool break_next_list() override { return false; }  // ListOfAFolderThatCannotBeRead has it

    std::string text_of(const std::string& machine, const std::string& file) const {
        return read_file(dir_ / machine / file).value_or("");
    }
    /// Command lines of processes that name a folder of this world.
    std::vector<std::string> commands() const {
        std::vector<std::string> found;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator("/proc", error)) {
            const auto command = read_file(entry.path() / "cmdline");
            if (command && command->find(dir_.string()) != std::string::npos)
                found.push_back(*command);
        }
        return found;
    }
    const fs::path& dir() const { return dir_; }
    const std::string& deployment() const { return nats().deployment.account_public_key; }

private:
    std::vector<std::string> ours() const {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(dir_)) {
            const std::string name = entry.path().filename().string();
            if (text_of(name, "node/owner") == deployment()) found.push_back(name);
        }
        return found;
    }
    /// Of this world's machines; whether they exist, the provisioner's user may ask.
    std::vector<std::string> durables() const {
        std::vector<std::string> found;
        for (const std::string& machine : made_) {
            const std::string durable = "node-" + machine;
            const auto answer = nats().provisioner->request(
                "$JS.API.CONSUMER.INFO.CMD_NODE." + durable, "", kApiPatience
            );
            if (!answer) throw std::runtime_error(answer.error().describe());
            if (Json::parse(*answer).value().find("error") == nullptr) found.push_back(durable);
        }
        return found;
    }

    const std::unique_ptr<Presences> presences_ = Presences::listen(*nats().provisioner).value();
    std::vector<std::unique_ptr<DyingConnection>> dying_;
    std::vector<std::unique_ptr<Enrolment>> enrolments_;
    std::vector<std::string> made_;
    std::set<std::string> foreign_;
    fs::path dir_;
};

INSTANTIATE_TEST_SUITE_P(
    Local,
    DriverContract,
    ::testing::Values(WorldCase{"local", [] { return std::make_unique<LocalWorld>(); }}),
    [](const auto& test) { return test.param.name; }
);

class Local : public ::testing::Test {
protected:
    void create(const MachineSpec& spec) {
        Attempts attempts;
        const auto made = world_.start_driver()->create(spec, attempts);
        ASSERT_TRUE(made) << made.error().describe();
        EXPECT_EQ(world_.machines(), 1);
    }
    void destroy(const MachineSpec& spec) {
        const auto done = world_.start_driver()->destroy(spec.machine);
        ASSERT_TRUE(done) << done.error().describe();
        EXPECT_EQ(world_.machines(), 0);
        // A second node agent that was on its way up ends once it finds its folder gone.
        EXPECT_TRUE(berth::testing::eventually([&] { return world_.leftovers() == 0; }));
        EXPECT_FALSE(fs::exists(world_.dir() / spec.machine));
    }
    Result<process::ProcessId> node_of(const MachineSpec& spec) const {
        const std::string text = world_.text_of(spec.machine, "node/pid");
        return process::ProcessId::parse(text.substr(0, text.find('\n')));
    }
    LocalWorld world_;
};

TEST_F(Local, AFolderThatWasCutShortAtAnyStepIsCompletedOrRemoved) {
    const std::vector<std::string> steps{
        "",
        "node",
        "node/owner",
        "workspace",
        "home",
        "tmp",
        "runs",
        "node/creds",
        "node/key.pub",
        "node/node.yaml"};
    for (const bool completed : {true, false}) {
        for (std::size_t reached = 1; reached <= steps.size(); ++reached) {
            SCOPED_TRACE(steps[reached - 1] + (completed ? ", then created" : ", then removed"));
            const MachineSpec spec = world_.make_spec();
            for (std::size_t i = 0; i < reached; ++i) {
                const fs::path path = world_.dir() / spec.machine / steps[i];
                if (!steps[i].starts_with("node/")) {
                    fs::create_directories(path);
                    continue;
                }
                // Files are written whole or not at all; what they say may be of an older time.
                ASSERT_TRUE(write_file_atomic(
                    path, steps[i] == "node/owner" ? world_.deployment() : "old: [", 0600
                ));
            }
            if (completed) create(spec);
            destroy(spec);
            if (HasFailure()) return;
        }
    }
}

TEST_F(Local, ListOfAFolderThatCannotBeReadIsAnErrorAndNotAnEmptyList) {
    const MachineSpec spec = world_.make_spec();
    create(spec);
    const auto driver = world_.start_driver();
    fs::permissions(world_.dir(), fs::perms::none);
    const auto listed = driver->list();
    const auto tended = driver->tend(spec);
    fs::permissions(world_.dir(), fs::perms::owner_all);
    EXPECT_FALSE(listed);
    EXPECT_FALSE(tended) << "what cannot be seen is not missing";
    EXPECT_EQ(driver->list().value().size(), 1U);
    const fs::path node = world_.dir() / spec.machine / "node";
    fs::permissions(node / "owner", fs::perms::none);
    EXPECT_FALSE(driver->tend(spec));
    fs::permissions(node / "owner", fs::perms::owner_read);
    EXPECT_EQ(driver->tend(spec).value(), Condition::kWorking);
    fs::rename(world_.dir() / spec.machine, world_.dir() / "elsewhere");
    EXPECT_EQ(driver->tend(spec).value(), Condition::kMissing);
    fs::rename(world_.dir() / "elsewhere", world_.dir() / spec.machine);
    destroy(spec);
}

TEST_F(Local, ANodeThatDiedIsStartedAgainByTend) {
    const MachineSpec spec = world_.make_spec();
    create(spec);
    const auto driver = world_.start_driver();
    const auto pid = node_of(spec);
    ASSERT_TRUE(pid);
    ASSERT_TRUE(pid->signal(SIGKILL));
    ASSERT_TRUE(pid->wait_gone(seconds{10}));
    EXPECT_EQ(driver->tend(spec).value(), Condition::kWorking);
    create(spec);  // waits until it is heard
    EXPECT_FALSE(node_of(spec).value() == *pid);
    destroy(spec);
}

/// Sandboxes refuse root: this process goes on as nobody, with programs that nobody may read.
void become_nobody() {
    constexpr unsigned kNobody = 64'998;
    std::string pattern = "/tmp/berth-local-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    programs = pattern;
    const fs::path bin = std::getenv("BERTH_BIN_DIR");
    for (const char* name : {"berth-init", "berth-supervisor", "berth-node", "berth-shim"})
        fs::copy_file(bin / name, programs / name);
    if (::geteuid() != 0) return;
    if (::chown(pattern.c_str(), kNobody, kNobody) != 0 || ::setgroups(0, nullptr) != 0 ||
        ::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0)
        std::abort();
    ::setenv("TMPDIR", pattern.c_str(), 1);
    ::setenv("HOME", pattern.c_str(), 1);
}

}  // namespace
}  // namespace berth::prov::testing

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    berth::prov::testing::become_nobody();
    const int result = RUN_ALL_TESTS();
    std::error_code ignored;
    std::filesystem::remove_all(berth::prov::testing::programs, ignored);
    return result;
}
