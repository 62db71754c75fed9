// SPDX-License-Identifier: Apache-2.0
// Leadership by an advisory lock, made safe by a token that only grows.
#include "store/leader.hpp"

#include "store/advisory.hpp"

namespace berth::store {
namespace {

// A leader that waits longer for its database's nod should act as if it had lost it.
constexpr milliseconds kAskLimit{1000};

constexpr Statement kTryLock{"SELECT pg_try_advisory_lock($1::bigint)", "leader.try_lock"};
constexpr Statement kUnlock{"SELECT pg_advisory_unlock($1::bigint)", "leader.unlock"};
constexpr Statement kNextToken{
    "INSERT INTO leader_fence (name, token) VALUES ($1, 1) "
    "ON CONFLICT (name) DO UPDATE SET token = leader_fence.token + 1 RETURNING token",
    "leader.next_token"};
constexpr Statement kCheck{
    "SELECT token FROM leader_fence WHERE name = $1 FOR SHARE", "leader.check_fence"};

std::int64_t key_of(const PoolSettings& settings, const std::string& name) {
    return advisory_key("leader", settings.schema + "/" + name);
}

}  // namespace

LeaderLock::LeaderLock(PoolSettings settings, std::string name)
    : settings_(std::move(settings)), name_(std::move(name)) {}

LeaderLock::~LeaderLock() { release(); }

int LeaderLock::backend_pid() const { return connection_ ? connection_->backend_pid() : 0; }

std::optional<std::int64_t> LeaderLock::try_lead() {
    if (token_ && still_leading()) return token_;
    last_error_.reset();
    const auto fail = [&](Error error) -> std::optional<std::int64_t> {
        connection_.reset();  // its end releases the lock, should it have been got
        last_error_ = std::move(error);
        return std::nullopt;
    };
    if (!connection_) {
        auto opened = Connection::open(settings_);
        if (!opened) return fail(std::move(opened).error());
        connection_ = std::make_unique<Connection>(std::move(opened).value());
    }
    auto locked = connection_->exec_within(kAskLimit, kTryLock, {key_of(settings_, name_)});
    if (!locked) return fail(std::move(locked).error());
    if (!(*locked)[0].boolean(0)) return std::nullopt;
    // Waits for transactions that checked the old token: they end before this leadership begins.
    auto token = connection_->exec(kNextToken, {name_});
    if (!token) return fail(std::move(token).error());
    token_ = (*token)[0].int64(0);
    return token_;
}

bool LeaderLock::still_leading() {
    if (!token_ || !connection_) return false;
    auto alive = connection_->exec_within(kAskLimit, "SELECT 1");
    if (alive) return true;
    last_error_ = std::move(alive).error();
    token_.reset();
    connection_.reset();
    return false;
}

void LeaderLock::release() {
    if (token_ && connection_) {
        // Where this fails, closing the connection does it.
        if (!connection_->exec_within(kAskLimit, kUnlock, {key_of(settings_, name_)}))
            connection_.reset();
    }
    token_.reset();
}

Result<void> check_fence(Transaction& tx, std::string_view name, std::int64_t token) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kCheck, {name}));
    if (rows.empty()) return internal("no_fence", "nobody was ever elected " + std::string(name));
    if (rows[0].int64(0) != token)
        return conflict("fenced", "a newer leader took over the office " + std::string(name));
    return {};
}

}  // namespace berth::store
