// SPDX-License-Identifier: Apache-2.0
// The transitions of a machine and the arithmetic of a pool.
#include "lease_broker/machine.hpp"

#include <algorithm>

#include "lease_broker/settings.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

constexpr std::array<std::pair<std::string_view, MachineState>, 6> kNames{{
    {"provisioning", MachineState::MACHINE_STATE_PROVISIONING},
    {"idle", MachineState::MACHINE_STATE_IDLE},
    {"leased", MachineState::MACHINE_STATE_LEASED},
    {"draining", MachineState::MACHINE_STATE_DRAINING},
    {"failed", MachineState::MACHINE_STATE_FAILED},
    {"gone", MachineState::MACHINE_STATE_GONE},
}};
constexpr milliseconds kFirstPause{1'000};
constexpr milliseconds kLongestPause{std::chrono::minutes{5}};

void moved(Machine& machine, MachineState to, WallTime now) {
    machine.state = to;
    machine.changed_at = now;
    machine.clean_by = {};
    machine.reason.clear();
    ++machine.revision;
}

}  // namespace

std::string_view state_name(MachineState state) {
    for (const auto& [name, value] : kNames) {
        if (value == state) return name;
    }
    return "unspecified";
}
MachineState machine_state(std::string_view name) {
    for (const auto& [known, value] : kNames) {
        if (known == name) return value;
    }
    return MachineState::MACHINE_STATE_UNSPECIFIED;
}

bool may_move(MachineState from, MachineState to) {
    return std::find(kMachineMoves.begin(), kMachineMoves.end(), std::pair{from, to}) !=
           kMachineMoves.end();
}

bool become_idle(Machine& machine, WallTime now) {
    const bool ready = machine.state == MachineState::MACHINE_STATE_PROVISIONING;
    if (!ready && !machine.cleaning()) return false;
    if (!may_move(machine.state, MachineState::MACHINE_STATE_IDLE)) return false;
    moved(machine, MachineState::MACHINE_STATE_IDLE, now);
    machine.lease.clear();
    return true;
}

bool become_leased(Machine& machine, const std::string& lease, WallTime now) {
    if (!may_move(machine.state, MachineState::MACHINE_STATE_LEASED)) return false;
    moved(machine, MachineState::MACHINE_STATE_LEASED, now);
    machine.lease = lease;
    return true;
}

bool begin_cleaning(Machine& machine, WallTime until, WallTime now) {
    if (machine.state != MachineState::MACHINE_STATE_LEASED) return false;
    moved(machine, MachineState::MACHINE_STATE_DRAINING, now);
    machine.reason = kCleaning;
    machine.clean_by = until;
    return true;
}

bool begin_removal(Machine& machine, std::string_view why, WallTime now) {
    const bool cleaning = machine.cleaning();
    if (!cleaning && !may_move(machine.state, MachineState::MACHINE_STATE_DRAINING)) return false;
    moved(machine, MachineState::MACHINE_STATE_DRAINING, now);
    machine.reason = why;
    return true;
}

bool fail(Machine& machine, std::string_view why, WallTime now) {
    if (!may_move(machine.state, MachineState::MACHINE_STATE_FAILED)) return false;
    moved(machine, MachineState::MACHINE_STATE_FAILED, now);
    machine.reason = why;
    return true;
}

bool vanish(Machine& machine, WallTime now) {
    if (!may_move(machine.state, MachineState::MACHINE_STATE_GONE)) return false;
    moved(machine, MachineState::MACHINE_STATE_GONE, now);
    return true;
}

Result<bool> set_drain(Machine& machine, bool drain, WallTime now) {
    if (machine.state == MachineState::MACHINE_STATE_GONE)
        return conflict("machine_gone", "machine " + machine.id + " is gone");
    const bool leaving =
        machine.state == MachineState::MACHINE_STATE_FAILED ||
        (machine.state == MachineState::MACHINE_STATE_DRAINING && !machine.cleaning());
    if (leaving && !drain)
        return conflict("machine_leaving", "machine " + machine.id + " is being removed already");
    if (machine.drain == drain || leaving) return false;
    machine.drain = drain;
    machine.changed_at = now;
    ++machine.revision;
    return true;
}

bool is_silent(const Machine& machine, WallTime now) {
    switch (machine.state) {
        case MachineState::MACHINE_STATE_PROVISIONING:
            return machine.changed_at + kCreatePatience <= now;
        case MachineState::MACHINE_STATE_DRAINING:
        case MachineState::MACHINE_STATE_FAILED:
            return !machine.cleaning() && machine.changed_at + kDestroyAgain <= now;
        default: return false;
    }
}

int machines_to_make(const PoolRule& rule, const PoolCount& count, int everywhere) {
    if (rule.draining) return 0;
    int wanted = std::max(0, rule.warm_min - count.warm());
    if (rule.max_machines > 0) wanted = std::min(wanted, rule.max_machines - everywhere);
    return std::max(0, wanted);
}

int machines_to_drop(const PoolRule& rule, const PoolCount& count, int waiting) {
    if (rule.draining) return count.idle;
    if (waiting > 0) return 0;
    return std::clamp(count.warm() - rule.warm_min, 0, count.idle);
}

bool worth_keeping(
    const Machine& machine, const PoolRule& rule, const PoolCount& count, int waiting
) {
    return machine.state == MachineState::MACHINE_STATE_LEASED && machine.cleanable &&
           !machine.drain && !rule.draining && (waiting > 0 || count.warm() < rule.warm_min);
}

milliseconds pause_after(int failures) {
    if (failures <= 0) return milliseconds{0};
    return std::min<milliseconds>(kFirstPause * (1LL << std::min(failures - 1, 16)), kLongestPause);
}

v1::Machine to_proto(const Machine& machine) {
    v1::Machine out;
    out.set_id(machine.id);
    out.set_org(machine.org);
    out.set_profile(machine.profile);
    out.set_driver(machine.driver);
    out.set_state(machine.state);
    out.set_lease(machine.lease);
    *out.mutable_created_at() = service::to_timestamp(machine.created_at);
    out.set_revision(static_cast<std::uint64_t>(machine.revision));
    out.set_drain(machine.drain);
    out.set_reason(machine.reason);
    *out.mutable_changed_at() =
        service::to_timestamp(std::max(machine.changed_at, machine.created_at));
    return out;
}

}  // namespace berth::lease
