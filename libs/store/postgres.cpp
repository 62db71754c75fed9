// SPDX-License-Identifier: Apache-2.0
// The pool and the life of a transaction: who holds which connection, and what is tried again.
#include "store/postgres.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/random.hpp"
#include "store/link.hpp"

namespace berth::store {
namespace {

// A readiness probe asks every few seconds; an answer later than this is as good as none.
constexpr milliseconds kHealthLimit{1000};
// A rollback that takes longer costs the connection instead, which rolls back too.
constexpr milliseconds kRollbackLimit{2000};
// Retries of a conflict spread over up to this, of a lost connection likewise: enough to leave the
// crowd.
constexpr milliseconds kFirstPause{4};
constexpr milliseconds kLongestPause{200};

/// Full jitter: uniform between zero and a bound that doubles with each attempt.
milliseconds pause_before(int attempt) {
    const auto bound =
        std::min<long long>(kLongestPause.count(), kFirstPause.count() << std::min(attempt, 10));
    return milliseconds{
        static_cast<long long>(Random::system().below(static_cast<std::uint64_t>(bound) + 1))};
}

std::string_view begin_text(const TxOptions& options) {
    switch (options.isolation) {
        case Isolation::kReadCommitted: return options.read_only ? "BEGIN READ ONLY" : "BEGIN";
        case Isolation::kRepeatableRead:
            return options.read_only ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                                     : "BEGIN ISOLATION LEVEL REPEATABLE READ";
        case Isolation::kSerializable:
            return options.read_only ? "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"
                                     : "BEGIN ISOLATION LEVEL SERIALIZABLE";
    }
    return "BEGIN";
}

Error commit_unknown(const Error& cause) {
    return unavailable(
        "commit_unknown",
        "the connection broke while committing, so it may have happened: " + cause.message
    );
}

}  // namespace

struct Pool::State {
    PoolSettings settings;
    std::mutex mutex;
    std::condition_variable freed;
    std::vector<std::unique_ptr<Link>> idle;  // the last is the warmest
    std::size_t lent = 0;
};

Pool::Pool(PoolSettings settings) : state_(std::make_unique<State>()) {
    state_->settings = std::move(settings);
    state_->settings.max_connections = std::max<std::size_t>(1, state_->settings.max_connections);
}

Pool::~Pool() = default;

const PoolSettings& Pool::settings() const { return state_->settings; }

std::size_t Pool::in_use() const {
    const std::lock_guard lock(state_->mutex);
    return state_->lent;
}

Result<std::unique_ptr<Link>> Pool::take(SteadyTime deadline) {
    State& s = *state_;
    std::unique_lock lock(s.mutex);
    for (;;) {
        while (!s.idle.empty()) {
            std::unique_ptr<Link> link = std::move(s.idle.back());
            s.idle.pop_back();
            ++s.lent;
            lock.unlock();  // the others need not wait while the kernel is asked
            if (link->still_open()) return link;
            link.reset();
            lock.lock();
            --s.lent;
        }
        if (s.lent < s.settings.max_connections) break;
        if (s.freed.wait_until(lock, deadline) == std::cv_status::timeout &&
            s.lent >= s.settings.max_connections) {
            return unavailable(
                "pool_exhausted",
                "all " + std::to_string(s.settings.max_connections) +
                    " database connections are busy; try again or raise the limit"
            );
        }
    }
    ++s.lent;
    lock.unlock();
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_now());
    auto opened =
        Link::open(s.settings, std::clamp(left, milliseconds{1}, s.settings.connect_timeout));
    if (!opened) give_back(nullptr);
    return opened;
}

void Pool::give_back(std::unique_ptr<Link> link) {
    {
        const std::lock_guard lock(state_->mutex);
        --state_->lent;
        if (link && link->reusable()) state_->idle.push_back(std::move(link));
    }
    state_->freed.notify_one();
}

Result<Connection> Pool::acquire() {
    BERTH_ASSIGN(std::unique_ptr<Link> link, take(steady_now() + state_->settings.acquire_timeout));
    return Connection(std::move(link), this);
}

bool Pool::healthy() {
    auto link = take(steady_now() + kHealthLimit);
    if (!link) return false;
    Connection connection(std::move(link).value(), this);
    return connection.exec_within(kHealthLimit, "SELECT 1").has_value();
}

Result<Rows> Pool::exec_autocommit(
    const Statement& statement, const Params& params, OnLoss on_loss
) {
    const TxOptions limits;
    const SteadyTime give_up = steady_now() + limits.reconnect_for;
    bool was_lost = false;
    for (int attempt = 0;; ++attempt) {
        auto taken = take(steady_now() + state_->settings.acquire_timeout);
        if (!taken) {
            if (!was_lost || steady_now() >= give_up) return std::move(taken).error();
            std::this_thread::sleep_for(pause_before(attempt));
            continue;
        }
        Connection connection(std::move(taken).value(), this);
        auto rows = connection.link_->exec(statement, params);
        if (rows) return rows;
        const Link& link = *connection.link_;
        const bool lost = link.broken() && rows.error().code == "database_unavailable";
        const bool again =
            lost && (on_loss == OnLoss::kRetry || !link.maybe_executed()) && steady_now() < give_up;
        const bool rerun =
            is_serialization_failure(rows.error()) && attempt + 1 < limits.max_attempts;
        if (!again && !rerun)
            return lost && link.maybe_executed() ? commit_unknown(rows.error())
                                                 : std::move(rows).error();
        was_lost = was_lost || lost;
        connection = Connection(nullptr, nullptr);  // back before the pause
        std::this_thread::sleep_for(pause_before(attempt));
    }
}

