// SPDX-License-Identifier: Apache-2.0
// The life of a lease after it was acquired: heartbeats, runs, its end.
#include "lease_broker/handlers.hpp"

#include "berth/run/v1/run.pb.h"
#include "lease_broker/request.hpp"

namespace berth::lease {

using service::Decision;
using service::reply_with;

void LeaseHandlers::bind(service::Handlers& handlers) {
    handlers.command("acquire", this, &LeaseHandlers::acquire);
    handlers.command("heartbeat", this, &LeaseHandlers::heartbeat);
    handlers.command("release", this, &LeaseHandlers::release);
    handlers.command("attach", this, &LeaseHandlers::attach);
    handlers.command("share", this, &LeaseHandlers::share);
    handlers.command("unshare", this, &LeaseHandlers::unshare);
    handlers.command("drain", this, &LeaseHandlers::drain);
    handlers.command("resume", this, &LeaseHandlers::resume);
    handlers.command("set_profile", this, &LeaseHandlers::set_profile);
    handlers.command("remove_profile", this, &LeaseHandlers::remove_profile);
    handlers.query("get", this, &LeaseHandlers::get);
    handlers.query("list", this, &LeaseHandlers::list);
    handlers.query("shares", this, &LeaseHandlers::list_shares);
    handlers.query("pools", this, &LeaseHandlers::list_pools);
    handlers.query("machines", this, &LeaseHandlers::list_machines);
    handlers.query("machine", this, &LeaseHandlers::get_machine);
    handlers.query("profiles", this, &LeaseHandlers::list_profiles);
    handlers.query("profile", this, &LeaseHandlers::get_profile);
    handlers.query("usage", this, &LeaseHandlers::usage);
    handlers.event("lease-prov", this, &LeaseHandlers::machine_fact);
    handlers.event("lease-node", this, &LeaseHandlers::node_fact);
    handlers.event("lease-run", this, &LeaseHandlers::run_fact);
}

Result<std::string> LeaseHandlers::access(
    repo::Reader reader, const common::v1::Actor& actor, const Lease& lease
) {
    if (actor.org() != lease.org) return std::string();
    if (actor.user() == lease.owner) return std::string("owner");
    if (has_role(actor, "admin")) return std::string("admin");
    return repo::right_of(reader, lease.id, actor.user());
}

Result<LeaseHandlers::Held> LeaseHandlers::held(
    store::Transaction& tx, const common::v1::Actor& actor, const std::string& id_or_slug
) {
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, actor.org(), normal(id_or_slug, "ls")));
    if (!lease) return no_such_lease(id_or_slug);
    BERTH_ASSIGN(const std::string right, access(&tx, actor, *lease));
    if (right.empty()) return no_such_lease(id_or_slug);
    return Held{std::move(*lease), right};
}

LeaseHandlers::Outcome LeaseHandlers::heartbeat(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Heartbeat request, decode<v1::Heartbeat>(payload));
    BERTH_ASSIGN(Held held_lease, held(tx, request.actor(), request.lease()));
    Lease& lease = held_lease.lease;
    BERTH_TRY(touch(lease, context.now));
    repo::update_lease(tx, lease);
    BERTH_ASSIGN(const v1::Lease answer, fleet_.answer(&tx, lease));
    return reply_with(answer);
}

LeaseHandlers::Outcome LeaseHandlers::release(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Release request, decode<v1::Release>(payload));
    BERTH_ASSIGN(Held held_lease, held(tx, request.actor(), request.lease()));
    if (!held_lease.may_manage()) {
        return forbidden(
            "share_forbids",
            "the lease is shared with you for use; its owner, or who may manage it, releases it"
        );
    }
    std::vector<store::OutboxMessage> messages;
    // Idempotent: releasing what has ended says how it ended.
    BERTH_TRY(fleet_.finish(
        {context, tx, messages}, held_lease.lease, LeaseState::LEASE_STATE_RELEASED, "released"
    ));
    Decision reply = reply_with(to_proto(held_lease.lease));
    reply.messages = std::move(messages);
    return reply;
}

LeaseHandlers::Outcome LeaseHandlers::attach(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Attach request, decode<v1::Attach>(payload));
    BERTH_ASSIGN(Held held_lease, held(tx, request.actor(), request.lease()));
    Lease& lease = held_lease.lease;
    if (request.transient()) {
        if (lease.state == LeaseState::LEASE_STATE_PENDING) {
            return conflict(
                "lease_pending",
                "lease " + lease.slug + " has no machine yet; wait until it is active"
            );
        }
        BERTH_TRY(touch(lease, context.now));
    } else {
        if (!is_id("rn", request.work())) return invalid("bad_id", "work must be a run id", "work");
        Lease attached = lease;
        BERTH_TRY(lease::attach(attached, context.now));
        BERTH_ASSIGN(
            const bool added, repo::insert_attachment(tx, lease.id, request.work(), context.now)
        );
        if (added) lease = attached;
    }
    repo::update_lease(tx, lease);
    v1::Attached reply;
    *reply.mutable_lease() = to_proto(lease);
    // As it was when the lease was acquired, whatever became of the profile since.
    RecipePtr recipe = profiles_.find(lease.profile);
    if (!lease.recipe.empty() && (recipe == nullptr || recipe->digest != lease.recipe)) {
        BERTH_ASSIGN(const RecipePtr kept, profiles_.kept(tx, lease.recipe));
        if (kept != nullptr) recipe = kept;
    }
    if (recipe != nullptr) *reply.mutable_profile() = recipe->profile;
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::run_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const run::v1::RunChanged changed, decode<run::v1::RunChanged>(payload));
    const run::v1::Run& run = changed.run();
    Decision decision = reply_with(common::v1::Empty{});
    if (run.state() < run::v1::RUN_STATE_SUCCEEDED) {
        BERTH_TRY(repo::confirm_attachment(tx, run.id()));
        return decision;
    }
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, run.org(), run.lease()));
    BERTH_ASSIGN(const auto attached, repo::delete_attachment(tx, run.id()));
    if (!lease || !lease->live()) return decision;
    if (attached) detach(*lease, context.now);
    if (lease->one_shot && lease->live_runs == 0) {
        BERTH_TRY(fleet_.finish(
            {context, tx, decision.messages}, *lease, LeaseState::LEASE_STATE_RELEASED, "run_ended"
        ));
    } else if (attached) {
        repo::update_lease(tx, *lease);
    }
    return decision;
}

Result<int> LeaseHandlers::expire(
    store::Transaction& tx,
    const std::vector<std::string>& ids,
    WallTime now,
    std::vector<store::OutboxMessage>& messages
) {
    BERTH_ASSIGN(auto leases, repo::lock_live(tx, ids));
    std::erase_if(leases, [now](const Lease& lease) {
        return overdue(lease, now).empty();  // touched meanwhile
    });
    if (!leases.empty()) BERTH_TRY(fleet_.expire(tx, leases, now, messages));
    return static_cast<int>(leases.size());
}

Result<std::vector<store::OutboxMessage>> LeaseHandlers::drop_attachment(
    store::Transaction& tx, const std::string& work, WallTime now
) {
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(const auto org, repo::org_of_attachment(tx, work));
    BERTH_ASSIGN(const auto id, repo::delete_attachment(tx, work));
    if (!org || !id) return messages;
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, *org, *id));
    if (!lease || !lease->live()) return messages;
    detach(*lease, now);
    repo::update_lease(tx, *lease);
    return messages;
}

}  // namespace berth::lease
