// SPDX-License-Identifier: Apache-2.0
// Who is asking: bearer tokens, verified against their hashes and remembered for a few seconds.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "gateway/repo.hpp"
#include "gateway/roles.hpp"
#include "gateway/workers.hpp"
#include "metrics/metrics.hpp"
#include "net/http_server.hpp"

namespace berth::gateway {

struct Principal {
    std::string user;
    std::string org;
    std::vector<std::string> roles;
    std::string token_id;
    std::optional<WallTime> expires_at{};  ///< of the token; nothing: never
    SteadyTime trusted_until{};            ///< how long the look-up behind this counts
};

/// The token of `Authorization: Bearer`, or for a WebSocket handshake (browsers cannot set headers
/// there) of the protocol "berth.bearer.<token>". Never of the URL, which ends in logs.
std::optional<Secret> token_of(const net::Request& request);
/// The protocol to accept: "berth.v1" where offered, else the one that carried the token, else
/// none.
std::string accepted_protocol(const net::Request& request);

/// Thread-safe. A token is looked up in the database at most once in `life`, known or not; so a
/// revocation takes effect within it everywhere, at once where it was made, and a heartbeat reads
/// no table.
class Authenticator {
public:
    using Done = std::function<void(Result<Principal>)>;
    Authenticator(
        store::Pool& pool, Workers& workers, metrics::Registry& metrics, milliseconds life
    );

    /// Calls `done` at once where the token is remembered, else on a worker. Errors:
    /// "unauthenticated", and those of the database.
    void authenticate(const std::optional<Secret>& token, Done done);
    /// Forgets what is remembered of a token id.
    void forget(const std::string& token_id);
    /// The same of every token of a user: roles changed, or the user was disabled.
    void forget_user(const std::string& org, const std::string& user);

private:
    struct Entry {
        std::optional<Principal> principal;  // nothing: known to be no token
        SteadyTime until;
        std::optional<WallTime> expires_at;
    };
    void look_up(const std::string& hash, const Done& done);
    void remember(const std::string& hash, Entry entry);

    store::Pool& pool_;
    Workers& workers_;
    const milliseconds life_;
    metrics::Counter hits_;
    metrics::Counter misses_;
    metrics::Counter refused_;
    std::mutex mutex_;
    std::unordered_map<std::string, Entry> cache_;  // by mutex_
};

}  // namespace berth::gateway
