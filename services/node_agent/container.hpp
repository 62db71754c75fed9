// SPDX-License-Identifier: Apache-2.0
// The place of a machine of the docker driver: a container whose first process, `berth-init door`,
// starts commands for the node agent outside.
#pragma once

#include <filesystem>

#include "node_agent/place.hpp"

namespace berth::node {

/// Where the tools folder is mounted inside (see container_tools.hpp of the docker driver).
inline constexpr const char* kInsideTools = "/.berth";

struct ContainerSettings {
    std::filesystem::path dir;   ///< the machine's folder: node/ runs/ door/
    std::filesystem::path init;  ///< berth-init
};

/// Talks to the container through <dir>/door/sock alone: it holds no right over the engine. Not
/// thread-safe.
class Container final : public Place {
public:
    static Result<Container> prepare(ContainerSettings settings);

    /// Error kPlaceComing when the door does not answer.
    Result<std::string> ensure() override;
    std::vector<std::string> run_command() const override;
    bool relayed() const override { return true; }
    std::vector<std::string> tool_command(
        const std::vector<std::string>& program, const std::string& cwd = kInsideWorkspace
    ) const override;
    Result<std::vector<std::string>> rsync() override;
    Result<void> reset() override {
        return conflict("not_cleanable", "a container is made anew for its next owner");
    }
    /// Little: the rest is the image's own, which the door adds.
    std::map<std::string, std::string> environment() const override;

    /// Asks the container to end and waits until its door is shut. Success where there is none.
    static Result<void> end(const std::filesystem::path& dir);

private:
    explicit Container(ContainerSettings settings) : settings_(std::move(settings)) {}
    ContainerSettings settings_;
};

}  // namespace berth::node
