// SPDX-License-Identifier: Apache-2.0
// Adopting, asking for offers, waiting for the node, ending what was made twice.
#include "provisioner/drivers/aws/creation.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "provisioner/drivers/aws/ec2_codes.hpp"

namespace berth::prov::aws {
namespace {

// EC2's limit, before base64.
constexpr std::size_t kMaxUserData = 16'384;
// More than any sensible profile has; each offer may cost a round of back-off.
constexpr std::size_t kMaxOffers = 64;
// Of a gp3 volume.
constexpr std::uint32_t kMaxDiskGib = 65'536;

const AwsRegion* region_named(const AwsSettings& settings, const std::string& name) {
    const auto found = std::find_if(
        settings.regions.begin(),
        settings.regions.end(),
        [&](const AwsRegion& region) { return region.name == name; }
    );
    return found == settings.regions.end() ? nullptr : &*found;
}

}  // namespace

std::string Offer::text() const {
    return type + " in " + region + (subnet.empty() ? "" : "/" + subnet) + (spot ? " (spot)" : "");
}

Result<std::vector<Offer>> offers_of(const AwsSettings& settings, const MachineSpec& spec) {
    const lease::v1::Profile& profile = spec.profile;
    const auto bad = [&](const std::string& why) {
        return invalid("bad_profile", "profile '" + profile.name() + "' " + why, "profile");
    };
    if (profile.image().empty()) return bad("names no image");
    if (profile.types().empty()) return bad("names no instance type");
    if (profile.ssh() && settings.ssh_public_key.empty())
        return bad("wants ssh, but the provisioner has no aws.ssh_public_key");
    std::vector<std::string> names(profile.locations().begin(), profile.locations().end());
    if (names.empty()) {
        for (const AwsRegion& region : settings.regions) names.push_back(region.name);
    }
    std::vector<Offer> offers;
    for (const std::string& name : names) {
        const AwsRegion* region = region_named(settings, name);
        if (!region)
            return invalid(
                "unknown_location",
                "profile '" + profile.name() + "' names region '" + name +
                    "', which aws.regions does not have",
                "profile"
            );
        std::vector<std::string> subnets = region->subnets;
        if (subnets.empty()) subnets.emplace_back();
        for (const std::string& type : profile.types()) {
            for (const bool spot : {true, false}) {
                if (spot && !profile.spot()) continue;
                for (const std::string& subnet : subnets) {
                    Offer offer{name, type, subnet, spot, {}};
                    offer.client_token = spec.machine + "-" + std::to_string(offers.size()) + "-" +
                                         hex(identity::sha256(offer.text())).substr(0, 8);
                    offers.push_back(std::move(offer));
                }
            }
        }
    }
    if (offers.size() > kMaxOffers)
        return bad("makes more than " + std::to_string(kMaxOffers) + " offers to try");
    return offers;
}

Creation::Creation(Estate& estate, Boot& boot, const MachineSpec& spec, Attempts& attempts)
    : estate_(estate),
      boot_(boot),
      spec_(spec),
      attempts_(attempts),
      since_(estate.clock().steady()),
      until_(since_ + estate.settings().create_patience) {}

Result<void> Creation::run() {
    BERTH_ASSIGN(offers_, offers_of(estate_.settings(), spec_));
    for (const Offer& offer : offers_) {
        if (std::find(regions_.begin(), regions_.end(), offer.region) == regions_.end())
            regions_.push_back(offer.region);
    }
    BERTH_ASSIGN(const Secret plain, boot_.user_data(spec_));
    if (plain.reveal().size() > kMaxUserData)
        return internal("user_data_too_large", "the machine's user data is larger than 16 KiB");
    user_data_ = Secret(base64(plain.reveal()));
    BERTH_ASSIGN(const auto adopted, adopt());
    if (adopted) {
        BERTH_ASSIGN(const bool heard, await(*adopted));
        if (heard) return settle(*adopted);
        BERTH_TRY(boot_.replaced(spec_.machine));
    }
    for (const Offer& offer : offers_) {
        Place& place = places_[offer.region];
        if (!place.prepared) BERTH_TRY(prepare_or_close(offer.region, place));
        if (place.closed) continue;
        BERTH_ASSIGN(const auto running, launch(offer, place));
        if (!running) continue;
        BERTH_ASSIGN(const bool heard, await(*running));
        if (heard) return settle(*running);
        BERTH_TRY(boot_.replaced(spec_.machine));
    }
    return exhausted();
}

/// An earlier create of this machine, cut short after its request.
Result<std::optional<Creation::Running>> Creation::adopt() {
    std::optional<Running> kept;
    for (const std::string& region : regions_) {
        BERTH_ASSIGN(const auto found, estate_.instances_of(region, spec_.machine, until_));
        if (!found.foreign.empty())
            return conflict(
                std::string(kNotOurs),
                "instance " + found.foreign.front() + " in " + region + " carries the tag of " +
                    spec_.machine + " but is not ours; it is left alone"
            );
        for (const Instance& instance : found.ours) {
            if (is_over(instance) || instance.state == "shutting-down") continue;
            if (is_live(instance) && !kept) {
                kept = Running{region, instance.id, instance.type + " in " + region};
            } else {
                BERTH_TRY(estate_.terminate(region, instance.id, until_));
            }
        }
    }
    return kept;
}

bool Creation::refused(const std::string& what, const Error& error) {
    switch (classify(error.code)) {
        case Refusal::kCapacity:
        case Refusal::kThrottled: ++no_capacity_; break;
        case Refusal::kImage: misfit_ = error; break;
        default: return false;
    }
    log::info("AWS refused", {{"machine", spec_.machine}, {"target", what}, {"error", error}});
    attempts_.push_back({what, error.code, error.message});
    return true;
}

Error Creation::exhausted() const {
    if (no_capacity_ > 0) {
        std::string tried;
        for (const Attempt& attempt : attempts_) {
            if (attempt.code == "created") continue;
            tried += (tried.empty() ? "" : "; ") + attempt.target + ": " + attempt.code;
        }
        return unavailable(
            std::string(kCapacityExhausted),
            "no room at AWS for profile '" + spec_.profile.name() + "': " + tried
        );
    }
    if (died_ > 0)
        return unavailable("machine_died", "every instance ended before its node was heard");
    if (misfit_) return {Fault::kInvalid, "no_image", misfit_->message, "profile"};
    return unavailable("no_offer", "no region could be asked");
}

void Creation::rest() const { estate_.client().rest(estate_.settings().poll); }

/// True for a thing made a moment ago that AWS does not see everywhere yet.
bool Creation::still_invisible(const Error& error, SteadyTime since) const {
    const SteadyTime now = estate_.clock().steady();
    return classify(error.code) == Refusal::kMissing &&
           (error.code.starts_with("InvalidGroup.") || error.code.starts_with("InvalidKeyPair.")) &&
           now < since + estate_.settings().consistency && now < until_;
}

Params Creation::request(const Offer& offer, const Place& place) const {
    Params params("RunInstances");
    params.add("ClientToken", offer.client_token)
        .add("ImageId", place.image.id)
        .add("InstanceType", offer.type)
        .add("MinCount", "1")
        .add("MaxCount", "1")
        .add("InstanceInitiatedShutdownBehavior", "terminate")
        // A token that a sandboxed command cannot get by one forged request, nor through a relay.
        .add("MetadataOptions.HttpEndpoint", "enabled")
        .add("MetadataOptions.HttpTokens", "required")
        .add("MetadataOptions.HttpPutResponseHopLimit", "1")
        .add("UserData", user_data_.reveal());
    int number = 0;
    for (const std::string& group : place.groups)
        params.add("SecurityGroupId." + std::to_string(++number), group);
    if (!offer.subnet.empty()) params.add("SubnetId", offer.subnet);
    if (!place.key_name.empty()) params.add("KeyName", place.key_name);
    if (offer.spot) {
        params.add("InstanceMarketOptions.MarketType", "spot")
            .add("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time")
            .add("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate");
    }
    number = 0;
    for (const Device& device : place.image.devices) {
        // Whatever the image says: no volume outlives its machine.
        const std::string prefix = "BlockDeviceMapping." + std::to_string(++number);
        params.add(prefix + ".DeviceName", device.name)
            .add(prefix + ".Ebs.DeleteOnTermination", "true");
        const int wanted = device.name == place.image.root_device
                               ? static_cast<int>(std::min(spec_.profile.disk_gib(), kMaxDiskGib))
                               : 0;
        // Smaller than the image's own is refused by EC2.
        if (const int gib = std::max(wanted, device.gib); gib > 0)
            params.add(prefix + ".Ebs.VolumeSize", std::to_string(gib));
    }
    return params.tags("instance", tags()).tags("volume", tags());
}

Tags Creation::tags() const {
    Tags tags = estate_.tags(spec_.machine);
    tags["Name"] = "berth-" + (spec_.slug.empty() ? spec_.machine : spec_.slug);
    tags["berth:org"] = spec_.org;
    tags["berth:lease"] = spec_.lease;
    tags["berth:command"] = spec_.command;
    tags["berth:profile"] = spec_.profile.name();
    return tags;
}

Result<std::optional<Creation::Running>> Creation::launch(const Offer& offer, Place& place) {
    const SteadyTime began = estate_.clock().steady();
    const std::string what = offer.text();
    while (true) {
        const auto body = estate_.client().call(offer.region, request(offer, place), until_);
        if (body) {
            BERTH_ASSIGN(const Instance instance, parse_run(*body));
            attempts_.push_back({what, "created", instance.id});
            return std::optional(Running{offer.region, instance.id, what});
        }
        const Error& error = body.error();
        if (still_invisible(error, began)) {
            rest();
            continue;
        }
        if (classify(error.code) == Refusal::kMismatch) return by_token(offer);
        if (!refused(what, error)) return error;
        if (classify(error.code) == Refusal::kImage) place.closed = true;
        return std::optional<Running>();
    }
}

/// The token was used for a request that differed (the image's newest build, a changed setting):
/// what that request made is this machine.
Result<std::optional<Creation::Running>> Creation::by_token(const Offer& offer) {
    const SteadyTime began = estate_.clock().steady();
    while (true) {
        BERTH_ASSIGN(const auto found, estate_.instances_of(offer.region, spec_.machine, until_));
        const Instance* seen = nullptr;
        for (const Instance& instance : found.ours) {
            if (instance.client_token == offer.client_token) seen = &instance;
        }
        if (seen && is_live(*seen))
            return std::optional(Running{offer.region, seen->id, offer.text()});
        const SteadyTime now = estate_.clock().steady();
        if (seen || now >= began + estate_.settings().consistency || now >= until_) break;
        rest();
    }
    ++died_;
    attempts_.push_back(
        {offer.text(), "IdempotentParameterMismatch", "an earlier instance of this offer has ended"}
    );
    return std::optional<Running>();
}

Result<bool> Creation::await(const Running& running) {
    SteadyTime seen_at = estate_.clock().steady();
    while (true) {
        BERTH_ASSIGN(
            const bool heard, boot_.wait_heard(spec_.machine, since_, estate_.settings().poll)
        );
        if (heard) return true;
        const auto found = estate_.instances_of(running.region, spec_.machine, until_);
        const SteadyTime now = estate_.clock().steady();
        if (now >= until_)
            return unavailable(
                "node_silent",
                "instance " + running.id + " in " + running.region +
                    " was made, but its node agent was not heard in time: can "
                    "provisioner.cloud.gateway_url and bus.public be reached from outside?"
            );
        if (!found) return found.error();
        const auto instance =
            std::find_if(found->ours.begin(), found->ours.end(), [&](const Instance& candidate) {
                return candidate.id == running.id;
            });
        if (instance != found->ours.end()) {
            seen_at = now;
            if (!is_live(*instance)) {
                const std::string reason =
                    instance->reason.empty() ? instance->state : instance->reason;
                if (classify(reason) == Refusal::kCapacity) {
                    ++no_capacity_;
                } else {
                    ++died_;
                }
                attempts_.push_back({running.what, reason, instance->reason_text});
                return false;
            }
        } else if (now >= seen_at + estate_.settings().consistency) {
            ++died_;
            attempts_.push_back({running.what, "vanished", running.id + " is not listed any more"});
            return false;
        }
    }
}

/// What a lost answer and a late list may have made twice is ended: by now every list shows it.
Result<void> Creation::settle(const Running& running) {
    for (const std::string& region : regions_) {
        BERTH_ASSIGN(const auto found, estate_.instances_of(region, spec_.machine, until_));
        for (const Instance& instance : found.ours) {
            if (instance.id == running.id || !is_live(instance)) continue;
            log::warning(
                "a machine was made twice; the other instance is ended",
                {{"machine", spec_.machine}, {"instance", instance.id}}
            );
            BERTH_TRY(estate_.terminate(region, instance.id, until_));
        }
    }
    return {};
}

}  // namespace berth::prov::aws
