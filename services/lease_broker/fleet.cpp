// SPDX-License-Identifier: Apache-2.0
// The steps by which machines come, change hands and go.
#include "lease_broker/fleet.hpp"

#include <algorithm>

#include "berth/node/v1/node.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "lease_broker/repo.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

using service::make_command;
using service::make_event;

constexpr std::string_view kToken = "lease";
// Waiters served in one transaction; the keeper comes back for the rest.
constexpr int kServeBatch = 64;

store::OutboxMessage clean_command(const service::Context& context, const Machine& machine) {
    node::v1::Clean clean;
    clean.set_lease(machine.lease);
    *clean.mutable_deadline() = service::to_timestamp(machine.clean_by);
    return make_command(
        context,
        kToken,
        "berth.cmd.node." + machine.id + ".clean",
        "clean/" + machine.id + "/" + machine.lease,
        "machine/" + machine.id,
        clean,
        kCleanDeadline
    );
}

int everywhere(const repo::PoolCounts& counts) {
    int sum = 0;
    for (const auto& [key, count] : counts) sum += count.all();
    return sum;
}

bool is_leaving(const repo::PoolCounts& counts) {
    return std::any_of(counts.begin(), counts.end(), [](const auto& one) {
        return one.second.draining > one.second.cleaning || one.second.failed > 0;
    });
}

}  // namespace

store::OutboxMessage lease_event(
    const service::Context& context, const Lease& lease, std::string_view fact
) {
    v1::LeaseChanged event;
    *event.mutable_lease() = to_proto(lease);
    return make_event(
        context,
        kToken,
        lease.org,
        "lease",
        fact,
        lease.id,
        static_cast<std::uint64_t>(lease.revision),
        event
    );
}

store::OutboxMessage machine_event(
    const service::Context& context, const Machine& machine, std::string_view fact
) {
    v1::MachineChanged event;
    *event.mutable_machine() = to_proto(machine);
    return make_event(
        context,
        kToken,
        machine.org,
        "machine",
        fact,
        machine.id,
        static_cast<std::uint64_t>(machine.revision),
        event
    );
}

store::OutboxMessage machine_event(const service::Context& context, const Machine& machine) {
    return machine_event(context, machine, state_name(machine.state));
}

store::OutboxMessage destroy_command(const service::Context& context, const Machine& machine) {
    prov::v1::Destroy destroy;
    destroy.set_machine(machine.id);
    destroy.set_org(machine.org);
    return make_command(
        context,
        kToken,
        "berth.cmd.prov.destroy",
        "destroy/" + machine.id,
        "machine/" + machine.id,
        destroy,
        kDestroyDeadline
    );
}

service::Context own_context(const std::string& id, const std::string& cause, WallTime now) {
    service::Context context;
    context.command_id = service::child_command_id(id, cause);
    context.correlation_id = context.command_id;
    context.now = now;
    return context;
}

Result<PoolRule> Fleet::rule(repo::Reader reader, const std::string& org, const std::string& name)
    const {
    PoolRule rule;
    if (const RecipePtr known = profiles_.find(name)) {
        const auto& orgs = settings_.warm_orgs;
        if (std::find(orgs.begin(), orgs.end(), org) != orgs.end())
            rule.warm_min = static_cast<int>(known->profile.warm_min());
        rule.max_machines = static_cast<int>(known->profile.max_machines());
    }
    BERTH_ASSIGN(const auto drain, repo::drain_of(reader, org, name));
    rule.draining = drain.has_value();
    return rule;
}

