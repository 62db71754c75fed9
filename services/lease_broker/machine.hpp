// SPDX-License-Identifier: Apache-2.0
// The Machine state machine and the rules of a pool, pure: no clock, no random, no I/O (rule 2).
#pragma once

#include <array>
#include <set>
#include <string>
#include <string_view>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::lease {

using v1::MachineState;

/// Why a machine is in state draining: its `reason`.
inline constexpr std::string_view kCleaning = "cleaning";
inline constexpr std::string_view kRemoving = "removing";

struct Machine {
    std::string id;
    std::string org;
    std::string profile;
    std::string driver;
    MachineState state = MachineState::MACHINE_STATE_PROVISIONING;
    std::string lease;  // whose it is, or whose traces are being removed; empty: nobody's
    WallTime created_at;
    std::int64_t revision = 1;
    bool drain = false;      // takes no other lease and goes when this one ends
    bool cleanable = false;  // the node's `clean` makes it fit for the next owner
    std::string reason;      // "cleaning", "removing", or words of a failure
    WallTime changed_at{};
    WallTime clean_by{};  // the epoch: it is not being cleaned
    std::string recipe;   // digest of what it was made by (Recipe::machine)

    bool cleaning() const { return clean_by != WallTime{}; }
    /// Held for nobody: made, or being made, to be idle.
    bool warm() const {
        return lease.empty() && (state == MachineState::MACHINE_STATE_PROVISIONING ||
                                 state == MachineState::MACHINE_STATE_IDLE);
    }
};

/// Every move a machine may make. What is not here is refused.
inline constexpr std::array<std::pair<MachineState, MachineState>, 15> kMachineMoves{{
    {MachineState::MACHINE_STATE_PROVISIONING, MachineState::MACHINE_STATE_IDLE},
    {MachineState::MACHINE_STATE_PROVISIONING, MachineState::MACHINE_STATE_LEASED},
    {MachineState::MACHINE_STATE_PROVISIONING, MachineState::MACHINE_STATE_DRAINING},
    {MachineState::MACHINE_STATE_PROVISIONING, MachineState::MACHINE_STATE_FAILED},
    {MachineState::MACHINE_STATE_PROVISIONING, MachineState::MACHINE_STATE_GONE},
    {MachineState::MACHINE_STATE_IDLE, MachineState::MACHINE_STATE_LEASED},
    {MachineState::MACHINE_STATE_IDLE, MachineState::MACHINE_STATE_DRAINING},
    {MachineState::MACHINE_STATE_IDLE, MachineState::MACHINE_STATE_GONE},
    {MachineState::MACHINE_STATE_LEASED, MachineState::MACHINE_STATE_DRAINING},
    {MachineState::MACHINE_STATE_LEASED, MachineState::MACHINE_STATE_FAILED},
    {MachineState::MACHINE_STATE_LEASED, MachineState::MACHINE_STATE_GONE},
    {MachineState::MACHINE_STATE_DRAINING, MachineState::MACHINE_STATE_IDLE},  // it was cleaned
    {MachineState::MACHINE_STATE_DRAINING, MachineState::MACHINE_STATE_GONE},
    {MachineState::MACHINE_STATE_FAILED, MachineState::MACHINE_STATE_DRAINING},
    {MachineState::MACHINE_STATE_FAILED, MachineState::MACHINE_STATE_GONE},
}};
bool may_move(MachineState from, MachineState to);

/// Each returns false and changes nothing where the move is not one, else raises the revision.

/// It is there (again) and nobody's: it was made, or is clean.
bool become_idle(Machine& machine, WallTime now);
/// It is `lease`'s: it was made for it, or was idle.
bool become_leased(Machine& machine, const std::string& lease, WallTime now);
/// The traces of its lease are being removed until `until`.
bool begin_cleaning(Machine& machine, WallTime until, WallTime now);
/// It is on its way out, cleaned or not. False where it is already.
bool begin_removal(Machine& machine, std::string_view why, WallTime now);
/// It could not be made.
bool fail(Machine& machine, std::string_view why, WallTime now);
/// There is nothing left of it.
bool vanish(Machine& machine, WallTime now);
/// An operator wants it out of service, or back. Error conflict "machine_leaving" for a machine
/// that is being removed, "machine_gone".
Result<bool> set_drain(Machine& machine, bool drain, WallTime now);

/// The machines of one profile and org that are not gone.
struct PoolCount {
    int provisioning = 0;  ///< for a lease or to be idle
    int warming = 0;       ///< of those: to be idle
    int idle = 0;
    int leased = 0;
    int draining = 0;
    int cleaning = 0;  ///< of those: to be idle again
    int failed = 0;
    std::set<std::string> recipes{};  ///< what the idle ones were made by

    int all() const { return provisioning + idle + leased + draining + failed; }
    int warm() const { return warming + idle + cleaning; }
};

/// What bounds a pool.
struct PoolRule {
    int warm_min = 0;
    int max_machines = 0;  ///< of all orgs; 0: none
    bool draining = false;
};

/// Whether so long nothing was heard of a machine that is on its way in or out that its command
/// must have been lost.
bool is_silent(const Machine& machine, WallTime now);

/// How many machines are to be made now to be idle. `everywhere`: the profile's machines of all
/// orgs.
int machines_to_make(const PoolRule& rule, const PoolCount& count, int everywhere);
/// How many idle ones are more than the pool holds; none while somebody waits.
int machines_to_drop(const PoolRule& rule, const PoolCount& count, int waiting);
/// Whether a machine whose lease has ended is cleaned and kept, or removed.
bool worth_keeping(
    const Machine& machine, const PoolRule& rule, const PoolCount& count, int waiting
);

/// How long no warm machine is tried after `failures` that failed one after another.
milliseconds pause_after(int failures);

std::string_view state_name(MachineState state);
MachineState machine_state(std::string_view name);
v1::Machine to_proto(const Machine& machine);

}  // namespace berth::lease
