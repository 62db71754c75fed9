// SPDX-License-Identifier: Apache-2.0
// Tokens, durables and the order in which they come and go.
#include "provisioner/cloud_boot.hpp"

#include "core/text.hpp"
#include "identity/token.hpp"
#include "provisioner/user_data.hpp"

namespace berth::prov {

Secret CloudBoot::token_of(const std::string& machine) const {
    return Secret(
        "berth_" +
        base64url(identity::hmac_sha256(parts_.token_key.reveal(), "berth-enrol/1:" + machine))
    );
}

Result<Secret> CloudBoot::user_data(const MachineSpec& spec) {
    if (spec.profile.ssh() && spec.profile.driver() != "ssh" &&
        parts_.settings.ssh_public_key.empty())
        return invalid(
            "no_ssh_key",
            "profile '" + spec.profile.name() +
                "' wants ssh, but the provisioner's cloud.ssh_public_key is not set",
            "profile"
        );
    return boot_script(
        spec,
        {parts_.settings.gateway_url,
         parts_.settings.nats_url,
         parts_.bus_ca,
         parts_.bundle_sha256,
         token_of(spec.machine),
         parts_.settings.ssh_public_key,
         spec.profile.driver() == "ssh"}
    );
}

Result<void> CloudBoot::replaced(const std::string& machine) {
    return repo::renew_enrolment(
        parts_.pool, machine, Clock::system().now() + parts_.settings.enrol_within
    );
}

Result<bool> CloudBoot::wait_heard(
    const std::string& machine, SteadyTime since, milliseconds patience
) {
    if (parts_.presences.wait_heard(machine, since, patience)) return true;
    // Whichever replica was told to destroy it wrote that down.
    const auto wanted = repo::is_creating(parts_.pool, machine);
    if (wanted && !*wanted)
        return unavailable(std::string(kInterrupted), "the machine is wanted no more");
    return false;
}

Result<void> CloudBoot::open(const MachineSpec& spec) {
    BERTH_TRY(parts_.enrolment.open(spec.machine, spec.org));
    return repo::open_enrolment(
        parts_.pool,
        {spec.machine,
         identity::hash_token(token_of(spec.machine)),
         Clock::system().now() + parts_.settings.enrol_within,
         {}}
    );
}

Result<void> CloudBoot::close(const std::string& machine) {
    BERTH_TRY(repo::close_enrolment(parts_.pool, machine));
    parts_.presences.forget(machine);
    return parts_.enrolment.close(machine, {});
}

Result<void> CloudDriver::create(const MachineSpec& spec, Attempts& attempts) {
    BERTH_TRY(boot_.open(spec));
    return provider_->create(spec, attempts);
}

Result<void> CloudDriver::destroy(const std::string& machine) {
    // First, so that a machine that is late cannot come in while it is being removed.
    BERTH_TRY(boot_.close(machine));
    BERTH_TRY(provider_->destroy(machine));
    return boot_.left(machine);
}

}  // namespace berth::prov
