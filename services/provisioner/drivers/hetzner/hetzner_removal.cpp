// SPDX-License-Identifier: Apache-2.0
// Removing a machine and all that was made for it, and seeing what of ours is there.
#include <algorithm>

#include "core/id.hpp"
#include "log/log.hpp"
#include "provisioner/drivers/hetzner/hetzner_driver.hpp"
#include "provisioner/drivers/hetzner/marks.hpp"

namespace berth::prov {
namespace {

using hetzner::Reply;

// Everything that is made for one machine, in the order in which it can go: an address or a volume
// is free only when its server is gone.
constexpr const char* kKinds[] = {"servers", "ssh_keys", "primary_ips", "volumes"};
// A list that takes longer than this tells of the past.
constexpr seconds kLookDeadline{20};
constexpr seconds kTendDeadline{10};
// A machine destroyed while a look was under way is taken out of its result; no look takes longer.
constexpr seconds kDestroyedMemory{60};

std::string path_of(const std::string& kind, std::int64_t id) {
    return "/" + kind + "/" + std::to_string(id);
}

}  // namespace

Result<void> HetznerDriver::remove_server(std::int64_t server, const Call& call) {
    const std::string path = path_of("servers", server);
    for (int attempt = 0; attempt < hetzner::Api::kTries; ++attempt) {
        BERTH_ASSIGN(const Reply reply, api_.remove(path, call));
        if (reply.status == 404) return {};
        if (!reply.ok())
            return hetzner::refusal(reply, "removing server " + std::to_string(server));
        const Json* action = reply.body.find("action");
        const std::int64_t id = action == nullptr ? 0 : action->int_or("id", 0);
        // Until the server itself is gone its name is taken and its addresses are held.
        for (milliseconds look = settings_.first_look;;
             look = std::min(look * 2, settings_.slowest_look)) {
            BERTH_ASSIGN(const Reply there, api_.get(path, call));
            if (there.status == 404) return {};
            if (!there.ok()) return hetzner::refusal(there, "looking at a server");
            if (id == 0) break;
            BERTH_ASSIGN(const Reply done, api_.get("/actions/" + std::to_string(id), call));
            const Json* body = done.body.find("action");
            if (body != nullptr && body->string_or("status", "") == "error") break;
            BERTH_TRY(api_.pause(look, call));
        }
        BERTH_TRY(api_.pause(api_.backoff(attempt), call));
    }
    return unavailable("not_removed", "Hetzner did not remove server " + std::to_string(server));
}

Result<std::vector<Json>> HetznerDriver::find_all(
    const std::string& kind, const std::string& machine, bool& foreign, const Call& call
) {
    const std::string selector = std::string(hetzner::kMachineLabel) + "=" + machine;
    BERTH_ASSIGN(std::vector<Json> found, api_.list_labelled(kind, selector, call));
    if (kind == "servers" || kind == "ssh_keys") {
        // One of our name without our labels would stop every later create.
        BERTH_ASSIGN(
            const auto named, api_.list_named(kind, hetzner::resource_name(machine), call)
        );
        found.insert(found.end(), named.begin(), named.end());
    }
    std::vector<Json> ours;
    for (Json& resource : found) {
        const std::int64_t id = resource.int_or("id", 0);
        if (!hetzner::is_ours(resource, deployment_label_, machine)) {
            foreign = true;
            log::warning(
                "something bears a machine's name or label but not our marks; it is left alone",
                {{"machine", machine}, {"kind", kind}, {"id", id}}
            );
        } else if (std::none_of(ours.begin(), ours.end(), [id](const Json& other) {
                       return other.int_or("id", 0) == id;
                   })) {
            ours.push_back(std::move(resource));
        }
    }
    return ours;
}

Result<void> HetznerDriver::remove_kind(
    const std::string& kind, const std::string& machine, bool& foreign, const Call& call
) {
    BERTH_ASSIGN(const auto found, find_all(kind, machine, foreign, call));
    for (const Json& resource : found) {
        const std::int64_t id = resource.int_or("id", 0);
        if (kind == "servers") {
            BERTH_TRY(remove_server(id, call));
            continue;
        }
        for (int attempt = 0;; ++attempt) {
            BERTH_ASSIGN(const Reply reply, api_.remove(path_of(kind, id), call));
            if (reply.ok() || reply.status == 404) break;
            // An address or a volume is let go a moment after its server went.
            const bool held = reply.code == "must_be_unassigned";
            // A server that is not ours (any more) holds it for as long as it likes.
            if (!held || foreign || attempt >= hetzner::Api::kTries)
                return hetzner::refusal(reply, "removing one of " + kind);
            BERTH_TRY(api_.pause(api_.backoff(attempt), call));
        }
    }
    return {};
}

Result<void> HetznerDriver::remove_rest(const std::string& machine, const Call& call) {
    bool foreign = false;
    for (const char* kind : kKinds) {
        if (std::string_view(kind) != "servers")
            BERTH_TRY(remove_kind(kind, machine, foreign, call));
    }
    return {};
}

Result<void> HetznerDriver::destroy(const std::string& machine) {
    if (!is_id("m", machine)) return invalid("bad_id", "the machine's id is malformed");
    const Call call = call_within(settings_.destroy_deadline);
    bool foreign = false;
    for (const char* kind : kKinds) {
        const auto removed = remove_kind(kind, machine, foreign, call);
        if (removed) continue;
        // What our own things hang on is somebody else's: that is what a person has to hear.
        return foreign ? not_ours(machine) : removed.error();
    }
    forget(machine);
    if (foreign) return not_ours(machine);
    return {};
}

Result<std::map<std::string, HetznerDriver::Seen>> HetznerDriver::look_at_everything(
    const Call& call
) {
    std::map<std::string, Seen> machines;
    const std::string selector = std::string(hetzner::kDeploymentLabel) + "=" + deployment_label_;
    for (const char* kind : kKinds) {
        BERTH_ASSIGN(const auto found, api_.list_labelled(kind, selector, call));
        for (const Json& resource : found) {
            // The selector is the provider's word; the labels themselves are the proof.
            const auto machine = hetzner::machine_of(resource, deployment_label_);
            if (!machine) continue;
            Seen& seen = machines[*machine];
            if (std::string_view(kind) == "servers")
                seen.status = resource.string_or("status", "unknown");
        }
    }
    return machines;
}

Result<std::map<std::string, HetznerDriver::Seen>> HetznerDriver::snapshot() {
    const std::lock_guard looking(looking_);
    const SteadyTime began = api_.clock().steady();
    {
        auto kept = snapshot_.lock();
        if (kept->taken && began - *kept->taken < settings_.list_every) return kept->machines;
        // A provider that is away is not asked at every turn either.
        if (kept->failed && began - *kept->failed < settings_.list_every / 4) return *kept->failure;
    }
    auto machines = look_at_everything({began + kLookDeadline, false});
    auto kept = snapshot_.lock();
    if (!machines) {
        kept->failed = api_.clock().steady();
        kept->failure = machines.error();
        return machines;
    }
    for (auto it = kept->destroyed.begin(); it != kept->destroyed.end();) {
        if (it->second >= began) machines->erase(it->first);
        it = it->second + kDestroyedMemory < began ? kept->destroyed.erase(it) : std::next(it);
    }
    kept->taken = began;
    kept->failed.reset();
    kept->machines = *machines;
    return machines;
}

void HetznerDriver::remember(const std::string& machine, const std::string& status) {
    auto kept = snapshot_.lock();
    kept->machines[machine].status = status;
    kept->destroyed.erase(machine);
}

void HetznerDriver::forget(const std::string& machine) {
    auto kept = snapshot_.lock();
    kept->machines.erase(machine);
    kept->destroyed[machine] = api_.clock().steady();
}

Result<std::vector<std::string>> HetznerDriver::list() {
    BERTH_ASSIGN(const auto machines, snapshot());
    std::vector<std::string> names;
    names.reserve(machines.size());
    for (const auto& [machine, seen] : machines) names.push_back(machine);
    return names;
}

Result<Condition> HetznerDriver::tend(const MachineSpec& spec) {
    BERTH_ASSIGN(const auto machines, snapshot());
    const auto seen = machines.find(spec.machine);
    const bool there = seen != machines.end() && !seen->second.status.empty();
    if (there && seen->second.status != "off") return Condition::kWorking;
    // It is younger than the snapshot, or needs something: the server itself tells.
    const Call call{api_.clock().steady() + kTendDeadline, false};
    BERTH_ASSIGN(const auto server, find_server(spec.machine, call));
    if (!server) return Condition::kMissing;
    if (!hetzner::is_ours(*server, deployment_label_, spec.machine)) return not_ours(spec.machine);
    std::string status = server->string_or("status", "unknown");
    if (status == "off") {
        const std::string path = path_of("servers", server->int_or("id", 0)) + "/actions/poweron";
        BERTH_ASSIGN(const Reply reply, api_.post(path, call));
        if (!reply.ok() && reply.status != 423 && reply.status != 409)
            return hetzner::refusal(reply, "starting a server that was off");
        log::info("a server that was off is started", {{"machine", spec.machine}});
        status = "starting";
    }
    remember(spec.machine, status);
    return Condition::kWorking;
}

}  // namespace berth::prov
