// SPDX-License-Identifier: Apache-2.0
// Proves what the engine is told, without one.
#include <gtest/gtest.h>

#include "provisioner/drivers/docker/container_spec.hpp"
#include "provisioner/drivers/docker/docker_driver.hpp"

namespace berth::prov {
namespace {

MachineSpec make_spec() {
    MachineSpec spec;
    spec.machine = "m_01arz3ndektsv4rrffq69g5fav";
    spec.org = "acme";
    spec.lease = "ls_01arz3ndektsv4rrffq69g5fav";
    spec.command = "01arz3ndektsv4rrffq69g5faw";
    spec.slug = "calm-otter";
    spec.profile.set_name("box");
    spec.profile.set_image("debian:bookworm-slim");
    return spec;
}

const EnginePaths kPaths{"/srv/machines/m_1", "/srv/machines/tools-1"};

Json request_of(const MachineSpec& spec) {
    return container_request(spec, labels_of(spec, "DEPLOYMENT"), kPaths, {"192.0.2.53"});
}

TEST(ContainerSpec, WallsStandWhateverTheProfileSays) {
    const Json host = *request_of(make_spec()).find("HostConfig");
    EXPECT_EQ(host.find("CapDrop")->dump(), R"(["ALL"])");
    EXPECT_EQ(host.find("CapAdd")->dump(), R"(["CHOWN","KILL","SETGID","SETUID","SYS_PTRACE"])");
    EXPECT_EQ(host.find("SecurityOpt")->dump(), R"(["no-new-privileges:true"])");
    EXPECT_TRUE(host.bool_or("ReadonlyRootfs", false));
    EXPECT_FALSE(host.bool_or("Privileged", true));
    EXPECT_EQ(host.string_or("NetworkMode", ""), "none");
    EXPECT_EQ(host.int_or("PidsLimit", 0), kDefaultPids);
    EXPECT_EQ(host.find("Binds"), nullptr);
    EXPECT_EQ(host.find("Dns"), nullptr);
}

TEST(ContainerSpec, OnlyToolsDoorAndAccountsComeFromTheHost) {
    const Json request = request_of(make_spec());
    std::string seen;
    for (const Json& mount : *request.find("HostConfig")->find("Mounts")->as_array()) {
        if (mount.string_or("Type", "") != "bind") continue;
        seen += mount.string_or("Source", "") + " " + mount.string_or("Target", "") +
                (mount.bool_or("ReadOnly", false) ? " ro\n" : " rw\n");
    }
    EXPECT_EQ(
        seen,
        "/srv/machines/tools-1 /.berth ro\n"
        "/srv/machines/m_1/door /.berth-door/d rw\n"
        "/srv/machines/m_1/etc/passwd /etc/passwd ro\n"
        "/srv/machines/m_1/etc/group /etc/group ro\n"
    );
}

TEST(ContainerSpec, LimitsOfTheProfileAreNumbersOfTheEngine) {
    MachineSpec spec = make_spec();
    spec.profile.set_cpu_millis(1'500);
    spec.profile.set_memory_bytes(512U << 20U);
    spec.profile.set_pids(99);
    spec.profile.set_network(true);
    const Json host = *request_of(spec).find("HostConfig");
    EXPECT_EQ(host.int_or("NanoCpus", 0), 1'500'000'000);
    EXPECT_EQ(host.int_or("Memory", 0), 536'870'912);
    EXPECT_EQ(host.int_or("MemorySwap", 0), 536'870'912) << "no swap on top";
    EXPECT_EQ(host.int_or("PidsLimit", 0), 99);
    EXPECT_EQ(host.string_or("NetworkMode", ""), "berth-" + spec.machine);
    EXPECT_EQ(host.find("Dns")->dump(), R"(["192.0.2.53"])");
}

TEST(ContainerSpec, EverythingCarriesTheMarksOfItsOwner) {
    const MachineSpec spec = make_spec();
    const Json labels = labels_of(spec, "DEPLOYMENT");
    EXPECT_EQ(labels.string_or("berth.deployment", ""), "DEPLOYMENT");
    EXPECT_EQ(labels.string_or("berth.machine", ""), spec.machine);
    EXPECT_EQ(labels.string_or("berth.org", ""), "acme");
    EXPECT_EQ(labels.string_or("berth.lease", ""), spec.lease);
    EXPECT_EQ(labels.string_or("berth.command", ""), spec.command);
    const Json request = request_of(spec);
    EXPECT_EQ(request.find("Labels")->dump(), labels.dump());
    int volumes = 0;
    for (const Json& mount : *request.find("HostConfig")->find("Mounts")->as_array()) {
        if (mount.string_or("Type", "") != "volume") continue;
        ++volumes;
        EXPECT_EQ(mount.find("VolumeOptions")->find("Labels")->dump(), labels.dump());
    }
    EXPECT_EQ(volumes, 3);
    EXPECT_EQ(network_request(spec, labels).find("Labels")->dump(), labels.dump());
    EXPECT_EQ(fence_request(spec, labels, kPaths, "c").find("Labels")->dump(), labels.dump());
}

TEST(ContainerSpec, OnlyTheFencesOwnContainerMayChangeTheNetwork) {
    const MachineSpec spec = make_spec();
    const Json host =
        *fence_request(spec, labels_of(spec, "D"), kPaths, "berth-m").find("HostConfig");
    EXPECT_EQ(host.find("CapAdd")->dump(), R"(["NET_ADMIN"])");
    EXPECT_EQ(host.string_or("NetworkMode", ""), "container:berth-m");
}

TEST(Resolvers, LoopbackIsAnotherHostInsideAContainer) {
    EXPECT_EQ(
        usable_resolvers("# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1 # a\n"
                         "nameserver 2001:db8::1\nsearch example.org\nnameserver 198.51.100.7\n"),
        (std::vector<std::string>{"192.0.2.1", "198.51.100.7"})
    );
}

}  // namespace
}  // namespace berth::prov
