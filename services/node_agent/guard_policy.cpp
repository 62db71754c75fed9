// SPDX-License-Identifier: Apache-2.0
// Looks at the state file before each judgement, and reads what is new.
#include "node_agent/guard_policy.hpp"

#include "core/fd.hpp"

namespace berth::node {

void GuardPolicy::refresh(bool again) {
    const auto path = GuardState::file(folder_);
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
        trouble_ = "the machine's policy is gone";
        return;
    }
    const bool known = info.st_ino == seen_inode_ && info.st_mtim.tv_sec == seen_.tv_sec &&
                       info.st_mtim.tv_nsec == seen_.tv_nsec;
    if (known && trouble_.empty()) return;
    trouble_.clear();
    const auto text = read_file(path);
    auto state = text ? GuardState::decode(*text) : Result<GuardState>(text.error());
    if (!state) {
        trouble_ = state.error().message;
        return;
    }
    seen_ = info.st_mtim;
    seen_inode_ = info.st_ino;
    state_ = *state;
    if (policy_ && policy_version_ == state_.version) return;
    if (state_.version == 0) {
        policy_ = policy::Policy::allow_all();
    } else {
        const auto bytes = read_file(state_.policy_file(folder_));
        auto parsed = bytes ? policy::Policy::load(*bytes)
                            : Result<std::shared_ptr<const policy::Policy>>(bytes.error());
        if (!parsed && !again) {  // a newer one has just taken its place
            seen_inode_ = 0;
            return refresh(true);
        }
        if (!parsed) {
            trouble_ = "the machine's policy cannot be read: " + parsed.error().message;
            return;
        }
        policy_ = std::move(*parsed);
    }
    policy_version_ = state_.version;
}

std::vector<std::string> GuardPolicy::tools() {
    refresh();
    return policy_ ? policy_->tools() : std::vector<std::string>();
}

policy::Verdict GuardPolicy::judge(const policy::Plan& plan) {
    refresh();
    policy::Verdict verdict;
    verdict.action = policy::Action::kDeny;
    if (!trouble_.empty() || !policy_) {
        verdict.rule = "snapshot";
        verdict.reason = trouble_;
        return verdict;
    }
    const long long age = boot_milliseconds() - state_.beat_ms;
    if (state_.version != 0 && age > kBeatLife.count()) {
        verdict.rule = "snapshot";
        verdict.reason = "the machine has heard nothing of warden for " +
                         std::to_string(age / 1'000) + " s; nothing new is allowed";
        return verdict;
    }
    return policy_->decide(plan, origin_, Clock::system().now());
}

}  // namespace berth::node
