// SPDX-License-Identifier: Apache-2.0
// Starts the fake provider and speaks to its control side.
#include "provisioner/drivers/hetzner/test_hetzner_world.hpp"

#include <stdexcept>

#include "core/id.hpp"
#include "support/fakes/fake_server.hpp"

namespace berth::prov::testing {
namespace {

/// It dies with the thread that started it: the main one.
const berth::testing::FakeServer& fake() {
    static berth::testing::FakeServer fake("hetzner/fake.py", {"--token", HetznerWorld::kToken});
    return fake;
}

Json object(const std::string& text) { return Json::parse(text).value(); }

}  // namespace

Result<Secret> FakeBoot::user_data(const MachineSpec& spec) {
    return Secret("#cloud-config\nruncmd: [[berth-node, --enrol, " + spec.machine + "]]\n");
}

Result<bool> FakeBoot::wait_heard(const std::string& machine, SteadyTime, milliseconds) {
    for (const Json& server : world_.all("servers")) {
        if (!silent && hetzner::label_of(server, hetzner::kMachineLabel) == machine &&
            server.string_or("status", "") == "running")
            return true;
    }
    return false;
}

HetznerWorld::HetznerWorld() {
    settings.api.endpoint = fake().api_url() + "/v1";
    settings.api.token = Secret(kToken);
    settings.api.request_timeout = milliseconds{3'000};
    settings.api.first_pause = milliseconds{2};
    settings.api.slowest_pause = milliseconds{20};
    settings.deployment = "ADEPLOYMENTKEYOFFIFTYSIXCHARACTERSXXXXXXXXXXXXXXXXXXXXXXX";
    settings.create_deadline = milliseconds{15'000};
    settings.destroy_deadline = milliseconds{15'000};
    settings.start_patience = milliseconds{10'000};
    settings.first_look = milliseconds{2};
    settings.slowest_look = milliseconds{20};
    settings.list_every = milliseconds{0};
    control("POST", "reset", "{}");
}

Json HetznerWorld::control(
    const std::string& method, const std::string& name, const std::string& body
) {
    const std::lock_guard lock(mutex_);
    http::Request request;
    request.method = method;
    request.url = fake().url() + "/_control/" + name;
    request.body = body;
    const auto response = client_.send(request);
    if (!response || response->status != 200)
        throw std::runtime_error("the fake refused " + name + (response ? response->body : ""));
    return Json::parse(response->body, {64U << 20U, 64}).value();
}

std::unique_ptr<HetznerDriver> HetznerWorld::start_hetzner(CrashPoint crash) {
    auto sent = std::make_shared<std::atomic<int>>(0);
    hetzner::Sender inner = http::make_sender();
    auto sender = [crash, sent, inner](const http::Request& request) {
        const int number = ++*sent;
        const bool dies = crash.request != 0 && number >= crash.request;
        if (dies && (!crash.carried_out || number > crash.request)) throw Crashed{};
        auto response = inner(request);
        if (dies) throw Crashed{};
        return response;
    };
    return std::make_unique<HetznerDriver>(settings, boot, sender);
}

std::unique_ptr<Driver> HetznerWorld::start_driver(CrashPoint crash) {
    return start_hetzner(crash);
}

MachineSpec HetznerWorld::make_spec() {
    MachineSpec spec;
    spec.machine = make_id("m", Clock::system().now(), Random::system());
    spec.command = make_ulid(Clock::system().now(), Random::system());
    spec.lease = make_id("ls", Clock::system().now(), Random::system());
    spec.org = "default";
    spec.slug = "calm-otter";
    spec.profile.set_name("remote");
    spec.profile.set_driver("hetzner");
    return spec;
}

Json HetznerWorld::state() { return control("GET", "state", ""); }

std::vector<Json> HetznerWorld::all(const std::string& kind) {
    return *state().find(kind)->as_array();
}

int HetznerWorld::count(const std::string& kind, bool ours) {
    int found = 0;
    for (const Json& item : all(kind)) {
        if (!ours || hetzner::label_of(item, hetzner::kDeploymentLabel) == deployment_label())
            ++found;
    }
    return found;
}

int HetznerWorld::leftovers() {
    const Json now = state();
    std::size_t found = 0;
    for (const char* kind : {"ssh_keys", "primary_ips", "volumes"})
        found += now.find(kind)->as_array()->size();
    return static_cast<int>(found);
}

Json HetznerWorld::server_item(
    const std::string& name, const Json& labels, const std::string& status
) const {
    Json item = object(
        R"({"created":"2024-01-30T23:55:00Z","image":null,"iso":null,"locked":false,
            "backup_window":null,"included_traffic":0,"ingoing_traffic":0,"outgoing_traffic":0,
            "primary_disk_size":40,"private_net":[],"rescue_enabled":false,"volumes":[],
            "load_balancers":[],"placement_group":null,"protection":{"delete":false,"rebuild":false},
            "public_net":{"firewalls":[],"floating_ips":[],"ipv4":null,"ipv6":null},
            "location":{"id":1,"name":"fsn1","description":"d","city":"c","country":"DE",
              "latitude":50.5,"longitude":12.4,"network_zone":"eu-central"},
            "datacenter":{"id":1,"name":"fsn1-dc1","description":"d",
              "location":{"id":1,"name":"fsn1","description":"d","city":"c","country":"DE",
                "latitude":50.5,"longitude":12.4,"network_zone":"eu-central"},
              "server_types":{"available":[],"available_for_migration":[],"supported":[]}},
            "server_type":{"id":1,"name":"cx22","description":"CX22","cores":2,"memory":4.0,
              "disk":40,"cpu_type":"shared","storage_type":"local","architecture":"x86",
              "deprecated":false,"deprecation":null,"locations":[],"prices":[]}})"
    );
    return item.set("name", name).set("labels", labels).set("status", status);
}

std::int64_t HetznerWorld::plant(const std::string& kind, Json item) {
    const Json body = Json::object().set("kind", kind).set("item", std::move(item));
    return control("POST", "plant", body.dump()).int_or("id", 0);
}

bool HetznerWorld::plant_foreign(const std::string& machine) {
    Json labels = Json::object().set("made-by", "somebody-else");
    plant("servers", server_item(hetzner::resource_name(machine), labels, "running"));
    return true;
}

bool HetznerWorld::foreign_is_untouched(const std::string& machine) {
    const auto servers = all("servers");
    return servers.size() == 1 &&
           servers[0].string_or("name", "") == hetzner::resource_name(machine) &&
           servers[0].string_or("status", "") == "running" &&
           hetzner::label_of(servers[0], "made-by") == "somebody-else";
}

bool HetznerWorld::break_next_list() {
    // Servers are listed, keys are not: half of the truth is no list.
    fault(R"({"method":"GET","path":"/ssh_keys","kind":"error","status":403,"code":"forbidden"})");
    return true;
}

void HetznerWorld::fault(const std::string& line) { control("POST", "faults", "[" + line + "]"); }
void HetznerWorld::set(const std::string& json) { control("POST", "settings", json); }

std::vector<Json> HetznerWorld::requests(const std::string& method, const std::string& path) {
    std::vector<Json> found;
    const Json log = control("GET", "log", "");
    for (const Json& entry : *log.as_array()) {
        if (entry.string_or("method", "") == method && entry.string_or("template", "") == path)
            found.push_back(entry);
    }
    return found;
}

int HetznerWorld::ask(const std::string& method, const std::string& path) {
    http::Request request;
    request.method = method;
    request.url = settings.api.endpoint + path;
    request.headers = {{"Authorization", std::string("Bearer ") + kToken}};
    return client_.send(request).value().status;
}

}  // namespace berth::prov::testing
