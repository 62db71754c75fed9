// SPDX-License-Identifier: Apache-2.0
// Which message goes where, and what the clock asks.
#include "warden/handlers.hpp"

#include <array>

#include "core/id.hpp"
#include "service/proto_time.hpp"
#include "warden/grant.hpp"
#include "warden/halt.hpp"

namespace berth::warden {

void WardenHandlers::bind(service::Handlers& handlers) {
    handlers.command("ask", this, &WardenHandlers::ask);
    handlers.command("abandon", this, &WardenHandlers::abandon);
    handlers.command("claim", this, &WardenHandlers::claim);
    handlers.command("halted", this, &WardenHandlers::halted);
    handlers.command("record", this, &WardenHandlers::record);
    handlers.command("refused", this, &WardenHandlers::refused);
    handlers.command("decide", this, &WardenHandlers::decide);
    handlers.command("revoke_grant", this, &WardenHandlers::revoke_grant);
    handlers.command("apply_policy", this, &WardenHandlers::apply_policy);
    handlers.command("rollback_policy", this, &WardenHandlers::rollback_policy);
    handlers.command("halt", this, &WardenHandlers::halt);
    handlers.command("resume", this, &WardenHandlers::resume);
    handlers.query("snapshot", this, &WardenHandlers::snapshot);
    handlers.query("approval", this, &WardenHandlers::get_approval);
    handlers.query("approvals", this, &WardenHandlers::list_approvals);
    handlers.query("grants", this, &WardenHandlers::list_grants);
    handlers.query("policy", this, &WardenHandlers::get_policy);
    handlers.query("policies", this, &WardenHandlers::list_policies);
    handlers.query("halts", this, &WardenHandlers::list_halts);
    handlers.query("audit", this, &WardenHandlers::query_audit);
    handlers.query("verify", this, &WardenHandlers::verify_audit);
    handlers.event("warden-lease", this, &WardenHandlers::lease_fact);
    handlers.event("warden-run", this, &WardenHandlers::run_fact);
    handlers.event("warden-prov", this, &WardenHandlers::machine_fact);
    handlers.event("warden-gateway", this, &WardenHandlers::user_fact);
}

std::string WardenHandlers::random_id(std::string_view prefix) {
    std::array<std::uint8_t, 16> bytes{};
    random_.fill(bytes);
    return std::string(prefix) + "_" +
           ulid_from_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Result<std::vector<store::OutboxMessage>> WardenHandlers::pass_deadline(
    store::Transaction& tx, const std::string& org, const std::string& approval, WallTime now
) {
    BERTH_TRY(repo::lock_org(tx, org, repo::Hold::kShared));
    BERTH_ASSIGN(auto record, repo::lock_approval(tx, approval));
    if (!record) return std::vector<store::OutboxMessage>{};
    const DeadlineEffect effect = deadline_passed(*record, now);
    if (effect == DeadlineEffect::kNothing) return std::vector<store::OutboxMessage>{};
    Context context;
    context.command_id =
        service::child_command_id(approval, "deadline/" + std::to_string(record->body.revision()));
    context.correlation_id = context.command_id;
    context.now = now;
    Work work(context, tx, org);
    BERTH_TRY(repo::update_approval(tx, *record));
    if (effect == DeadlineEffect::kExpired) {
        work.tell_machine(*record);
        work.tell(*record, "expired");
        work.audit("approval_expired", *record).set_reason(record->body.comment());
    } else if (effect == DeadlineEffect::kReminded) {
        work.tell(*record, "reminded");
    } else {
        work.tell(*record, "escalated");
        work.audit("approval_escalated", *record).set_reason("to " + record->body.group(0));
    }
    return work.finish();
}

Result<std::vector<store::OutboxMessage>> WardenHandlers::end_grant(
    store::Transaction& tx, const std::string& org, const std::string& id, WallTime now
) {
    BERTH_ASSIGN(auto grant, repo::lock_grant(tx, id));
    if (!grant || usable(grant->body, now)) return std::vector<store::OutboxMessage>{};
    Context context;
    context.command_id = service::child_command_id(id, "ended");
    context.correlation_id = context.command_id;
    context.now = now;
    Work work(context, tx, org);
    grant->body.set_revision(grant->body.revision() + 1);
    BERTH_TRY(repo::update_grant(tx, grant->body, false));
    work.tell(grant->body, "ended");
    work.audit("grant_ended").set_subject(id);
    return work.finish();
}

Result<v1::Beat> WardenHandlers::beat(const std::string& name, WallTime now) {
    BERTH_ASSIGN(const Org org, repo::find_org(&pool_, name));
    BERTH_ASSIGN(auto halts, repo::halts_in_force(&pool_, name));
    v1::Beat beat;
    beat.set_org(name);
    beat.set_policy_version(org.policy_version);
    beat.set_policy_digest(org.policy_digest);
    beat.set_revision(static_cast<std::uint64_t>(org.revision));
    *beat.mutable_time() = service::to_timestamp(now);
    for (v1::Halt& halt : halts) {
        halt.clear_answers();
        *beat.add_halts() = std::move(halt);
    }
    return beat;
}

}  // namespace berth::warden
