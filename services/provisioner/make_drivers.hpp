// SPDX-License-Identifier: Apache-2.0
// Which drivers there are: those whose section the settings have.
#pragma once

#include "provisioner/cloud_boot.hpp"
#include "provisioner/handlers.hpp"

namespace berth::prov {

/// `boot` is null where no section wants it.
Drivers make_drivers(
    const ProvSettings& settings,
    const std::string& nats_url,
    Enrolment& enrolment,
    Presences& presences,
    CloudBoot* boot
);

/// What machines elsewhere boot with, or null where there are none. Error "no_bundle": the file
/// that they install is not there.
Result<std::unique_ptr<CloudBoot>> make_boot(
    const ProvSettings& settings,
    const std::string& nats_url,
    const Secret& seed,
    store::Pool& pool,
    Enrolment& enrolment,
    Presences& presences
);

}  // namespace berth::prov