Result<Place> Fleet::find_place(
    const Work& work,
    const Lease& lease,
    const Recipe& recipe,
    bool may_wait,
    std::vector<Machine>& idle
) {
    const v1::Profile& wanted = recipe.profile;
    const bool pooled = wanted.warm_min() > 0 || wanted.max_machines() > 0;
    if (!pooled) return Place::kMake;
    const auto take = [&]() -> Result<bool> {
        // Whoever waits was here first.
        BERTH_ASSIGN(
            const auto waiting,
            wanted.max_machines() == 0 ? Result<std::int64_t>(0)
                                       : repo::count_waiters(&work.tx, lease.profile)
        );
        if (waiting > 0) return false;
        BERTH_ASSIGN(idle, repo::take_one_idle(work.tx, lease.org, lease.profile, recipe.machine));
        return !idle.empty();
    };
    BERTH_ASSIGN(bool found, take());
    if (found) return Place::kIdle;
    if (wanted.max_machines() == 0) return Place::kMake;

    BERTH_TRY(repo::lock_pool(work.tx, lease.profile));
    BERTH_ASSIGN(found, take());
    if (found) return Place::kIdle;
    BERTH_ASSIGN(const auto waiting, repo::count_waiters(&work.tx, lease.profile));
    BERTH_ASSIGN(const auto counts, repo::count_machines(&work.tx, lease.profile));
    if (waiting == 0 && everywhere(counts) < static_cast<int>(wanted.max_machines()))
        return Place::kMake;
    if (may_wait && waiting < kMostWaiting) return Place::kLine;
    return exhausted(
        "pool_exhausted",
        "all " + std::to_string(wanted.max_machines()) + " machines of profile '" + lease.profile +
            "' are taken" +
            (waiting > 0 ? " and " + std::to_string(waiting) + " leases wait for one" : "") +
            "; wait in line with `wait`, or try again later"
    );
}

Machine Fleet::new_machine(const Work& work, const std::string& org, const Recipe& recipe) {
    Machine machine;
    machine.id = make_id("m", work.context.now, random_);
    machine.org = org;
    machine.profile = recipe.profile.name();
    machine.driver = recipe.profile.driver();
    machine.recipe = recipe.machine;
    machine.created_at = work.context.now;
    machine.changed_at = work.context.now;
    return machine;
}

Result<void> Fleet::make_machine(
    const Work& work, const Machine& machine, const v1::Profile& wanted, const Lease* lease
) {
    repo::insert_machine(work.tx, machine);
    prov::v1::Create create;
    create.set_machine(machine.id);
    create.set_org(machine.org);
    // Its name outlives the lease it may be made for.
    create.set_slug(lease == nullptr ? make_slug(random_, 0) : lease->slug);
    if (lease != nullptr) create.set_lease(lease->id);
    *create.mutable_profile() = wanted;
    work.out.push_back(machine_event(work.context, machine));
    work.out.push_back(make_command(
        work.context,
        kToken,
        "berth.cmd.prov.create",
        "create/" + machine.id,
        "machine/" + machine.id,
        create,
        kCreateDeadline
    ));
    return {};
}

Result<void> Fleet::hand_over(const Work& work, Machine& machine, const Lease& lease) {
    if (!become_leased(machine, lease.id, work.context.now))
        return internal("not_idle", "machine " + machine.id + " cannot be leased now");
    repo::update_machine(work.tx, machine);
    work.out.push_back(machine_event(work.context, machine));
    return {};
}

void Fleet::settle(store::Transaction& tx, std::span<const Lease> leases) {
    repo::add_spend(tx, leases);
    repo::end_shares(tx, leases);
}

Result<bool> Fleet::finish(
    const Work& work, Lease& lease, LeaseState to, std::string_view reason, std::string_view detail
) {
    if (!lease.live()) return false;
    std::optional<Machine> machine;
    if (!lease.machine.empty()) {
        BERTH_ASSIGN(machine, repo::lock_machine(work.tx, lease.machine));
    }
    BERTH_TRY(end_lease(work, lease, machine ? &*machine : nullptr, to, reason, detail));
    repo::move_lease(work.tx, lease);
    // Last: the month's row is shared by all leases of its owner.
    settle(work.tx, {&lease, 1});
    return true;
}

Result<void> Fleet::end_lease(
    const Work& work,
    Lease& lease,
    Machine* machine,
    LeaseState to,
    std::string_view reason,
    std::string_view detail
) {
    if (!end(lease, to, reason, work.context.now))
        return internal("not_live", "lease " + lease.id + " had ended before");
    lease.end_detail = detail;
    work.out.push_back(lease_event(work.context, lease, state_name(lease.state)));
    if (machine != nullptr && machine->lease == lease.id) return after_lease(work, *machine);
    return {};
}

