// SPDX-License-Identifier: Apache-2.0
// /v1/pools, /v1/fleet and /v1/machines: what there is to lease, and taking it out of
// service.
#include <google/protobuf/descriptor.h>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "gateway/api.hpp"

namespace berth::gateway {
namespace {

using lease::v1::DrainReply;

Error no_such_machine() { return not_found("machine_not_found", "there is no such machine"); }

Error no_such_profile() {
    return invalid("unknown_profile", "there is no such profile; see /v1/profiles", "profile");
}

/// With what the machine itself says of its guard, which the lease broker does not keep.
lease::v1::Machine described(Api& api, lease::v1::Machine machine) {
    api.presences.describe(machine, Clock::system().now());
    return machine;
}

void answer_drain(Api& api, const CallPtr& call, const char* subject, const auto& command) {
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    ask<DrainReply>(
        api,
        call,
        subject,
        command,
        std::move(*id),
        [&api, call](const DrainReply& reply) {
            if (reply.has_machine()) return call->json(200, described(api, reply.machine()));
            // One profile was named in the path, or the fleet.
            if (call->params.contains("profile") && reply.pools_size() == 1)
                return call->json(200, reply.pools(0));
            lease::v1::PoolsReply all;
            *all.mutable_pools() = reply.pools();
            call->json(200, all);
        }
    );
}

/// Fills in what the path names. False where the call was answered.
bool fill_scope(const CallPtr& call, auto& command) {
    fill_actor(call->principal, *command.mutable_actor());
    if (const auto machine = call->params.find("id"); machine != call->params.end()) {
        if (!plausible_id(machine->second)) return call->fail(no_such_machine()), false;
        command.set_machine(machine->second);
    }
    if (const auto profile = call->params.find("profile"); profile != call->params.end()) {
        if (!plausible_id(profile->second)) return call->fail(no_such_profile()), false;
        command.set_profile(profile->second);
    }
    return true;
}

void drain(Api& api, const CallPtr& call) {
    v1::DrainBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    lease::v1::Drain command;
    if (!fill_scope(call, command)) return;
    command.set_reason(body.reason());
    answer_drain(api, call, "berth.cmd.lease.drain", command);
}

void resume(Api& api, const CallPtr& call) {
    lease::v1::Resume command;
    if (!fill_scope(call, command)) return;
    answer_drain(api, call, "berth.cmd.lease.resume", command);
}

}  // namespace

void drain_pool(Api& api, const CallPtr& call) { drain(api, call); }
void resume_pool(Api& api, const CallPtr& call) { resume(api, call); }
void drain_fleet(Api& api, const CallPtr& call) { drain(api, call); }
void resume_fleet(Api& api, const CallPtr& call) { resume(api, call); }
void drain_machine(Api& api, const CallPtr& call) { drain(api, call); }
void resume_machine(Api& api, const CallPtr& call) { resume(api, call); }

void list_pools(Api& api, const CallPtr& call) {
    lease::v1::ListPools query;
    fill_actor(call->principal, *query.mutable_actor());
    ask<lease::v1::PoolsReply>(
        api,
        call,
        "berth.qry.lease.pools",
        query,
        {},
        [call](const lease::v1::PoolsReply& reply) { call->json(200, reply); }
    );
}

void list_machines(Api& api, const CallPtr& call) {
    lease::v1::ListMachines query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    query.set_profile(call->request.query.get_or("profile", ""));
    if (!query.profile().empty() && !plausible_id(query.profile()))
        return call->fail(no_such_profile());
    query.set_all(call->request.query.flag("all"));
    if (const auto state = call->request.query.get("state")) {
        // "idle" of MACHINE_STATE_IDLE
        std::string name = "MACHINE_STATE_";
        for (const char c : *state)
            name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        lease::v1::MachineState value{};
        if (!lease::v1::MachineState_Parse(name, &value) || value == 0) {
            return call->fail(invalid(
                "bad_state",
                "'state' must be provisioning, idle, leased, draining, failed or gone",
                "state"
            ));
        }
        query.set_state(value);
    }
    ask<lease::v1::MachinesReply>(
        api,
        call,
        "berth.qry.lease.machines",
        query,
        {},
        [&api, call](lease::v1::MachinesReply reply) {
            for (auto& machine : *reply.mutable_machines())
                api.presences.describe(machine, Clock::system().now());
            call->json(200, reply);
        }
    );
}

void get_machine(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_machine());
    lease::v1::GetMachine query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_machine(call->param("id"));
    ask<lease::v1::Machine>(
        api,
        call,
        "berth.qry.lease.machine",
        query,
        {},
        [&api, call](const lease::v1::Machine& machine) {
            call->json(200, described(api, machine));
        }
    );
}

}  // namespace berth::gateway
