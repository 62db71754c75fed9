// SPDX-License-Identifier: Apache-2.0
// libpq driven without blocking, so that no statement waits longer than it was told to.
#include "store/link.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace berth::store {
namespace {

// Texts beyond this are taken for generated ones: preparing them would grow the server's memory for
// nothing.
constexpr std::size_t kMaxPrepared = 256;
// A session that forgets its transaction (a stopped process) must not hold its locks for ever.
constexpr std::string_view kIdleInTransaction = "60000";

int remaining_ms(SteadyTime deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 1'000'000));
}

/// poll(2) on one descriptor until the deadline; 0 on timeout.
int poll_until(int fd, short events, SteadyTime deadline) {
    for (;;) {
        pollfd entry{fd, events, 0};
        const int ready = ::poll(&entry, 1, remaining_ms(deadline));
        if (ready >= 0) return ready == 0 ? 0 : entry.revents;
        if (errno != EINTR) return POLLERR;
    }
}

/// A value inside libpq's `options`, where a backslash escapes blanks and itself.
std::string escape_option(std::string_view value) {
    std::string out;
    for (const char c : value) {
        if (c == ' ' || c == '\\' || c == '\t') out += '\\';
        out += c;
    }
    return out;
}

std::string session_options(const PoolSettings& settings) {
    std::string out =
        "-c timezone=UTC -c datestyle=ISO -c bytea_output=hex -c intervalstyle=postgres";
    out += " -c statement_timeout=" + std::to_string(settings.statement_timeout.count());
    out += " -c idle_in_transaction_session_timeout=" + std::string(kIdleInTransaction);
    // The server notices a vanished machine in about 25 s and gives its locks to others.
    out += " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";
    if (!settings.schema.empty())
        out += " -c search_path=" + escape_option(quote_identifier(settings.schema));
    return out;
}

struct Keywords {
    std::vector<std::string> names;
    std::vector<std::string> values;

    void set_default(std::string_view name, std::string_view value) {
        if (std::find(names.begin(), names.end(), name) == names.end()) add(name, value);
    }
    void add(std::string_view name, std::string_view value) {
        names.emplace_back(name);
        values.emplace_back(value);
    }
};

Result<Keywords> parse_conninfo(const PoolSettings& settings) {
    char* problem = nullptr;
    PQconninfoOption* options = PQconninfoParse(settings.conninfo.c_str(), &problem);
    if (problem != nullptr) PQfreemem(problem);  // it may quote the password
    if (options == nullptr) {
        return invalid(
            "bad_conninfo",
            "the PostgreSQL connection string is malformed: check its keywords and quotes"
        );
    }
    Keywords words;
    std::string session = session_options(settings);
    for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
        if (option->val == nullptr || *option->val == '\0') continue;
        if (std::strcmp(option->keyword, "options") == 0) {
            session = std::string(option->val) + " " + session;
        } else {
            words.add(option->keyword, option->val);
        }
    }
    PQconninfoFree(options);
    words.add("options", session);
    words.set_default("client_encoding", "UTF8");
    words.set_default("application_name", "berth");
    words.set_default("keepalives_idle", "10");
    words.set_default("keepalives_interval", "5");
    words.set_default("keepalives_count", "3");
    words.set_default("tcp_user_timeout", "15000");
    return words;
}

std::string first_line(const char* text) {
    const std::string_view all = text == nullptr ? "" : text;
    return std::string(all.substr(0, all.find('\n')));
}

std::string labelled(std::string_view name, std::string_view message) {
    return name.empty() ? std::string(message) : std::string(name) + ": " + std::string(message);
}

struct StateRule {
    std::string_view sqlstate;  // five characters, or a class of two
    Fault fault;
    std::string_view code;
};

