// SPDX-License-Identifier: Apache-2.0
// What warden does with each message: decode, decide (approval.hpp, grant.hpp, halt.hpp), write
// (repo.hpp), tell (work.hpp).
#pragma once

#include "core/random.hpp"
#include "warden/mirror.hpp"
#include "warden/policies.hpp"
#include "warden/presences.hpp"
#include "warden/work.hpp"

namespace berth::warden {

/// Thread-safe: everything changing is in the database.
class WardenHandlers {
public:
    /// `bus`: where stream AUDIT is read.
    WardenHandlers(store::Pool& pool, Presences& presences, Random& random, bus::Connection& bus)
        : pool_(pool), presences_(presences), random_(random), mirror_(bus) {}
    void bind(service::Handlers& handlers);

    /// What the clock asks of one approval whose deadline passed, and of one grant whose time is
    /// over.
    Result<std::vector<store::OutboxMessage>> pass_deadline(
        store::Transaction& tx, const std::string& org, const std::string& approval, WallTime now
    );
    Result<std::vector<store::OutboxMessage>> end_grant(
        store::Transaction& tx, const std::string& org, const std::string& grant, WallTime now
    );
    /// What a beat tells of the org as it is now.
    Result<v1::Beat> beat(const std::string& org, WallTime now);

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    // handlers_machine.cpp: from machines
    Outcome ask(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome abandon(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome claim(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome halted(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome record(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome snapshot(const Context& context, const std::string& payload);
    // handlers_decide.cpp
    Outcome refused(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome decide(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome revoke_grant(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    // handlers_rules.cpp
    Outcome apply_policy(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome rollback_policy(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome halt(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome resume(const Context& context, const std::string& payload, store::Transaction& tx);
    // handlers_queries.cpp
    Outcome get_approval(const Context& context, const std::string& payload);
    Outcome list_approvals(const Context& context, const std::string& payload);
    Outcome list_grants(const Context& context, const std::string& payload);
    Outcome get_policy(const Context& context, const std::string& payload);
    Outcome list_policies(const Context& context, const std::string& payload);
    Outcome list_halts(const Context& context, const std::string& payload);
    Outcome query_audit(const Context& context, const std::string& payload);
    Outcome verify_audit(const Context& context, const std::string& payload);
    // handlers_facts.cpp: what other services tell
    Outcome lease_fact(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome run_fact(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome machine_fact(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome user_fact(const Context& context, const std::string& payload, store::Transaction& tx);

    /// "<prefix>_" and 128 random bits.
    std::string random_id(std::string_view prefix);
    Result<void> judge(Work& work, const Org& org, Record& record);
    Result<std::optional<Error>> denied_since(Work& work, const Org& org, Record& record);
    Outcome edit(
        Work& work, const Org& org, Record& record, const v1::Decide& request, const Click& click
    );
    /// Everything that a decision made just now brings: rows, grant, machine, events, audit.
    Result<void> settle(
        Work& work, Org& org, Record& record, const v1::Decide& request, const Click& click
    );
    Result<bool> in_group(
        store::Transaction& tx, const v1::Approval& approval, const std::string& user
    );
    Result<void> store_policy(
        Work& work, Org& org, v1::PolicyVersion& policy, const std::string& user
    );
    /// The machine that a halt means. Error "machine_not_found".
    Result<std::string> machine_named(
        store::Transaction& tx, const std::string& org, const std::string& name
    );
    Result<void> void_scope(Work& work, const v1::Halt& halt);
    Result<void> abandon_all(
        Work& work, const std::vector<std::string>& ids, std::string_view reason
    );

    store::Pool& pool_;
    Presences& presences_;
    Random& random_;
    Mirror mirror_;
    Policies policies_;
};

}  // namespace berth::warden
