// SPDX-License-Identifier: Apache-2.0
// Proves with a real engine that a machine's container is made once, walled in, and gone without a
// trace.
#include "provisioner/drivers/docker/docker_driver.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "core/fd.hpp"
#include "provisioner/driver_contract.hpp"
#include "provisioner/drivers/docker/container_spec.hpp"
#include "support/engine/container_engine.hpp"
#include "support/run_or_skip.hpp"

namespace berth::prov {
namespace testing {
namespace {

namespace fs = std::filesystem;
using berth::testing::ContainerEngine;

constexpr const char* kDeployment = "DEPLOYMENTOFTHETEST";

ContainerEngine& engine() {
    static ContainerEngine one;
    return one;
}

/// The node's side of a machine without a bus: its folder and nothing else.
class FolderNode final : public Driver {
public:
    explicit FolderNode(fs::path dir) : dir_(std::move(dir)) {}
    std::string_view name() const override { return "folder"; }
    Result<void> create(const MachineSpec& spec, Attempts&) override {
        std::ofstream(dir_ / spec.machine / "node" / "owner") << kDeployment;
        return {};
    }
    Result<void> destroy(const std::string& machine) override {
        std::error_code error;
        fs::remove_all(dir_ / machine, error);
        return error ? Result<void>(internal("x", error.message())) : Result<void>();
    }
    Result<Condition> tend(const MachineSpec& spec) override {
        std::error_code error;
        return fs::exists(dir_ / spec.machine / "node" / "owner", error) ? Condition::kWorking
                                                                         : Condition::kMissing;
    }
    Result<std::vector<std::string>> list() override {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(dir_)) {
            if (is_id("m", entry.path().filename().string()))
                found.push_back(entry.path().filename().string());
        }
        return found;
    }

private:
    const fs::path dir_;
};

class DockerWorld final : public DriverWorld {
public:
    DockerWorld() {
        if (!engine().why_not().empty()) return;
        engine().clear("berth.machine");
        std::string pattern = "/tmp/berth-docker-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
        dir_ = pattern;
    }
    ~DockerWorld() override {
        if (dir_.empty()) return;
        engine().clear("berth.machine");
        for (const std::string& name : foreign_)
            (void)engine().call("DELETE", "/containers/" + name + "?force=1&v=1");
        std::error_code ignored;
        fs::remove_all(dir_, ignored);
    }

    using DriverWorld::start_driver;
    std::unique_ptr<Driver> start_driver(CrashPoint crash) override {
        DockerDriverSettings settings;
        settings.socket = engine().socket();
        settings.dir = settings.engine_dir = dir_;
        settings.init = fs::path(std::getenv("BERTH_BIN_DIR")) / "berth-init";
        settings.deployment = kDeployment;
        settings.transport =
            [this, crash, url = "unix:" + engine().socket(), count = std::make_shared<int>(0)](
                const net::HttpRequest& request
            ) -> Result<net::HttpResponse> {
            const int number = ++*count;
            if (number == crash.request && !crash.carried_out) throw Crashed();
            if (broken_list_ && request.path.find("/volumes?") != std::string::npos) {
                broken_list_ = false;
                return unavailable("connection_lost", "the test cut it");
            }
            auto answer = net::HttpClient(url).send(request);
            if (number == crash.request) throw Crashed();
            return answer;
        };
        return std::make_unique<DockerDriver>(settings, std::make_unique<FolderNode>(dir_));
    }
    bool can_crash() const override { return true; }
    MachineSpec make_spec() override {
        MachineSpec spec;
        spec.machine = make_id("m", Clock::system().now(), Random::system());
        spec.org = "default";
        spec.lease = make_id("ls", Clock::system().now(), Random::system());
        spec.slug = "calm-otter";
        spec.profile.set_name("box");
        spec.profile.set_image(ContainerEngine::kImage);
        spec.profile.set_network(network);
        spec.profile.set_memory_bytes(64U << 20U);
        return spec;
    }
    int machines() override { return count("container "); }
    int leftovers() override {
        int folders = 0;
        for (const auto& entry : fs::directory_iterator(dir_))
            folders += is_id("m", entry.path().filename().string()) ? 1 : 0;
        return count("volume ") + count("network ") + folders;
    }
    bool plant_foreign(const std::string& machine) override {
        Json request;
        request.set("Image", ContainerEngine::kImage);
        request.set("Cmd", Json::strings({"sleep", "600"}));
        request.set("Labels", Json().set("berth.machine-of", "another"));
        foreign_.push_back("berth-" + machine);
        (void)engine().call("POST", "/containers/create?name=berth-" + machine, request);
        (void)engine().call("POST", "/containers/berth-" + machine + "/start");
        return true;
    }
    bool foreign_is_untouched(const std::string& machine) override {
        return engine()
            .get("/containers/berth-" + machine + "/json")
            .find("State")
            ->bool_or("Running", false);
    }
    bool break_next_list() override {
        broken_list_ = true;
        return true;
    }

