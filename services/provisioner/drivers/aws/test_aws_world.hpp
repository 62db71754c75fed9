// SPDX-License-Identifier: Apache-2.0
// An EC2 for tests of the driver: tests/fakes/aws, with its own EC2 in memory or with moto behind
// it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "provisioner/driver_world.hpp"
#include "provisioner/drivers/aws/aws_driver.hpp"

namespace berth::prov::testing {

/// A node that is heard when the test says so. Thread-safe.
class FakeBoot final : public Boot {
public:
    Result<Secret> user_data(const MachineSpec& spec) override {
        return Secret(user_data_prefix + spec.machine + "\n");
    }
    Result<void> replaced(const std::string& machine) override {
        replaced_machines.push_back(machine);
        return {};
    }
    std::vector<std::string> replaced_machines;
    Result<void> touch(const std::string&, const std::string&) override { return {}; }
    Result<std::vector<std::string>> touched(const std::string&) override {
        return std::vector<std::string>{};
    }
    Result<bool> wait_heard(const std::string& machine, SteadyTime since, milliseconds patience)
        override;

    std::string user_data_prefix = "#cloud-config\n# \xff\xfe for ";
    /// Asked at each wait; by default a node is heard at the second wait.
    std::function<bool(int wait)> heard = [](int wait) { return wait >= 2; };
    std::atomic<int> waits{0};
};

/// One fake for the whole test program, emptied for each world. With BERTH_AWS_MOTO, the folder
/// where `tests/fakes/aws/moto install` put moto, moto is behind it.
class AwsWorld final : public DriverWorld {
public:
    AwsWorld();

    static bool with_moto();

    // DriverWorld
    std::unique_ptr<Driver> start_driver(CrashPoint crash) override;
    using DriverWorld::start_driver;
    bool can_crash() const override { return true; }
    MachineSpec make_spec() override;
    int machines() override;
    int leftovers() override;
    bool plant_foreign(const std::string& machine) override;
    bool foreign_is_untouched(const std::string& machine) override;
    bool break_next_list() override;

    // The provider
    Json control(const std::string& method, const std::string& path, const Json& body = {});
    void rules(const std::string& json);
    void rule(const std::string& action, const std::string& code, int times = 1, int status = 400);
    void set(const std::string& name, int value);
    /// An API call as somebody else's, past signature and rules; its answer.
    std::string
    raw(const std::string& region, const std::vector<std::pair<std::string, std::string>>&);
    Json inventory() { return control("GET", "inventory"); }
    /// Things of a kind ("instances", "keys", "groups", "volumes") for which `keep` holds.
    std::vector<Json> things(
        const std::string& kind, const std::function<bool(const Json&)>& keep = {}
    );
    std::vector<Json> live_instances();
    std::vector<Json> requests(const std::string& action = {});
    static std::string tag(const Json& thing, const std::string& key);

    AwsSettings settings;
    FakeBoot boot;
};

/// Types and locations of a profile, replaced.
void set_types(MachineSpec& spec, const std::vector<std::string>& types);
void set_locations(MachineSpec& spec, const std::vector<std::string>& locations);

}  // namespace berth::prov::testing
