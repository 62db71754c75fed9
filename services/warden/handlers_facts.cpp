// SPDX-License-Identifier: Apache-2.0
// What other services tell: a lease's, run's or machine's end ends what hung on it, and so does the
// end of somebody's right to decide.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "berth/run/v1/run.pb.h"
#include "policy/plan.hpp"
#include "service/proto_time.hpp"
#include "warden/grant.hpp"
#include "warden/handlers.hpp"
#include "warden/request.hpp"

namespace berth::warden {
namespace {

using service::reply_with;

std::string org_of(const service::Context& context) {
    const auto tokens = split(context.subject, '.');
    return tokens.size() > 2 ? std::string(tokens[2]) : std::string();
}

}  // namespace

Result<void> WardenHandlers::abandon_all(
    Work& work, const std::vector<std::string>& ids, std::string_view reason
) {
    for (const std::string& id : ids) {
        BERTH_ASSIGN(auto record, repo::lock_approval(work.tx(), id));
        if (!record || !warden::abandon(*record, reason, work.context().now)) continue;
        BERTH_TRY(repo::update_approval(work.tx(), *record));
        work.tell(*record, "abandoned");
        work.audit("approval_abandoned", *record).set_reason(std::string(reason));
    }
    return {};
}

WardenHandlers::Outcome WardenHandlers::lease_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const lease::v1::LeaseChanged fact, decode<lease::v1::LeaseChanged>(payload));
    const lease::v1::Lease& lease = fact.lease();
    std::optional<WallTime> ended;
    if (lease.has_ended_at()) ended = service::to_wall_time(lease.ended_at());
    const repo::LeaseRow row{lease.org(), lease.machine(), ended.has_value()};
    BERTH_TRY(repo::put_lease(tx, lease.id(), lease.slug(), lease.owner(), row, ended));
    service::Decision decision = reply_with(common::v1::Empty{});
    if (!ended) return decision;
    BERTH_ASSIGN(auto grants, repo::lock_grants_of_lease(tx, lease.id()));
    Work work(context, tx, lease.org());
    for (GrantRow& grant : grants) {
        if (!withdraw(grant.body, "berth", context.now)) continue;
        BERTH_TRY(repo::update_grant(tx, grant.body, false));
        work.tell(grant.body, "ended");
        v1::AuditRecord& audited = work.audit("grant_ended");
        audited.set_subject(grant.body.id());
        audited.set_reason("its lease ended");
    }
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::run_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const run::v1::RunChanged fact, decode<run::v1::RunChanged>(payload));
    service::Decision decision = reply_with(common::v1::Empty{});
    if (!fact.run().has_ended_at()) return decision;
    BERTH_ASSIGN(const auto live, repo::live_of_run(tx, fact.run().id()));
    Work work(context, tx, org_of(context));
    BERTH_TRY(abandon_all(work, live, "its run has ended"));
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

WardenHandlers::Outcome WardenHandlers::machine_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const prov::v1::MachineFact fact, decode<prov::v1::MachineFact>(payload));
    const auto tokens = split(context.subject, '.');
    service::Decision decision = reply_with(common::v1::Empty{});
    if (tokens.size() != 7) return decision;
    const bool gone = tokens[5] == "gone" || tokens[5] == "failed";
    BERTH_TRY(repo::put_machine(
        tx,
        fact.machine(),
        org_of(context),
        gone ? std::optional<WallTime>(context.now) : std::nullopt
    ));
    if (!gone) return decision;
    Work work(context, tx, org_of(context));
    // Nobody waits for a machine that is no more to confirm a halt.
    BERTH_ASSIGN(const auto halts, repo::halts_in_force(&tx, work.org()));
    for (const v1::Halt& each : halts) {
        BERTH_ASSIGN(auto halt, repo::lock_halt(tx, each.id()));
        if (halt && halt->asked.erase(fact.machine()) > 0) BERTH_TRY(repo::update_halt(tx, *halt));
    }
    BERTH_ASSIGN(const auto live, repo::live_of_machine(tx, fact.machine()));
    BERTH_TRY(abandon_all(work, live, "its machine is gone"));
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

/// Who may no longer decide has no part in what is undecided, and nothing is allowed in their name.
WardenHandlers::Outcome WardenHandlers::user_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto fact, decode<gateway::v1::UserChanged>(payload));
    const std::string& user = fact.user().name();
    const auto& roles = fact.user().roles();
    const bool decides =
        !fact.user().disabled() && std::any_of(roles.begin(), roles.end(), is_deciding_role);
    service::Decision decision = reply_with(common::v1::Empty{});
    BERTH_ASSIGN(Org org, repo::lock_org(tx, org_of(context), repo::Hold::kAlone));
    BERTH_ASSIGN(const bool news, repo::put_user(tx, org.org, user, fact.revision(), decides));
    if (decides || !news) return decision;
    Work work(context, tx, org.org);
    const std::string reason = policy::show_text(user) + " may no longer decide";
    BERTH_ASSIGN(const auto live, repo::live_of_org(tx, org.org));
    for (const std::string& id : live) {
        BERTH_ASSIGN(auto record, repo::lock_approval(tx, id));
        if (!record || !drop_votes(*record, user)) continue;
        BERTH_TRY(repo::update_approval(tx, *record));
        work.tell(*record, "unvoted");
        v1::AuditRecord& audited = work.audit("vote_dropped", *record);
        audited.set_user(user);
        audited.set_reason(reason);
    }
    BERTH_ASSIGN(auto grants, repo::lock_live_grants(tx, org.org));
    for (GrantRow& grant : grants) {
        if (grant.body.made_by() != user || !withdraw(grant.body, "berth", context.now)) continue;
        BERTH_TRY(repo::update_grant(tx, grant.body, false));
        work.tell(grant.body, "revoked");
        v1::AuditRecord& audited = work.audit("grant_revoked");
        audited.set_user("berth");
        audited.set_subject(grant.body.id());
        audited.set_reason(reason);
    }
    ++org.revision;
    BERTH_TRY(repo::update_org(tx, org));
    BERTH_ASSIGN(decision.messages, work.finish());
    return decision;
}

}  // namespace berth::warden
