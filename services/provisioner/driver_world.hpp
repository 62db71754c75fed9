// SPDX-License-Identifier: Apache-2.0
// What the driver contract (driver_contract.hpp) needs of a provider: a world to act in and look
// at.
#pragma once

#include <memory>
#include <string>

#include "provisioner/driver.hpp"

namespace berth::prov::testing {

/// Thrown by a world's transport at the point where the provisioner is to die: the stack goes, as
/// it would with the process, and nothing more reaches the provider.
struct Crashed {};

/// Where a driver object dies: at its request number `request` (from 1; 0: never), before it leaves
/// or after the provider carried it out, but before the answer is heard.
struct CrashPoint {
    int request = 0;
    bool carried_out = false;
};

/// A provider (real, or a fake of it) that one test has for itself, as seen from outside the
/// driver. Methods that do not fail a test return; those that cannot work throw.
class DriverWorld {
public:
    virtual ~DriverWorld() = default;
    /// A driver as a freshly started provisioner would have it, over the provider as it now is.
    virtual std::unique_ptr<Driver> start_driver(CrashPoint crash) = 0;
    std::unique_ptr<Driver> start_driver() { return start_driver({}); }
    /// Whether crash points are obeyed.
    virtual bool can_crash() const = 0;
    /// What a lease would ask for; the machine is a new one at each call.
    virtual MachineSpec make_spec() = 0;
    /// Machines with our mark that exist, and everything else made for machines: keys, addresses,
    /// volumes, rules. What a deployment has once for all its machines is not counted.
    virtual int machines() = 0;
    virtual int leftovers() = 0;
    /// Puts a machine there that bears this one's name but not our marks; false where names mean
    /// nothing. And whether it is still there as it was.
    virtual bool plant_foreign(const std::string& machine) = 0;
    virtual bool foreign_is_untouched(const std::string& machine) = 0;
    /// Makes the provider's next list fail, in the middle of it where it comes in parts; false
    /// where a list cannot fail.
    virtual bool break_next_list() = 0;
};

}  // namespace berth::prov::testing
