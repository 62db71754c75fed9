// SPDX-License-Identifier: Apache-2.0
// /v1/profiles: the kinds of machines, and changing them while the deployment runs.
#include "berth/lease/v1/lease.pb.h"
#include "core/json.hpp"
#include "gateway/api.hpp"

namespace berth::gateway {
namespace {

/// What the path names. False where the call was answered.
bool fill_name(const CallPtr& call, auto& command) {
    fill_actor(call->principal, *command.mutable_actor());
    if (!plausible_id(call->param("profile"))) {
        call->fail(invalid(
            "bad_profile", "a profile's name is 1 to 64 characters of a-z 0-9 _ -", "profile"
        ));
        return false;
    }
    command.set_profile(call->param("profile"));
    return true;
}

}  // namespace

void list_profiles(Api& api, const CallPtr& call) {
    lease::v1::ListProfiles query;
    fill_actor(call->principal, *query.mutable_actor());
    ask<lease::v1::ProfilesReply>(
        api,
        call,
        "berth.qry.lease.profiles",
        query,
        {},
        [call](const lease::v1::ProfilesReply& reply) { call->json(200, reply); }
    );
}

void get_profile(Api& api, const CallPtr& call) {
    lease::v1::GetProfile query;
    if (!fill_name(call, query)) return;
    ask<lease::v1::Profile>(
        api,
        call,
        "berth.qry.lease.profile",
        query,
        {},
        [call](const lease::v1::Profile& profile) { call->json(200, profile); }
    );
}

void set_profile(Api& api, const CallPtr& call) {
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    lease::v1::SetProfile command;
    if (!fill_name(call, command)) return;
    // Its keys are the settings file's, and are checked by the code that reads that.
    const auto body = Json::parse(call->request.body);
    if (!body || body->as_object() == nullptr)
        return call->fail(invalid("bad_json", "the body must be an object of a profile's keys"));
    command.set_recipe(body->dump());
    ask<lease::v1::Profile>(
        api,
        call,
        "berth.cmd.lease.set_profile",
        command,
        std::move(*id),
        [call](const lease::v1::Profile& profile) { call->json(200, profile); }
    );
}

void remove_profile(Api& api, const CallPtr& call) {
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    lease::v1::RemoveProfile command;
    if (!fill_name(call, command)) return;
    ask<common::v1::Empty>(
        api,
        call,
        "berth.cmd.lease.remove_profile",
        command,
        std::move(*id),
        [call](const common::v1::Empty&) { call->respond({204}); }
    );
}

}  // namespace berth::gateway
