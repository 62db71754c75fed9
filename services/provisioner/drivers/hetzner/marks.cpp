// SPDX-License-Identifier: Apache-2.0
// Names, labels and the key that nobody holds.
#include "provisioner/drivers/hetzner/marks.hpp"

#include <algorithm>

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/nkeys.hpp"
#include "identity/token.hpp"

namespace berth::prov::hetzner {
namespace {

constexpr std::size_t kLongestValue = 63;
// 160 bits of SHA-256 in hex: no two deployments share it, and it fits a label.
constexpr std::size_t kDigestLength = 40;

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_label_value(std::string_view text) {
    if (text.empty()) return true;
    return text.size() <= kLongestValue && is_alphanumeric(text.front()) &&
           is_alphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
               return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
           });
}

std::string digest(std::string_view text) {
    return hex(identity::sha256(text)).substr(0, kDigestLength);
}

/// A string of the ssh wire format (RFC 4251 section 5).
std::string ssh_string(std::string_view bytes) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    std::string out;
    for (const int shift : {24, 16, 8, 0})
        out.push_back(static_cast<char>((size >> shift) & 0xffU));
    return out.append(bytes);
}

}  // namespace

std::string label_value(std::string_view text) {
    return is_label_value(text) ? std::string(text) : "x" + digest(text);
}

std::string deployment_value(std::string_view deployment) { return digest(deployment); }

std::string resource_name(std::string_view machine) {
    std::string name = "berth-" + std::string(machine);
    std::replace(name.begin(), name.end(), '_', '-');  // a host name has no underscore
    return name;
}

std::string firewall_name(const std::string& deployment_label, bool ssh) {
    return "berth-" + deployment_label.substr(0, 16) + (ssh ? "-ssh" : "-closed");
}

Json machine_labels(const std::string& deployment_label, const MachineSpec& spec) {
    Json labels = Json::object();
    labels.set(kDeploymentLabel, deployment_label);
    labels.set(kMachineLabel, spec.machine);
    labels.set(kLeaseLabel, label_value(spec.lease));
    labels.set(kOrgLabel, label_value(spec.org));
    labels.set(kCommandLabel, label_value(spec.command));
    return labels;
}

std::string label_of(const Json& resource, std::string_view key) {
    const Json* labels = resource.find("labels");
    return labels == nullptr ? std::string() : labels->string_or(key, "");
}

bool is_ours(
    const Json& resource, const std::string& deployment_label, const std::string& machine
) {
    return !deployment_label.empty() && !machine.empty() &&
           label_of(resource, kDeploymentLabel) == deployment_label &&
           label_of(resource, kMachineLabel) == machine;
}

std::optional<std::string> machine_of(const Json& resource, const std::string& deployment_label) {
    std::string machine = label_of(resource, kMachineLabel);
    if (!is_id("m", machine) || !is_ours(resource, deployment_label, machine)) return std::nullopt;
    return machine;
}

std::string make_locked_ssh_key(std::string_view comment) {
    const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    // A prefix byte, 32 bytes of key, two of checksum.
    const std::string raw = decode_base32(key.public_key()).value().substr(1, 32);
    const std::string blob = ssh_string("ssh-ed25519") + ssh_string(raw);
    std::string text = base64url(blob);  // 51 bytes: no padding to add
    std::replace(text.begin(), text.end(), '-', '+');
    std::replace(text.begin(), text.end(), '_', '/');
    return "ssh-ed25519 " + text + " " + std::string(comment);
}

}  // namespace berth::prov::hetzner
