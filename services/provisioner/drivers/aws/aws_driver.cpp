// SPDX-License-Identifier: Apache-2.0
// The driver's five verbs over the estate.
#include "provisioner/drivers/aws/aws_driver.hpp"

#include <algorithm>
#include <set>

#include "core/id.hpp"
#include "provisioner/drivers/aws/creation.hpp"

namespace berth::prov {
namespace {

// Reading all regions: a list that AWS answers takes a second.
constexpr seconds kListPatience{60};
constexpr seconds kTendPatience{20};

/// EC2's codes end here: outside, codes are Berth's own, and EC2's stands in the message.
Error outward(Error error) {
    const bool ours = error.code.empty() || (error.code[0] >= 'a' && error.code[0] <= 'z');
    if (ours) return error;
    switch (error.fault) {
        case Fault::kUnavailable: error.code = "aws_unavailable"; break;
        case Fault::kForbidden: error.code = "aws_denied"; break;
        default: error.fault = Fault::kInvalid; error.code = "aws_refused";
    }
    return error;
}

Error not_ours(const std::vector<std::string>& foreign, const std::string& machine) {
    std::string ids;
    for (const std::string& id : foreign) ids += (ids.empty() ? "" : ", ") + id;
    return conflict(
        std::string(kNotOurs),
        ids + " carries the name or tag of " + machine + " but is not ours; it is left alone"
    );
}

Error bad_setting(const std::string& field, const std::string& why) {
    return invalid("bad_setting", field + " " + why, field);
}

}  // namespace

Result<void> check(const AwsSettings& settings) {
    // AWS's limit for a tag's value.
    constexpr std::size_t kMaxTag = 256;
    if (settings.deployment.empty() || settings.deployment.size() > kMaxTag)
        return bad_setting("deployment", "must have 1 to 256 characters");
    if (settings.credentials.access_key.empty() || settings.credentials.secret_key.empty())
        return bad_setting("credentials", "need an access key and its secret");
    if (settings.regions.empty()) return bad_setting("regions", "must name at least one");
    std::set<std::string> names;
    for (const AwsRegion& region : settings.regions) {
        if (!is_subject_token(region.name))
            return bad_setting("regions", "holds '" + region.name + "', which is no region's name");
        if (!names.insert(region.name).second)
            return bad_setting("regions", "names " + region.name + " twice");
        if (!region.subnets.empty() && region.vpc.empty())
            return bad_setting("regions", "names subnets of " + region.name + " without their vpc");
    }
    if (!settings.endpoint.starts_with("https://") && !settings.endpoint.starts_with("http://"))
        return bad_setting("endpoint", "must be a URL");
    if (settings.ssh_sources.empty())
        return bad_setting("ssh_sources", "must name at least one network");
    return {};
}

AwsDriver::AwsDriver(AwsSettings settings, Boot& boot, aws::HttpSend send, const Clock& clock)
    : clock_(clock), estate_(settings, std::move(send), clock), boot_(boot) {}

Result<void> AwsDriver::create(const MachineSpec& spec, Attempts& attempts) {
    if (!is_id("m", spec.machine)) return invalid("bad_id", "the machine's id is malformed");
    auto done = aws::Creation(estate_, boot_, spec, attempts).run();
    if (!done) return outward(std::move(done).error());
    known_.lock()->inventory.reset();
    return {};
}

Result<void> AwsDriver::destroy(const std::string& machine) {
    if (!is_id("m", machine)) return invalid("bad_id", "the machine's id is malformed");
    const SteadyTime end = until(estate_.settings().destroy_patience);
    std::vector<std::string> foreign;
    std::optional<Error> failed;
    // Every region, whatever happens in one of them.
    for (const AwsRegion& region : estate_.settings().regions) {
        auto removed = estate_.remove(region.name, machine, foreign, end);
        if (!removed && !failed) failed = outward(std::move(removed).error());
    }
    {
        auto known = known_.lock();
        known->inventory.reset();  // else the next list() would tell of it as left over
        known->absent.erase(machine);
    }
    if (failed && failed->fault == Fault::kDeadline)
        return unavailable("still_there", machine + " is not gone yet: " + failed->message);
    if (failed) return *failed;
    if (foreign.empty()) return {};
    return not_ours(foreign, machine);
}

Result<aws::Inventory> AwsDriver::inventory() {
    {
        auto known = known_.lock();
        if (known->inventory &&
            clock_.steady() < known->read_at + estate_.settings().inventory_every)
            return *known->inventory;
    }
    const SteadyTime began = clock_.steady();
    auto read = estate_.inventory(until(kListPatience));
    if (!read) return outward(std::move(read).error());
    auto known = known_.lock();
    known->inventory = *read;
    known->read_at = began;
    return read;
}

Result<Condition> AwsDriver::tend(const MachineSpec& spec) {
    BERTH_ASSIGN(const auto read, inventory());
    if (read.live.contains(spec.machine)) {
        known_.lock()->absent.erase(spec.machine);
        return Condition::kWorking;
    }
    // The shared list may be older than the machine: only a look of its own counts.
    bool ended = false;
    std::vector<std::string> foreign;
    for (const AwsRegion& region : estate_.settings().regions) {
        const auto found = estate_.instances_of(region.name, spec.machine, until(kTendPatience));
        if (!found) return outward(found.error());
        for (const aws::Instance& instance : found->ours) {
            if (aws::is_live(instance)) {
                known_.lock()->absent.erase(spec.machine);
                return Condition::kWorking;
            }
            ended = true;
        }
        foreign.insert(foreign.end(), found->foreign.begin(), found->foreign.end());
    }
    if (ended) return Condition::kMissing;
    if (!foreign.empty()) return not_ours(foreign, spec.machine);
    // Not even as ended: believed after a while only, since AWS's lists lag behind.
    auto known = known_.lock();
    const auto [since, first] = known->absent.try_emplace(spec.machine, clock_.steady());
    if (clock_.steady() < since->second + estate_.settings().consistency)
        return unavailable("not_listed", "AWS does not list " + spec.machine + " at the moment");
    known->absent.erase(since);
    return Condition::kMissing;
}

Result<std::vector<std::string>> AwsDriver::list() {
    BERTH_ASSIGN(const auto read, inventory());
    return std::vector<std::string>(read.machines.begin(), read.machines.end());
}

}  // namespace berth::prov
