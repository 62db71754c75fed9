// SPDX-License-Identifier: Apache-2.0
// Starts the fake (and moto) once, talks to its control side.
#include "provisioner/drivers/aws/test_aws_world.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "core/id.hpp"
#include "http/client.hpp"
#include "process/spawn.hpp"
#include "support/free_port.hpp"

namespace berth::prov::testing {
namespace {

constexpr seconds kStartPatience{60};

std::string env(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

class Process {
public:
    Process(std::vector<std::string> argv, bool read_port) {
        process::SpawnSpec spec;
        spec.argv = std::move(argv);
        spec.stdin_fd = process::kNull;
        spec.death_signal = SIGKILL;
        auto pipe = process::make_pipe();
        if (!pipe) fail(pipe.error().describe());
        spec.stdout_fd = read_port ? pipe->write.get() : process::kNull;
        if (!read_port) spec.stderr_fd = process::kNull;
        auto child = process::spawn(spec);
        if (!child) fail(child.error().describe());
        child_ = std::move(*child);
        pipe->write = Fd();
        if (read_port) port = read(pipe->read.get());
    }
    ~Process() { child_.kill(); }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    int port = 0;

private:
    static int read(int fd) {
        std::string line;
        pollfd wait{fd, POLLIN, 0};
        while (line.find('\n') == std::string::npos) {
            char byte = 0;
            if (::poll(&wait, 1, static_cast<int>(milliseconds(kStartPatience).count())) != 1 ||
                ::read(fd, &byte, 1) != 1)
                fail("the fake did not start");
            line += byte;
        }
        return std::stoi(line.substr(line.find(' ') + 1));
    }
    process::Child child_;
};

http::Response send(const std::string& method, const std::string& url, const std::string& body) {
    static http::Client client;
    http::Request request;
    request.method = method;
    request.url = url;
    request.body = body;
    auto response = client.send(request);
    if (!response) fail(url + ": " + response.error().describe());
    return std::move(*response);
}

struct Servers {
    Servers() {
        const std::string folder = env("BERTH_SOURCE_DIR") + "/tests/fakes/aws/";
        std::vector<std::string> argv = {"python3", folder + "ec2_fake.py"};
        if (AwsWorld::with_moto()) {
            const int port = berth::testing::free_port();
            moto = std::make_unique<Process>(
                std::vector<std::string>{
                    folder + "moto", "serve", env("BERTH_AWS_MOTO"), std::to_string(port)},
                false
            );
            const std::string url = "http://127.0.0.1:" + std::to_string(port);
            wait_for(url + "/moto-api/data.json");
            argv.insert(argv.end(), {"--upstream", url});
        }
        fake = std::make_unique<Process>(argv, true);
    }
    static void wait_for(const std::string& url) {
        const auto until = std::chrono::steady_clock::now() + kStartPatience;
        http::Client client;
        http::Request request;
        request.url = url;
        while (!client.send(request)) {
            if (std::chrono::steady_clock::now() > until) fail("moto did not start");
            // A server in another process tells nobody that it listens.
            std::this_thread::sleep_for(milliseconds{50});
        }
    }
    std::unique_ptr<Process> moto;
    std::unique_ptr<Process> fake;
};

Servers& servers() {
    static Servers all;
    return all;
}

}  // namespace

Result<bool> FakeBoot::wait_heard(const std::string&, SteadyTime, milliseconds patience) {
    if (heard(++waits)) return true;
    std::this_thread::sleep_for(patience);  // what waiting for a silent node takes
    return false;
}

bool AwsWorld::with_moto() { return !env("BERTH_AWS_MOTO").empty(); }

AwsWorld::AwsWorld() {
    control("POST", "reset");
    settings.deployment = "ADEPLOYMENT";
    settings.credentials = {"AKIDFAKE", Secret("fake-secret"), {}};
    settings.regions = {{"eu-central-1", "", {}}, {"eu-west-1", "", {}}};
    settings.endpoint = "http://{region}.localhost:" + std::to_string(servers().fake->port);
    settings.ssh_public_key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBvUKFHhpNv0w1e4zTyTW5bXoSmFUe8yfxhwV5zbxqN test";
    settings.create_patience = seconds{10};
    settings.destroy_patience = seconds{5};
    settings.poll = milliseconds{1};
    settings.consistency = milliseconds{300};
    settings.inventory_every = milliseconds{0};
    settings.backoff = milliseconds{1};
}

std::unique_ptr<Driver> AwsWorld::start_driver(CrashPoint crash) {
    if (const auto good = check(settings); !good) fail(good.error().describe());
    auto count = std::make_shared<std::atomic<int>>(0);
    aws::HttpSend send = [http = aws::pooled_http(), count, crash](const http::Request& request) {
        const int number = ++*count;
        if (crash.request != 0 && number >= crash.request) {
            if (number == crash.request && crash.carried_out) (void)http(request);
            throw Crashed{};
        }
        return http(request);
    };
    boot.waits = 0;
    return std::make_unique<AwsDriver>(settings, boot, std::move(send));
}

MachineSpec AwsWorld::make_spec() {
    MachineSpec spec;
    spec.machine = make_id("m", Clock::system().now(), Random::system());
    spec.org = "default";
    spec.lease = "ls_1";
    spec.command = "01arz3ndektsv4rrffq69g5faw";
    spec.slug = "calm-otter";
    spec.profile.set_name("big");
    spec.profile.set_driver("aws");
    spec.profile.set_image("099720109477/ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-*");
    spec.profile.set_ssh(true);
    spec.profile.set_spot(true);
    set_types(spec, {"t3.small", "t3.large"});
    set_locations(spec, {"eu-central-1", "eu-west-1"});
    return spec;
}

Json AwsWorld::control(const std::string& method, const std::string& path, const Json& body) {
    const std::string url =
        "http://127.0.0.1:" + std::to_string(servers().fake->port) + "/_control/" + path;
    const auto response = send(method, url, body.is_null() ? "" : body.dump());
    if (response.status != 200) fail(path + ": " + response.body);
    auto answer = Json::parse(response.body);
    if (!answer) fail(path + ": " + answer.error().describe());
    return std::move(*answer);
}

void AwsWorld::rules(const std::string& json) {
    control("POST", "rules", Json::parse(json).value());
}
void AwsWorld::rule(const std::string& action, const std::string& code, int times, int status) {
    Json one = Json::object();
    one.set("action", action).set("kind", "error").set("code", code);
    one.set("times", times).set("status", status);
    control("POST", "rules", Json(Json::Array{one}));
}
void AwsWorld::set(const std::string& name, int value) {
    control("POST", "set", Json::object().set(name, value));
}
std::string AwsWorld::raw(
    const std::string& region, const std::vector<std::pair<std::string, std::string>>& fields
) {
    Json body = Json::object();
    body.set("region", region);
    for (const auto& [name, value] : fields) body.set(name, value);
    const Json answer = control("POST", "raw", body);
    if (answer.int_or("status", 0) != 200) fail(answer.string_or("body", ""));
    return answer.string_or("body", "");
}

std::vector<Json> AwsWorld::things(
    const std::string& kind, const std::function<bool(const Json&)>& keep
) {
    std::vector<Json> out;
    const Json all = inventory();
    for (const Json& thing : *all.find(kind)->as_array()) {
        if (!keep || keep(thing)) out.push_back(thing);
    }
    return out;
}
std::vector<Json> AwsWorld::live_instances() {
    return things("instances", [](const Json& thing) {
        const std::string state = thing.string_or("state", "");
        return state == "pending" || state == "running";
    });
}
std::vector<Json> AwsWorld::requests(const std::string& action) {
    std::vector<Json> out;
    const Json all = control("GET", "log");
    for (const Json& one : *all.as_array()) {
        if (action.empty() || one.string_or("Action", "") == action) out.push_back(one);
    }
    return out;
}
std::string AwsWorld::tag(const Json& thing, const std::string& key) {
    return thing.find("tags")->string_or(key, "");
}

int AwsWorld::machines() {
    return static_cast<int>(things("instances", [&](const Json& thing) {
                                return tag(thing, "berth:deployment") == settings.deployment &&
                                       thing.string_or("state", "") != "terminated";
                            }).size());
}
int AwsWorld::leftovers() {
    const auto own = [&](const Json& thing) {
        return tag(thing, "berth:deployment") == settings.deployment &&
               !tag(thing, "berth:machine").empty();
    };
    std::size_t count = things("keys", own).size() + things("groups", own).size();
    // A volume in use belongs to an instance that is counted.
    count += things("volumes", [&](const Json& thing) {
                 return own(thing) && thing.string_or("state", "") != "in-use";
             }).size();
    return static_cast<int>(count);
}

bool AwsWorld::plant_foreign(const std::string& machine) {
    (void)raw(
        "eu-central-1",
        {{"Action", "RunInstances"},
         {"ImageId", "ami-1e749f67"},
         {"InstanceType", "t3.micro"},
         // As another deployment's driver would make it: the deployment's tag alone tells.
         {"ClientToken", machine + "-0"},
         {"MinCount", "1"},
         {"MaxCount", "1"},
         {"TagSpecification.1.ResourceType", "instance"},
         {"TagSpecification.1.Tag.1.Key", "berth:machine"},
         {"TagSpecification.1.Tag.1.Value", machine},
         {"TagSpecification.1.Tag.2.Key", "berth:deployment"},
         {"TagSpecification.1.Tag.2.Value", "ANOTHER"}}
    );
    return true;
}
bool AwsWorld::foreign_is_untouched(const std::string& machine) {
    for (const Json& instance : live_instances()) {
        if (tag(instance, "berth:machine") == machine &&
            tag(instance, "berth:deployment") == "ANOTHER")
            return true;
    }
    return false;
}

bool AwsWorld::break_next_list() {
    // In the middle: the second region's groups. As often as the client tries.
    rules(R"([{"action":"DescribeSecurityGroups","region":"eu-west-1","kind":"error",
               "code":"InternalError","status":500,"times":5}])");
    return true;
}

void set_types(MachineSpec& spec, const std::vector<std::string>& types) {
    spec.profile.clear_types();
    for (const std::string& type : types) spec.profile.add_types(type);
}
void set_locations(MachineSpec& spec, const std::vector<std::string>& locations) {
    spec.profile.clear_locations();
    for (const std::string& location : locations) spec.profile.add_locations(location);
}

}  // namespace berth::prov::testing
