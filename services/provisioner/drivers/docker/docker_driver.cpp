// SPDX-License-Identifier: Apache-2.0
// Making, tending and removing machines that are containers.
#include "provisioner/drivers/docker/docker_driver.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/text.hpp"
#include "log/log.hpp"
#include "net/fence.hpp"
#include "provisioner/drivers/docker/container_spec.hpp"
#include "provisioner/drivers/docker/tools.hpp"
#include "provisioner/settings.hpp"

namespace berth::prov {
namespace {

namespace fs = std::filesystem;

// From the start of a container to its open door; an engine under load takes seconds.
constexpr seconds kDoorPatience{10};
constexpr milliseconds kDoorLook{10};    // nothing tells of a socket that appears
constexpr int kLooksPerInspection = 20;  // the engine is asked less often than the file system
constexpr seconds kFencePatience{10};
constexpr seconds kRemovePatience{15};
constexpr milliseconds kRemoveLook{100};

Error not_ours(const std::string& what) {
    return conflict(
        std::string(kNotOurs),
        what + " at the container engine belongs to another deployment and is left alone"
    );
}

bool is_absent(const Error& error) { return error.fault == Fault::kNotFound; }

/// Success when it is gone, whoever removed it.
Result<void> gone(const Result<Json>& removed) {
    if (removed || is_absent(removed.error())) return {};
    // In use or being removed already: it will go.
    if (removed.error().fault == Fault::kConflict)
        return unavailable("not_removed", removed.error().message);
    return removed.error();
}

Result<void> make_folder(const fs::path& path, unsigned mode) {
    std::error_code error;
    fs::create_directories(path, error);
    if (!error) fs::permissions(path, fs::perms{mode}, error);
    if (error)
        return unavailable("no_folder", "cannot create " + path.string() + ": " + error.message());
    return {};
}

bool door_answers(const fs::path& door) {
    // Through the folder's descriptor, because a socket's path may have 107 bytes only.
    const Fd folder(::open(door.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/sock", folder.get());
    return folder && fd &&
           ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

const Json* at(const Json& json, std::initializer_list<const char*> path) {
    const Json* found = &json;
    for (const char* key : path) {
        if (found != nullptr) found = found->find(key);
    }
    return found;
}

}  // namespace

DockerDriver::DockerDriver(DockerDriverSettings settings, std::unique_ptr<Driver> node)
    : settings_(std::move(settings)),
      engine_(settings_.socket, settings_.transport),
      node_(std::move(node)) {}

Result<fs::path> DockerDriver::tools() {
    const std::lock_guard lock(tools_mutex_);
    std::error_code error;
    if (tools_.empty() || !fs::exists(tools_, error)) {
        BERTH_ASSIGN(tools_, prepare_tools(settings_.dir, settings_.init));
    }
    return tools_;
}

std::string DockerDriver::fence() const {
    return net::fence_rules(settings_.resolvers, net::host_addresses());
}

Result<void> DockerDriver::write_folder(const MachineSpec& spec) const {
    const fs::path root = folder(spec.machine);
    BERTH_TRY(make_folder(root, 0700));
    BERTH_TRY(make_folder(root / "node", 0700));
    // The mark of ownership first: a crash after it leaves something that may be removed.
    BERTH_TRY(write_file_atomic(root / "node" / "owner", settings_.deployment, 0600));
    // The door's user is another than ours; the folder above keeps everybody else out.
    BERTH_TRY(make_folder(root / "door", 0777));
    BERTH_TRY(make_folder(root / "etc", 0755));
    const std::string id = kInsideUser;
    BERTH_TRY(write_file_atomic(
        root / "etc" / "passwd",
        "root:x:0:0:root:/root:/bin/sh\nberth:x:" + id + ":" + id +
            ":Berth:/home/berth:/bin/sh\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        0644
    ));
    BERTH_TRY(write_file_atomic(
        root / "etc" / "group", "root:x:0:\ntty:x:5:\nberth:x:" + id + ":\nnogroup:x:65534:\n", 0644
    ));
    if (!spec.profile.network()) return {};
    BERTH_TRY(make_folder(root / "fence", 0755));
    return write_file_atomic(root / "fence" / "rules", fence(), 0644);
}

Result<Json::Array> DockerDriver::items(const std::string& path, const char* member) {
    BERTH_ASSIGN(const Json answer, engine_.get(path));
    const Json* list = *member == '\0' ? &answer : answer.find(member);
    // Some lists are null where they are empty.
    if (list == nullptr || list->as_array() == nullptr) return Json::Array{};
    return *list->as_array();
}

Result<void> DockerDriver::check_ours(const std::string& machine) {
    const std::string name = container_name(machine);
    // The names hold a ULID: whatever has it in its name pretends to be of this machine.
    const std::string filter = Engine::with_name(name);
    BERTH_ASSIGN(Json::Array found, items("/containers/json?all=1&" + filter));
    BERTH_ASSIGN(const Json::Array volumes, items("/volumes?" + filter, "Volumes"));
    BERTH_ASSIGN(const Json::Array networks, items("/networks?" + filter));
    found.insert(found.end(), volumes.begin(), volumes.end());
    found.insert(found.end(), networks.begin(), networks.end());
    for (const Json& thing : found) {
        if (!is_ours(thing.find("Labels"), machine)) return not_ours("something named " + name);
    }
    return {};
}

Result<std::vector<std::string>> DockerDriver::networks_of(const std::string& machine) {
    const std::string filter = Engine::with_labels(own_labels(settings_.deployment, machine));
    BERTH_ASSIGN(const Json::Array found, items("/networks?" + filter));
    std::vector<std::string> ids;
    for (const Json& network : found) ids.push_back(network.string_or("Id", ""));
    return ids;
}

Result<void> DockerDriver::make_network(const MachineSpec& spec, const Json& labels) {
    BERTH_ASSIGN(std::vector<std::string> there, networks_of(spec.machine));
    if (there.empty()) {
        const auto made = engine_.post("/networks/create", network_request(spec, labels));
        if (!made && made.error().fault != Fault::kConflict) return made.error();
        BERTH_ASSIGN(there, networks_of(spec.machine));
    }
    // A container finds its network by name. One that is in use is not removed.
    std::size_t left = there.size();
    for (auto twin = there.begin(); twin != there.end() && left > 1; ++twin)
        if (gone(engine_.remove("/networks/" + *twin))) --left;
    if (left != 1)
        return unavailable("no_network", "the machine's network is being made or removed already");
    return {};
}

bool DockerDriver::is_ours(const Json* labels, const std::string& machine) const {
    return labels != nullptr && labels->string_or(kLabelDeployment, "") == settings_.deployment &&
           labels->string_or(kLabelMachine, "") == machine;
}

Result<void> DockerDriver::make_container(const MachineSpec& spec) {
    BERTH_ASSIGN(const fs::path tools_here, tools());
    const EnginePaths paths{
        settings_.engine_dir / spec.machine, settings_.engine_dir / tools_here.filename()};
    const Json labels = labels_of(spec, settings_.deployment);
    if (spec.profile.network()) BERTH_TRY(make_network(spec, labels));
    const auto made = engine_.post(
        "/containers/create?name=" + container_name(spec.machine),
        container_request(spec, labels, paths, settings_.resolvers)
    );
    if (!made && made.error().fault != Fault::kConflict) return made.error();
    return {};
}

Result<void> DockerDriver::load_fence(const MachineSpec& spec) {
    const std::string fence = fence_name(spec.machine);
    BERTH_TRY(gone(engine_.remove("/containers/" + fence + "?force=1&v=1")));
    BERTH_ASSIGN(const fs::path tools_here, tools());
    const EnginePaths paths{
        settings_.engine_dir / spec.machine, settings_.engine_dir / tools_here.filename()};
    const auto made = engine_.post(
        "/containers/create?name=" + fence,
        fence_request(
            spec, labels_of(spec, settings_.deployment), paths, container_name(spec.machine)
        )
    );
    if (!made) return made.error();
    const auto started = engine_.post("/containers/" + fence + "/start");
    if (!started) return started.error();
    const auto ended = engine_.post("/containers/" + fence + "/wait", {}, kFencePatience);
    if (!ended) return ended.error();
    if (ended->int_or("StatusCode", -1) != 0) {
        const auto words = engine_.logs(fence);
        return unavailable(
            "network_unavailable",
            "the network's fence could not be loaded, so the machine gets no network: " +
                words.value_or("")
        );
    }
    return gone(engine_.remove("/containers/" + fence + "?force=1&v=1"));
}

Result<bool> DockerDriver::is_running(const std::string& machine) {
    BERTH_ASSIGN(const Json found, engine_.get("/containers/" + container_name(machine) + "/json"));
    if (!is_ours(at(found, {"Config", "Labels"}), machine))
        return not_ours("container " + container_name(machine));
    const Json* running = at(found, {"State", "Running"});
    return running != nullptr && running->as_bool() != nullptr && *running->as_bool();
}

Result<void> DockerDriver::wait_door(const std::string& machine) {
    const fs::path door = folder(machine) / "door";
    const SteadyTime until = std::chrono::steady_clock::now() + kDoorPatience;
    for (int look = 1; !door_answers(door); ++look) {
        if (look % kLooksPerInspection == 0) {
            BERTH_ASSIGN(const bool running, is_running(machine));
            if (!running) return unavailable("no_door", "the machine's container has ended");
        }
        if (const auto words = read_file(door / "error", Engine::kLogBytes))
            return unavailable("no_door", "the machine's container gave up: " + *words);
        if (std::chrono::steady_clock::now() > until)
            return unavailable(
                "no_door",
                "the machine's container does not answer; if the provisioner is a container "
                "itself, docker.engine_dir must be the host's path of docker.dir"
            );
        std::this_thread::sleep_for(kDoorLook);
    }
    return {};
}

Result<void> DockerDriver::ensure_serving(const MachineSpec& spec, bool runs) {
    const fs::path door = folder(spec.machine) / "door";
    if (runs && door_answers(door)) return {};
    if (!runs) {
        // A word that an earlier start did not use up would open this one before its fence stands.
        std::error_code ignored;
        for (const char* name : {"go", "error", "sock"}) fs::remove(door / name, ignored);
        const auto started = engine_.post("/containers/" + container_name(spec.machine) + "/start");
        if (!started && started.error().fault == Fault::kConflict)  // it is being removed
            return unavailable("not_started", started.error().message);
        if (!started) return started.error();
    }
    if (spec.profile.network()) BERTH_TRY(load_fence(spec));
    BERTH_TRY(write_file_atomic(door / "go", "", 0666));
    return wait_door(spec.machine);
}

Result<void> DockerDriver::create(const MachineSpec& spec, Attempts& attempts) {
    if (!is_id("m", spec.machine)) return invalid("bad_id", "the machine's id is malformed");
    if (spec.profile.image().empty())
        return invalid(
            "no_image",
            "profile '" + spec.profile.name() + "' of driver docker needs an image",
            "profile"
        );
    BERTH_TRY(check_ours(spec.machine));
    BERTH_TRY(puller_.ensure(spec.profile.image()));
    BERTH_TRY(write_folder(spec));
    auto made = make_container(spec);
    if (made) {
        const auto running = is_running(spec.machine);
        made = running ? ensure_serving(spec, *running) : running.error();
    }
    attempts.push_back(
        {spec.profile.image(),
         made ? std::string("created") : made.error().code,
         made ? std::string() : made.error().message}
    );
    BERTH_TRY(made);
    // The node's side: its own network is the host's, whatever the machine's is.
    MachineSpec outside = spec;
    outside.profile.set_network(false);
    return node_->create(outside, attempts);
}

Result<void> DockerDriver::remove_containers(const std::string& machine) {
    const std::string filter = Engine::with_labels(own_labels(settings_.deployment, machine));
    const SteadyTime until = std::chrono::steady_clock::now() + kRemovePatience;
    for (;;) {
        BERTH_ASSIGN(const Json::Array left, items("/containers/json?all=1&" + filter));
        if (left.empty()) return {};
        for (const Json& container : left) {
            const auto removed =
                gone(engine_.remove("/containers/" + container.string_or("Id", "") + "?force=1&v=1")
                );
            if (!removed && removed.error().code != "not_removed") return removed.error();
        }
        if (std::chrono::steady_clock::now() > until)
            return unavailable("not_removed", "the container of " + machine + " does not go");
        std::this_thread::sleep_for(kRemoveLook);
    }
}

Result<void> DockerDriver::destroy(const std::string& machine) {
    if (!is_id("m", machine)) return invalid("bad_id", "the machine's id is malformed");
    BERTH_TRY(check_ours(machine));
    // The node first, so that it does not report as ended by itself what ends now.
    BERTH_TRY(node_->destroy(machine));
    BERTH_TRY(remove_containers(machine));
    for (const MachineVolume& volume : volumes_of(machine))
        BERTH_TRY(gone(engine_.remove("/volumes/" + volume.name)));
    BERTH_ASSIGN(const std::vector<std::string> networks, networks_of(machine));
    for (const std::string& network : networks)
        BERTH_TRY(gone(engine_.remove("/networks/" + network)));
    return {};
}

Result<Condition> DockerDriver::tend(const MachineSpec& spec) {
    BERTH_ASSIGN(const Condition node, node_->tend(spec));
    if (node == Condition::kMissing) {
        BERTH_TRY(check_ours(spec.machine));
        return node;
    }
    const auto running = is_running(spec.machine);
    if (!running && running.error().code == "engine_not_found") return Condition::kMissing;
    if (!running) return running.error();
    BERTH_TRY(ensure_serving(spec, *running));
    return Condition::kWorking;
}

Result<std::vector<std::string>> DockerDriver::list() {
    const std::string filter = Engine::with_labels(own_labels(settings_.deployment));
    BERTH_ASSIGN(Json::Array found, items("/containers/json?all=1&" + filter));
    BERTH_ASSIGN(const Json::Array volumes, items("/volumes?" + filter, "Volumes"));
    BERTH_ASSIGN(const Json::Array networks, items("/networks?" + filter));
    found.insert(found.end(), volumes.begin(), volumes.end());
    found.insert(found.end(), networks.begin(), networks.end());
    BERTH_ASSIGN(const std::vector<std::string> folders, node_->list());
    std::set<std::string> machines(folders.begin(), folders.end());
    for (const Json& thing : found) {
        const std::string machine = thing.find("Labels")->string_or(kLabelMachine, "");
        if (is_id("m", machine)) machines.insert(machine);
    }
    return std::vector<std::string>(machines.begin(), machines.end());
}

std::vector<std::string> usable_resolvers(std::string_view resolv_conf) {
    std::vector<std::string> found;
    for (const std::string_view line : split(resolv_conf, '\n')) {
        constexpr std::string_view kWord = "nameserver ";
        if (!line.starts_with(kWord)) continue;
        std::string address(line.substr(kWord.size()));
        address = address.substr(0, address.find_first_of(" \t\r#"));
        in_addr v4{};
        // A loopback address is another host inside a container.
        if (::inet_pton(AF_INET, address.c_str(), &v4) == 1 && !address.starts_with("127."))
            found.push_back(std::move(address));
    }
    return found;
}

}  // namespace berth::prov
