// SPDX-License-Identifier: Apache-2.0
// PostgreSQL as values: a pool that survives the database's absence, transactions that retry what
// may be retried.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::store {

/// Where the database is and how long to wait for it. `conninfo` (libpq keyword or URI form) may
/// hold a password: it is handed to libpq and to nothing else, and never part of an error or a log
/// line.
struct PoolSettings {
    std::string conninfo;
    /// The schema every connection's search_path names; may be empty (the server's default then).
    std::string schema;
    std::size_t max_connections = 8;
    /// For one attempt to open a connection.
    milliseconds connect_timeout{5000};
    /// For one statement; the server cancels it then, and a client that hears nothing gives up a
    /// little later.
    milliseconds statement_timeout{10000};
    /// For a free connection of the pool.
    milliseconds acquire_timeout{5000};
};

/// SQL with an optional name for error messages. Both must outlive the call only; constants are the
/// custom. The text is prepared once per connection (256 texts at most; what comes later runs
/// unprepared), so write parameters as $1, $2 and never build a text per value. A parameter's type
/// is what the SQL makes of it: write `$1::bigint` where the context does not say.
struct Statement {
    std::string_view sql;
    std::string_view name;

    constexpr Statement(
        std::string_view sql_text, std::string_view statement_name = {}
    )  // NOLINT(google-explicit-constructor)
        : sql(sql_text), name(statement_name) {}
    constexpr Statement(const char* sql_text)
        : sql(sql_text) {}  // NOLINT(google-explicit-constructor)
    Statement(const std::string& sql_text)
        : sql(sql_text) {}  // NOLINT(google-explicit-constructor)
};

/// One parameter of a statement. Plain values convert implicitly; bytes and arrays are made by
/// name.
class Param {
public:
    Param(std::nullptr_t) : kind_(Kind::kNull) {}     // NOLINT(google-explicit-constructor)
    Param(bool value) : value_(value ? "t" : "f") {}  // NOLINT(google-explicit-constructor)
    template <
        typename N,
        std::enable_if_t<std::is_integral_v<N> && !std::is_same_v<N, bool>, int> = 0>
    Param(N value) : value_(std::to_string(value)) {}     // NOLINT(google-explicit-constructor)
    Param(double value);                                  // NOLINT(google-explicit-constructor)
    Param(const char* text) : value_(text) {}             // NOLINT(google-explicit-constructor)
    Param(std::string_view text) : value_(text) {}        // NOLINT(google-explicit-constructor)
    Param(std::string text) : value_(std::move(text)) {}  // NOLINT(google-explicit-constructor)
    /// timestamptz, to the microsecond.
    Param(WallTime time);  // NOLINT(google-explicit-constructor)
    /// NULL for nullopt.
    template <typename T>
    Param(std::optional<T> value)
        : Param(value ? Param(std::move(*value)) : Param(nullptr)) {
    }  // NOLINT(google-explicit-constructor)

    /// bytea; travels in binary.
    static Param bytes(std::string value);
    /// bigint[] , text[] and bytea[], for `= ANY($1)` and `unnest($1)`.
    static Param int64_array(std::span<const std::int64_t> values);
    static Param text_array(std::span<const std::string> values);
    static Param bytes_array(std::span<const std::string> values);

    bool is_null() const { return kind_ == Kind::kNull; }
    bool is_binary() const { return kind_ == Kind::kBinary; }
    const std::string& encoded() const { return value_; }

private:
    enum class Kind { kNull, kText, kBinary };
    Kind kind_ = Kind::kText;
    std::string value_;
};

using Params = std::vector<Param>;

/// A column by position (from 0) or by name.
class Column {
public:
    constexpr Column(int index) : index_(index) {}            // NOLINT(google-explicit-constructor)
    constexpr Column(const char* name) : name_(name) {}       // NOLINT(google-explicit-constructor)
    constexpr Column(std::string_view name) : name_(name) {}  // NOLINT(google-explicit-constructor)
    int index() const { return index_; }
    std::string_view name() const { return name_; }

private:
    int index_ = -1;
    std::string_view name_;
};

