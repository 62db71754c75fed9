// SPDX-License-Identifier: Apache-2.0
// Lending a lease to another user of the org.
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::reply_with;

constexpr std::size_t kMaxUser = 200;

Error may_not_share() {
    return forbidden(
        "share_forbids",
        "the lease is shared with you for use; its owner, or who may manage it, shares it"
    );
}

store::OutboxMessage share_event(
    const service::Context& context, const Lease& lease, const Share& share, std::string_view fact
) {
    v1::ShareChanged event;
    *event.mutable_share() = to_proto(share);
    event.set_revision(static_cast<std::uint64_t>(lease.revision));
    return service::make_event(
        context, "lease", lease.org, "share", fact, lease.id, event.revision(), event
    );
}

}  // namespace

LeaseHandlers::Outcome LeaseHandlers::share(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::ShareLease request, decode<v1::ShareLease>(payload));
    if (request.right() != "use" && request.right() != "manage")
        return invalid("bad_right", "right must be 'use' or 'manage'", "right");
    if (request.user().empty() || request.user().size() > kMaxUser)
        return invalid("bad_user", "user must be a user of the org", "user");
    BERTH_ASSIGN(Held held_lease, held(tx, request.actor(), request.lease()));
    if (!held_lease.may_manage()) return may_not_share();
    Lease& lease = held_lease.lease;
    if (request.user() == lease.owner)
        return invalid("bad_user", "the lease is that user's own", "user");
    BERTH_TRY(touch(lease, context.now));  // of a live lease only
    BERTH_ASSIGN(const auto given, repo::shares(&tx, lease.id));
    const bool known = std::any_of(given.begin(), given.end(), [&](const Share& each) {
        return each.user == request.user();
    });
    if (!known && given.size() >= kMostShares) {
        return limit(
            "share_limit",
            "a lease is shared with " + std::to_string(kMostShares) + " users at most"
        );
    }
    const Share share{
        lease.id, request.user(), request.right(), request.actor().user(), context.now};
    BERTH_TRY(repo::put_share(tx, lease.org, share));
    repo::update_lease(tx, lease);
    Decision decision = reply_with(to_proto(share));
    decision.messages.push_back(share_event(context, lease, share, "given"));
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::unshare(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::UnshareLease request, decode<v1::UnshareLease>(payload));
    BERTH_ASSIGN(Held held_lease, held(tx, request.actor(), request.lease()));
    Lease& lease = held_lease.lease;
    // Anybody may give back what was lent to him.
    if (!held_lease.may_manage() && request.user() != request.actor().user())
        return may_not_share();
    Decision decision = reply_with(common::v1::Empty{});
    BERTH_ASSIGN(const std::string right, repo::right_of(&tx, lease.id, request.user()));
    BERTH_ASSIGN(const bool deleted, repo::delete_share(tx, lease.id, request.user()));
    if (!deleted) return decision;
    ++lease.revision;
    repo::update_lease(tx, lease);
    const Share share{lease.id, request.user(), right, request.actor().user(), context.now};
    decision.messages.push_back(share_event(context, lease, share, "withdrawn"));
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::list_shares(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListShares request, decode<v1::ListShares>(payload));
    BERTH_ASSIGN(
        const auto lease,
        repo::find_lease(pool_, request.actor().org(), normal(request.lease(), "ls"))
    );
    if (!lease) return no_such_lease(request.lease());
    BERTH_ASSIGN(const std::string right, access(&pool_, request.actor(), *lease));
    if (right.empty()) return no_such_lease(request.lease());
    BERTH_ASSIGN(const auto given, repo::shares(&pool_, lease->id));
    v1::SharesReply reply;
    for (const Share& share : given) *reply.add_shares() = to_proto(share);
    return reply_with(reply);
}

}  // namespace berth::lease
