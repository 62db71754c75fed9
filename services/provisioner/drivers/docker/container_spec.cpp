// SPDX-License-Identifier: Apache-2.0
// The requests' JSON. Numbers are numbers and truths are truths: the engine answers 500 to others.
#include "provisioner/drivers/docker/container_spec.hpp"

namespace berth::prov {
namespace {

constexpr std::int64_t kNanosPerMilli = 1'000'000;
constexpr const char* kInsideTools = "/.berth";
// Behind a folder that only the container's root may enter: commands must not reach the door.
constexpr const char* kInsideDoor = "/.berth-door/d";
constexpr const char* kInsideFence = "/.berth-fence";

Json bind(const std::filesystem::path& source, const char* target, bool read_only) {
    Json mount;
    mount.set("Type", "bind").set("Source", source.string()).set("Target", target);
    return mount.set("ReadOnly", read_only);
}

/// What every container of ours has in common.
Json walls(const std::vector<std::string>& capabilities) {
    Json added = Json::array();
    for (const std::string& capability : capabilities) added.push(capability);
    Json host;
    host.set("Init", false).set("Privileged", false).set("ReadonlyRootfs", true);
    host.set("CapDrop", Json::strings({"ALL"})).set("CapAdd", std::move(added));
    host.set("SecurityOpt", Json::strings({"no-new-privileges:true"}));
    host.set("IpcMode", "private");
    host.set("RestartPolicy", Json().set("Name", "no"));
    return host;
}

Json mounts_of(const MachineSpec& spec, const Json& labels, const EnginePaths& paths) {
    Json mounts = Json::array();
    for (const MachineVolume& volume : volumes_of(spec.machine)) {
        Json mount;
        mount.set("Type", "volume").set("Source", volume.name).set("Target", volume.target);
        // Made with the container, and by then ours: nothing of it is ever without its mark.
        mount.set("VolumeOptions", Json().set("Labels", labels));
        mounts.push(std::move(mount));
    }
    mounts.push(bind(paths.tools, kInsideTools, true));
    mounts.push(bind(paths.machine / "door", kInsideDoor, false));
    for (const char* name : {"passwd", "group"})
        mounts.push(bind(paths.machine / "etc" / name, (std::string("/etc/") + name).c_str(), true)
        );
    return mounts;
}

}  // namespace

std::string container_name(const std::string& machine) { return "berth-" + machine; }
std::string fence_name(const std::string& machine) { return container_name(machine) + "-fence"; }

std::vector<MachineVolume> volumes_of(const std::string& machine) {
    return {
        {container_name(machine) + "-workspace", "/workspace"},
        {container_name(machine) + "-home", "/home/berth"},
        {container_name(machine) + "-tmp", "/tmp"}};
}

Json labels_of(const MachineSpec& spec, const std::string& deployment) {
    Json labels;
    labels.set(kLabelDeployment, deployment).set(kLabelMachine, spec.machine);
    labels.set("berth.org", spec.org).set("berth.lease", spec.lease);
    labels.set("berth.command", spec.command);
    return labels.set("berth.profile", spec.profile.name());
}

std::vector<std::string> own_labels(const std::string& deployment, const std::string& machine) {
    std::vector<std::string> labels{std::string(kLabelDeployment) + "=" + deployment};
    if (!machine.empty()) labels.push_back(std::string(kLabelMachine) + "=" + machine);
    return labels;
}

Json network_request(const MachineSpec& spec, const Json& labels) {
    Json request;
    request.set("Name", container_name(spec.machine)).set("CheckDuplicate", true);
    request.set("Driver", "bridge").set("EnableIPv6", false).set("Labels", labels);
    return request;
}

Json container_request(
    const MachineSpec& spec,
    const Json& labels,
    const EnginePaths& paths,
    const std::vector<std::string>& resolvers
) {
    const lease::v1::Profile& profile = spec.profile;
    // SETUID, SETGID: the door becomes another user for each command. KILL: it signals them. CHOWN:
    // it makes the new volumes the user's, and gives this one up before it serves. SYS_PTRACE: the
    // guards of its commands trace them from in here. A command gets none of them.
    std::vector<std::string> capabilities{"CHOWN", "KILL", "SETGID", "SETUID"};
    if (profile.guard() != "none") capabilities.emplace_back("SYS_PTRACE");
    Json host = walls(capabilities);
    host.set("LogConfig", Json().set("Type", "none"));
    host.set("Mounts", mounts_of(spec, labels, paths));
    Json tmpfs;
    tmpfs.set("/.berth-door", "size=64k,mode=0700");
    tmpfs.set(std::string(kInsideTools) + "/guard", "size=1m,mode=0755");  // the shims' socket
    tmpfs.set("/run", "size=16m,mode=0755,uid=1000,gid=1000");
    tmpfs.set("/var/tmp", "size=64m,mode=1777");
    host.set("Tmpfs", std::move(tmpfs));
    host.set("PidsLimit", profile.pids() != 0 ? std::int64_t{profile.pids()} : kDefaultPids);
    if (profile.cpu_millis() != 0)
        host.set("NanoCpus", std::int64_t{profile.cpu_millis()} * kNanosPerMilli);
    if (profile.memory_bytes() != 0) {
        const auto memory = static_cast<std::int64_t>(profile.memory_bytes());
        host.set("Memory", memory).set("MemorySwap", memory);  // the sum of both: no swap
    }
    host.set("NetworkMode", profile.network() ? container_name(spec.machine) : "none");
    if (profile.network() && !resolvers.empty()) host.set("Dns", Json::strings(resolvers));
    Json core;  // a dump would fill the workspace with what nobody asked for
    core.set("Name", "core").set("Soft", 0).set("Hard", 0);
    host.set("Ulimits", Json(Json::Array{std::move(core)}));

    std::vector<std::string> door{
        std::string(kInsideTools) + "/init", "door", kInsideDoor, kInsideUser};
    for (const MachineVolume& volume : volumes_of(spec.machine)) door.push_back(volume.target);
    Json request;
    request.set("Image", profile.image()).set("Hostname", spec.slug).set("User", "0:0");
    request.set("WorkingDir", "/").set("Entrypoint", Json::strings(door)).set("Labels", labels);
    request.set("StopSignal", "SIGTERM");
    request.set("Healthcheck", Json().set("Test", Json::strings({"NONE"})));
    return request.set("HostConfig", std::move(host));
}

Json fence_request(
    const MachineSpec& spec,
    const Json& labels,
    const EnginePaths& paths,
    const std::string& container
) {
    Json host =
        walls({"NET_ADMIN"});  // for its own short life; the machine's container never has it
    host.set("LogConfig", Json().set("Type", "json-file"));  // a refusal's words are read from it
    host.set("NetworkMode", "container:" + container);
    Json mounts = Json::array();
    mounts.push(bind(paths.tools, kInsideTools, true));
    mounts.push(bind(paths.machine / "fence", kInsideFence, true));
    host.set("Mounts", std::move(mounts));
    const std::string tools = kInsideTools;
    Json request;
    request.set("Image", spec.profile.image()).set("User", "0:0").set("WorkingDir", "/");
    request.set(
        "Entrypoint",
        Json::strings(
            {tools + "/ld.so",
             "--library-path",
             tools + "/lib",
             tools + "/bin/nft",
             "-f",
             std::string(kInsideFence) + "/rules"}
        )
    );
    request.set("Labels", labels);
    return request.set("HostConfig", std::move(host));
}

}  // namespace berth::prov
