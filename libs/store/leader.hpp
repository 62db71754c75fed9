// SPDX-License-Identifier: Apache-2.0
// One leader among replicas, and a token that makes a leader of yesterday harmless.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/postgres.hpp"

namespace berth::store {

/// A PostgreSQL advisory lock held on a connection of its own, with a fencing token (table
/// `leader_fence`, kLeaderDdl) that grows by one at each acquisition.
///
/// Safety: the server gives the lock to one session at a time. That alone does not make two leaders
/// impossible in a program's eyes: a leader whose session died learns of it at its next
/// still_leading(). What is safe without any clock is a write guarded by check_fence(): once a
/// newer leader has its token, no transaction that checks an older one commits, and one that
/// checked before delays the newer leader. Liveness: a candidate that keeps calling try_lead()
/// leads as soon as the holder releases, its process ends, or the server sees its connection die:
/// at once for a closed socket, within about 30 s of TCP keepalive for a machine that vanished.
/// Gap: between the old leader's end and the next call of try_lead() nobody leads, and between the
/// server's end of a session and the old leader's next still_leading() two programs may believe
/// they do. Effects outside the database cannot be fenced here: they need their own idempotency.
///
/// One thread at a time.
class LeaderLock {
public:
    /// `name` is the office, unique within the schema ("reaper"). Uses `settings` for its one
    /// connection.
    LeaderLock(PoolSettings settings, std::string name);
    ~LeaderLock();
    LeaderLock(const LeaderLock&) = delete;
    LeaderLock& operator=(const LeaderLock&) = delete;

    /// The token when this object leads (also when it already did), nullopt when another does or
    /// the database is away; last_error() tells the two apart. Never waits for the lock.
    std::optional<std::int64_t> try_lead();
    /// Asks the server (one round trip, a second at most). False ends the leadership.
    bool still_leading();
    /// Gives the office up. Without a connection there is nothing to give up.
    void release();
    /// Why the last try_lead() or still_leading() failed, if it was not simply another leader.
    const std::optional<Error>& last_error() const { return last_error_; }
    /// The server process of the lock's session, 0 without one.
    int backend_pid() const;

private:
    PoolSettings settings_;
    std::string name_;
    std::unique_ptr<Connection> connection_;
    std::optional<std::int64_t> token_;
    std::optional<Error> last_error_;
};

/// Inside the transaction of a guarded update: kConflict "fenced" when a newer token exists. Holds
/// the token's row shared until the end of `tx`, so that no newer leader appears before it commits.
Result<void> check_fence(Transaction& tx, std::string_view name, std::int64_t token);

}  // namespace berth::store
