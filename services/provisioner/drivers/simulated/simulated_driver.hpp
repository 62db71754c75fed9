// SPDX-License-Identifier: Apache-2.0
// A driver whose machines exist in the database only: what benchmarks of leasing measure against.
#pragma once

#include "provisioner/driver.hpp"

namespace berth::prov {

/// Machines are ready at once and run nothing. Thread-safe.
class SimulatedDriver final : public Driver {
public:
    std::string_view name() const override { return "simulated"; }
    bool instant() const override { return true; }
    Result<void> create(const MachineSpec&, Attempts&) override { return {}; }
    Result<void> destroy(const std::string&) override { return {}; }
    Result<Condition> tend(const MachineSpec&) override { return Condition::kWorking; }
    Result<std::vector<std::string>> list() override { return std::vector<std::string>{}; }
};

}  // namespace berth::prov
