// SPDX-License-Identifier: Apache-2.0
// The fake Hetzner (tests/fakes/hetzner) as the tests of the driver see and arrange it.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "provisioner/driver_world.hpp"
#include "provisioner/drivers/hetzner/hetzner_driver.hpp"
#include "provisioner/drivers/hetzner/marks.hpp"

namespace berth::prov::testing {

/// A node that is heard when its server runs; or never, when it is told to be silent.
class FakeBoot final : public Boot {
public:
    explicit FakeBoot(class HetznerWorld& world) : world_(world) {}
    Result<Secret> user_data(const MachineSpec& spec) override;
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
    std::atomic<bool> silent{false};

private:
    HetznerWorld& world_;
};

/// One empty project at the fake, which runs once per test program. Throws std::runtime_error where
/// the fake does not do as told.
class HetznerWorld final : public DriverWorld {
public:
    HetznerWorld();

    std::unique_ptr<Driver> start_driver(CrashPoint crash) override;
    using DriverWorld::start_driver;
    std::unique_ptr<HetznerDriver> start_hetzner(CrashPoint crash = {});
    bool can_crash() const override { return true; }
    MachineSpec make_spec() override;
    int machines() override { return count("servers", true); }
    int leftovers() override;
    bool plant_foreign(const std::string& machine) override;
    bool foreign_is_untouched(const std::string& machine) override;
    bool break_next_list() override;

    /// The settings of the next driver; short waits, no memory of lists.
    HetznerSettings settings;
    FakeBoot boot{*this};

    /// One line of the failure schedule, as JSON text.
    void fault(const std::string& line);
    void set(const std::string& json);
    /// Puts a resource there; `item` lacks only its id.
    std::int64_t plant(const std::string& kind, Json item);
    Json state();
    /// The resources of a kind, all or with this deployment's label.
    std::vector<Json> all(const std::string& kind);
    int count(const std::string& kind, bool ours = false);
    /// The requests so far: method and path template ("POST", "/servers").
    std::vector<Json> requests(const std::string& method, const std::string& path);
    /// A request of somebody else's to the API, with the right token.
    int ask(const std::string& method, const std::string& path);
    std::string deployment_label() const { return hetzner::deployment_value(settings.deployment); }
    /// Servers as a plant: everything the description wants, in a state.
    Json server_item(const std::string& name, const Json& labels, const std::string& status) const;

    static constexpr const char* kToken = "test-token";

private:
    Json control(const std::string& method, const std::string& name, const std::string& body);
    http::Client client_;
    std::mutex mutex_;  // wait_heard may come from other threads than the test's
};

}  // namespace berth::prov::testing
