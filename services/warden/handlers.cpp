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
    using Change =
        Outcome (WardenHandlers::*)(const Context&, const std::string&, store::Transaction&);
    using Question = Outcome (WardenHandlers::*)(const Context&, const std::string&);
    const auto wrap = [this](Change handler) {
        return [this, handler](
                   const Context& context, const std::string& payload, store::Transaction& tx
               ) { return (this->*handler)(context, payload, tx); };
    };
    const auto query = [&](const char* verb, Question handler) {
        handlers.query(verb, [this, handler](const Context& context, const std::string& payload) {
            return (this->*handler)(context, payload);
        });
    };
    handlers.command("ask", wrap(&WardenHandlers::ask));
    handlers.command("abandon", wrap(&WardenHandlers::abandon));
    handlers.command("claim", wrap(&WardenHandlers::claim));
    handlers.command("halted", wrap(&WardenHandlers::halted));
    handlers.command("record", wrap(&WardenHandlers::record));
    handlers.command("decide", wrap(&WardenHandlers::decide));
    handlers.command("revoke_grant", wrap(&WardenHandlers::revoke_grant));
    handlers.command("apply_policy", wrap(&WardenHandlers::apply_policy));
    handlers.command("rollback_policy", wrap(&WardenHandlers::rollback_policy));
    handlers.command("halt", wrap(&WardenHandlers::halt));
    handlers.command("resume", wrap(&WardenHandlers::resume));
    query("snapshot", &WardenHandlers::snapshot);
    query("approval", &WardenHandlers::get_approval);
    query("approvals", &WardenHandlers::list_approvals);
    query("grants", &WardenHandlers::list_grants);
    query("policy", &WardenHandlers::get_policy);
    query("policies", &WardenHandlers::list_policies);
    query("halts", &WardenHandlers::list_halts);
    query("audit", &WardenHandlers::query_audit);
    query("verify", &WardenHandlers::verify_audit);
    handlers.event("warden-lease", wrap(&WardenHandlers::lease_fact));
    handlers.event("warden-run", wrap(&WardenHandlers::run_fact));
    handlers.event("warden-prov", wrap(&WardenHandlers::machine_fact));
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
