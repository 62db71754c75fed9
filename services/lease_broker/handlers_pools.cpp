// SPDX-License-Identifier: Apache-2.0
// Taking machines, profiles or the whole fleet out of service and back, and how pools stand.
#include "core/text.hpp"
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::reply_with;

constexpr std::size_t kMaxReason = 200;
// Idle machines removed with the drain itself; the keeper removes what is left.
constexpr int kDropAtOnce = 100;

}  // namespace

LeaseHandlers::Outcome LeaseHandlers::drain(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Drain request, decode<v1::Drain>(payload));
    if (request.reason().size() > kMaxReason)
        return invalid("bad_reason", "reason is longer than 200 bytes", "reason");
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(
        Decision decision,
        change_drain(
            {context, tx, messages},
            request.actor(),
            request.machine(),
            {request.profile(), request.actor().user(), request.reason()},
            true
        )
    );
    decision.messages = std::move(messages);
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::resume(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Resume request, decode<v1::Resume>(payload));
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(
        Decision decision,
        change_drain(
            {context, tx, messages},
            request.actor(),
            request.machine(),
            {request.profile(), request.actor().user(), {}},
            false
        )
    );
    decision.messages = std::move(messages);
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::change_drain(
    const Work& work,
    const common::v1::Actor& actor,
    const std::string& machine,
    Drain scope,
    bool drain
) {
    if (!has_role(actor, "admin"))
        return forbidden("role_missing", "draining and resuming are for admins");
    if (!is_subject_token(actor.org()))
        return invalid("no_actor", "the command names nobody it acts for", "actor");
    if (!machine.empty()) return drain_machine(work, actor.org(), machine, drain);
    if (!scope.profile.empty() && profiles_.find(scope.profile) == nullptr) {
        return invalid(
            "unknown_profile",
            "there is no profile '" + clipped(scope.profile, 64) + "'; `berth profiles` shows them",
            "profile"
        );
    }
    BERTH_ASSIGN(const auto revision, repo::set_drain(work.tx, actor.org(), scope, drain));
    if (revision) {
        v1::PoolChanged event;
        event.set_profile(scope.profile);
        event.set_by(scope.by);
        event.set_reason(scope.reason);
        event.set_revision(static_cast<std::uint64_t>(*revision));
        work.out.push_back(service::make_event(
            work.context,
            "lease",
            actor.org(),
            "pool",
            drain ? "drain_asked" : "drain_withdrawn",
            scope.profile.empty() ? kFleetId : std::string_view(scope.profile),
            event.revision(),
            event
        ));
        if (drain)
            BERTH_TRY(fleet_.drop_idle(work, actor.org(), scope.profile, kDropAtOnce, kRemoving));
    }
    v1::DrainReply reply;
    BERTH_ASSIGN(const auto about, pools(&work.tx, actor.org(), scope.profile));
    for (const v1::Pool& pool : about) *reply.add_pools() = pool;
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::drain_machine(
    const Work& work, const std::string& org, const std::string& id, bool drain
) {
    BERTH_ASSIGN(auto machine, repo::lock_machine(work.tx, normal(id, "m")));
    if (!machine || machine->org != org)
        return not_found("machine_not_found", "there is no machine '" + clipped(id, 64) + "'");
    BERTH_ASSIGN(const bool changed, set_drain(*machine, drain, work.context.now));
    if (changed) {
        repo::update_machine(work.tx, *machine);
        work.out.push_back(
            machine_event(work.context, *machine, drain ? "drain_asked" : "drain_withdrawn")
        );
        // What nobody has goes now, also what is being made or cleaned for the next.
        if (drain && (machine->warm() || machine->cleaning()))
            BERTH_TRY(fleet_.remove(work, *machine, kRemoving));
    }
    v1::DrainReply reply;
    *reply.mutable_machine() = to_proto(*machine);
    return reply_with(reply);
}

Result<std::vector<v1::Pool>> LeaseHandlers::pools(
    repo::Reader reader, const std::string& org, const std::string& only
) {
    BERTH_ASSIGN(const auto counts, repo::count_machines(reader, only));
    BERTH_ASSIGN(const auto drained, repo::drains(reader, org));
    std::vector<v1::Pool> out;
    const auto known = profiles_.all();
    for (const auto& [name, recipe] : *known) {
        const v1::Profile& profile = recipe->profile;
        if (!only.empty() && name != only) continue;
        v1::Pool pool;
        pool.set_profile(name);
        pool.set_driver(profile.driver());
        BERTH_ASSIGN(const PoolRule bounds, fleet_.rule(reader, org, name));
        pool.set_warm_min(static_cast<std::uint32_t>(bounds.warm_min));
        pool.set_max_machines(profile.max_machines());
        pool.set_price_micros_per_hour(profile.price_micros_per_hour());
        pool.set_currency(settings_.currency);
        for (const Drain& drain : drained) {
            if (!drain.profile.empty() && drain.profile != name) continue;
            pool.set_draining(true);
            pool.set_drained_by(drain.by);
            pool.set_drain_reason(drain.reason);
        }
        if (const auto found = counts.find({name, org}); found != counts.end()) {
            const PoolCount& count = found->second;
            pool.set_provisioning(static_cast<std::uint32_t>(count.provisioning));
            pool.set_idle(static_cast<std::uint32_t>(count.idle));
            pool.set_leased(static_cast<std::uint32_t>(count.leased));
            pool.set_draining_machines(static_cast<std::uint32_t>(count.draining));
            pool.set_failed(static_cast<std::uint32_t>(count.failed));
        }
        out.push_back(std::move(pool));
    }
    return out;
}

LeaseHandlers::Outcome LeaseHandlers::list_pools(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListPools request, decode<v1::ListPools>(payload));
    const std::string& org = request.actor().org();
    BERTH_ASSIGN(const auto all, pools(&pool_, org, ""));
    BERTH_ASSIGN(const auto lines, repo::lines(pool_, org));
    BERTH_ASSIGN(const auto failures, repo::pool_failures(pool_, org));
    v1::PoolsReply reply;
    for (const v1::Pool& pool : all) {
        v1::Pool& out = *reply.add_pools();
        out = pool;
        if (const auto line = lines.find(pool.profile()); line != lines.end())
            out.set_waiting(static_cast<std::uint32_t>(line->second));
        if (const auto failed = failures.find({org, pool.profile()}); failed != failures.end()) {
            out.set_last_error(failed->second.error);
            *out.mutable_retry_at() = service::to_timestamp(failed->second.retry_at);
        }
    }
    return reply_with(reply);
}

}  // namespace berth::lease
