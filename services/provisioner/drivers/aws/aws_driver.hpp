// SPDX-License-Identifier: Apache-2.0
// Machines on EC2: an instance each, spot or on-demand, and a key pair and a security group of its
// own where its profile wants ssh.
#pragma once

#include <map>
#include <optional>

#include "core/guarded.hpp"
#include "provisioner/driver.hpp"
#include "provisioner/drivers/aws/aws_settings.hpp"
#include "provisioner/drivers/aws/estate.hpp"

namespace berth::prov {

/// Thread-safe as Driver asks. Holds no state that matters: what there is is asked of AWS. Every
/// resource carries the tags berth:deployment and (apart from the one security group that all
/// machines share) berth:machine from the request that makes it. create() and destroy() may block
/// for the settings' patience. Errors of its own: kCapacityExhausted, kNotOurs, "bad_profile",
/// "unknown_location", "no_image", "no_default_vpc", "node_silent", "machine_died", "still_there",
/// "aws_unavailable" (also what a throttled or broken AWS says), "aws_denied" (the key or its
/// rights), "aws_refused".
class AwsDriver final : public Driver {
public:
    /// The settings have passed check(). `boot` and `clock` outlive the driver.
    AwsDriver(
        AwsSettings settings,
        Boot& boot,
        aws::HttpSend send = aws::pooled_http(),
        const Clock& clock = Clock::system()
    );

    std::string_view name() const override { return "aws"; }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override;
    Result<std::vector<std::string>> list() override;
    void interrupt() override { estate_.client().interrupt(); }
    int parallel() const override { return 8; }

private:
    struct Known {
        std::optional<aws::Inventory> inventory;
        SteadyTime read_at{};
        /// Machines that were live once and are not listed at all, and since when.
        std::map<std::string, SteadyTime> absent;
    };
    Result<aws::Inventory> inventory();
    SteadyTime until(milliseconds patience) const { return clock_.steady() + patience; }

    const Clock& clock_;
    aws::Estate estate_;
    Boot& boot_;
    Guarded<Known> known_;
};

}  // namespace berth::prov