class Rows;

/// One row of Rows; valid while they live. A column that does not exist, a NULL where a value is
/// asked for or a value of another type is a bug in the SQL beside the call and throws
/// std::logic_error.
class Row {
public:
    bool is_null(Column column) const;
    std::string_view text(Column column) const;
    /// smallint, integer, bigint, and numeric without a fraction (what sum(bigint) gives).
    std::int64_t int64(Column column) const;
    double number(Column column) const;
    bool boolean(Column column) const;
    /// bytea.
    std::string bytes(Column column) const;
    /// timestamptz.
    WallTime time(Column column) const;
    /// bigint[].
    std::vector<std::int64_t> int64_array(Column column) const;

    /// The value, or nullopt for NULL.
    std::optional<std::string> optional_text(Column column) const;
    std::optional<std::int64_t> optional_int64(Column column) const;
    std::optional<std::string> optional_bytes(Column column) const;
    std::optional<WallTime> optional_time(Column column) const;

private:
    friend class Rows;
    Row(const Rows& rows, int index) : rows_(&rows), index_(index) {}
    std::string_view raw(Column column) const;
    int find(Column column) const;
    const Rows* rows_;
    int index_;
};

/// What a statement gave back. Move-only; one thread at a time.
class Rows {
public:
    Rows() = default;
    std::size_t size() const;
    bool empty() const { return size() == 0; }
    /// Throws std::logic_error past the end.
    Row operator[](std::size_t index) const;
    /// Rows inserted, updated or deleted; for SELECT the rows returned.
    std::int64_t affected() const;

    class Iterator {
    public:
        Iterator(const Rows& rows, std::size_t index) : rows_(&rows), index_(index) {}
        Row operator*() const { return (*rows_)[index_]; }
        Iterator& operator++() {
            ++index_;
            return *this;
        }
        bool operator!=(const Iterator& other) const { return index_ != other.index_; }

    private:
        const Rows* rows_;
        std::size_t index_;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size()}; }

private:
    friend class Row;
    friend class Link;
    struct Clear {
        void operator()(void* result) const;
    };
    explicit Rows(void* result) : result_(result) {}
    std::unique_ptr<void, Clear> result_;
};

class Link;  // one libpq connection; private to this library
class Pool;

/// A connection of one's own or lent by a pool; returned (or closed) on destruction. One thread at
/// a time.
///
/// Errors of every exec in this header:
///   kUnavailable "database_unavailable"  no connection, or it broke
///   kUnavailable "pool_exhausted"        no free connection within acquire_timeout
///   kUnavailable "serialization_failure" 40001, 40P01 (a transaction retries it by itself)
///   kUnavailable "commit_unknown"        the connection broke while a commit was under way
///   kDeadline    "statement_timeout"     cancelled by the server, or no answer
///   kConflict    "unique_violation"      `field` is the constraint's name
///   kConflict    "foreign_key_violation", "check_violation", "exclusion_violation"  likewise
///   kInternal    "sql"                   anything else: a bug in the SQL
/// Messages carry the server's primary message only, never its DETAIL, which quotes values.
class Connection {
public:
    /// A connection outside any pool (leadership, listening).
    static Result<Connection> open(const PoolSettings& settings);
    Connection(Connection&&) noexcept;
    Connection& operator=(Connection&&) noexcept;
    ~Connection();

    Result<Rows> exec(const Statement& statement, const Params& params = {});
    /// With a deadline of its own for the answer in place of the settings' (the server's own limit
    /// stays).
    Result<Rows> exec_within(
        milliseconds limit, const Statement& statement, const Params& params = {}
    );
    /// Several statements without parameters, as one simple query.
    Result<void> exec_script(std::string_view sql, milliseconds limit);
    /// The process id of the server's side, for tests and pg_terminate_backend.
    int backend_pid() const;
    /// False once the connection broke; every later exec fails then.
    bool usable() const;

private:
    friend class Pool;
    Connection(std::unique_ptr<Link> link, Pool* pool);
    std::unique_ptr<Link> link_;
    Pool* pool_ = nullptr;
};

