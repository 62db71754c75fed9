// SPDX-License-Identifier: Apache-2.0
// Machines that are containers of this host's engine: commands inside, the node agent and every
// credential outside.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.hpp"
#include "provisioner/driver.hpp"

namespace berth::prov {

using engine::Engine;

struct DockerDriverSettings {
    std::string socket;         ///< of the engine
    std::filesystem::path dir;  ///< <dir>/<machine>/{node,runs,door,etc,fence}, <dir>/tools-…
    /// `dir` as the engine's host sees it, where the provisioner itself is a container; else the
    /// same.
    std::filesystem::path engine_dir;
    std::filesystem::path init;          ///< berth-init
    std::vector<std::string> resolvers;  ///< of machines with a network; addresses
    std::string deployment;              ///< the label that makes something ours
    Engine::Transport transport{};       ///< empty: the socket
};

/// Fetches images without holding anybody up. Thread-safe.
class ImagePuller {
public:
    explicit ImagePuller(Engine& engine) : engine_(engine) {}
    ~ImagePuller();

    /// Success when the image is there. kUnavailable kImagePulling while it is being fetched;
    /// "no_image" when it cannot be.
    Result<void> ensure(const std::string& image);

private:
    struct Pull {
        std::thread thread;
        std::function<void()> cancel;
        bool done = false;
        Result<void> outcome;
    };
    Engine& engine_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;              // by mutex_, as is what follows
    std::map<std::string, Pull> pulls_;  // by image
};

/// Thread-safe as Driver asks. The node's side of a machine (folder, credential, process) is
/// another driver's, of machines on this host; here it gets a container to put its commands into.
class DockerDriver final : public Driver {
public:
    /// `node` makes, tends and removes the machine's folder <dir>/<machine> and the node agent that
    /// serves it from outside.
    DockerDriver(DockerDriverSettings settings, std::unique_ptr<Driver> node);

    std::string_view name() const override { return "docker"; }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override;
    Result<std::vector<std::string>> list() override;
    std::vector<std::string> foreign() override { return node_->foreign(); }

    /// The fence's rules for a machine with a network; for tests and the curious.
    std::string fence() const;

private:
    std::filesystem::path folder(const std::string& machine) const {
        return settings_.dir / machine;
    }
    Result<std::filesystem::path> tools();
    Result<void> write_folder(const MachineSpec& spec) const;
    Result<void> make_container(const MachineSpec& spec);
    /// Leaves the machine with one network.
    Result<void> make_network(const MachineSpec& spec, const Json& labels);
    /// Ids. Two where a request and the one that took it for lost were carried out at once: the
    /// engine looks for a name's double and takes the name in two steps.
    Result<std::vector<std::string>> networks_of(const std::string& machine);
    /// Starts the container where it does not run and opens its door.
    Result<void> ensure_serving(const MachineSpec& spec, bool runs);
    Result<void> load_fence(const MachineSpec& spec);
    bool is_ours(const Json* labels, const std::string& machine) const;
    /// As the engine sees it, which is a moment behind. Error kNotOurs as check_ours().
    Result<bool> is_running(const std::string& machine);
    Result<void> wait_door(const std::string& machine);
    /// Error kNotOurs when something of this machine's name is another's.
    Result<void> check_ours(const std::string& machine);
    Result<void> remove_containers(const std::string& machine);
    /// The items of a list, which some paths give as an answer's member.
    Result<Json::Array> items(const std::string& path, const char* member = "");

    const DockerDriverSettings settings_;
    Engine engine_;
    ImagePuller puller_{engine_};
    const std::unique_ptr<Driver> node_;
    std::mutex tools_mutex_;
    std::filesystem::path tools_;  // by tools_mutex_; empty: not made yet
};

/// The resolvers of this host that a container can reach too (no loopback), from resolv.conf text.
std::vector<std::string> usable_resolvers(std::string_view resolv_conf);

}  // namespace berth::prov
