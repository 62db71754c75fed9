// SPDX-License-Identifier: Apache-2.0
// Which machine a lease gets and what becomes of it afterwards: the steps that handlers, reaper and
// keeper share, each inside its caller's transaction.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.hpp"
#include "lease_broker/pools.hpp"
#include "lease_broker/profiles.hpp"
#include "lease_broker/settings.hpp"
#include "service/handlers.hpp"

namespace berth::lease {

/// The transaction a step is part of, and where its messages go.
struct Work {
    const service::Context& context;
    store::Transaction& tx;
    std::vector<store::OutboxMessage>& out;
};

/// Where a new lease finds its machine.
enum class Place {
    kIdle,  ///< one is idle
    kMake,  ///< one is to be made
    kLine,  ///< none is left: it stands in line
};

/// Thread-safe: everything changing is in the database. Locks are taken in one order (pools.hpp);
/// a machine that is locked already is passed over, never waited for, once the pool is locked.
class Fleet {
public:
    Fleet(const LeaseSettings& settings, const Profiles& profiles, Random& random)
        : settings_(settings), profiles_(profiles), random_(random) {}

    /// Decides, and locks the idle machine into `idle`. Error "pool_exhausted" where the lease may
    /// not wait.
    Result<Place> find_place(
        const Work& work,
        const Lease& lease,
        const Recipe& wanted,
        bool may_wait,
        std::vector<Machine>& idle
    );
    /// Sends for a machine, for `lease` or, where that is null, to be idle.
    Result<void> make_machine(
        const Work& work, const Machine& machine, const v1::Profile& profile, const Lease* lease
    );
    Machine new_machine(const Work& work, const std::string& org, const Recipe& recipe);
    /// An idle machine becomes the lease's.
    Result<void> hand_over(const Work& work, Machine& machine, const Lease& lease);

    /// Ends `lease`, settles its price and sends its machine away or has it cleaned. False where it
    /// had ended before.
    Result<bool> finish(
        const Work& work,
        Lease& lease,
        LeaseState to,
        std::string_view reason,
        std::string_view detail = {}
    );
    /// The same for leases whose time is over at `now`, all locked, with few statements for many.
    Result<void> expire(
        store::Transaction& tx,
        std::vector<Lease>& leases,
        WallTime now,
        std::vector<store::OutboxMessage>& out
    );
    /// Settles leases that have just ended.
    static void settle(store::Transaction& tx, std::span<const Lease> leases);
    Result<void> remove(const Work& work, Machine& machine, std::string_view why);
    /// A machine was made or cleaned: it goes to who waits, or is idle, or goes.
    Result<void> put_to_use(const Work& work, Machine& machine);
    /// Gives what is free to those who wait, in their order.
    Result<void> serve_line(const Work& work, const std::string& profile);
    /// Ends the leases that wait for a machine of this profile.
    Result<void> fail_line(const Work& work, const std::string& profile, std::string_view reason);
    /// Removes idle machines that were made by another recipe: at most `limit`.
    Result<int> drop_stale(
        const Work& work, const std::string& org, const Recipe& recipe, int limit
    );
    /// Removes idle machines: at most `limit`, of one profile or of all (empty).
    Result<int> drop_idle(
        const Work& work,
        const std::string& org,
        const std::string& profile,
        int limit,
        std::string_view why
    );

    /// What bounds the pool of a profile in an org.
    Result<PoolRule> rule(repo::Reader reader, const std::string& org, const std::string& profile)
        const;
    /// A profile's line in the order in which it will be served.
    static Result<std::vector<Waiter>> line(repo::Reader reader, const std::string& profile);
    /// The lease as an answer, with its place in line.
    static Result<v1::Lease> answer(repo::Reader reader, const Lease& lease);

private:
    /// Ends a live lease and sends its machine, locked or null, away; its rows are the caller's.
    Result<void> end_lease(
        const Work& work,
        Lease& lease,
        Machine* machine,
        LeaseState to,
        std::string_view reason,
        std::string_view detail
    );
    Result<void> after_lease(const Work& work, Machine& machine);

    const LeaseSettings& settings_;
    const Profiles& profiles_;
    Random& random_;
};

store::OutboxMessage lease_event(
    const service::Context& context, const Lease& lease, std::string_view fact
);
store::OutboxMessage machine_event(
    const service::Context& context, const Machine& machine, std::string_view fact
);
/// Of the machine's own state.
store::OutboxMessage machine_event(const service::Context& context, const Machine& machine);
store::OutboxMessage destroy_command(const service::Context& context, const Machine& machine);

/// The context of what no message caused. `cause` must be the same each time the same step is
/// repeated.
service::Context own_context(const std::string& id, const std::string& cause, WallTime now);

}  // namespace berth::lease
