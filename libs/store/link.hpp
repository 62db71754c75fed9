// SPDX-License-Identifier: Apache-2.0
// Private to libs/store: one libpq connection with deadlines and a statement cache.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "store/postgres.hpp"

namespace berth::store {

/// The client waits this much longer than the server's statement_timeout, so that the server's own
/// cancellation, which keeps the connection, wins wherever the server still lives.
inline constexpr milliseconds kAnswerSlack{2000};

class Link {
public:
    /// Bad conninfo is kInvalid "bad_conninfo" (its text is not quoted), all else
    /// "database_unavailable".
    static Result<std::unique_ptr<Link>> open(const PoolSettings& settings, milliseconds limit);

    Result<Rows> exec(const Statement& statement, const Params& params, milliseconds limit);
    Result<Rows> exec(const Statement& statement, const Params& params) {
        return exec(statement, params, usual_limit_);
    }
    /// All of them in one round trip, in order; the last one's rows. From the first that fails on
    /// none is carried out, and its error is the whole's. Without parameters a text runs
    /// unprepared: BEGIN, COMMIT. The last result's command tag is in tag().
    struct Step {
        Statement statement;
        Params params;
    };
    Result<Rows> exec_all(const std::vector<Step>& steps);
    /// Simple protocol, no parameters; the last result's command tag is in tag().
    Result<void> script(std::string_view sql, milliseconds limit);
    Result<void> script(std::string_view sql) { return script(sql, usual_limit_); }

    /// For a connection that rested: false when the server closed it meanwhile. One system call.
    bool still_open();
    bool broken() const { return broken_; }
    /// May go back to the pool: open, outside a transaction, plans fresh.
    bool reusable() const;
    /// After a failed exec: the statement itself had been sent, so it may have happened.
    bool maybe_executed() const { return maybe_executed_; }
    const std::string& tag() const { return tag_; }
    int backend_pid() const { return PQbackendPID(connection_.get()); }

private:
    struct Finish {
        void operator()(PGconn* connection) const { PQfinish(connection); }
    };
    struct ClearResult {
        void operator()(PGresult* result) const { PQclear(result); }
    };
    using ResultPtr = std::unique_ptr<PGresult, ClearResult>;
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };

    explicit Link(PGconn* connection) : connection_(connection) {}
    Result<void> finish_connecting(milliseconds limit);
    Result<void> check_usable(const Statement& statement, const Params& params) const;
    /// The prepared statement's name, "" to run unprepared.
    Result<std::string> prepared(const Statement& statement, SteadyTime deadline);
    /// Sends what is buffered and reads up to ReadyForQuery. An error anywhere wins, also one after
    /// the rows: a commit that fails does so after its statement's result.
    Result<ResultPtr> collect(SteadyTime deadline, std::string_view name);
    Result<ResultPtr> collect_pipeline(SteadyTime deadline, const std::vector<Step>& steps);
    Result<void> flush(SteadyTime deadline, std::string_view name);
    /// Hands one statement to libpq. `name`: of the prepared one; empty: unprepared.
    Result<void> send(const Step& step, const std::string& name);
    Result<void> wait_not_busy(SteadyTime deadline);
    Result<void> wait_readable(SteadyTime deadline, bool flushing);
    Error lost(std::string_view name);
    Error failure(const PGresult* result, std::string_view name);

    std::unique_ptr<PGconn, Finish> connection_;
    std::unordered_map<std::string, std::string, TextHash, std::equal_to<>> statements_;
    milliseconds usual_limit_{0};
    bool broken_ = false;
    bool stale_ = false;
    bool maybe_executed_ = false;
    std::string tag_;
};

/// `name` as SQL quotes it.
std::string quote_identifier(std::string_view name);

/// The class of a failure that running the whole transaction again may cure.
bool is_serialization_failure(const Error& error);

}  // namespace berth::store
