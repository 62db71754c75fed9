// SPDX-License-Identifier: Apache-2.0
// Scopes and the two people of a halt.
#include "warden/halt.hpp"

#include "core/id.hpp"
#include "service/proto_time.hpp"

namespace berth::warden {
namespace {

constexpr std::size_t kMaxTarget = 128;

}  // namespace

std::string_view scope_name(v1::HaltScope scope) {
    switch (scope) {
        case v1::HALT_SCOPE_ORG: return "org";
        case v1::HALT_SCOPE_OWNER: return "owner";
        case v1::HALT_SCOPE_AGENT: return "agent";
        case v1::HALT_SCOPE_MACHINE: return "machine";
        default: return "unspecified";
    }
}

bool in_force(const v1::Halt& halt) { return !halt.has_resumed_at(); }

bool covers(const v1::Halt& halt, const v1::Origin& origin) {
    if (halt.org() != origin.org()) return false;
    switch (halt.scope()) {
        case v1::HALT_SCOPE_ORG: return true;
        case v1::HALT_SCOPE_OWNER: return origin.user() == halt.target();
        case v1::HALT_SCOPE_AGENT: return origin.agent() == halt.target();
        case v1::HALT_SCOPE_MACHINE: return origin.machine() == halt.target();
        default: return false;
    }
}

bool covers_grant(
    const v1::Halt& halt,
    const v1::Grant& grant,
    const std::string& agent,
    const std::string& machine
) {
    v1::Origin origin;
    origin.set_org(grant.org());
    origin.set_user(grant.user());
    origin.set_agent(agent);
    origin.set_machine(machine);
    return covers(halt, origin);
}

bool concerns_machine(const v1::Halt& halt, const std::string& machine) {
    return halt.scope() != v1::HALT_SCOPE_MACHINE || halt.target() == machine;
}

Result<void> check_press(const v1::PressHalt& press) {
    if (scope_name(press.scope()) == "unspecified")
        return invalid("bad_scope", "a halt is of an org, owner, agent or machine", "scope");
    const bool org = press.scope() == v1::HALT_SCOPE_ORG;
    if (org != press.target().empty())
        return invalid(
            "bad_target",
            org ? "a halt of the org names no target" : "name the owner, agent or machine",
            "target"
        );
    if (press.target().size() > kMaxTarget ||
        press.target().find_first_of(std::string("\0\n\r", 3)) != std::string::npos ||
        (press.scope() == v1::HALT_SCOPE_MACHINE && !is_subject_token(press.target())))
        return invalid("bad_target", "that cannot be the name of such a thing", "target");
    return {};
}

bool confirm(v1::Halt& halt, const v1::HaltAnswer& answer) {
    for (v1::HaltAnswer& known : *halt.mutable_answers()) {
        if (known.machine() != answer.machine()) continue;
        // A machine that was cut off answers anew for what it found then; the latest stands.
        if (known.frozen() == answer.frozen() && known.killed() == answer.killed() &&
            known.error() == answer.error() && known.mechanism() == answer.mechanism())
            return false;
        known = answer;
        halt.set_revision(halt.revision() + 1);
        return true;
    }
    *halt.add_answers() = answer;
    halt.set_revision(halt.revision() + 1);
    return true;
}

std::vector<std::string> waiting_for(const v1::Halt& halt, const std::set<std::string>& asked) {
    std::set<std::string> rest = asked;
    for (const v1::HaltAnswer& answer : halt.answers()) {
        if (answer.error().empty()) rest.erase(answer.machine());
    }
    return {rest.begin(), rest.end()};
}

Result<void> resume(v1::Halt& halt, const std::string& user, WallTime now) {
    if (!in_force(halt))
        return conflict("already_resumed", halt.id() + " was resumed by " + halt.resumed_by());
    if (user == halt.pressed_by())
        return forbidden(
            "same_person",
            "whoever pressed a halt does not resume it; another must (`berth users` adds one)"
        );
    halt.set_resumed_by(user);
    *halt.mutable_resumed_at() = service::to_timestamp(now);
    halt.set_revision(halt.revision() + 1);
    return {};
}

}  // namespace berth::warden
