// SPDX-License-Identifier: Apache-2.0
// `berth lease`, `release` and `leases`.
#include <fmt/format.h>

#include <optional>

#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/heartbeat.hpp"
#include "cli/interrupts.hpp"
#include "cli/lease_choice.hpp"
#include "cli/words.hpp"

namespace berth::cli {
namespace {

constexpr std::chrono::minutes kMachinePatience{10};  // a cloud's slow day
// A place in line changes without an event of the lease: looked at this often.
constexpr seconds kLineLook{3};
constexpr seconds kMachineLook{50};

void show(const Context& context, const lease::v1::Lease& lease) {
    if (context.json()) {
        context.print(to_json(lease) + "\n");
    } else {
        context.print(fmt::format(
            "{} {} {} {}\n", lease.slug(), lease.id(), state_name(lease.state()), lease.machine()
        ));
    }
}

Error line_over(const std::string& profile) {
    return unavailable(
        "pool_exhausted",
        fmt::format(
            "no machine of profile {} came free in time; wait longer with --wait, or see "
            "'berth pool'",
            profile
        )
    );
}

}  // namespace

Error lease_failure(const lease::v1::Lease& lease) {
    std::string why = lease.end_reason().empty() ? "no reason was given" : lease.end_reason();
    if (!lease.end_detail().empty()) why += ": " + printable(lease.end_detail());
    if (lease.end_reason() == "pool_exhausted") return line_over(lease.profile());
    if (lease.state() == lease::v1::LEASE_STATE_PENDING) {
        return unavailable(
            "no_machine",
            fmt::format(
                "no machine became ready for lease {} in time; see 'berth status'", lease.slug()
            )
        );
    }
    return no_machine(
        lease.end_reason() == "capacity_exhausted" ? lease.end_reason() : "no_machine",
        fmt::format(
            "lease {} is {} ({}); see 'berth status', or lease a new one with 'berth lease --new'",
            lease.slug(),
            state_name(lease.state()),
            why
        ),
        lease.attempts()
    );
}

Error with_lease_left(Error error, std::string_view lease) {
    error.message +=
        fmt::format("; lease {} may still be live: end it with 'berth release {}'", lease, lease);
    return error;
}

Result<lease::v1::Lease> chosen_lease(const Context& context, Api& api, std::string_view named) {
    if (!named.empty()) return api.lease(named);
    BERTH_ASSIGN(const auto all, api.leases(false));
    const std::string label = context.tree_label();
    const lease::v1::Lease* best = nullptr;
    for (const auto& lease : all.leases()) {
        const bool live = lease.state() == lease::v1::LEASE_STATE_ACTIVE ||
                          lease.state() == lease::v1::LEASE_STATE_PENDING;
        if (!live || lease.label() != label) continue;
        if (best == nullptr || lease.id() > best->id()) best = &lease;  // ids sort by time
    }
    if (best == nullptr)
        return not_found(
            "no_lease",
            "this working tree has no lease; make one with 'berth lease', or name one (see 'berth "
            "leases')"
        );
    return *best;
}

Result<std::string> read_wait(const Arguments& arguments) {
    const std::string text = arguments.get("wait");
    if (!text.empty() && !parse_duration(text))
        return invalid(
            "usage", fmt::format("--wait must be a duration like 90s or 10m, not '{}'", text)
        );
    return text;
}

Result<lease::v1::Lease> await_machine(const Context& context, Api& api, lease::v1::Lease lease) {
    const auto clock = [] { return std::chrono::steady_clock::now(); };
    auto end = clock() + kMachinePatience;
    std::uint32_t told = 0;
    bool making = false;
    std::optional<Heartbeat> heartbeat;
    if (lease.state() == lease::v1::LEASE_STATE_PENDING)
        heartbeat.emplace(context.server(), api.token(), lease);
    while (lease.state() == lease::v1::LEASE_STATE_PENDING && clock() < end) {
        const std::uint32_t place = lease.queue_position();
        if (place > 0) {
            end = clock() + kMachinePatience;  // the broker ends the wait in line
            if (place != told)
                context.progress(
                    fmt::format("in line for a machine of profile {}: {}", lease.profile(), place)
                );
            told = place;
        } else if (!making) {
            making = true;
            context.detail(fmt::format("waiting for a machine of profile {}", lease.profile()));
        }
        auto looked = api.look(lease.id(), place > 0 ? kLineLook : kMachineLook);
        if (!looked && looked.error().code == "pool_exhausted") return line_over(lease.profile());
        BERTH_ASSIGN(lease, std::move(looked));
    }
    return lease;
}

int run_lease(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    gateway::v1::AcquireBody body;
    body.set_profile(context.settings().text("profile"));
    body.set_ttl(arguments.get("ttl"));
    body.set_idle_timeout(arguments.get("idle-timeout"));
    body.set_label(arguments.get("label", context.tree_label()));
    body.set_reuse(!arguments.has("new"));
    const auto wait = read_wait(arguments);
    if (!wait) return fail(context, wait.error());
    body.set_wait(*wait);
    Interrupts interrupts(context.server(), *token);
    auto lease = api.acquire(body);
    if (!lease) return fail(context, lease.error());
    if (!arguments.has("no-wait") && lease->state() == lease::v1::LEASE_STATE_PENDING) {
        interrupts.set_lease(lease->id());  // who stops waiting wants no machine later
        const auto ready = await_machine(context, api, *lease);
        if (!ready) {
            const bool known = !is_gateway_away(ready.error());
            return fail(
                context, known ? ready.error() : with_lease_left(ready.error(), lease->slug())
            );
        }
        interrupts.set_lease("");
        lease = *ready;
        if (ready->state() == lease::v1::LEASE_STATE_PENDING)
            return fail(context, with_lease_left(lease_failure(*ready), ready->slug()));
        if (ready->state() != lease::v1::LEASE_STATE_ACTIVE)
            return fail(context, lease_failure(*ready));
    }
    show(context, *lease);
    return 0;
}

int run_release(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    std::string id = arguments.operands.empty() ? "" : arguments.operands[0];
    if (id.empty()) {
        const auto lease = chosen_lease(context, api, context.settings().text("lease"));
        if (!lease) return fail(context, lease.error());
        id = lease->id();
    }
    const auto lease = api.release(id);
    if (!lease) return fail(context, lease.error());
    show(context, *lease);
    return 0;
}

int run_leases(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto reply = api.leases(arguments.has("all"));
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    std::vector<std::vector<std::string>> rows = {
        {"NAME", "STATE", "PROFILE", "OWNER", "RUNS", "EXPIRES", "ID"}};
    const WallTime now = Clock::system().now();
    for (const auto& lease : reply->leases()) {
        rows.push_back(
            {lease.slug(),
             lease.queue_position() > 0 ? fmt::format("in line: {}", lease.queue_position())
                                        : state_name(lease.state()),
             lease.profile(),
             lease.access().empty() || lease.access() == "owner"
                 ? lease.owner()
                 : fmt::format("{} ({})", lease.owner(), lease.access()),
             std::to_string(lease.live_runs()),
             lease.has_ended_at() ? "-" : age(lease.expires_at(), now),
             lease.id()}
        );
    }
    if (rows.size() == 1) {
        context.progress("there are no leases; 'berth lease' makes one");
    } else {
        context.print(table(rows, context.color()));
    }
    return 0;
}

}  // namespace berth::cli
