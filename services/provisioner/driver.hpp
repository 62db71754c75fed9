// SPDX-License-Identifier: Apache-2.0
// What a provider of machines must be able to do. A new provider is one folder below drivers/ and one line in
// app.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"

namespace berth::prov {

/// The machine that is wanted.
struct MachineSpec {
    std::string machine;  ///< m_<ulid>
    std::string org;
    std::string lease;
    std::string slug;
    lease::v1::Profile profile;
};

enum class Condition { kWorking, kMissing };

/// Calls for one machine never overlap; calls for different machines do. Everything may block, bounded by a
/// deadline of the driver's own (at most kActionDeadline). Errors: unavailable and deadline mean "again
/// later", everything else is final.
class Driver {
public:
    virtual ~Driver() = default;
    virtual std::string_view name() const = 0;
    /// True when create() has no effect outside the database: it is then not queued.
    virtual bool instant() const { return false; }
    /// Returns when the machine's node has been heard on the bus. Repeating it after a crash at any point
    /// completes the same machine.
    virtual Result<void> create(const MachineSpec& spec) = 0;
    /// Returns when nothing of the machine is left. What is not there is success.
    virtual Result<void> destroy(const std::string& machine) = 0;
    /// Looks after a machine that should work and restarts what died on it.
    virtual Result<Condition> tend(const MachineSpec& spec) = 0;
    /// Every machine there that is provably ours (rule 10). An error means that nothing is known.
    virtual Result<std::vector<std::string>> list() = 0;
};

}  // namespace berth::prov
