// SPDX-License-Identifier: Apache-2.0
// How a machine that boots elsewhere becomes ours: what it is told at its first boot, and the
// one-time token with which its node enrols.
#pragma once

#include "provisioner/driver.hpp"
#include "provisioner/enrolment.hpp"
#include "provisioner/repo.hpp"
#include "provisioner/settings.hpp"

namespace berth::prov {

/// Thread-safe. The user data is a shell script that cloud-init runs once: it fetches the node
/// bundle from the gateway, compares its digest, and starts the node agent, which makes a key of
/// its own and exchanges the token for a user of the bus (`POST /v1/nodes/enrol`).
///
/// The token is an HMAC of the machine's id under the account's seed: the same for a machine
/// however often it is asked for, and never stored. The database holds its SHA-256, until when it
/// is good, and the key that used it.
class CloudBoot final : public Boot {
public:
    struct Parts {
        CloudSettings settings;
        Secret token_key;           ///< what tokens are made from
        std::string bundle_sha256;  ///< hex
        std::string bus_ca;         ///< PEM: the only authority they believe of the bus; or empty
        store::Pool& pool;
        Enrolment& enrolment;
        Presences& presences;
    };
    explicit CloudBoot(Parts parts) : parts_(std::move(parts)) {}

    Result<Secret> user_data(const MachineSpec& spec) override;
    Result<void> replaced(const std::string& machine) override;
    Result<bool> wait_heard(const std::string& machine, SteadyTime since, milliseconds patience)
        override;
    Result<void> touch(const std::string& machine, const std::string& place) override {
        return repo::touch(parts_.pool, machine, place);
    }
    Result<std::vector<std::string>> touched(const std::string& machine) override {
        return repo::touched(parts_.pool, machine);
    }

    /// Makes the machine's durable and its enrolment, before the provider hears of it.
    Result<void> open(const MachineSpec& spec);
    /// Takes both back: nobody enrols as this machine any more. What is not there is success.
    Result<void> close(const std::string& machine);
    /// Nothing of the machine is anywhere any more.
    Result<void> left(const std::string& machine) { return repo::left(parts_.pool, machine); }

private:
    Secret token_of(const std::string& machine) const;
    const Parts parts_;
};

/// A driver of machines elsewhere together with what they need on the bus. Thread-safe as Driver.
class CloudDriver final : public Driver {
public:
    CloudDriver(std::unique_ptr<Driver> provider, CloudBoot& boot)
        : provider_(std::move(provider)), boot_(boot) {}

    std::string_view name() const override { return provider_->name(); }
    /// Commands run in the same sandboxes as on this host. Who came by ssh was outside of them.
    bool cleanable(const lease::v1::Profile& profile) const override { return !profile.ssh(); }
    int parallel() const override { return provider_->parallel(); }
    void interrupt() override { provider_->interrupt(); }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override { return provider_->tend(spec); }
    Result<std::vector<std::string>> list() override { return provider_->list(); }
    std::string unseen() override { return provider_->unseen(); }
    std::vector<std::string> foreign() override { return provider_->foreign(); }

private:
    const std::unique_ptr<Driver> provider_;
    CloudBoot& boot_;
};

}  // namespace berth::prov