/// A transaction under way. It begins with its first statement; Pool::transact ends it. One thread
/// at a time.
class Transaction {
public:
    Result<Rows> exec(const Statement& statement, const Params& params = {});
    /// Sends the statement together with the next one, or with COMMIT: for what has parameters and
    /// whose rows nobody needs. It saves a round trip; its failure is that of what it is sent with.
    void exec_later(const Statement& statement, Params params);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

private:
    friend class Pool;
    /// What the failed statements so far mean for the whole.
    enum class Doom { kNone, kFailed, kRetry, kLost };
    Transaction(Link& link, std::string_view begin) : link_(link), begin_(begin) {}
    Result<Rows> send(const Statement& statement, const Params& params);
    Result<void> finish(const Result<void>& body);
    Result<void> commit();
    void rollback();
    void note(const Error& error);

    Link& link_;
    std::string_view begin_;
    bool begun_ = false;
    std::vector<std::pair<Statement, Params>> later_;
    Doom doom_ = Doom::kNone;
    std::optional<Error> failure_;
};

enum class Isolation { kReadCommitted, kRepeatableRead, kSerializable };

struct TxOptions {
    Isolation isolation = Isolation::kReadCommitted;
    bool read_only = false;
    /// How often the body runs at most because of serialization failures and deadlocks.
    int max_attempts = 10;
    /// For how long a lost connection is answered with a new one and another run of the body.
    milliseconds reconnect_for{3000};
};

/// What exec_autocommit does when the connection breaks after the statement was sent.
enum class OnLoss {
    kReport,  ///< "commit_unknown": the statement may have happened
    kRetry,   ///< run again on a new connection: for reads and for statements that may happen twice
};

/// Connections to one database with one schema, opened when first needed, LIFO, a broken one
/// replaced. Thread-safe. Do not ask for a second connection while holding one: with all threads
/// doing so the pool starves until acquire_timeout. Lent connections must be back before the pool
/// is destroyed.
class Pool {
public:
    explicit Pool(PoolSettings settings);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// Runs `f(Transaction&) -> Result<T>` and commits; an error of f rolls back and is returned.
    /// f runs again (so it must have no effect but on the transaction) after a serialization
    /// failure or deadlock, and on a new connection when the connection is lost before COMMIT was
    /// sent. A connection lost while committing gives kUnavailable "commit_unknown": it may have
    /// happened; the inbox makes redelivery safe. A statement's failure dooms the transaction even
    /// when f ignores it. An exception of f rolls back and goes on.
    template <typename F>
    auto transact(F&& f, const TxOptions& options = {}) -> std::invoke_result_t<F&, Transaction&> {
        using R = std::invoke_result_t<F&, Transaction&>;
        std::optional<R> out;
        Result<void> done = run(options, [&](Transaction& tx) -> Result<void> {
            out.emplace(f(tx));
            if (!*out) return out->error();
            return {};
        });
        if (!done) return std::move(done).error();
        return std::move(*out);
    }

    /// One statement as a transaction of its own: one round trip. Deadlocks are retried.
    Result<Rows> exec_autocommit(
        const Statement& statement, const Params& params = {}, OnLoss on_loss = OnLoss::kReport
    );

    /// A connection for a while, for what needs a session (migrations).
    Result<Connection> acquire();

    /// `select 1` answered within a second. Cheap enough for a readiness probe.
    bool healthy();

    /// Connections lent out now, for metrics.
    std::size_t in_use() const;
    const PoolSettings& settings() const;

private:
    friend class Connection;
    struct State;
    Result<std::unique_ptr<Link>> take(SteadyTime deadline);
    void give_back(std::unique_ptr<Link> link);
    Result<void> run(
        const TxOptions& options, const std::function<Result<void>(Transaction&)>& body
    );
    std::unique_ptr<State> state_;
};

}  // namespace berth::store
