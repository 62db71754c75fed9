// SPDX-License-Identifier: Apache-2.0
// /v1/leases/{id}/shares: lending a lease to another user of the org.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "core/text.hpp"
#include "gateway/api.hpp"
#include "gateway/repo.hpp"

namespace berth::gateway {
namespace {

/// What every command about a share begins with. False where the call was answered.
template <typename Command>
bool fill(const CallPtr& call, Command& command, std::string& id) {
    if (!plausible_id(call->param("id"))) {
        call->fail(no_such_lease());
        return false;
    }
    if (call->param("user").empty() || !is_utf8(call->param("user"))) {
        call->fail(invalid("bad_user", "'user' must be a user of the org", "user"));
        return false;
    }
    auto key = command_id_of(*call);
    if (!key) {
        call->fail(key.error());
        return false;
    }
    id = std::move(*key);
    fill_actor(call->principal, *command.mutable_actor());
    command.set_lease(call->param("id"));
    command.set_user(call->param("user"));
    return true;
}

}  // namespace

void share_lease(Api& api, const CallPtr& call) {
    v1::ShareBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    lease::v1::ShareLease command;
    std::string id;
    if (!fill(call, command, id)) return;
    command.set_right(body.right());
    // Users are the gateway's own: whether this one exists is asked here, not of the broker.
    const bool queued = api.workers.run([&api, call, command, id] {
        const auto known = repo::has_user(api.pool, call->principal.org, command.user());
        if (!known) return call->fail(known.error());
        if (!*known) {
            return call->fail(not_found(
                "unknown_user",
                "the org has no user '" + clipped(command.user(), 64) +
                    "'; a user is known once a token was made for it"
            ));
        }
        ask<lease::v1::Share>(
            api,
            call,
            "berth.cmd.lease.share",
            command,
            id,
            [call](const lease::v1::Share& share) { call->json(200, share); }
        );
    });
    if (!queued) call->fail(unavailable("busy", "too much is waiting; try again"));
}

void unshare_lease(Api& api, const CallPtr& call) {
    lease::v1::UnshareLease command;
    std::string id;
    if (!fill(call, command, id)) return;
    ask<common::v1::Empty>(
        api,
        call,
        "berth.cmd.lease.unshare",
        command,
        std::move(id),
        [call](const common::v1::Empty&) { call->respond({204}); }
    );
}

void list_shares(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_lease());
    lease::v1::ListShares query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_lease(call->param("id"));
    ask<lease::v1::SharesReply>(
        api,
        call,
        "berth.qry.lease.shares",
        query,
        {},
        [call](const lease::v1::SharesReply& reply) { call->json(200, reply); }
    );
}

}  // namespace berth::gateway
