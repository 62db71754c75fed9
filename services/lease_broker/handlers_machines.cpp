// SPDX-License-Identifier: Apache-2.0
// What provisioner and nodes tell about machines.
#include "berth/node/v1/node.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/text.hpp"
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::reply_with;

/// berth.evt.<org>.<service>.<noun>.<fact>.<id>
std::string_view fact_of(const service::Context& context) {
    const auto tokens = split(context.subject, '.');
    return tokens.size() > 5 ? tokens[5] : std::string_view();
}

}  // namespace

LeaseHandlers::Outcome LeaseHandlers::machine_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const prov::v1::MachineFact fact, decode<prov::v1::MachineFact>(payload));
    const std::string_view what = fact_of(context);
    Decision decision = reply_with(common::v1::Empty{});
    // The lease's row before the machine's, as everywhere: one order of locks.
    BERTH_ASSIGN(auto lease, repo::lock_lease_by_machine(tx, fact.machine()));
    BERTH_ASSIGN(auto machine, repo::lock_machine(tx, fact.machine()));
    if (!machine || machine->state == MachineState::MACHINE_STATE_GONE) return decision;
    const Work work{context, tx, decision.messages};
    if (what == "ready") {
        BERTH_TRY(machine_ready(work, lease, *machine, fact.cleanable()));
    } else if (what == "failed" || what == "gone") {
        BERTH_TRY(machine_lost(work, lease, *machine, what == "failed", fact));
    }
    return decision;
}

Result<void> LeaseHandlers::machine_ready(
    const Work& work, std::optional<Lease>& lease, Machine& machine, bool cleanable
) {
    // Released or drained meanwhile: its destroy is on its way.
    if (machine.state != MachineState::MACHINE_STATE_PROVISIONING) return {};
    machine.cleanable = cleanable;
    if (machine.lease.empty()) {
        repo::clear_failures(work.tx, machine.org, machine.profile);
        return fleet_.put_to_use(work, machine);
    }
    if (!lease || lease->state != LeaseState::LEASE_STATE_PENDING) return {};
    BERTH_TRY(activate(*lease, work.context.now));
    repo::move_lease(work.tx, *lease);
    work.out.push_back(lease_event(work.context, *lease, "activated"));
    return fleet_.hand_over(work, machine, *lease);
}

Result<void> LeaseHandlers::machine_lost(
    const Work& work,
    std::optional<Lease>& lease,
    Machine& machine,
    bool failed,
    const prov::v1::MachineFact& fact
) {
    const std::string& code = fact.code();
    const std::string& reason = fact.reason();
    const bool leaving = machine.state == MachineState::MACHINE_STATE_DRAINING;
    if (failed && machine.lease.empty() && !leaving) {
        BERTH_TRY(repo::note_failure(
            work.tx, machine.org, machine.profile, code + ": " + reason, work.context.now
        ));
    }
    const bool moved =
        failed ? fail(machine, reason, work.context.now) : vanish(machine, work.context.now);
    if (moved) {
        repo::update_machine(work.tx, machine);
        work.out.push_back(machine_event(work.context, machine));
    }
    // Whatever was half made goes.
    if (moved && failed) work.out.push_back(destroy_command(work.context, machine));
    if (lease && lease->machine == machine.id) {
        const std::string why =
            failed ? (code.empty() ? "provisioning_failed" : code) : std::string("machine_gone");
        if (end(*lease, LeaseState::LEASE_STATE_FAILED, why, work.context.now)) {
            lease->end_detail = reason;
            lease->attempts.assign(fact.attempts().begin(), fact.attempts().end());
            repo::move_lease(work.tx, *lease);
            work.out.push_back(lease_event(work.context, *lease, "failed"));
            Fleet::settle(work.tx, {&*lease, 1});
        }
    }
    // Its place in the pool is free.
    if (moved && !failed) return fleet_.serve_line(work, machine.profile);
    return {};
}

Result<void> LeaseHandlers::press_on(
    store::Transaction& tx,
    const std::string& id,
    WallTime now,
    std::vector<store::OutboxMessage>& messages
) {
    BERTH_ASSIGN(auto lease, repo::lock_lease_by_machine(tx, id));
    BERTH_ASSIGN(auto machine, repo::lock_machine(tx, id));
    if (!machine || !is_silent(*machine, now)) return {};
    const Context context =
        own_context(id, "press/" + std::to_string(to_unix_micros(machine->changed_at)), now);
    const Work work{context, tx, messages};
    if (machine->state == MachineState::MACHINE_STATE_PROVISIONING) {
        prov::v1::MachineFact fact;
        fact.set_code("provisioning_timeout");
        fact.set_reason(
            "the provisioner said nothing of it within " + format_duration(kCreatePatience)
        );
        return machine_lost(work, lease, *machine, true, fact);
    }
    machine->changed_at = now;
    repo::update_machine(tx, *machine);
    messages.push_back(destroy_command(context, *machine));
    return {};
}

LeaseHandlers::Outcome LeaseHandlers::node_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const node::v1::Cleaned cleaned, decode<node::v1::Cleaned>(payload));
    Decision decision = reply_with(common::v1::Empty{});
    const auto tokens = split(context.subject, '.');
    // A machine's rights let it speak under its own name only.
    if (fact_of(context) != "cleaned" || tokens.size() != 7 || tokens[6] != cleaned.machine())
        return decision;
    BERTH_ASSIGN(auto machine, repo::lock_machine(tx, cleaned.machine()));
    if (!machine || !machine->cleaning() || machine->lease != cleaned.lease()) return decision;
    const Work work{context, tx, decision.messages};
    if (!cleaned.error().empty()) {
        BERTH_TRY(fleet_.remove(work, *machine, "not clean: " + clipped(cleaned.error(), 200)));
    } else {
        BERTH_TRY(fleet_.put_to_use(work, *machine));
    }
    return decision;
}

}  // namespace berth::lease