Result<void> Fleet::expire(
    store::Transaction& tx,
    std::vector<Lease>& leases,
    WallTime now,
    std::vector<store::OutboxMessage>& out
) {
    std::vector<std::string> ids;
    for (const Lease& lease : leases) {
        if (!lease.machine.empty()) ids.push_back(lease.machine);
    }
    BERTH_ASSIGN(auto machines, repo::lock_machines(tx, ids));
    std::map<std::string, Machine*> by_id;
    for (Machine& machine : machines) by_id[machine.id] = &machine;
    for (Lease& lease : leases) {
        const auto machine = by_id.find(lease.machine);
        const service::Context context =
            own_context(lease.id, "expire/" + std::to_string(lease.revision), now);
        const std::string reason(overdue(lease, now));
        const bool waited = lease.queued();
        BERTH_TRY(end_lease(
            {context, tx, out},
            lease,
            machine == by_id.end() ? nullptr : machine->second,
            waited ? LeaseState::LEASE_STATE_FAILED : LeaseState::LEASE_STATE_EXPIRED,
            reason,
            waited ? "no machine of profile '" + lease.profile + "' came free within " +
                         format_duration(std::chrono::duration_cast<milliseconds>(
                             lease.wait_until - lease.created_at
                         ))
                   : std::string()
        ));
    }
    repo::end_leases(tx, leases);
    settle(tx, leases);
    return {};
}

Result<void> Fleet::after_lease(const Work& work, Machine& machine) {
    const RecipePtr known = profiles_.find(machine.profile);
    const bool pooled = known != nullptr && machine.recipe == known->machine &&
                        (known->profile.warm_min() > 0 || known->profile.max_machines() > 0);
    if (!pooled || !machine.cleanable || machine.drain) return remove(work, machine, kRemoving);
    BERTH_ASSIGN(const PoolRule bounds, rule(&work.tx, machine.org, machine.profile));
    BERTH_ASSIGN(const auto counts, repo::count_machines(&work.tx, machine.profile));
    BERTH_ASSIGN(const auto waiting, repo::count_waiters(&work.tx, machine.profile));
    const auto count = counts.find({machine.profile, machine.org});
    const bool keep = worth_keeping(
        machine,
        bounds,
        count == counts.end() ? PoolCount{} : count->second,
        static_cast<int>(waiting)
    );
    if (!keep || !begin_cleaning(machine, work.context.now + kCleanDeadline, work.context.now))
        return remove(work, machine, kRemoving);
    repo::update_machine(work.tx, machine);
    work.out.push_back(machine_event(work.context, machine));
    work.out.push_back(clean_command(work.context, machine));
    return {};
}

Result<void> Fleet::remove(const Work& work, Machine& machine, std::string_view why) {
    if (!begin_removal(machine, why, work.context.now)) return {};
    repo::update_machine(work.tx, machine);
    work.out.push_back(machine_event(work.context, machine));
    work.out.push_back(destroy_command(work.context, machine));
    return {};
}

Result<void> Fleet::put_to_use(const Work& work, Machine& machine) {
    const RecipePtr known = profiles_.find(machine.profile);
    BERTH_ASSIGN(const PoolRule bounds, rule(&work.tx, machine.org, machine.profile));
    if (known == nullptr || machine.recipe != known->machine || machine.drain || bounds.draining)
        return remove(work, machine, kRemoving);
    if (!become_idle(machine, work.context.now)) return {};
    repo::update_machine(work.tx, machine);
    work.out.push_back(machine_event(work.context, machine));
    return serve_line(work, machine.profile);
}

