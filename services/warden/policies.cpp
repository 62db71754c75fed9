// SPDX-License-Identifier: Apache-2.0
// Read, parse once, keep the newest few.
#include "warden/policies.hpp"

#include "warden/settings.hpp"

namespace berth::warden {

Result<std::shared_ptr<const policy::Policy>> Policies::of(
    const repo::Reader& reader, const std::string& org, std::uint64_t version
) {
    if (version == 0) return policy::Policy::allow_all();
    const Key key{org, version};
    {
        const std::lock_guard lock(mutex_);
        if (const auto it = parsed_.find(key); it != parsed_.end()) return it->second;
    }
    BERTH_ASSIGN(const auto stored, repo::find_policy(reader, org, version));
    if (!stored) return internal("no_policy", "the policy's text is not stored");
    auto parsed = policy::Policy::parse(stored->text(), "policy");
    if (!parsed)
        return internal(
            "bad_stored_policy", "a stored policy is not valid any more: " + parsed.error().message
        );
    const std::lock_guard lock(mutex_);
    if (parsed_.emplace(key, *parsed).second) order_.push_back(key);
    if (order_.size() > kMaxParsed) {
        parsed_.erase(order_.front());
        order_.pop_front();
    }
    return *parsed;
}

}  // namespace berth::warden
