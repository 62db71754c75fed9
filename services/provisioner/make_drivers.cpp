// SPDX-License-Identifier: Apache-2.0
// One line a driver.
#include "provisioner/make_drivers.hpp"

#include "core/fd.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "provisioner/drivers/aws/aws_driver.hpp"
#include "provisioner/drivers/docker/docker_driver.hpp"
#include "provisioner/drivers/hetzner/hetzner_driver.hpp"
#include "provisioner/drivers/local/local_driver.hpp"
#include "provisioner/drivers/simulated/simulated_driver.hpp"

namespace berth::prov {
namespace {

// Some 20 MiB packed.
constexpr std::size_t kMaxBundle = 256U << 20U;
// It travels in user data, of which EC2 takes 16 KiB.
constexpr std::size_t kMaxCa = 4U << 10U;

/// What a machine elsewhere and the bus say to each other crosses networks that are nobody's.
Result<void> check_private(const std::string& url) {
    if (url.starts_with("tls://")) return {};
    for (const char* own : {"nats://127.", "nats://localhost:", "nats://[::1]:"}) {
        if (url.starts_with(own)) return {};
    }
    return invalid(
        "plain_bus",
        "machines elsewhere would talk to " + url +
            " unencrypted; give the bus a public address (berth.yaml: bus: {public: host:port}) or "
            "set cloud.nats_url to a tls:// address"
    );
}

std::unique_ptr<LocalDriver> make_local(
    const ProvSettings& settings,
    const std::string& folder,
    const NodeBus& bus,
    const std::string& more,
    Enrolment& enrolment,
    Presences& presences
) {
    std::string lines = more;
    if (!bus.ca_file.empty()) lines += "nats_ca_file: " + bus.ca_file + "\n";
    if (!bus.name.empty()) lines += "nats_name: " + bus.name + "\n";
    LocalDriverSettings local{
        folder, settings.node_binary, bus.url, enrolment.account_public_key(), lines};
    return std::make_unique<LocalDriver>(std::move(local), enrolment, presences);
}

DockerDriverSettings docker_settings(const ProvSettings& settings, const std::string& deployment) {
    return {
        settings.docker.socket,
        settings.docker.dir,
        settings.docker.engine_dir,
        std::filesystem::path(settings.node_binary).parent_path() / "berth-init",
        settings.docker.resolvers,
        deployment};
}

}  // namespace

Drivers make_drivers(
    const ProvSettings& settings,
    const NodeBus& bus,
    Enrolment& enrolment,
    Presences& presences,
    CloudBoot* boot
) {
    // The account's key is what makes a deployment this one and no other.
    const std::string& deployment = enrolment.account_public_key();
    Drivers drivers;
    const auto add = [&drivers](std::unique_ptr<Driver> driver) {
        std::string name(driver->name());
        drivers.emplace(std::move(name), std::move(driver));
    };
    const auto add_cloud = [&](std::unique_ptr<Driver> provider) {
        add(std::make_unique<CloudDriver>(std::move(provider), *boot));
    };
    const auto local = [&](const std::string& folder, const std::string& more) {
        return make_local(settings, folder, bus, more, enrolment, presences);
    };
    add(std::make_unique<SimulatedDriver>());
    if (!settings.machines_dir.empty()) add(local(settings.machines_dir, {}));
    if (!settings.docker.socket.empty())
        add(std::make_unique<DockerDriver>(
            docker_settings(settings, deployment), local(settings.docker.dir, "place: container\n")
        ));
    if (settings.hetzner) {
        HetznerSettings hetzner = *settings.hetzner;
        hetzner.deployment = deployment;
        add_cloud(std::make_unique<HetznerDriver>(std::move(hetzner), *boot));
    }
    if (settings.aws) {
        AwsSettings aws = *settings.aws;
        aws.deployment = deployment;
        add_cloud(std::make_unique<AwsDriver>(std::move(aws), *boot));
    }
    if (settings.ssh) {
        SshSettings ssh = *settings.ssh;
        ssh.deployment = deployment;
        SshRun run = openssh(ssh);
        add_cloud(std::make_unique<SshDriver>(std::move(ssh), *boot, std::move(run)));
    }
    return drivers;
}

Result<std::unique_ptr<CloudBoot>> make_boot(
    const ProvSettings& settings,
    const NodeBus& bus,
    const Secret& seed,
    store::Pool& pool,
    Enrolment& enrolment,
    Presences& presences
) {
    if (!settings.has_elsewhere()) return std::unique_ptr<CloudBoot>();
    if (settings.aws) {
        AwsSettings aws = *settings.aws;
        aws.deployment = enrolment.account_public_key();
        BERTH_TRY(check(aws));
    }
    const auto bundle = read_file(settings.cloud.bundle_file, kMaxBundle);
    if (!bundle)
        return invalid(
            "no_bundle",
            "machines that boot elsewhere install " + settings.cloud.bundle_file +
                ", which cannot be read: " + bundle.error().message +
                "; deploy/node_bundle makes it"
        );
    CloudSettings cloud = settings.cloud;
    if (cloud.nats_url.empty()) cloud.nats_url = bus.url;
    BERTH_TRY(check_private(cloud.nats_url));
    std::string ca;
    if (cloud.nats_url.starts_with("tls://") && !bus.ca_file.empty()) {
        BERTH_ASSIGN(ca, read_file(bus.ca_file, kMaxCa));
    }
    return std::make_unique<CloudBoot>(CloudBoot::Parts{
        std::move(cloud),
        Secret(identity::hmac_sha256(seed.reveal(), "berth-enrol-key/1")),
        hex(identity::sha256(*bundle)),
        std::move(ca),
        pool,
        enrolment,
        presences});
}

}  // namespace berth::prov
