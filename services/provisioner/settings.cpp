// SPDX-License-Identifier: Apache-2.0
// The provisioner's keys of its settings file; a provider is there when its section is.
#include "provisioner/settings.hpp"

#include "core/fd.hpp"
#include "core/id.hpp"
#include "provisioner/drivers/docker/docker_driver.hpp"

namespace berth::prov {
namespace {

constexpr std::size_t kMaxSecretFile = 4'096;

/// A secret in a file of its own, without the newline that editors add.
Secret read_secret(config::Reader& section, std::string_view key) {
    const std::string path = section.require_string(key);
    if (path.empty()) return Secret();
    auto text = read_file(path, kMaxSecretFile);
    if (!text) {
        section.reject(key, text.error().message);
        return Secret();
    }
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
    if (text->empty()) section.reject(key, "names an empty file");
    return Secret(std::move(*text));
}

void read_docker_settings(config::Reader& reader, ProvSettings& settings) {
    if (!reader.has("docker")) return;
    config::Reader section = reader.get_section("docker");
    DockerSettings& docker = settings.docker;
    docker.socket = section.require_string("socket");
    docker.dir = section.get_string(
        "dir", settings.machines_dir.empty() ? "" : settings.machines_dir + "/docker"
    );
    docker.engine_dir = section.get_string("engine_dir", docker.dir);
    const auto resolv_conf = read_file("/etc/resolv.conf");
    docker.resolvers = section.get_list(
        "resolvers", resolv_conf ? usable_resolvers(*resolv_conf) : std::vector<std::string>{}
    );
    if (docker.dir.empty()) section.reject("dir", "is needed where there is no machines_dir");
    if (settings.node_binary.empty())
        reader.reject("node_binary", "is needed for machines of the docker driver");
}

void read_cloud_settings(config::Reader& reader, ProvSettings& settings) {
    CloudSettings& cloud = settings.cloud;
    config::Reader section = reader.get_section("cloud");
    cloud.gateway_url = section.get_string("gateway_url");
    while (cloud.gateway_url.ends_with('/')) cloud.gateway_url.pop_back();
    cloud.nats_url = section.get_string("nats_url", settings.public_nats_url);
    cloud.bundle_file = section.get_string(
        "bundle_file", settings.node_binary.empty() ? "" : settings.node_binary + ".tar.gz"
    );
    cloud.ssh_public_key = section.get_string("ssh_public_key");
    cloud.enrol_within = section.get_duration("enrol_within", cloud.enrol_within);
    if (!settings.has_elsewhere()) return;
    if (cloud.gateway_url.empty())
        section.reject("gateway_url", "is needed for machines that boot elsewhere");
    if (cloud.bundle_file.empty())
        section.reject("bundle_file", "is needed for machines that boot elsewhere");
}

void read_hetzner_settings(config::Reader& reader, ProvSettings& settings) {
    if (!reader.has("hetzner")) return;
    config::Reader section = reader.get_section("hetzner");
    HetznerSettings& hetzner = settings.hetzner.emplace();
    hetzner.api.token = read_secret(section, "token_file");
    hetzner.api.endpoint = section.get_string("endpoint", hetzner.api.endpoint);
    hetzner.image = section.get_string("image", hetzner.image);
    hetzner.types = section.get_list("types", hetzner.types);
    hetzner.locations = section.get_list("locations", hetzner.locations);
    hetzner.ipv4 = section.get_bool("ipv4", hetzner.ipv4);
    hetzner.ipv6 = section.get_bool("ipv6", hetzner.ipv6);
    hetzner.create_deadline = section.get_duration("create_deadline", hetzner.create_deadline);
    hetzner.destroy_deadline = section.get_duration("destroy_deadline", hetzner.destroy_deadline);
    hetzner.start_patience = section.get_duration("start_patience", hetzner.start_patience);
    hetzner.list_every = section.get_duration("list_every", hetzner.list_every);
    if (hetzner.types.empty()) section.reject("types", "must name at least one");
    if (!hetzner.ipv4 && !hetzner.ipv6)
        section.reject("ipv4", "and ipv6 cannot both be off: a machine must reach the bus");
}

void read_aws_settings(config::Reader& reader, ProvSettings& settings) {
    if (!reader.has("aws")) return;
    config::Reader section = reader.get_section("aws");
    AwsSettings& aws = settings.aws.emplace();
    aws.credentials.access_key = section.require_string("access_key");
    aws.credentials.secret_key = read_secret(section, "secret_key_file");
    if (section.has("session_token_file"))
        aws.credentials.session_token = read_secret(section, "session_token_file");
    for (auto& [name, region] : section.get_sections("regions"))
        aws.regions.push_back({name, region.get_string("vpc"), region.get_list("subnets")});
    aws.endpoint = section.get_string("endpoint", aws.endpoint);
    aws.ssh_sources = section.get_list("ssh_sources", aws.ssh_sources);
    aws.create_patience = section.get_duration("create_deadline", aws.create_patience);
    aws.destroy_patience = section.get_duration("destroy_deadline", aws.destroy_patience);
    aws.poll = section.get_duration("poll", aws.poll);
    aws.inventory_every = section.get_duration("list_every", aws.inventory_every);
}

void read_ssh_settings(config::Reader& reader, ProvSettings& settings) {
    if (!reader.has("ssh")) return;
    config::Reader section = reader.get_section("ssh");
    SshSettings& ssh = settings.ssh.emplace();
    ssh.key_file = section.require_string("key_file");
    for (auto& [name, host] : section.get_sections("hosts")) {
        SshHost entry;
        entry.name = name;
        entry.address = host.require_string("address");
        entry.port = static_cast<int>(host.get_int("port", entry.port, 1, 65'535));
        entry.user = host.get_string("user", entry.user);
        entry.host_key = host.require_string("host_key");
        // It becomes a line of a file: two would be two keys that are believed.
        if (entry.host_key.find('\n') != std::string::npos)
            host.reject("host_key", "must be one line, as in the host's ssh_host_ed25519_key.pub");
        if (entry.address.starts_with('-') || entry.user.starts_with('-'))
            host.reject("address", "and user cannot begin with a dash");
        ssh.hosts.push_back(std::move(entry));
    }
    ssh.create_deadline = section.get_duration("create_deadline", ssh.create_deadline);
    ssh.destroy_deadline = section.get_duration("destroy_deadline", ssh.destroy_deadline);
    ssh.list_every = section.get_duration("list_every", ssh.list_every);
    if (ssh.hosts.empty()) section.reject("hosts", "must name at least one");
}

}  // namespace

ProvSettings read_prov_settings(config::Reader& reader) {
    ProvSettings settings;
    settings.account_seed_file = reader.require_string("account_seed_file");
    settings.machines_dir = reader.get_string("machines_dir");
    settings.node_binary = reader.get_string("node_binary");
    settings.node_nats_url = reader.get_string("node_nats_url");
    settings.public_nats_url = reader.get_string("public_nats_url", settings.node_nats_url);
    read_docker_settings(reader, settings);
    read_hetzner_settings(reader, settings);
    read_aws_settings(reader, settings);
    read_ssh_settings(reader, settings);
    read_cloud_settings(reader, settings);
    if (settings.aws) settings.aws->ssh_public_key = settings.cloud.ssh_public_key;
    settings.tend_every = reader.get_duration("tend_every", settings.tend_every);
    if (!settings.machines_dir.empty() && settings.node_binary.empty())
        reader.reject("node_binary", "is needed with machines_dir");
    return settings;
}

}  // namespace berth::prov
