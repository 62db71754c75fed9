// SPDX-License-Identifier: Apache-2.0
// Making a machine: the key, the server where there is room for one, its start, its first word.
#include "provisioner/drivers/hetzner/hetzner_driver.hpp"

#include <algorithm>
#include <array>
#include <deque>

#include "core/id.hpp"
#include "log/log.hpp"
#include "provisioner/drivers/hetzner/marks.hpp"

namespace berth::prov {
namespace {

using hetzner::Reply;

// Types times locations; a longer list is a mistake that would spend the hour's requests.
constexpr std::size_t kMostTargets = 32;
// How often one target is asked again because the answer was lost or the name is still taken.
constexpr int kMostRepeats = 6;
// Hetzner's limit for user data.
constexpr std::size_t kMostUserData = 32U << 10U;
// Waiting for the node is cut into such pieces, so that an interrupt is heard.
constexpr milliseconds kNodeSlice{250};

/// The answers that mean "not here, not now": room, quota, placement, rate.
bool is_no_room(const Reply& reply) {
    static constexpr std::array<std::string_view, 14> kCodes = {
        "resource_unavailable",
        "placement_error",
        "resource_limit_exceeded",
        "dedicated_core_limit",
        "core_limit",
        "server_limit",
        "limit_exceeded",
        "quota_exceeded",
        "no_space_left_in_location",
        "rate_limit_exceeded",
        "unsupported_location",
        "location_disabled",
        "server_type_unavailable",
        "primary_ip_limit"};
    if (reply.status == 412 || reply.status == 429) return true;
    if (std::find(kCodes.begin(), kCodes.end(), reply.code) != kCodes.end()) return true;
    if (reply.status == 403 && reply.code.find("limit") != std::string::npos) return true;
    if (reply.status != 422) return false;
    // "unsupported location for server type", "server type is deprecated", "image and server type
    // have incompatible architecture": another type or location may do. Everything else that is
    // invalid stays invalid.
    const std::string words = reply.message + reply.body.dump();
    for (const char* word : {"location", "server type", "server_type", "datacenter"}) {
        if (words.find(word) != std::string::npos) return true;
    }
    return false;
}

std::int64_t id_of(const Json& resource) { return resource.int_or("id", 0); }

std::string target_of(const Json& server) {
    const Json* type = server.find("server_type");
    const Json* location = server.find("location");
    return (type == nullptr ? "?" : type->string_or("name", "?")) + " in " +
           (location == nullptr ? "?" : location->string_or("name", "?"));
}

bool has_address(const Json& server, const char* family) {
    const Json* net = server.find("public_net");
    const Json* address = net == nullptr ? nullptr : net->find(family);
    return address != nullptr && !address->string_or("ip", "").empty();
}

Json firewall_request(const std::string& name, const std::string& deployment_label, bool ssh) {
    Json body = Json::object();
    body.set("name", name);
    body.set("labels", Json::object().set(hetzner::kDeploymentLabel, deployment_label));
    Json rules = Json::array();  // none: nothing comes in, everything goes out
    if (ssh) {
        rules.push(Json::object()
                       .set("direction", "in")
                       .set("protocol", "tcp")
                       .set("port", "2222")
                       .set("source_ips", Json::strings({"0.0.0.0/0", "::/0"})));
    }
    return body.set("rules", rules);
}

/// Whether a firewall that is there lets in what it should, and no more.
bool is_as_made(const Json& firewall, bool ssh) {
    const Json* rules = firewall.find("rules");
    if (rules == nullptr || rules->as_array() == nullptr) return false;
    std::size_t inbound = 0;
    for (const Json& rule : *rules->as_array()) {
        if (rule.string_or("direction", "in") != "in") continue;
        ++inbound;
        if (rule.string_or("protocol", "") != "tcp" || rule.string_or("port", "") != "2222")
            return false;
    }
    return inbound == (ssh ? 1U : 0U);
}

}  // namespace

HetznerDriver::HetznerDriver(
    HetznerSettings settings, Boot& boot, hetzner::Sender http, const Clock& clock
)
    : settings_(std::move(settings)),
      deployment_label_(hetzner::deployment_value(settings_.deployment)),
      boot_(boot),
      api_(settings_.api, std::move(http), clock) {}

Error HetznerDriver::not_ours(const std::string& machine) {
    return conflict(
        std::string(kNotOurs),
        "something at Hetzner bears the name or label of " + machine +
            " without this deployment's marks; it is left alone. Remove or rename it by hand"
    );
}

Result<std::optional<Json>> HetznerDriver::find_server(
    const std::string& machine, const Call& call
) {
    BERTH_ASSIGN(
        const auto found, api_.list_named("servers", hetzner::resource_name(machine), call)
    );
    if (found.empty()) return std::optional<Json>();
    return std::optional<Json>(found.front());
}

Result<Json> HetznerDriver::make_or_adopt(
    const std::string& kind,
    const std::string& member,
    const Json& body,
    const std::function<bool(const Json&)>& ours,
    const Call& call
) {
    const std::string name = body.string_or("name", "");
    for (int attempt = 0; attempt < kMostRepeats; ++attempt) {
        auto reply = api_.post("/" + kind, body, call);
        if (reply && reply->ok()) {
            const Json* made = reply->body.find(member);
            if (made == nullptr) return internal("bad_answer", "no " + member + " in the answer");
            return *made;
        }
        if (!reply && reply.error().code != hetzner::kAnswerLost) return std::move(reply).error();
        if (reply && reply->status != 409 && reply->status != 429)
            return hetzner::refusal(*reply, "making " + name + " in " + kind);
        // Lost, or the name is taken: what is there tells.
        BERTH_ASSIGN(const auto found, api_.list_named(kind, name, call));
        if (!found.empty()) {
            if (!ours(found.front())) return not_ours(name);
            return found.front();
        }
        BERTH_TRY(api_.pause(api_.backoff(attempt), call));
    }
    return unavailable("provider_unreachable", name + " in " + kind + " could not be made");
}

Result<std::int64_t> HetznerDriver::ensure_firewall(bool ssh, const Call& call) {
    {
        auto known = firewalls_.lock();
        const auto found = known->find(ssh);
        if (found != known->end() &&
            api_.clock().steady() < found->second.seen + settings_.firewall_every)
            return found->second.id;
    }
    const std::string name = hetzner::firewall_name(deployment_label_, ssh);
    const auto ours = [this](const Json& firewall) {
        return hetzner::label_of(firewall, hetzner::kDeploymentLabel) == deployment_label_;
    };
    BERTH_ASSIGN(auto there, api_.list_named("firewalls", name, call));
    if (there.empty()) {
        BERTH_ASSIGN(
            Json made,
            make_or_adopt(
                "firewalls", "firewall", firewall_request(name, deployment_label_, ssh), ours, call
            )
        );
        there.push_back(std::move(made));
    }
    if (!ours(there.front())) return not_ours("firewall " + name);
    if (!is_as_made(there.front(), ssh)) {
        return conflict(
            "firewall_changed",
            "the inbound rules of the firewall " + name +
                " were changed at Hetzner; put them back or delete it, it is then made anew"
        );
    }
    (*firewalls_.lock())[ssh] = {id_of(there.front()), api_.clock().steady()};
    return id_of(there.front());
}

Result<HetznerDriver::Kit> HetznerDriver::prepare(const MachineSpec& spec, const Call& call) {
    Kit kit;
    BERTH_ASSIGN(kit.user_data, boot_.user_data(spec));
    if (kit.user_data.reveal().size() > kMostUserData)
        return internal("user_data_too_large", "Hetzner takes 32 KiB of user data");
    BERTH_ASSIGN(kit.firewall, ensure_firewall(spec.profile.ssh(), call));
    Json body = Json::object();
    body.set("name", hetzner::resource_name(spec.machine));
    body.set("public_key", hetzner::make_locked_ssh_key(hetzner::resource_name(spec.machine)));
    body.set("labels", hetzner::machine_labels(deployment_label_, spec));
    const auto ours = [&](const Json& key) {
        return hetzner::is_ours(key, deployment_label_, spec.machine);
    };
    BERTH_ASSIGN(const Json key, make_or_adopt("ssh_keys", "ssh_key", body, ours, call));
    kit.key = key.string_or("name", "");
    return kit;
}

std::vector<HetznerDriver::Target> HetznerDriver::targets(const lease::v1::Profile& profile) const {
    std::vector<std::string> types(profile.types().begin(), profile.types().end());
    std::vector<std::string> locations(profile.locations().begin(), profile.locations().end());
    if (types.empty()) types = settings_.types;
    if (locations.empty()) locations = settings_.locations;
    if (locations.empty()) locations.emplace_back();
    std::vector<Target> out;
    for (const std::string& location : locations) {
        for (const std::string& type : types) {
            if (out.size() < kMostTargets) out.push_back({type, location});
        }
    }
    return out;
}

Json HetznerDriver::server_request(const MachineSpec& spec, const Kit& kit, const Target& target)
    const {
    Json body = Json::object();
    body.set("name", hetzner::resource_name(spec.machine));
    body.set("server_type", target.type);
    if (!target.location.empty()) body.set("location", target.location);
    body.set("image", spec.profile.image().empty() ? settings_.image : spec.profile.image());
    body.set("labels", hetzner::machine_labels(deployment_label_, spec));
    body.set("ssh_keys", Json::strings({kit.key}));
    Json firewalls = Json::array();
    firewalls.push(Json::object().set("firewall", kit.firewall));
    body.set("firewalls", firewalls);
    body.set(
        "public_net",
        Json::object().set("enable_ipv4", settings_.ipv4).set("enable_ipv6", settings_.ipv6)
    );
    body.set("start_after_create", true);
    body.set("user_data", kit.user_data.reveal());
    return body;
}

Result<std::optional<HetznerDriver::Placed>> HetznerDriver::adopt(
    const std::string& machine, const Call& call
) {
    for (int attempt = 0;; ++attempt) {
        BERTH_ASSIGN(const auto server, find_server(machine, call));
        if (!server) return std::optional<Placed>();
        if (!hetzner::is_ours(*server, deployment_label_, machine)) return not_ours(machine);
        // One that is on its way out keeps the name until it is gone.
        if (server->string_or("status", "") != "deleting")
            return std::optional<Placed>(Placed{id_of(*server), {}, target_of(*server), true, {}});
        BERTH_TRY(api_.pause(api_.backoff(attempt), call));
    }
}

Result<HetznerDriver::Outcome<HetznerDriver::Placed>> HetznerDriver::ask_for(
    const MachineSpec& spec, const Kit& kit, const Target& target, const Call& call
) {
    const Json body = server_request(spec, kit, target);
    for (int attempt = 0; attempt < kMostRepeats; ++attempt) {
        const auto reply = api_.post("/servers", body, call);
        if (reply && reply->ok()) {
            const Json* server = reply->body.find("server");
            if (server == nullptr) return internal("bad_answer", "no server in the answer");
            Placed placed{id_of(*server), {}, target_of(*server), false, {}};
            if (const Json* action = reply->body.find("action"))
                placed.actions.push_back(id_of(*action));
            if (const Json* next = reply->body.find("next_actions"); next && next->as_array()) {
                for (const Json& action : *next->as_array())
                    placed.actions.push_back(id_of(action));
            }
            return Outcome<Placed>(std::move(placed));
        }
        if (!reply && reply.error().code == "rate_limited")  // for longer than this create may take
            return Outcome<Placed>(Unfit{reply.error().code, reply.error().message});
        if (!reply && reply.error().code != hetzner::kAnswerLost) return reply.error();
        const bool name_taken = reply && reply->is(409, "uniqueness_error");
        if (reply && !name_taken) {
            if (is_no_room(*reply)) return Outcome<Placed>(Unfit{reply->code, reply->message});
            if (reply->status != 409 && reply->status != 423)
                return hetzner::refusal(*reply, "a server of type " + target.text());
        }
        if (!reply || name_taken) {
            BERTH_ASSIGN(auto there, adopt(spec.machine, call));
            if (there) return Outcome<Placed>(std::move(*there));
        }
        BERTH_TRY(api_.pause(api_.backoff(attempt), call));
    }
    return unavailable("provider_unreachable", "Hetzner gave no answer to a server's creation");
}

Result<HetznerDriver::Placed> HetznerDriver::place(
    const MachineSpec& spec, Attempts& attempts, const Call& call
) {
    // A machine of an earlier create comes first: only where there is none may one be made.
    BERTH_ASSIGN(auto there, adopt(spec.machine, call));
    std::optional<Kit> kit;
    bool only_room = true;
    bool looked_again = false;
    const std::vector<Target> all = targets(spec.profile);
    std::deque<Target> queue(all.begin(), all.end());
    std::string tried;
    while (there || !queue.empty()) {
        std::optional<Unfit> unfit;
        std::string target_text;
        if (!there) {
            if (!kit) {
                BERTH_ASSIGN(kit, prepare(spec, call));
            }
            Target target = queue.front();
            queue.pop_front();
            target_text = target.text();
            auto asked = ask_for(spec, *kit, target, call);
            if (!asked && asked.error().fault == Fault::kNotFound && !looked_again) {
                // The firewall may be gone since it was looked at.
                looked_again = true;
                firewalls_.lock()->erase(spec.profile.ssh());
                BERTH_ASSIGN(kit->firewall, ensure_firewall(spec.profile.ssh(), call));
                asked = ask_for(spec, *kit, target, call);
            }
            BERTH_ASSIGN(auto outcome, std::move(asked));
            if (auto* refused = std::get_if<Unfit>(&outcome)) {
                unfit = std::move(*refused);
                // The limit is the account's: the same target may do when it has passed.
                if (unfit->code == "rate_limit_exceeded" && !target.delayed) {
                    target.delayed = true;
                    queue.push_back(target);
                }
            } else {
                there = std::get<Placed>(std::move(outcome));
            }
        }
        if (there) {
            target_text = there->target;
            BERTH_ASSIGN(unfit, bring_up(*there, call));
            if (!unfit) {
                attempts.push_back({target_text, there->adopted ? "adopted" : "created", {}});
                return std::move(*there);
            }
            log::warning(
                "a server that did not come up is removed",
                {{"machine", spec.machine}, {"target", target_text}, {"code", unfit->code}}
            );
            BERTH_TRY(remove_server(there->server, call));
            BERTH_TRY(boot_.replaced(spec.machine));
            there.reset();
        }
        only_room = only_room && unfit->capacity;
        attempts.push_back({target_text, unfit->code, unfit->message});
        tried += (tried.empty() ? "" : "; ") + target_text + ": " + unfit->code +
                 (unfit->message.empty() ? "" : " (" + unfit->message + ")");
    }
    // Its key serves nothing now. Should this fail, list() shows it and a destroy removes it.
    if (const auto removed = remove_rest(spec.machine, call); !removed)
        log::warning(
            "a key is left for now", {{"machine", spec.machine}, {"error", removed.error()}}
        );
    if (only_room) return unavailable(std::string(kCapacityExhausted), "no room: " + tried);
    return unavailable("server_not_started", "no server came up: " + tried);
}

Result<std::optional<HetznerDriver::Unfit>> HetznerDriver::await_actions(
    const Placed& placed, const Call& call
) {
    for (const std::int64_t action : placed.actions) {
        for (milliseconds look = settings_.first_look;;
             look = std::min(look * 2, settings_.slowest_look)) {
            BERTH_ASSIGN(const Reply reply, api_.get("/actions/" + std::to_string(action), call));
            if (reply.status == 404) break;  // forgotten by Hetzner: the server itself tells
            if (!reply.ok()) return hetzner::refusal(reply, "looking at an action");
            const Json* body = reply.body.find("action");
            const std::string status = body == nullptr ? "" : body->string_or("status", "");
            if (status == "success") break;
            if (status == "error") {
                const Json* error = body->find("error");
                return std::optional<Unfit>(Unfit{
                    error == nullptr ? "action_failed" : error->string_or("code", "action_failed"),
                    body->string_or("command", "") + " failed" +
                        (error == nullptr ? "" : ": " + error->string_or("message", "")),
                    false});
            }
            if (api_.clock().steady() + look > call.until)
                return std::optional<Unfit>(Unfit{
                    "action_slow", "the server's creation did not end in time", false, true});
            BERTH_TRY(api_.pause(look, call));
        }
    }
    return std::optional<Unfit>();
}

Result<std::optional<HetznerDriver::Unfit>> HetznerDriver::await_running(
    Placed& placed, const Call& call
) {
    const std::string path = "/servers/" + std::to_string(placed.server);
    bool powered_on = false;
    for (milliseconds look = settings_.first_look;;
         look = std::min(look * 2, settings_.slowest_look)) {
        BERTH_ASSIGN(const Reply reply, api_.get(path, call));
        if (reply.status == 404)
            return std::optional<Unfit>(Unfit{"vanished", "the server is gone", false});
        if (!reply.ok()) return hetzner::refusal(reply, "looking at a server");
        const Json* body = reply.body.find("server");
        if (body == nullptr) return internal("bad_answer", "no server in the answer");
        const std::string status = body->string_or("status", "");
        const bool reachable = (!settings_.ipv4 || has_address(*body, "ipv4")) &&
                               (!settings_.ipv6 || has_address(*body, "ipv6"));
        if (status == "running" && reachable) {
            placed.seen = *body;
            return std::optional<Unfit>();
        }
        if (status == "off" && placed.adopted && !powered_on) {
            // The one who made it may have died between its creation and its start. A refusal means
            // that it is being started.
            powered_on = true;
            const auto on = api_.post(path + "/actions/poweron", call);
            if (!on && on.error().code != hetzner::kAnswerLost) return on.error();
        }
        if (api_.clock().steady() + look > call.until)
            return std::optional<Unfit>(
                status == "running"
                    ? Unfit{"no_address", "the server never got its address", false, true}
                    : Unfit{"never_running", "the server stayed " + status, false, true}
            );
        BERTH_TRY(api_.pause(look, call));
    }
}

Result<std::optional<HetznerDriver::Unfit>> HetznerDriver::bring_up(
    Placed& placed, const Call& call
) {
    const SteadyTime patience = api_.clock().steady() + settings_.start_patience;
    const Call patient{std::min(call.until, patience), call.urgent};
    auto unfit = await_actions(placed, patient);
    if (unfit && !*unfit) unfit = await_running(placed, patient);
    const bool out_of_time =
        unfit ? unfit->has_value() && (*unfit)->late : unfit.error().code == "provider_slow";
    if (!out_of_time) return unfit;
    // A server that had less time than it may take is kept: the next create goes on with it.
    if (call.until < patience)
        return deadline("provider_slow", "the server " + placed.target + " is not up yet");
    if (!unfit) return std::optional<Unfit>(Unfit{"start_slow", unfit.error().message, false});
    return unfit;
}

Result<void> HetznerDriver::label_addresses(
    const MachineSpec& spec, const Json& server, const Call& call
) {
    const Json* net = server.find("public_net");
    for (const char* family : {"ipv4", "ipv6"}) {
        const Json* address = net == nullptr ? nullptr : net->find(family);
        const std::int64_t id = address == nullptr ? 0 : address->int_or("id", 0);
        if (id == 0) continue;
        const Json body =
            Json::object().set("labels", hetzner::machine_labels(deployment_label_, spec));
        BERTH_ASSIGN(const Reply reply, api_.put("/primary_ips/" + std::to_string(id), body, call));
        if (!reply.ok() && reply.status != 404)
            return hetzner::refusal(reply, "labelling an address");
    }
    return {};
}

Result<void> HetznerDriver::await_node(
    const std::string& machine, SteadyTime since, const Call& call
) {
    for (;;) {
        BERTH_ASSIGN(const bool heard, boot_.wait_heard(machine, since, kNodeSlice));
        if (heard) return {};
        BERTH_TRY(api_.pause(milliseconds{0}, call));  // the deadline, or an interrupt
    }
}

Result<void> HetznerDriver::create(const MachineSpec& spec, Attempts& attempts) {
    if (!is_id("m", spec.machine)) return invalid("bad_id", "the machine's id is malformed");
    const Call call = call_within(settings_.create_deadline);
    const SteadyTime began = api_.clock().steady();
    BERTH_ASSIGN(const Placed placed, place(spec, attempts, call));
    BERTH_TRY(label_addresses(spec, placed.seen, call));
    if (const auto heard = await_node(spec.machine, began, call); !heard) {
        if (heard.error().fault != Fault::kDeadline) return heard.error();
        return unavailable(
            "node_silent",
            "server " + hetzner::resource_name(spec.machine) + " (" + placed.target +
                ") runs, but its node agent was not heard in time: can provisioner.cloud."
                "gateway_url and bus.public be reached from outside?"
        );
    }
    remember(spec.machine, "running");
    return {};
}

}  // namespace berth::prov