Result<void> Pool::run(
    const TxOptions& options, const std::function<Result<void>(Transaction&)>& body
) {
    const SteadyTime give_up = steady_now() + options.reconnect_for;
    bool was_lost = false;
    int conflicts = 0;
    for (int attempt = 0;; ++attempt) {
        auto taken = take(steady_now() + state_->settings.acquire_timeout);
        if (!taken) {
            // A database that is away from the start is the caller's to wait for; one that went is
            // ours.
            if (!was_lost || steady_now() >= give_up) return std::move(taken).error();
            std::this_thread::sleep_for(pause_before(attempt));
            continue;
        }
        Connection connection(std::move(taken).value(), this);
        Transaction tx(*connection.link_, begin_text(options));
        Result<void> result;
        try {
            result = body(tx);
        } catch (...) {
            tx.rollback();
            throw;
        }
        result = tx.finish(result);
        if (result) return result;
        const bool rerun =
            tx.doom_ == Transaction::Doom::kRetry && ++conflicts < options.max_attempts;
        const bool reconnect = tx.doom_ == Transaction::Doom::kLost && steady_now() < give_up;
        if (!rerun && !reconnect) return result;
        was_lost = was_lost || reconnect;
        connection = Connection(nullptr, nullptr);
        std::this_thread::sleep_for(pause_before(attempt));
    }
}

void Transaction::note(const Error& error) {
    if (doom_ != Doom::kNone) return;  // what follows the first failure is its echo
    failure_ = error;
    if (link_.broken() && error.code == "database_unavailable") {
        doom_ = Doom::kLost;
    } else {
        doom_ = is_serialization_failure(error) ? Doom::kRetry : Doom::kFailed;
    }
}

Result<Rows> Transaction::exec(const Statement& statement, const Params& params) {
    if (doom_ != Doom::kNone) return *failure_;
    auto rows = send(statement, params);
    if (!rows) note(rows.error());
    return rows;
}

void Transaction::exec_later(const Statement& statement, Params params) {
    later_.emplace_back(statement, std::move(params));
}

Result<Rows> Transaction::send(const Statement& statement, const Params& params) {
    if (begun_ && later_.empty()) return link_.exec(statement, params);
    std::vector<Link::Step> steps;
    if (!begun_) steps.push_back({Statement(begin_, "begin"), {}});
    begun_ = true;
    for (auto& [waiting, values] : later_) steps.push_back({waiting, std::move(values)});
    later_.clear();
    steps.push_back({statement, params});
    return link_.exec_all(steps);
}

Result<void> Transaction::finish(const Result<void>& body) {
    if (body && doom_ == Doom::kNone) return commit();
    rollback();
    if (!body) return body;
    return *failure_;
}

Result<void> Transaction::commit() {
    if (!begun_ && later_.empty()) return {};
    const auto committed = send(Statement("COMMIT", "commit"), {});
    if (committed) {
        if (link_.tag() == "COMMIT") return {};
        doom_ = Doom::kFailed;
        return internal("sql", "the transaction ended in " + link_.tag() + " instead of COMMIT");
    }
    if (link_.broken()) {
        doom_ = Doom::kFailed;  // never run again: it may have happened
        return commit_unknown(committed.error());
    }
    note(committed.error());
    rollback();
    return committed.error();
}

void Transaction::rollback() {
    if (!begun_ || link_.broken()) return;
    (void
    )link_.script("ROLLBACK", kRollbackLimit);  // where it fails, the connection is not used again
}

Connection::Connection(std::unique_ptr<Link> link, Pool* pool)
    : link_(std::move(link)), pool_(pool) {}
Connection::Connection(Connection&& other) noexcept
    : link_(std::move(other.link_)), pool_(std::exchange(other.pool_, nullptr)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
    std::swap(link_, other.link_);
    std::swap(pool_, other.pool_);
    return *this;
}

Connection::~Connection() {
    if (link_ && pool_ != nullptr) pool_->give_back(std::move(link_));
}

Result<Connection> Connection::open(const PoolSettings& settings) {
    BERTH_ASSIGN(std::unique_ptr<Link> link, Link::open(settings, settings.connect_timeout));
    return Connection(std::move(link), nullptr);
}

Result<Rows> Connection::exec(const Statement& statement, const Params& params) {
    return link_->exec(statement, params);
}

Result<Rows> Connection::exec_within(
    milliseconds limit, const Statement& statement, const Params& params
) {
    return link_->exec(statement, params, limit);
}

Result<void> Connection::exec_script(std::string_view sql, milliseconds limit) {
    return link_->script(sql, limit);
}

int Connection::backend_pid() const { return link_->backend_pid(); }

bool Connection::usable() const { return !link_->broken(); }

}  // namespace berth::store
