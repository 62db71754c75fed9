// SPDX-License-Identifier: Apache-2.0
// What must be in a region before an instance can be asked for there: image, VPC, groups, key.
#include <algorithm>

#include "core/text.hpp"
#include "provisioner/drivers/aws/creation.hpp"
#include "provisioner/drivers/aws/ec2_codes.hpp"

namespace berth::prov::aws {
namespace {

constexpr int kSshPort = 2222;

Error not_ours(const std::string& what, const std::string& region) {
    return conflict(
        std::string(kNotOurs), what + " in " + region + " is not ours; it is left alone"
    );
}

}  // namespace

Result<void> Creation::prepare_or_close(const std::string& region, Place& place) {
    const auto done = prepare(region, place);
    place.prepared = true;
    if (done) return {};
    if (!refused(region, done.error())) return done.error();
    place.closed = true;
    return {};
}

Result<void> Creation::prepare(const std::string& region, Place& place) {
    BERTH_ASSIGN(place.image, find_image(region));
    BERTH_ASSIGN(place.vpc, find_vpc(region));
    BERTH_ASSIGN(std::string base, ensure_group(region, place.vpc, estate_.base_group_name(), {}));
    place.groups = {std::move(base)};
    if (spec_.profile.ssh()) BERTH_TRY(ensure_ssh(region, place));
    return {};
}

/// `ami-…`, or OWNER/NAME where NAME may hold * and the newest wins. An owner is needed: a bare
/// name would take whatever image anybody has published under it.
Result<Image> Creation::find_image(const std::string& region) {
    const std::string& wanted = spec_.profile.image();
    Params params("DescribeImages");
    if (wanted.starts_with("ami-")) {
        params.add("ImageId.1", wanted);
    } else {
        const auto slash = wanted.find('/');
        if (slash == std::string::npos || slash == 0)
            return invalid(
                "bad_profile",
                "profile '" + spec_.profile.name() + "' names image '" + wanted +
                    "', which is neither ami-… nor OWNER/NAME",
                "profile"
            );
        params.add("Owner.1", wanted.substr(0, slash))
            .filter("name", {wanted.substr(slash + 1)})
            .filter("state", {"available"});
    }
    BERTH_ASSIGN(auto images, estate_.collect<Image>(region, params, parse_images, until_));
    const auto newest =
        std::max_element(images.begin(), images.end(), [](const Image& a, const Image& b) {
            return std::tie(a.created, a.id) < std::tie(b.created, b.id);
        });
    if (newest == images.end())
        return Error{
            Fault::kInvalid,
            "InvalidAMIID.NotFound",
            "no image '" + wanted + "' in " + region,
            "profile"};
    return std::move(*newest);
}

Result<std::string> Creation::find_vpc(const std::string& region) {
    for (const AwsRegion& known : estate_.settings().regions) {
        if (known.name == region && !known.vpc.empty()) return known.vpc;
    }
    Params params("DescribeVpcs");
    params.filter("is-default", {"true"});
    BERTH_ASSIGN(const auto vpcs, estate_.collect<Vpc>(region, params, parse_vpcs, until_));
    if (vpcs.empty())
        return invalid(
            "no_default_vpc", "region " + region + " has no default VPC: name one in aws.regions"
        );
    return vpcs.front().id;
}

Result<std::string> Creation::ensure_group(
    const std::string& region,
    const std::string& vpc,
    const std::string& name,
    const std::string& machine
) {
    Params params("CreateSecurityGroup");
    params.add("GroupName", name)
        .add("GroupDescription", machine.empty() ? "Berth machines" : "Berth ssh " + machine)
        .add("VpcId", vpc)
        .tags("security-group", machine.empty() ? estate_.tags(machine) : tags());
    std::optional<SteadyTime> exists_since;
    while (true) {
        BERTH_ASSIGN(const auto found, estate_.groups_named(region, name, vpc, machine, until_));
        if (!found.ours.empty()) return found.ours.front().id;
        if (!found.foreign.empty())
            return not_ours("security group " + found.foreign.front(), region);
        const auto body = estate_.client().call(region, params, until_);
        if (body) return parse_new_group(*body);
        if (classify(body.error().code) != Refusal::kDuplicate) return body.error();
        BERTH_TRY(wait_listed("security group " + name, exists_since));
    }
}

Result<void> Creation::wait_listed(
    const std::string& what, std::optional<SteadyTime>& exists_since
) {
    const SteadyTime now = estate_.clock().steady();
    if (!exists_since) exists_since = now;
    if (now > *exists_since + estate_.settings().consistency)
        return unavailable("not_listed", what + " exists and is not listed");
    rest();
    return {};
}

Result<void> Creation::ensure_ssh(const std::string& region, Place& place) {
    BERTH_TRY(ensure_key(region));
    place.key_name = Estate::own_name(spec_.machine);
    BERTH_ASSIGN(
        std::string group,
        ensure_group(region, place.vpc, Estate::own_name(spec_.machine), spec_.machine)
    );
    BERTH_TRY(open_ssh(region, group));
    place.groups.push_back(std::move(group));
    return {};
}

Result<void> Creation::ensure_key(const std::string& region) {
    Params params("ImportKeyPair");
    params.add("KeyName", Estate::own_name(spec_.machine))
        .add("PublicKeyMaterial", base64(estate_.settings().ssh_public_key))
        .tags("key-pair", tags());
    std::optional<SteadyTime> exists_since;
    while (true) {
        BERTH_ASSIGN(const auto found, estate_.keys_of(region, spec_.machine, until_));
        if (!found.ours.empty()) return {};
        if (!found.foreign.empty()) return not_ours("key pair " + found.foreign.front(), region);
        const auto body = estate_.client().call(region, params, until_);
        if (body) return parse_done(*body, params.action());
        if (classify(body.error().code) != Refusal::kDuplicate) return body.error();
        BERTH_TRY(wait_listed("a key pair", exists_since));
    }
}

Result<void> Creation::open_ssh(const std::string& region, const std::string& group) {
    const SteadyTime began = estate_.clock().steady();
    Params params("AuthorizeSecurityGroupIngress");
    params.add("GroupId", group)
        .add("IpPermissions.1.IpProtocol", "tcp")
        .add("IpPermissions.1.FromPort", std::to_string(kSshPort))
        .add("IpPermissions.1.ToPort", std::to_string(kSshPort));
    int v4 = 0;
    int v6 = 0;
    for (const std::string& source : estate_.settings().ssh_sources) {
        if (source.find(':') == std::string::npos) {
            params.add("IpPermissions.1.IpRanges." + std::to_string(++v4) + ".CidrIp", source);
        } else {
            params.add("IpPermissions.1.Ipv6Ranges." + std::to_string(++v6) + ".CidrIpv6", source);
        }
    }
    while (true) {
        const auto body = estate_.client().call(region, params, until_);
        if (body) return parse_done(*body, params.action());
        if (classify(body.error().code) == Refusal::kDuplicate) return {};
        if (!still_invisible(body.error(), began)) return body.error();
        rest();
    }
}

}  // namespace berth::prov::aws
