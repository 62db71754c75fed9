// SPDX-License-Identifier: Apache-2.0
// `berth pool`, `drain`, `resume`, `usage`: the machines behind the leases.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

// A drain ends when the last lease does, which may take hours: looked at this often.
constexpr seconds kDrainLook{2};
std::uint32_t machines_of(const lease::v1::Pool& pool) {
    return pool.provisioning() + pool.idle() + pool.leased() + pool.draining_machines() +
           pool.failed();
}

void show_pools(const Context& context, const lease::v1::PoolsReply& reply) {
    if (context.json()) return context.print(to_json(reply) + "\n");
    std::vector<std::vector<std::string>> rows = {
        {"PROFILE",
         "DRIVER",
         "IDLE",
         "LEASED",
         "STARTING",
         "DRAINING",
         "FAILED",
         "IN LINE",
         "WARM",
         "MAX",
         "STATE"}};
    for (const auto& pool : reply.pools()) {
        std::string state = pool.draining() ? "draining" : "open";
        if (pool.draining() && machines_of(pool) == 0) state = "drained";
        if (pool.draining() && !pool.drained_by().empty())
            state += fmt::format(
                " by {}{}",
                pool.drained_by(),
                pool.drain_reason().empty() ? "" : ": " + printable(pool.drain_reason())
            );
        if (!pool.last_error().empty()) state += ", last error: " + printable(pool.last_error());
        rows.push_back(
            {pool.profile(),
             pool.driver(),
             std::to_string(pool.idle()),
             std::to_string(pool.leased()),
             std::to_string(pool.provisioning()),
             std::to_string(pool.draining_machines()),
             std::to_string(pool.failed()),
             std::to_string(pool.waiting()),
             std::to_string(pool.warm_min()),
             pool.max_machines() == 0 ? "-" : std::to_string(pool.max_machines()),
             state}
        );
    }
    context.print(table(rows, context.color()));
}

Result<lease::v1::MachinesReply> machines(Api& api, const std::string& profile, bool all) {
    lease::v1::MachinesReply out;
    for (int page = 0; page < kMaxPages; ++page) {
        std::string path = "/v1/machines?limit=100";
        if (!profile.empty()) path += "&profile=" + net::percent_encode(profile);
        if (all) path += "&all=true";
        if (!out.next_cursor().empty()) path += "&cursor=" + net::percent_encode(out.next_cursor());
        BERTH_ASSIGN(const auto reply, api.ask<lease::v1::MachinesReply>("GET", path));
        out.mutable_machines()->MergeFrom(reply.machines());
        out.set_next_cursor(reply.next_cursor());
        if (reply.next_cursor().empty()) break;
    }
    return out;
}

std::string state_of(const lease::v1::Machine& machine) {
    std::string out = enum_word(lease::v1::MachineState_Name(machine.state()), "MACHINE_STATE_");
    if (machine.drain() && machine.state() != lease::v1::MACHINE_STATE_DRAINING)
        out += ", to be drained";
    if (!machine.reason().empty()) out += ": " + printable(machine.reason());
    return out;
}

// How its commands are guarded, and by what a halt makes them stand still.
std::string guard_of(const lease::v1::Machine& machine) {
    if (machine.guard().empty()) return "-";
    std::string out = printable(machine.guard());
    if (!machine.freezer().empty() && machine.freezer() != "none")
        out += " (" + printable(machine.freezer()) + ")";
    return out;
}

void show_machines(const Context& context, const lease::v1::MachinesReply& reply) {
    if (context.json()) return context.print(to_json(reply) + "\n");
    if (reply.machines().empty()) return context.progress("there are no machines");
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {
        {"MACHINE", "PROFILE", "DRIVER", "AGE", "LEASE", "GUARD", "STATE"}};
    for (const auto& machine : reply.machines()) {
        rows.push_back(
            {machine.id(),
             machine.profile(),
             machine.driver(),
             age(machine.created_at(), now),
             machine.lease().empty() ? "-" : machine.lease(),
             guard_of(machine),
             state_of(machine)}
        );
    }
    context.print(table(rows, context.color()));
}

// What is to be drained, as a path: a machine by its id, a profile by its name, or the fleet.
Result<std::string> scope_of(const Arguments& arguments) {
    const bool fleet = arguments.has("fleet");
    if (fleet == !arguments.operands.empty())
        return invalid(
            "usage",
            fmt::format(
                "name a profile or a machine, or say --fleet for everything; see 'berth help {}'",
                arguments.command->name
            )
        );
    if (fleet) return std::string("/v1/fleet");
    const std::string& name = arguments.operands[0];
    return path_of(name.starts_with("m_") ? "machines" : "pools", name);
}

// The pools that a drain is about: one, or all.
Result<lease::v1::PoolsReply> pools(Api& api, const std::string& profile) {
    BERTH_ASSIGN(auto all, api.ask<lease::v1::PoolsReply>("GET", "/v1/pools"));
    if (profile.empty()) return all;
    lease::v1::PoolsReply one;
    for (const auto& pool : all.pools()) {
        if (pool.profile() == profile) *one.add_pools() = pool;
    }
    if (!one.pools().empty()) return one;
    return not_found(
        "unknown_profile", fmt::format("there is no profile '{}'; see 'berth profiles'", profile)
    );
}

