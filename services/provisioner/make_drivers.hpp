// SPDX-License-Identifier: Apache-2.0
// Which drivers there are: those whose section the settings have.
#pragma once

#include "provisioner/cloud_boot.hpp"
#include "provisioner/handlers.hpp"

namespace berth::prov {

/// How nodes reach the bus; a ca_file and a name go with tls://.
struct NodeBus {
    std::string url;
    std::string ca_file;
    std::string name;
};

/// `boot` is null where no section wants it.
Drivers make_drivers(
    const ProvSettings& settings,
    const NodeBus& bus,
    Enrolment& enrolment,
    Presences& presences,
    CloudBoot* boot
);

/// What machines elsewhere boot with, or null where there are none. Errors: "no_bundle", the file
/// that they install is not there; "plain_bus", what they say could be read on its way.
Result<std::unique_ptr<CloudBoot>> make_boot(
    const ProvSettings& settings,
    const NodeBus& bus,
    const Secret& seed,
    store::Pool& pool,
    Enrolment& enrolment,
    Presences& presences
);

}  // namespace berth::prov
