// SPDX-License-Identifier: Apache-2.0
// What this deployment has at AWS: how it is named, proven to be ours, found and removed.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "provisioner/drivers/aws/aws_settings.hpp"
#include "provisioner/drivers/aws/ec2_client.hpp"
#include "provisioner/drivers/aws/ec2_xml.hpp"

namespace berth::prov::aws {

inline constexpr std::string_view kDeploymentTag = "berth:deployment";
inline constexpr std::string_view kMachineTag = "berth:machine";

/// What carries a machine's name or tag. Only `ours` may be changed or removed.
template <typename T>
struct Found {
    std::vector<T> ours;
    std::vector<std::string> foreign;  ///< ids
};

/// What of machines there is in all regions.
struct Inventory {
    std::set<std::string> machines;  ///< with anything left of them
    std::set<std::string> live;      ///< with an instance that runs or will
};

bool is_live(const Instance& instance);  ///< pending or running
bool is_over(const Instance& instance);  ///< terminated

/// Thread-safe. Every function ends by `until`; errors keep EC2's codes (see Ec2Client::call).
class Estate {
public:
    Estate(const AwsSettings& settings, HttpSend send, const Clock& clock);

    const AwsSettings& settings() const { return settings_; }
    const Clock& clock() const { return clock_; }
    Ec2Client& client() { return client_; }

    /// The group of every machine: one a deployment and VPC, without any inbound rule.
    std::string base_group_name() const;
    /// The name of a machine's own key pair and of its own security group.
    static std::string own_name(const std::string& machine) { return "berth-" + machine; }
    /// Empty machine: of what all machines share.
    Tags tags(const std::string& machine) const;
    bool has_our_tags(const Tags& tags, const std::string& machine) const;

    /// All pages of a Describe.
    template <typename T>
    Result<std::vector<T>> collect(
        const std::string& region,
        Params params,
        Result<Page<T>> (*parse)(std::string_view),
        SteadyTime until
    );
    /// Instances of a machine in any state, the earliest first; ours have both tags and a client
    /// token made from the machine's id, which no copy of the tags has.
    Result<Found<Instance>> instances_of(
        const std::string& region, const std::string& machine, SteadyTime until
    );
    Result<Found<Key>> keys_of(
        const std::string& region, const std::string& machine, SteadyTime until
    );
    /// Of that exact name, in any VPC (empty) or one; empty machine: of what all machines share.
    Result<Found<Group>> groups_named(
        const std::string& region,
        const std::string& name,
        const std::string& vpc,
        const std::string& machine,
        SteadyTime until
    );
    /// Asks for an instance's end; one that is not there is success.
    Result<void> terminate(const std::string& region, const std::string& id, SteadyTime until);

    /// Returns when nothing of the machine is left in the region, foreign things apart, whose ids
    /// are added.
    Result<void> remove(
        const std::string& region,
        const std::string& machine,
        std::vector<std::string>& foreign,
        SteadyTime until
    );
    Result<Inventory> inventory(SteadyTime until);

private:
    Result<void> remove_instances(
        const std::string&, const std::string&, std::vector<std::string>&, SteadyTime
    );
    Result<void> remove_keys(
        const std::string&, const std::string&, std::vector<std::string>&, SteadyTime
    );
    Result<void> remove_groups(
        const std::string&, const std::string&, std::vector<std::string>&, SteadyTime
    );
    Result<void> remove_volumes(
        const std::string&, const std::string&, std::vector<std::string>&, SteadyTime
    );
    Result<void> count(const std::string& region, Inventory& inventory, SteadyTime until);
    /// Carries out an action whose object may be gone already.
    Result<void> act(const std::string& region, const Params& params, SteadyTime until);

    const AwsSettings settings_;
    const Clock& clock_;
    Ec2Client client_;
};

template <typename T>
Result<std::vector<T>> Estate::collect(
    const std::string& region,
    Params params,
    Result<Page<T>> (*parse)(std::string_view),
    SteadyTime until
) {
    // 500 items each: far more machines than an account has.
    constexpr int kMaxPages = 1'000;
    std::vector<T> items;
    std::string token;
    for (int page = 0; page < kMaxPages; ++page) {
        Params asked = params;
        if (!token.empty()) asked.add("NextToken", token);
        BERTH_ASSIGN(const std::string body, client_.call(region, asked, until));
        BERTH_ASSIGN(Page<T> read, parse(body));
        for (T& item : read.items) items.push_back(std::move(item));
        if (read.next_token.empty()) return items;
        if (read.next_token == token) break;
        token = std::move(read.next_token);
    }
    return unavailable("endless_list", params.action() + " in " + region + " does not end");
}

}  // namespace berth::prov::aws