constexpr std::array<StateRule, 14> kRules{{
    {"40001", Fault::kUnavailable, "serialization_failure"},
    {"40P01", Fault::kUnavailable, "serialization_failure"},
    {"23505", Fault::kConflict, "unique_violation"},
    {"23503", Fault::kConflict, "foreign_key_violation"},
    {"23514", Fault::kConflict, "check_violation"},
    {"23P01", Fault::kConflict, "exclusion_violation"},
    {"57014", Fault::kDeadline, "statement_timeout"},
    {"55P03", Fault::kUnavailable, "lock_not_available"},
    {"57P0", Fault::kUnavailable, "database_unavailable"},  // shutdown, crash, starting up
    {"25006",
     Fault::kUnavailable,
     "database_unavailable"},  // a standby answered: ask again elsewhere
    {"25P03", Fault::kUnavailable, "database_unavailable"},  // idle in transaction for too long
    {"08", Fault::kUnavailable, "database_unavailable"},
    {"53",
     Fault::kUnavailable,
     "database_resources"},  // disk full, out of memory, too many connections
    {"", Fault::kInternal, "sql"},
}};

const StateRule& rule_of(std::string_view sqlstate) {
    return *std::find_if(kRules.begin(), kRules.end(), [&](const StateRule& r) {
        return sqlstate.starts_with(r.sqlstate);
    });
}

std::string_view field_of(const PGresult* result, int code) {
    const char* text = PQresultErrorField(result, code);
    return text == nullptr ? std::string_view{} : std::string_view{text};
}

bool is_stale_plan(std::string_view sqlstate, std::string_view message) {
    return sqlstate == "26000" ||
           (sqlstate == "0A000" && message.find("cached plan") != std::string_view::npos);
}

}  // namespace

std::string quote_identifier(std::string_view name) {
    std::string out = "\"";
    for (const char c : name) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + "\"";
}

bool is_serialization_failure(const Error& error) { return error.code == "serialization_failure"; }

