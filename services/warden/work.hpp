// SPDX-License-Identifier: Apache-2.0
// One change under way: the events, commands and audit records that commit with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "service/handlers.hpp"
#include "warden/repo.hpp"

namespace berth::warden {

inline constexpr std::string_view kToken = "warden";

/// Of one message and one org. Not thread-safe, as its transaction is not.
class Work {
public:
    Work(const service::Context& context, store::Transaction& tx, std::string org)
        : context_(context), tx_(tx), org_(std::move(org)) {}

    const service::Context& context() const { return context_; }
    store::Transaction& tx() { return tx_; }
    const std::string& org() const { return org_; }

    /// berth.evt.<org>.warden.<noun>.<fact>.<id>
    void tell(const Record& record, std::string_view fact);
    void tell(const v1::Grant& grant, std::string_view fact);
    void tell(const v1::Halt& halt, std::string_view fact);
    void tell(const v1::PolicyVersion& policy);
    /// berth.cmd.node.<machine>.decide: the decision that the record holds.
    void tell_machine(const Record& record);

    /// A record to be chained at the end; its time is now where it has none.
    v1::AuditRecord& audit(std::string_view fact);
    /// The same about an approval.
    v1::AuditRecord& audit(std::string_view fact, const Record& record);

    /// Chains the audit and gives every message of this work. Called last: it locks the org's
    /// chain.
    Result<std::vector<store::OutboxMessage>> finish();

private:
    const service::Context& context_;
    store::Transaction& tx_;
    const std::string org_;
    std::vector<store::OutboxMessage> messages_;
    std::vector<v1::AuditRecord> audit_;
};

}  // namespace berth::warden