Result<void> await_drained(const Context& context, Api& api, const Arguments& arguments) {
    const std::string name = arguments.operands.empty() ? "" : arguments.operands[0];
    std::string told;
    for (;;) {
        std::string left;
        if (name.starts_with("m_")) {
            BERTH_ASSIGN(
                const auto machine, api.ask<lease::v1::Machine>("GET", path_of("machines", name))
            );
            if (machine.state() != lease::v1::MACHINE_STATE_GONE) left = state_of(machine);
        } else {
            BERTH_ASSIGN(const auto reply, pools(api, name));
            std::uint32_t count = 0;
            for (const auto& pool : reply.pools()) count += machines_of(pool);
            if (count > 0) left = fmt::format("{} machine{}", count, count == 1 ? "" : "s");
        }
        if (left.empty()) return {};
        if (left != told) context.progress("draining: " + left + " left");
        told = left;
        std::this_thread::sleep_for(kDrainLook);
    }
}

int change_scope(const Context& context, const Arguments& arguments, const char* verb) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    const auto scope = scope_of(arguments);
    if (!scope) return fail(context, scope.error());
    Api api(context.server(), *token);
    const std::string path = fmt::format("{}/{}", *scope, verb);
    Json body = Json::object();
    if (arguments.has("reason")) body.set("reason", arguments.get("reason"));
    const auto text = api.text("POST", path, body.dump());
    if (!text) return fail(context, text.error());
    if (arguments.has("wait")) {
        if (const auto done = await_drained(context, api, arguments); !done)
            return fail(context, done.error());
    }
    const std::string name = arguments.operands.empty() ? "" : arguments.operands[0];
    if (name.starts_with("m_")) {
        const auto machine = api.ask<lease::v1::Machine>("GET", path_of("machines", name));
        if (!machine) return fail(context, machine.error());
        lease::v1::MachinesReply one;
        *one.add_machines() = *machine;
        context.json() ? context.print(to_json(*machine) + "\n") : show_machines(context, one);
        return 0;
    }
    const auto reply = pools(api, name);
    if (!reply) return fail(context, reply.error());
    show_pools(context, *reply);
    return 0;
}

void show_usage(const Context& context, const lease::v1::UsageReply& reply) {
    if (context.json()) return context.print(to_json(reply) + "\n");
    std::vector<std::vector<std::string>> rows = {
        {"MONTH",
         "OWNER",
         "PROFILE",
         "LEASES",
         "LIVE",
         "MACHINE TIME",
         fmt::format("SPENT {}", reply.currency()),
         "RESERVED"}};
    for (const auto& row : reply.rows()) {
        rows.push_back(
            {row.month(),
             row.owner(),
             row.profile(),
             std::to_string(row.leases()),
             std::to_string(row.live_leases()),
             short_duration(milliseconds(static_cast<long long>(row.machine_seconds()) * 1'000)),
             money(row.spent_micros()),
             money(row.reserved_micros())}
        );
    }
    if (rows.size() == 1) context.progress("nothing was leased in that time");
    if (rows.size() > 1) context.print(table(rows, context.color()));
    for (const auto& budget : reply.budgets()) {
        context.print(fmt::format(
            "budget of {} {} for {}: {} of {} {} spent, {} reserved\n",
            budget.scope(),
            budget.name(),
            budget.month(),
            money(budget.spent_micros()),
            money(budget.limit_micros()),
            reply.currency(),
            money(budget.reserved_micros())
        ));
    }
}

}  // namespace

int run_pool(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const std::string profile = arguments.operands.empty() ? "" : arguments.operands[0];
    if (arguments.has("machines") || arguments.has("all")) {
        const auto reply = machines(api, profile, arguments.has("all"));
        if (!reply) return fail(context, reply.error());
        show_machines(context, *reply);
        return 0;
    }
    const auto reply = pools(api, profile);
    if (!reply) return fail(context, reply.error());
    show_pools(context, *reply);
    return 0;
}

int run_drain(Context& context, const Arguments& arguments) {
    return change_scope(context, arguments, "drain");
}

int run_resume(Context& context, const Arguments& arguments) {
    if (!arguments.operands.empty() && arguments.operands[0].starts_with("hl_"))
        return resume_halt(context, arguments);
    return change_scope(context, arguments, "resume");
}

int run_usage(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    std::string path = "/v1/usage";
    char separator = '?';
    for (const char* name : {"from", "to", "owner"}) {
        if (!arguments.has(name)) continue;
        path += fmt::format("{}{}={}", separator, name, net::percent_encode(arguments.get(name)));
        separator = '&';
    }
    const auto reply = api.ask<lease::v1::UsageReply>("GET", path);
    if (!reply) return fail(context, reply.error());
    show_usage(context, *reply);
    return 0;
}

}  // namespace berth::cli