Result<void> Fleet::serve_line(const Work& work, const std::string& name) {
    const RecipePtr wanted = profiles_.find(name);
    if (wanted == nullptr || wanted->profile.max_machines() == 0) return {};
    BERTH_TRY(repo::lock_pool(work.tx, name));
    BERTH_ASSIGN(auto waiting, repo::waiters(&work.tx, name));
    leave_late(waiting, work.context.now);
    if (waiting.empty()) return {};
    BERTH_ASSIGN(const Turns last, repo::turns(&work.tx, name));
    int served = 0;
    for (const Waiter& waiter : line_order(std::move(waiting), last)) {
        if (served == kServeBatch) break;
        BERTH_ASSIGN(const auto drained, repo::drain_of(&work.tx, waiter.org, name));
        if (drained) continue;  // they wait until it is resumed, or their time is over
        ++served;
        BERTH_ASSIGN(auto lease, repo::lock_waiting(work.tx, waiter.lease));
        if (!lease) continue;  // it left by itself
        BERTH_ASSIGN(auto idle, repo::take_one_idle(work.tx, waiter.org, name, wanted->machine));
        if (idle.empty()) {
            BERTH_ASSIGN(const auto counts, repo::count_machines(&work.tx, name));
            if (everywhere(counts) >= static_cast<int>(wanted->profile.max_machines())) {
                // An idle machine of another org cannot change hands, but can make room; one at a
                // time, however long its removal takes.
                if (is_leaving(counts)) return {};
                BERTH_ASSIGN(auto others, repo::take_idle(work.tx, waiter.org, name, 1, true));
                for (Machine& other : others) BERTH_TRY(remove(work, other, kRemoving));
                return {};
            }
            Machine machine = new_machine(work, waiter.org, *wanted);
            machine.lease = lease->id;
            leave_line(*lease, machine.id, work.context.now);
            repo::move_lease(work.tx, *lease);
            BERTH_TRY(make_machine(work, machine, wanted->profile, &*lease));
        } else {
            leave_line(*lease, idle.front().id, work.context.now);
            BERTH_TRY(activate(*lease, work.context.now));
            repo::move_lease(work.tx, *lease);
            work.out.push_back(lease_event(work.context, *lease, "activated"));
            BERTH_TRY(hand_over(work, idle.front(), *lease));
        }
        BERTH_TRY(repo::note_turn(work.tx, name, waiter));
    }
    return {};
}

Result<void> Fleet::fail_line(const Work& work, const std::string& name, std::string_view reason) {
    BERTH_ASSIGN(const auto waiting, repo::waiters(&work.tx, name));
    for (const Waiter& waiter : waiting) {
        BERTH_ASSIGN(auto lease, repo::lock_waiting(work.tx, waiter.lease));
        if (!lease) continue;
        BERTH_TRY(finish(
            work,
            *lease,
            LeaseState::LEASE_STATE_FAILED,
            reason,
            "profile '" + name + "' was removed while the lease stood in line"
        ));
    }
    return {};
}

Result<int> Fleet::drop_stale(
    const Work& work, const std::string& org, const Recipe& recipe, int limit
) {
    BERTH_ASSIGN(
        auto stale, repo::take_stale(work.tx, org, recipe.profile.name(), recipe.machine, limit)
    );
    for (Machine& machine : stale) BERTH_TRY(remove(work, machine, "made by an older recipe"));
    return static_cast<int>(stale.size());
}

Result<int> Fleet::drop_idle(
    const Work& work,
    const std::string& org,
    const std::string& name,
    int limit,
    std::string_view why
) {
    BERTH_ASSIGN(auto idle, repo::take_idle(work.tx, org, name, std::max(limit, 2)));
    int dropped = 0;
    for (Machine& machine : idle) {
        if (dropped == limit) break;
        BERTH_TRY(remove(work, machine, why));
        ++dropped;
    }
    return dropped;
}

Result<std::vector<Waiter>> Fleet::line(repo::Reader reader, const std::string& name) {
    BERTH_ASSIGN(auto waiting, repo::waiters(reader, name));
    BERTH_ASSIGN(const Turns last, repo::turns(reader, name));
    return line_order(std::move(waiting), last);
}

Result<v1::Lease> Fleet::answer(repo::Reader reader, const Lease& lease) {
    v1::Lease out = to_proto(lease);
    if (!lease.queued()) return out;
    BERTH_ASSIGN(const auto waiting, line(reader, lease.profile));
    out.set_queue_position(static_cast<std::uint32_t>(line_position(waiting, lease.id)));
    return out;
}

}  // namespace berth::lease
