// SPDX-License-Identifier: Apache-2.0
// The machine's policy as a supervisor judges by it: no round trip, and no half of a new one.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "node_agent/guard_files.hpp"
#include "policy/policy.hpp"

namespace berth::node {

/// Not thread-safe.
class GuardPolicy {
public:
    GuardPolicy(std::filesystem::path folder, policy::Origin origin)
        : folder_(std::move(folder)), origin_(std::move(origin)) {}

    /// Judges by the policy that is in force now. Denied where the machine has heard nothing of
    /// warden for kBeatLife, or its policy cannot be read.
    policy::Verdict judge(const policy::Plan& plan);
    /// Names of the tools that it speaks of.
    std::vector<std::string> tools();
    std::uint64_t version() const { return state_.version; }
    const policy::Origin& origin() const { return origin_; }

private:
    void refresh(bool again = false);

    std::filesystem::path folder_;
    policy::Origin origin_;
    GuardState state_;
    timespec seen_{};
    ino_t seen_inode_ = 0;
    std::shared_ptr<const policy::Policy> policy_;
    std::uint64_t policy_version_ = 0;
    std::string trouble_;
};

}  // namespace berth::node