Result<std::unique_ptr<Link>> Link::open(const PoolSettings& settings, milliseconds limit) {
    BERTH_ASSIGN(const Keywords words, parse_conninfo(settings));
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (std::size_t i = 0; i < words.names.size(); ++i) {
        names.push_back(words.names[i].c_str());
        values.push_back(words.values[i].c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    std::unique_ptr<Link> link(new Link(PQconnectStartParams(names.data(), values.data(), 0)));
    if (!link->connection_)
        return unavailable("database_unavailable", "out of memory while connecting");
    link->usual_limit_ = settings.statement_timeout + kAnswerSlack;
    BERTH_TRY(link->finish_connecting(limit));
    return link;
}

Result<void> Link::finish_connecting(milliseconds limit) {
    PGconn* const c = connection_.get();
    const SteadyTime deadline = steady_now() + limit;
    PQsetNoticeProcessor(
        c, [](void*, const char*) {}, nullptr
    );
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (PQstatus(c) != CONNECTION_BAD && step != PGRES_POLLING_OK) {
        const short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (poll_until(PQsocket(c), events, deadline) == 0) {
            return unavailable(
                "database_unavailable", "PostgreSQL did not accept a connection in time"
            );
        }
        step = PQconnectPoll(c);
        if (step == PGRES_POLLING_FAILED) break;
    }
    if (PQstatus(c) != CONNECTION_OK) {
        return unavailable(
            "database_unavailable", "cannot connect to PostgreSQL: " + first_line(PQerrorMessage(c))
        );
    }
    if (PQsetnonblocking(c, 1) != 0)
        return unavailable("database_unavailable", "cannot make the connection non-blocking");
    return {};
}

bool Link::still_open() {
    if (broken_ || PQstatus(connection_.get()) != CONNECTION_OK) return false;
    if (poll_until(PQsocket(connection_.get()), POLLIN, SteadyTime{}) == 0) return true;
    // Something arrived unasked: a notice (fine) or the server's farewell.
    if (PQconsumeInput(connection_.get()) == 0 || PQstatus(connection_.get()) != CONNECTION_OK)
        return false;
    // The farewell's text may come before the end of the stream: what is readable again is that
    // end.
    return poll_until(PQsocket(connection_.get()), POLLIN, SteadyTime{}) == 0;
}

bool Link::reusable() const {
    return !broken_ && !stale_ && PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
}

Error Link::lost(std::string_view name) {
    broken_ = true;
    const std::string why = first_line(PQerrorMessage(connection_.get()));
    return unavailable(
        "database_unavailable",
        labelled(name, why.empty() ? "the connection to PostgreSQL broke" : why)
    );
}

Error Link::failure(const PGresult* result, std::string_view name) {
    const std::string_view sqlstate = field_of(result, PG_DIAG_SQLSTATE);
    const std::string_view primary = field_of(result, PG_DIAG_MESSAGE_PRIMARY);
    if (sqlstate.empty() || PQstatus(connection_.get()) != CONNECTION_OK) {
        broken_ = true;
        return unavailable(
            "database_unavailable",
            labelled(name, primary.empty() ? "the connection to PostgreSQL broke" : primary)
        );
    }
    if (is_stale_plan(sqlstate, primary)) {
        stale_ = true;  // the table changed under a prepared plan: a new connection plans anew
        return unavailable("serialization_failure", labelled(name, primary));
    }
    const StateRule& rule = rule_of(sqlstate);
    if (rule.code == "database_unavailable") broken_ = true;
    Error error{
        rule.fault,
        std::string(rule.code),
        labelled(name, primary),
        std::string(field_of(result, PG_DIAG_CONSTRAINT_NAME))};
    if (rule.fault == Fault::kInternal) error.message += " [" + std::string(sqlstate) + "]";
    return error;
}

Result<void> Link::wait_readable(SteadyTime deadline, bool flushing) {
    const short events = static_cast<short>(flushing ? POLLIN | POLLOUT : POLLIN);
    const int ready = poll_until(PQsocket(connection_.get()), events, deadline);
    if (ready == 0) {
        broken_ = true;  // its answer may still come: nobody may mistake it for another's
        return berth::deadline("statement_timeout", "PostgreSQL did not answer in time");
    }
    if ((ready & ~POLLOUT) != 0 && PQconsumeInput(connection_.get()) == 0) return lost({});
    return {};
}

Result<void> Link::flush(SteadyTime deadline, std::string_view name) {
    PGconn* const c = connection_.get();
    for (int flushed = PQflush(c); flushed != 0; flushed = PQflush(c)) {
        if (flushed < 0) return lost(name);
        BERTH_TRY(wait_readable(deadline, true));
    }
    return {};
}

Result<void> Link::wait_not_busy(SteadyTime deadline) {
    while (PQisBusy(connection_.get()) != 0) BERTH_TRY(wait_readable(deadline, false));
    return {};
}

Result<Link::ResultPtr> Link::collect(SteadyTime deadline, std::string_view name) {
    PGconn* const c = connection_.get();
    BERTH_TRY(flush(deadline, name));
    ResultPtr good;
    std::optional<Error> bad;
    for (;;) {
        if (auto ready = wait_not_busy(deadline); !ready) {
            // A farewell already read says more than the end of the stream.
            if (bad) return *bad;
            return std::move(ready).error();
        }
        ResultPtr next(PQgetResult(c));
        if (!next) break;
        const ExecStatusType status = PQresultStatus(next.get());
        if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
            status == PGRES_EMPTY_QUERY) {
            good = std::move(next);
        } else {
            if (!bad) bad = failure(next.get(), name);
            if (PQstatus(c) != CONNECTION_OK) break;
        }
    }
    if (bad) return std::move(*bad);
    if (!good) return lost(name);
    tag_ = PQcmdStatus(good.get());
    return good;
}

Result<Link::ResultPtr> Link::collect_pipeline(
    SteadyTime deadline, const std::vector<Step>& steps
) {
    PGconn* const c = connection_.get();
    BERTH_TRY(flush(deadline, steps.back().statement.name));
    ResultPtr good;
    std::optional<Error> bad;
    std::size_t step = 0;  // the one whose results come now; a null result ends it
    for (;;) {
        if (auto ready = wait_not_busy(deadline); !ready) {
            if (bad) return *bad;
            return std::move(ready).error();
        }
        ResultPtr next(PQgetResult(c));
        if (!next) {
            if (++step > steps.size()) return lost(steps.back().statement.name);
            continue;
        }
        const ExecStatusType status = PQresultStatus(next.get());
        if (status == PGRES_PIPELINE_SYNC) break;
        if (status == PGRES_PIPELINE_ABORTED) continue;  // the echo of the failure before it
        if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
            good = std::move(next);
        } else {
            const std::size_t which = std::min(step, steps.size() - 1);
            if (!bad) bad = failure(next.get(), steps[which].statement.name);
            if (PQstatus(c) != CONNECTION_OK) return std::move(*bad);
        }
    }
    if (bad) return std::move(*bad);
    if (!good) return lost(steps.back().statement.name);
    tag_ = PQcmdStatus(good.get());
    return good;
}

