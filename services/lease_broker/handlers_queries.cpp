// SPDX-License-Identifier: Apache-2.0
// What people ask about leases, machines and money.
#include <map>

#include "core/text.hpp"
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"

namespace berth::lease {

using service::reply_with;

LeaseHandlers::Outcome LeaseHandlers::get(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::Get request, decode<v1::Get>(payload));
    BERTH_ASSIGN(
        const auto lease,
        repo::find_lease(pool_, request.actor().org(), normal(request.lease(), "ls"))
    );
    if (!lease) return no_such_lease(request.lease());
    BERTH_ASSIGN(const std::string right, access(&pool_, request.actor(), *lease));
    if (right.empty()) return no_such_lease(request.lease());
    BERTH_ASSIGN(v1::Lease answer, fleet_.answer(&pool_, *lease));
    answer.set_access(right);
    return reply_with(answer);
}

LeaseHandlers::Outcome LeaseHandlers::list(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::List request, decode<v1::List>(payload));
    const common::v1::Actor& actor = request.actor();
    repo::ListFilter filter;
    filter.org = actor.org();
    if (!has_role(actor, "admin")) filter.owner = actor.user();
    filter.ended = request.all();
    filter.before = request.page().cursor();
    BERTH_ASSIGN(const int limit, page_limit(request.page(), "ls"));
    filter.limit = limit + 1;  // one more tells whether there is a next page
    BERTH_ASSIGN(const auto leases, repo::list_leases(pool_, filter));
    v1::ListReply reply;
    std::map<std::string, std::vector<Waiter>> lines;  // each is asked for once
    for (const Lease& lease : leases) {
        if (reply.leases_size() == limit) {
            reply.set_next_cursor(reply.leases(limit - 1).id());
            break;
        }
        v1::Lease& out = *reply.add_leases();
        out = to_proto(lease);
        if (lease.queued()) {
            if (!lines.contains(lease.profile)) {
                BERTH_ASSIGN(lines[lease.profile], Fleet::line(&pool_, lease.profile));
            }
            out.set_queue_position(
                static_cast<std::uint32_t>(line_position(lines[lease.profile], lease.id))
            );
        }
        if (lease.owner == actor.user()) {
            out.set_access("owner");
        } else {
            BERTH_ASSIGN(const std::string right, access(&pool_, actor, lease));
            out.set_access(right);
        }
    }
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::list_machines(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::ListMachines request, decode<v1::ListMachines>(payload));
    repo::MachineFilter filter;
    filter.org = request.actor().org();
    filter.profile = request.profile();
    if (request.state() != MachineState::MACHINE_STATE_UNSPECIFIED)
        filter.state = state_name(request.state());
    filter.gone = request.all() || request.state() == MachineState::MACHINE_STATE_GONE;
    filter.before = request.page().cursor();
    BERTH_ASSIGN(const int limit, page_limit(request.page(), "m"));
    filter.limit = limit + 1;
    BERTH_ASSIGN(const auto machines, repo::list_machines(pool_, filter));
    v1::MachinesReply reply;
    for (const Machine& machine : machines) {
        if (reply.machines_size() == limit) {
            reply.set_next_cursor(reply.machines(limit - 1).id());
            break;
        }
        *reply.add_machines() = to_proto(machine);
        // Who has it is for admins; its own lease tells an owner.
        if (!has_role(request.actor(), "admin")) reply.mutable_machines()->rbegin()->clear_lease();
    }
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::get_machine(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetMachine request, decode<v1::GetMachine>(payload));
    BERTH_ASSIGN(
        const auto machine,
        repo::find_machine(pool_, request.actor().org(), normal(request.machine(), "m"))
    );
    if (!machine) {
        return not_found(
            "machine_not_found", "there is no machine '" + clipped(request.machine(), 64) + "'"
        );
    }
    v1::Machine out = to_proto(*machine);
    if (!has_role(request.actor(), "admin")) out.clear_lease();
    return reply_with(out);
}

LeaseHandlers::Outcome LeaseHandlers::usage(const Context& context, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetUsage request, decode<v1::GetUsage>(payload));
    const common::v1::Actor& actor = request.actor();
    const bool admin = has_role(actor, "admin");
    if (!admin && !request.owner().empty() && request.owner() != actor.user())
        return forbidden("role_missing", "what others use is for admins to see");
    const std::string this_month = month_of(context.now);
    BERTH_ASSIGN(const Months months, asked_months(request.from(), request.to(), this_month));
    const std::string owner = admin ? request.owner() : actor.user();
    BERTH_ASSIGN(const auto rows, repo::usage(pool_, actor.org(), owner, months.from, months.to));
    v1::UsageReply reply;
    reply.set_currency(settings_.currency);
    for (const UsageRow& row : rows) {
        v1::UsageReply::Row& out = *reply.add_rows();
        out.set_owner(row.owner);
        out.set_profile(row.profile);
        out.set_month(row.month);
        out.set_leases(static_cast<std::uint64_t>(row.leases));
        out.set_live_leases(static_cast<std::uint64_t>(row.live));
        out.set_machine_seconds(static_cast<std::uint64_t>(row.active_ms / 1'000));
        out.set_spent_micros(static_cast<std::uint64_t>(row.spent));
        out.set_reserved_micros(static_cast<std::uint64_t>(row.reserved));
    }
    const auto budget = [&](std::int64_t limit, const std::string& whose) -> Result<void> {
        if (limit == 0) return {};
        BERTH_ASSIGN(const Budget used, repo::month_money(&pool_, actor.org(), whose, this_month));
        v1::UsageReply::Budget& out = *reply.add_budgets();
        out.set_scope(whose.empty() ? "org" : "owner");
        out.set_name(whose.empty() ? actor.org() : whose);
        out.set_month(this_month);
        out.set_limit_micros(static_cast<std::uint64_t>(limit));
        out.set_spent_micros(static_cast<std::uint64_t>(used.spent));
        out.set_reserved_micros(static_cast<std::uint64_t>(used.reserved));
        return {};
    };
    const std::string& whose_own = owner.empty() ? actor.user() : owner;
    BERTH_TRY(budget(settings_.budget_of(whose_own), whose_own));
    BERTH_TRY(budget(settings_.budget_per_org, ""));
    return reply_with(reply);
}

}  // namespace berth::lease
