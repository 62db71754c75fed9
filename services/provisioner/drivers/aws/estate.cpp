// SPDX-License-Identifier: Apache-2.0
// Finding, proving, removing.
#include "provisioner/drivers/aws/estate.hpp"

#include <algorithm>

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "provisioner/drivers/aws/ec2_codes.hpp"

namespace berth::prov::aws {
namespace {

// The largest page that every Describe takes is 1,000; smaller answers stay far from limits.
const std::string kPageSize = "500";

std::string tag_filter(std::string_view tag) { return "tag:" + std::string(tag); }

/// Calls `step` until it says that it is done; the error names what was waited for.
template <typename Step>
Result<void> repeat(Estate& estate, SteadyTime until, const std::string& what, Step step) {
    while (true) {
        BERTH_ASSIGN(const bool done, step());
        if (done) return {};
        if (estate.clock().steady() + estate.settings().poll >= until)
            return unavailable("still_there", what + " is not gone yet");
        estate.client().rest(estate.settings().poll);
    }
}

/// Adds what is not there yet: a repeated look finds the same again.
void merge(std::vector<std::string>& into, const std::vector<std::string>& from) {
    for (const std::string& id : from) {
        if (std::find(into.begin(), into.end(), id) == into.end()) into.push_back(id);
    }
}

}  // namespace

bool is_live(const Instance& instance) {
    return instance.state == "pending" || instance.state == "running";
}
bool is_over(const Instance& instance) { return instance.state == "terminated"; }

Estate::Estate(const AwsSettings& settings, HttpSend send, const Clock& clock)
    : settings_(settings),
      clock_(clock),
      client_({settings.endpoint, settings.credentials, settings.backoff}, std::move(send), clock) {
}

std::string Estate::base_group_name() const {
    return "berth-" + hex(identity::sha256(settings_.deployment)).substr(0, 16);
}

Tags Estate::tags(const std::string& machine) const {
    Tags tags{{std::string(kDeploymentTag), settings_.deployment}};
    if (!machine.empty()) tags[std::string(kMachineTag)] = machine;
    return tags;
}

bool Estate::has_our_tags(const Tags& tags, const std::string& machine) const {
    const auto deployment = tags.find(std::string(kDeploymentTag));
    const auto marked = tags.find(std::string(kMachineTag));
    return deployment != tags.end() && deployment->second == settings_.deployment &&
           (marked == tags.end() ? machine.empty() : marked->second == machine);
}

Result<Found<Instance>> Estate::instances_of(
    const std::string& region, const std::string& machine, SteadyTime until
) {
    Params params("DescribeInstances");
    params.filter(tag_filter(kMachineTag), {machine}).add("MaxResults", kPageSize);
    BERTH_ASSIGN(auto all, collect<Instance>(region, std::move(params), parse_instances, until));
    Found<Instance> found;
    for (Instance& instance : all) {
        if (has_our_tags(instance.tags, machine) &&
            instance.client_token.starts_with(machine + "-")) {
            found.ours.push_back(std::move(instance));
        } else if (!is_over(instance)) {
            found.foreign.push_back(instance.id);
        }
    }
    std::sort(found.ours.begin(), found.ours.end(), [](const Instance& a, const Instance& b) {
        return std::tie(a.launched, a.id) < std::tie(b.launched, b.id);
    });
    return found;
}

Result<Found<Key>> Estate::keys_of(
    const std::string& region, const std::string& machine, SteadyTime until
) {
    Params params("DescribeKeyPairs");
    params.filter("key-name", {own_name(machine)});
    BERTH_ASSIGN(auto all, collect<Key>(region, std::move(params), parse_keys, until));
    Found<Key> found;
    for (Key& key : all) {
        if (has_our_tags(key.tags, machine)) {
            found.ours.push_back(std::move(key));
        } else {
            found.foreign.push_back(key.id);
        }
    }
    return found;
}

Result<Found<Group>> Estate::groups_named(
    const std::string& region,
    const std::string& name,
    const std::string& vpc,
    const std::string& machine,
    SteadyTime until
) {
    Params params("DescribeSecurityGroups");
    params.filter("group-name", {name});
    if (!vpc.empty()) params.filter("vpc-id", {vpc});
    params.add("MaxResults", kPageSize);
    BERTH_ASSIGN(auto all, collect<Group>(region, std::move(params), parse_groups, until));
    Found<Group> found;
    for (Group& group : all) {
        if (has_our_tags(group.tags, machine)) {
            found.ours.push_back(std::move(group));
        } else {
            found.foreign.push_back(group.id);
        }
    }
    return found;
}

Result<void> Estate::act(const std::string& region, const Params& params, SteadyTime until) {
    const auto body = client_.call(region, params, until);
    if (body) return parse_done(*body, params.action());
    if (classify(body.error().code) == Refusal::kMissing) return {};
    return body.error();
}

Result<void> Estate::terminate(const std::string& region, const std::string& id, SteadyTime until) {
    Params params("TerminateInstances");
    params.add("InstanceId.1", id);
    return act(region, params, until);
}

Result<void> Estate::remove(
    const std::string& region,
    const std::string& machine,
    std::vector<std::string>& foreign,
    SteadyTime until
) {
    // The key first: it depends on nothing and is what must not stay.
    BERTH_TRY(remove_keys(region, machine, foreign, until));
    BERTH_TRY(remove_instances(region, machine, foreign, until));
    BERTH_TRY(remove_groups(region, machine, foreign, until));
    return remove_volumes(region, machine, foreign, until);
}

Result<void> Estate::remove_instances(
    const std::string& region,
    const std::string& machine,
    std::vector<std::string>& foreign,
    SteadyTime until
) {
    return repeat(*this, until, "an instance of " + machine, [&]() -> Result<bool> {
        BERTH_ASSIGN(const auto found, instances_of(region, machine, until));
        merge(foreign, found.foreign);
        bool done = true;
        for (const Instance& instance : found.ours) {
            if (is_over(instance)) continue;
            done = false;
            if (instance.state != "shutting-down") BERTH_TRY(terminate(region, instance.id, until));
        }
        return done;
    });
}

Result<void> Estate::remove_keys(
    const std::string& region,
    const std::string& machine,
    std::vector<std::string>& foreign,
    SteadyTime until
) {
    BERTH_ASSIGN(const auto found, keys_of(region, machine, until));
    merge(foreign, found.foreign);
    for (const Key& key : found.ours) {
        Params params("DeleteKeyPair");
        params.add("KeyPairId", key.id);
        BERTH_TRY(act(region, params, until));
    }
    return {};
}

Result<void> Estate::remove_groups(
    const std::string& region,
    const std::string& machine,
    std::vector<std::string>& foreign,
    SteadyTime until
) {
    BERTH_ASSIGN(const auto found, groups_named(region, own_name(machine), {}, machine, until));
    merge(foreign, found.foreign);
    for (const Group& group : found.ours) {
        Params params("DeleteSecurityGroup");
        params.add("GroupId", group.id);
        // The network interface of a terminated instance holds it a little longer.
        BERTH_TRY(repeat(*this, until, "security group " + group.id, [&]() -> Result<bool> {
            const auto done = act(region, params, until);
            if (done) return true;
            if (classify(done.error().code) == Refusal::kInUse) return false;
            return done.error();
        }));
    }
    return {};
}

Result<void> Estate::remove_volumes(
    const std::string& region,
    const std::string& machine,
    std::vector<std::string>& foreign,
    SteadyTime until
) {
    return repeat(*this, until, "a volume of " + machine, [&]() -> Result<bool> {
        Params params("DescribeVolumes");
        params.filter(tag_filter(kMachineTag), {machine}).add("MaxResults", kPageSize);
        BERTH_ASSIGN(
            const auto volumes, collect<Volume>(region, std::move(params), parse_volumes, until)
        );
        bool done = true;
        for (const Volume& volume : volumes) {
            if (volume.state == "deleted") continue;
            if (!has_our_tags(volume.tags, machine)) {
                merge(foreign, {volume.id});
                continue;
            }
            done = false;
            if (volume.state != "available" && volume.state != "error") continue;
            Params removal("DeleteVolume");
            removal.add("VolumeId", volume.id);
            const auto removed = act(region, removal, until);
            if (!removed && classify(removed.error().code) != Refusal::kInUse)
                return removed.error();
        }
        return done;
    });
}

Result<Inventory> Estate::inventory(SteadyTime until) {
    Inventory inventory;
    for (const AwsRegion& region : settings_.regions)
        BERTH_TRY(count(region.name, inventory, until));
    return inventory;
}

Result<void> Estate::count(const std::string& region, Inventory& inventory, SteadyTime until) {
    const auto all_of = [&](const char* action) {
        Params params(action);
        params.filter(tag_filter(kDeploymentTag), {settings_.deployment});
        return params;
    };
    const auto paged = [&](const char* action) {
        return all_of(action).add("MaxResults", kPageSize);
    };
    const auto machine_of = [&](const Tags& tags) -> std::string {
        const auto mark = tags.find(std::string(kMachineTag));
        if (mark == tags.end() || !is_id("m", mark->second)) return {};
        return has_our_tags(tags, mark->second) ? mark->second : std::string();
    };
    BERTH_ASSIGN(
        const auto instances,
        collect<Instance>(region, paged("DescribeInstances"), parse_instances, until)
    );
    for (const Instance& instance : instances) {
        const std::string machine = machine_of(instance.tags);
        if (machine.empty() || is_over(instance) ||
            !instance.client_token.starts_with(machine + "-"))
            continue;
        inventory.machines.insert(machine);
        if (is_live(instance)) inventory.live.insert(machine);
    }
    BERTH_ASSIGN(
        const auto keys, collect<Key>(region, all_of("DescribeKeyPairs"), parse_keys, until)
    );
    for (const Key& key : keys) {
        const std::string machine = machine_of(key.tags);
        if (!machine.empty() && key.name == own_name(machine)) inventory.machines.insert(machine);
    }
    BERTH_ASSIGN(
        const auto groups,
        collect<Group>(region, paged("DescribeSecurityGroups"), parse_groups, until)
    );
    for (const Group& group : groups) {
        const std::string machine = machine_of(group.tags);
        if (!machine.empty() && group.name == own_name(machine)) inventory.machines.insert(machine);
    }
    BERTH_ASSIGN(
        const auto volumes, collect<Volume>(region, paged("DescribeVolumes"), parse_volumes, until)
    );
    for (const Volume& volume : volumes) {
        const std::string machine = machine_of(volume.tags);
        if (!machine.empty() && volume.state != "deleted") inventory.machines.insert(machine);
    }
    return {};
}

}  // namespace berth::prov::aws
