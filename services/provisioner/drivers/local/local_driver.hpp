// SPDX-License-Identifier: Apache-2.0
// Machines on this very host: a folder and a node agent each, commands in a bubblewrap sandbox.
#pragma once

#include <filesystem>

#include "core/guarded.hpp"
#include "provisioner/driver.hpp"
#include "provisioner/drivers/local/reaper.hpp"
#include "provisioner/enrolment.hpp"

namespace berth::prov {

struct LocalDriverSettings {
    std::filesystem::path
        machines_dir;  ///< <machines_dir>/<machine>/{node,workspace,home,tmp,runs}
    std::string node_binary;
    std::string nats_url;
    /// Written into each machine's folder; only folders that carry it are ours to delete.
    std::string deployment;
    /// Further lines of each node.yaml, for a driver whose node agents put their commands
    /// elsewhere.
    std::string node_settings{};
};

/// Thread-safe as Driver asks. The node agent is a process in a session of its own that outlives
/// the provisioner; its lock file tells whether it is there.
class LocalDriver final : public Driver {
public:
    LocalDriver(LocalDriverSettings settings, Enrolment& enrolment, Presences& presences)
        : settings_(std::move(settings)), enrolment_(enrolment), presences_(presences) {}

    std::string_view name() const override { return "local"; }
    bool cleanable(const lease::v1::Profile&) const override { return true; }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override;
    Result<std::vector<std::string>> list() override;
    /// The folder is this deployment's own: another's machine has no business in it.
    std::vector<std::string> foreign() override { return *foreign_.lock(); }

private:
    std::filesystem::path folder(const std::string& machine) const {
        return settings_.machines_dir / machine;
    }
    bool is_ours(const std::filesystem::path& machine_folder) const;
    /// Errors: "cannot_look" where that cannot be known, kNotOurs where another mark or none is on
    /// what is there. Nothing may be concluded from either.
    Result<bool> is_there(const std::string& machine) const;
    /// Error kNotOurs where another deployment's mark is on the machine's folder.
    Result<void> refuse_foreign(const std::string& machine) const;
    Error foreign_folder(const std::string& machine) const;
    bool node_runs(const std::string& machine) const;
    Result<void> write_files(const MachineSpec& spec);
    Result<void> start_node(const std::string& machine);

    const LocalDriverSettings settings_;
    Enrolment& enrolment_;
    Presences& presences_;
    Reaper reaper_;
    Guarded<std::vector<std::string>> foreign_;
};

}  // namespace berth::prov
