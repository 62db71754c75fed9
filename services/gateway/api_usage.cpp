// SPDX-License-Identifier: Apache-2.0
// /v1/usage: what leases cost, by owner, profile and month.
#include "berth/lease/v1/lease.pb.h"
#include "core/text.hpp"
#include "gateway/api.hpp"

namespace berth::gateway {

void get_usage(Api& api, const CallPtr& call) {
    lease::v1::GetUsage query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_from(call->request.query.get_or("from", ""));
    query.set_to(call->request.query.get_or("to", ""));
    query.set_owner(call->request.query.get_or("owner", ""));
    for (const auto& [text, field] :
         {std::pair{&query.from(), "from"}, {&query.to(), "to"}, {&query.owner(), "owner"}}) {
        if (!is_utf8(*text))
            return call->fail(invalid("bad_query", "the query is not valid UTF-8", field));
    }
    ask<lease::v1::UsageReply>(
        api,
        call,
        "berth.qry.lease.usage",
        query,
        {},
        [call](const lease::v1::UsageReply& reply) { call->json(200, reply); }
    );
}

}  // namespace berth::gateway