Result<void> Link::check_usable(const Statement& statement, const Params& params) const {
    if (broken_)
        return unavailable(
            "database_unavailable", labelled(statement.name, "the connection is closed")
        );
    for (const Param& param : params) {
        if (!param.is_binary() && param.encoded().find('\0') != std::string::npos)
            return invalid("nul_in_text", "PostgreSQL cannot store a NUL character in a text");
    }
    return {};
}

Result<std::string> Link::prepared(const Statement& statement, SteadyTime deadline) {
    if (const auto found = statements_.find(statement.sql); found != statements_.end())
        return found->second;
    if (statements_.size() >= kMaxPrepared) return std::string();
    const std::string name = "s" + std::to_string(statements_.size());
    const std::string sql(statement.sql);
    if (PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), 0, nullptr) == 0)
        return lost(statement.name);
    BERTH_TRY(collect(deadline, statement.name));
    statements_.emplace(sql, name);
    return name;
}

Result<void> Link::send(const Step& step, const std::string& name) {
    const Params& params = step.params;
    std::vector<const char*> values(params.size());
    std::vector<int> lengths(params.size());
    std::vector<int> formats(params.size());
    for (std::size_t i = 0; i < params.size(); ++i) {
        const std::string& text = params[i].encoded();
        values[i] = params[i].is_null() ? nullptr : text.c_str();
        lengths[i] = static_cast<int>(text.size());
        formats[i] = params[i].is_binary() ? 1 : 0;
    }
    const int count = static_cast<int>(params.size());
    const int sent = name.empty() ? PQsendQueryParams(
                                        connection_.get(),
                                        std::string(step.statement.sql).c_str(),
                                        count,
                                        nullptr,
                                        values.data(),
                                        lengths.data(),
                                        formats.data(),
                                        0
                                    )
                                  : PQsendQueryPrepared(
                                        connection_.get(),
                                        name.c_str(),
                                        count,
                                        values.data(),
                                        lengths.data(),
                                        formats.data(),
                                        0
                                    );
    if (sent == 0) return lost(step.statement.name);
    return {};
}

Result<Rows> Link::exec(const Statement& statement, const Params& params, milliseconds limit) {
    maybe_executed_ = false;
    BERTH_TRY(check_usable(statement, params));
    const SteadyTime deadline = steady_now() + limit;
    BERTH_ASSIGN(const std::string name, prepared(statement, deadline));
    maybe_executed_ = true;
    BERTH_TRY(send({statement, params}, name));
    BERTH_ASSIGN(ResultPtr result, collect(deadline, statement.name));
    return Rows(result.release());
}

Result<Rows> Link::exec_all(const std::vector<Step>& steps) {
    maybe_executed_ = false;
    const SteadyTime deadline = steady_now() + usual_limit_;
    std::vector<std::string> names;
    for (const Step& step : steps) {
        BERTH_TRY(check_usable(step.statement, step.params));
        std::string name;
        if (!step.params.empty()) {
            BERTH_ASSIGN(name, prepared(step.statement, deadline));
        }
        names.push_back(std::move(name));
    }
    maybe_executed_ = true;
    PGconn* const c = connection_.get();
    if (PQenterPipelineMode(c) == 0) return lost(steps.back().statement.name);
    for (std::size_t i = 0; i < steps.size(); ++i) BERTH_TRY(send(steps[i], names[i]));
    if (PQpipelineSync(c) == 0) return lost(steps.back().statement.name);
    auto result = collect_pipeline(deadline, steps);
    if (!broken_ && PQexitPipelineMode(c) == 0) return lost(steps.back().statement.name);
    if (!result) return std::move(result).error();
    return Rows(result->release());
}

Result<void> Link::script(std::string_view sql, milliseconds limit) {
    maybe_executed_ = false;
    if (broken_) return unavailable("database_unavailable", "the connection is closed");
    maybe_executed_ = true;
    if (PQsendQuery(connection_.get(), std::string(sql).c_str()) == 0) return lost({});
    BERTH_TRY(collect(steady_now() + limit, {}));
    return {};
}

}  // namespace berth::store
