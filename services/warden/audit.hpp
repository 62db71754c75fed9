// SPDX-License-Identifier: Apache-2.0
// The chain of an org's audit records: canonical bytes, hashes, and finding what was changed; pure.
#pragma once

#include <cstdint>
#include <string>

#include "berth/warden/v1/warden.pb.h"

namespace berth::warden {

/// What the hash of a record covers: every field but `hash`, in a fixed order, each with its length
/// before it, so that no two records share a form. Begins with "berth-audit-1\n".
std::string canonical(const v1::AuditRecord& record);
/// SHA-256 of canonical(), in hex.
std::string hash_of(const v1::AuditRecord& record);

/// Where a chain stands.
struct ChainHead {
    std::uint64_t sequence = 0;
    std::string hash = std::string(64, '0');
    bool operator==(const ChainHead&) const = default;
};
/// Gives the record its sequence, previous and hash, and moves the head.
void chain(ChainHead& head, v1::AuditRecord& record);

/// Reads records in the order in which they are stored and finds the first that is not as it was
/// written: changed, missing, doubled or out of order.
class ChainCheck {
public:
    ChainCheck() = default;
    /// Goes on behind a record that was verified.
    explicit ChainCheck(ChainHead verified) : head_(std::move(verified)) {}
    /// False once something was wrong.
    bool take(const v1::AuditRecord& record);
    /// So far all is well, and there is more to read.
    v1::AuditVerdict pause();
    /// The end must be the stored head: records cut off at the end show here.
    v1::AuditVerdict finish(const ChainHead& stored);
    void fail(std::uint64_t sequence, std::string reason);

private:
    ChainHead head_;
    v1::AuditVerdict verdict_;
    bool bad_ = false;
};

}  // namespace berth::warden
