// SPDX-License-Identifier: Apache-2.0
// Parsed policies by org and version.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "policy/policy.hpp"
#include "warden/repo.hpp"

namespace berth::warden {

/// A version never changes, so what is kept is never stale: which version counts is always read
/// from the database. Thread-safe.
class Policies {
public:
    /// Version 0: the policy that allows everything. An error where a stored text cannot be read
    /// any more: then nothing is decided by it.
    Result<std::shared_ptr<const policy::Policy>> of(
        const repo::Reader& reader, const std::string& org, std::uint64_t version
    );

private:
    using Key = std::pair<std::string, std::uint64_t>;
    std::mutex mutex_;
    std::map<Key, std::shared_ptr<const policy::Policy>> parsed_;  // by mutex_
    std::deque<Key> order_;                                        // by mutex_: oldest first
};

}  // namespace berth::warden
