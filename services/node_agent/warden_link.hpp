// SPDX-License-Identifier: Apache-2.0
// The machine's end of warden: its beats, the policy in force, the halts, and what is asked of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "berth/node/v1/node.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "bus/asker.hpp"
#include "node_agent/guard_files.hpp"
#include "node_agent/loop.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/settings.hpp"

namespace berth::node {

/// The code of the error "unavailable" while warden has not said which policy is in force.
inline constexpr const char* kHalted = "halted";
inline constexpr const char* kNoPolicyKnown = "no_policy_known";

/// Lives on the loop's thread. What it knows is in node/guard, so that the next node agent begins
/// with it.
class WardenLink : public std::enable_shared_from_this<WardenLink> {
public:
    /// `on_news` is called after warden was heard: policy and halts in force may have changed.
    WardenLink(Loop& loop, const Settings& settings, std::function<void()> on_news);

    void start();
    void bus_up(bus::Connection& connection);
    void bus_down();

    /// How the commands of a run that starts now are guarded. Error kNoPolicyKnown until
    /// warden said whether the org has a policy; or conflict: kHalted where a halt covers the run,
    /// "level_required".
    Result<Launch::Guard> guard_for(const v1::Start& spec) const;
    /// What the guard of a run needs besides: at level shim mounts in its sandbox and its PATH's
    /// first folder; in a container a folder that both sides see. Error "system".
    Result<void> prepare(Launch& launch, const std::filesystem::path& run_folder) const;
    /// True for a variable that the policy in force does not hand on to a command.
    bool drops(std::string_view variable) const;
    /// The same as patterns; none without a policy.
    policy::EnvironmentRules environment() const;
    const std::vector<warden::v1::Halt>& halts() const { return halts_; }
    /// A halt in force in words for people; empty for one that is not.
    std::string reason_of(const std::string& halt) const;
    bool covers(const warden::v1::Halt& halt, const v1::Start& spec) const;

    /// Asks berth.cmd.warden.<verb>.<machine> until there is an answer, yes or no; `done` comes on
    /// the loop. Stops when `alive` is gone. The command id makes a repetition one with the first.
    using Done = std::function<void(Result<std::string> payload)>;
    void ask_surely(
        const std::string& verb,
        const google::protobuf::Message& message,
        const std::string& command_id,
        std::weak_ptr<void> alive,
        Done done
    );
    /// The same command id for the same thing, over restarts.
    static std::string command_id(const std::string& what);

private:
    std::filesystem::path folder() const { return guard_folder(settings_); }
    /// Of the files in it: in a container another user reads them.
    unsigned mode() const { return settings_.container ? kSharedMode : 0600; }
    void on_beat(const std::string& payload);
    void fetch();
    void take_snapshot(const std::string& payload);
    void take_beat(const warden::v1::Beat& beat);
    Result<void> take_policy(const warden::v1::PolicyVersion& policy);
    void write_state();
    void add_shims(Launch& launch, const std::filesystem::path& run_folder) const;
    Result<void> share(const Launch& launch) const;
    Result<void> make_tools(const policy::Policy& policy, std::uint64_t version) const;
    std::filesystem::path tools(std::uint64_t version) const;
    void ask_again(bus::Ask ask, std::weak_ptr<void> alive, Done done, milliseconds pause);

    Loop& loop_;
    const Settings& settings_;
    std::function<void()> on_news_;
    std::unique_ptr<bus::Asker> asker_;
    std::unique_ptr<bus::Receiver> beats_;
    std::optional<GuardState> state_;
    std::shared_ptr<const policy::Policy> policy_;
    std::vector<warden::v1::Halt> halts_;
    std::uint64_t revision_ = 0;
    std::uint64_t generation_ = 0;  ///< of the connection: an old one's beats say nothing
    bool fetching_ = false;
    bool heard_ = false;  ///< by this process
};

}  // namespace berth::node