    const fs::path& dir() const { return dir_; }
    bool network = false;

private:
    int count(const std::string& kind) {
        int found = 0;
        for (const std::string& thing : engine().labelled("berth.deployment=DEPLOYMENTOFTHETEST"))
            found += thing.starts_with(kind) ? 1 : 0;
        return found;
    }
    fs::path dir_;
    std::vector<std::string> foreign_;
    std::atomic<bool> broken_list_{false};
};

INSTANTIATE_TEST_SUITE_P(
    Docker,
    DriverContract,
    ::testing::Values(WorldCase{"docker", [] { return std::make_unique<DockerWorld>(); }})
);

class DockerDriverTest : public ::testing::Test {
protected:
    DockerWorld world_;
    void create(Driver& driver, const MachineSpec& spec) {
        Attempts attempts;
        const auto made = driver.create(spec, attempts);
        ASSERT_TRUE(made) << made.error().describe();
    }
    /// Runs a command through the door, as the node agent does, and gives what it said.
    std::string inside(const MachineSpec& spec, const std::string& script, int* code = nullptr) {
        auto out = process::make_pipe().value();
        process::SpawnSpec command;
        command.argv = {
            (fs::path(std::getenv("BERTH_BIN_DIR")) / "berth-init").string(),
            "enter",
            (world_.dir() / spec.machine / "door").string(),
            "tool",
            "/workspace",
            "/bin/sh",
            "-c",
            script};
        command.env = {{"PATH=/usr/bin:/bin", "HOME=/home/berth"}};
        command.stdin_fd = process::kNull;
        command.stdout_fd = command.stderr_fd = out.write.get();
        command.death_signal = SIGKILL;
        auto child = process::spawn(command).value();
        out.write.reset();
        std::string text;
        char buffer[4'096];
        for (ssize_t got = 0; (got = ::read(out.read.get(), buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<std::size_t>(got));
        const auto end = child.wait(seconds{20});
        if (!end) child.kill();
        if (code != nullptr) *code = end ? end->code : -1;
        return text;
    }
    static std::string path_of(const MachineSpec& spec) {
        return "/containers/berth-" + spec.machine;
    }
};

TEST_F(DockerDriverTest, ACommandIsAUserWithoutAnyRight) {
    const auto driver = world_.start_driver();
    const MachineSpec spec = world_.make_spec();
    create(*driver, spec);
    EXPECT_EQ(
        inside(
            spec,
            "id -u; id -un; id -G; hostname; pwd; grep -E "
            "'^(Cap(Prm|Eff|Amb)|NoNewPrivs|Seccomp):' "
            "/proc/self/status | tr -d '\\t'; touch /workspace/a ~/b /tmp/c && echo wrote; touch "
            "/usr/x /etc/x /.berth/x 2>/dev/null || echo walls; ls /.berth-door 2>/dev/null || "
            "echo no door; kill -9 1 2>/dev/null || echo no kill"
        ),
        "1000\nberth\n1000\ncalm-otter\n/workspace\nCapPrm:0000000000000000\n"
        "CapEff:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\nwrote\nwalls\n"
        "no door\nno kill\n"
    );
    EXPECT_EQ(inside(spec, "ls /sys/class/net"), "lo\n") << "no network";
    EXPECT_TRUE(driver->destroy(spec.machine));
}

TEST_F(DockerDriverTest, ExitCodesAreExactAndNothingOutlivesItsCommand) {
    const auto driver = world_.start_driver();
    const MachineSpec spec = world_.make_spec();
    create(*driver, spec);
    for (const int wanted : {0, 1, 37, 127, 255}) {
        int code = -1;
        (void)inside(spec, "exit " + std::to_string(wanted), &code);
        EXPECT_EQ(code, wanted);
    }
    int code = -1;
    (void)inside(spec, "kill -TERM $$", &code);
    EXPECT_EQ(code, 128 + SIGTERM);
    // Double forks, sessions of their own, and one that flees from whoever looks for it.
    (void)inside(
        spec,
        "(setsid sleep 301 &) ; (setsid sh -c 'trap \"\" TERM; sleep 302' & ) ; sleep 303 & exit 0"
    );
    EXPECT_EQ(inside(spec, "cat /proc/[0-9]*/comm | grep -c sleep"), "0\n");
    (void)inside(spec, "f() { f & } ; f & sh -c 'f() { sleep 0; f & }; f' & exit 0");
    EXPECT_EQ(
        inside(spec, "cat /proc/[0-9]*/comm | sort -u | tr '\\n' ' '").find("sleep"),
        std::string::npos
    );
    EXPECT_TRUE(driver->destroy(spec.machine));
}

TEST_F(DockerDriverTest, OurRsyncRunsInAnImageThatHasNone) {
    const auto driver = world_.start_driver();
    const MachineSpec spec = world_.make_spec();
    create(*driver, spec);
    const std::string said =
        inside(spec, "/.berth/ld.so --library-path /.berth/lib /.berth/bin/rsync --version");
    EXPECT_NE(said.find("protocol version"), std::string::npos) << said;
    // No command of its user reaches into it.
    EXPECT_EQ(
        inside(
            spec,
            "mkfifo /tmp/f; exec 9<>/tmp/f; /.berth/ld.so --library-path /.berth/lib "
            "/.berth/bin/rsync --server -e.LsfxCIvu . /tmp <&9 >/dev/null 2>&1 & "
            "while read -r name < /proc/$!/comm; [ \"$name\" != ld.so ]; do :; done; "
            "(: <> /proc/$!/mem) 2>/dev/null && echo open || echo closed; kill $!"
        ),
        "closed\n"
    );
    EXPECT_TRUE(driver->destroy(spec.machine));
}

TEST_F(DockerDriverTest, TheFenceStandsBeforeAnythingRunsAndAfterARestart) {
    world_.network = true;
    const auto driver = world_.start_driver();
    const MachineSpec spec = world_.make_spec();
    create(*driver, spec);
    // Something that listens on every address of the host, the bridge's included.
    const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 8), 0);
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
    const std::string port = std::to_string(ntohs(address.sin_port));
    const Json found = engine().get(path_of(spec) + "/json");
    const std::string gateway = found.find("NetworkSettings")
                                    ->find("Networks")
                                    ->find("berth-" + spec.machine)
                                    ->string_or("Gateway", "");
    ASSERT_NE(gateway, "");
    const std::string attempt = "timeout 2 bash -c 'echo > /dev/tcp/" + gateway + "/" + port +
                                "' 2>/dev/null && echo reached || echo fenced";
    EXPECT_EQ(inside(spec, attempt), "fenced\n");
    EXPECT_NE(inside(spec, "ls /sys/class/net").find("eth0"), std::string::npos);
    // Without the fence it is reached: the test means something.
    Json plain;
    plain.set("Image", ContainerEngine::kImage).set("Cmd", Json::strings({"bash", "-c", attempt}));
    plain.set("Labels", Json().set("berth.machine", "plain"));
    plain.set("HostConfig", Json().set("NetworkMode", "berth-" + spec.machine));
    const std::string id = engine().call("POST", "/containers/create", plain).string_or("Id", "");
    (void)engine().call("POST", "/containers/" + id + "/start");
    (void)engine().call("POST", "/containers/" + id + "/wait");
    net::HttpRequest logs;
    logs.path = "/containers/" + id + "/logs?stdout=1";
    const auto said = net::HttpClient("unix:" + engine().socket()).send(logs);
    ASSERT_TRUE(said);
    EXPECT_NE(said->body.find("reached"), std::string::npos) << said->body;
    (void)engine().call("DELETE", "/containers/" + id + "?force=1");
    // Somebody restarts the container: no command until the fence stands again.
    (void)engine().call("POST", path_of(spec) + "/restart?t=0");
    int code = 0;
    (void)inside(spec, "true", &code);
    EXPECT_EQ(code, 125) << "the door stays shut";
    EXPECT_EQ(driver->tend(spec).value(), Condition::kWorking);
    EXPECT_EQ(inside(spec, attempt), "fenced\n");
    EXPECT_TRUE(driver->destroy(spec.machine));
    EXPECT_EQ(world_.leftovers(), 0);
}

TEST_F(DockerDriverTest, ADeadContainerIsStartedAgainWithItsWorkspace) {
    const auto driver = world_.start_driver();
    const MachineSpec spec = world_.make_spec();
    create(*driver, spec);
    (void)inside(spec, "echo kept > /workspace/file");
    (void)engine().call("POST", path_of(spec) + "/kill");
    (void)engine().call("POST", path_of(spec) + "/wait");
    EXPECT_EQ(driver->tend(spec).value(), Condition::kWorking);
    EXPECT_EQ(inside(spec, "cat /workspace/file"), "kept\n");
    (void)engine().call("DELETE", path_of(spec) + "?force=1");
    EXPECT_EQ(driver->tend(spec).value(), Condition::kMissing);
    EXPECT_TRUE(driver->destroy(spec.machine));
    EXPECT_EQ(world_.leftovers(), 0) << "volumes go even where the container is gone";
}

TEST_F(DockerDriverTest, AContainerThatCannotStartIsNotAMissingOne) {
    const auto driver = world_.start_driver();
    MachineSpec spec = world_.make_spec();
    spec.profile.set_network(true);
    create(*driver, spec);
    (void)inside(spec, "echo kept > /workspace/file");
    (void)engine().call("POST", path_of(spec) + "/kill");
    (void)engine().call("POST", path_of(spec) + "/wait");
    const std::string network = "/networks" + path_of(spec).substr(path_of(spec).rfind('/'));
    (void)engine().call("DELETE", network);
    const auto tended = driver->tend(spec);
    EXPECT_FALSE(tended) << "its workspace is there";
    EXPECT_TRUE(driver->destroy(spec.machine));
    EXPECT_EQ(world_.leftovers(), 0);
}

TEST_F(DockerDriverTest, TwoNetworksOfOneNameAreOneMachinesAndGoWithIt) {
    const auto driver = world_.start_driver();
    MachineSpec spec = world_.make_spec();
    spec.profile.set_network(true);
    // Left by two provisioners, the first of which was killed while the engine made its network.
    const Json request = network_request(spec, labels_of(spec, kDeployment));
    for (int i = 0; i < 2; ++i) {
        Json twin = request;
        (void)engine().call("POST", "/networks/create", twin.set("CheckDuplicate", false));
    }
    create(*driver, spec);
    EXPECT_EQ(inside(spec, "echo works"), "works\n");
    EXPECT_TRUE(driver->destroy(spec.machine));
    EXPECT_EQ(world_.leftovers(), 0);
}

TEST_F(DockerDriverTest, WithoutAnImageItSaysSoAtOnceOrAfterTrying) {
    const auto driver = world_.start_driver();
    MachineSpec spec = world_.make_spec();
    spec.profile.set_image("");
    Attempts attempts;
    EXPECT_EQ(driver->create(spec, attempts).error().code, "no_image");
    spec.profile.set_image("127.0.0.1:1/none:latest");
    const auto made = driver->create(spec, attempts);
    ASSERT_FALSE(made);
    EXPECT_FALSE(made.error().message.empty());
    EXPECT_EQ(world_.machines() + world_.leftovers(), 0);
}

TEST_F(DockerDriverTest, AnEngineThatIsAwayIsNotAnEmptyOne) {
    const MachineSpec spec = world_.make_spec();
    DockerDriverSettings settings;
    settings.socket = "/nonexistent/docker.sock";
    settings.dir = settings.engine_dir = world_.dir();
    settings.deployment = kDeployment;
    DockerDriver driver(settings, std::make_unique<FolderNode>(world_.dir()));
    Attempts attempts;
    EXPECT_EQ(driver.create(spec, attempts).error().fault, Fault::kUnavailable);
    EXPECT_EQ(driver.destroy(spec.machine).error().fault, Fault::kUnavailable);
    EXPECT_EQ(driver.list().error().fault, Fault::kUnavailable);
}

}  // namespace
}  // namespace testing
}  // namespace berth::prov

int main(int argc, char** argv) {
    return berth::testing::run_or_skip(
        argc, argv, "DOCKER DRIVER", berth::prov::testing::engine().why_not()
    );
}
