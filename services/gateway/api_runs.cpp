// SPDX-License-Identifier: Apache-2.0
// /v1/runs without their bytes: JSON in, a command to run_manager, JSON out.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/id.hpp"
#include "gateway/long_poll.hpp"
#include "gateway/run_states.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

using run::v1::Run;

constexpr int kMaxSignal = 64;

Error no_such_run() { return not_found("run_not_found", "there is no such run"); }

Result<void> fill_argv(const v1::RunBody& body, run::v1::Start& command) {
    if (body.argv_size() > 0 && body.argv_bytes_size() > 0) {
        return invalid("bad_argv", "give 'argv' or 'argv_bytes', not both", "argv_bytes");
    }
    for (const auto& argument : body.argv()) command.add_argv(argument);
    for (const auto& argument : body.argv_bytes()) command.add_argv(argument);
    if (command.argv_size() == 0 || command.argv(0).empty())
        return invalid("bad_argv", "'argv' must name a command", "argv");
    for (int i = 0; i < body.argv_bytes_size(); ++i) {
        if (body.argv_bytes(i).find('\0') != std::string::npos) {
            const std::string field = "argv_bytes[" + std::to_string(i) + "]";
            return invalid("bad_argv", "'" + field + "' holds a NUL, which no argument can", field);
        }
    }
    return {};
}

Result<void> fill_start(const v1::RunBody& body, run::v1::Start& command) {
    if (!plausible_id(body.lease()))
        return invalid("bad_lease", "'lease' must be a lease's id or slug", "lease");
    BERTH_TRY(fill_argv(body, command));
    for (const auto& [name, value] : body.env()) {
        if (name.empty() || name.find('=') != std::string::npos)
            return invalid("bad_env", "'env' has a name that no environment can hold", "env");
        (*command.mutable_env())[name] = value;
    }
    *command.mutable_env_required() = body.env_required();
    if (!body.tree().empty() && !plausible_id(body.tree()))
        return invalid("bad_tree", "'tree' must be what a sync named its tree", "tree");
    command.set_tree(body.tree());
    command.set_lease(body.lease());
    command.set_cwd(body.cwd());
    command.set_tty(body.tty());
    command.set_stdin(body.stdin());
    command.set_rows(body.rows());
    command.set_cols(body.cols());
    if (!body.timeout().empty()) {
        BERTH_ASSIGN(const auto timeout, read_duration(body.timeout(), "timeout"));
        *command.mutable_timeout() = service::to_duration(timeout);
    }
    return {};
}

/// `missing`: the answer where there is no run.
void ask_runs(
    Api& api, const CallPtr& call, const run::v1::List& query, std::optional<Error> missing
) {
    ask<run::v1::ListReply>(
        api,
        call,
        "berth.qry.run.list",
        query,
        {},
        [call, missing = std::move(missing)](const run::v1::ListReply& reply) {
            if (missing && reply.runs().empty()) return call->fail(*missing);
            call->json(200, reply);
        }
    );
}

}  // namespace

void start_run(Api& api, const CallPtr& call) {
    v1::RunBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    run::v1::Start command;
    fill_actor(call->principal, *command.mutable_actor());
    if (auto filled = fill_start(body, command); !filled) return call->fail(filled.error());
    ask<Run>(api, call, "berth.cmd.run.start", command, std::move(*id), [call](const Run& run) {
        call->json(201, run, {{"Location", "/v1/runs/" + run.id()}});
    });
}

void list_runs(Api& api, const CallPtr& call) {
    run::v1::List query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    const std::string lease = call->request.query.get_or("lease", "");
    if (!lease.empty() && !plausible_id(lease))
        return call->fail(invalid("bad_lease", "'lease' must be a lease's id or slug", "lease"));
    if (lease.empty()) return ask_runs(api, call, query, std::nullopt);
    // Its owner knows it by both names, the ended ones, too.
    lease::v1::Get named;
    *named.mutable_actor() = query.actor();
    named.set_lease(lease);
    ask_raw(
        api,
        call,
        "berth.qry.lease.get",
        named,
        {},
        [&api, call, query, lease](const Result<std::string>& bytes) mutable {
            const auto known = read_reply<lease::v1::Lease>(bytes);
            const bool unknown = !known && known.error().code == "lease_not_found";
            // One's own runs on a lease that is shared no more are still one's own.
            if (!known && !(unknown && normalize_id("ls", lease))) return call->fail(known.error());
            query.set_lease(known ? known->id() : *normalize_id("ls", lease));
            ask_runs(api, call, query, known ? std::nullopt : std::optional<Error>(known.error()));
        }
    );
}

void get_run(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_run());
    run::v1::Get query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_run(call->param("id"));
    const auto wait = call->request.query.get("wait");
    if (!wait)
        return ask<Run>(api, call, "berth.qry.run.get", query, {}, [call](const Run& run) {
            call->json(200, run);
        });
    if (*wait != "ended") return call->fail(invalid("bad_wait", "'wait' must be 'ended'", "wait"));
    const auto timeout = read_wait(call->request.query);
    if (!timeout) return call->fail(timeout.error());
    std::make_shared<LongPoll<Run, run::v1::Get>>(
        api,
        call,
        "berth.qry.run.get",
        "run",
        query,
        [](const Run& run) { return has_ended(run); },
        *timeout
    )
        ->start();
}

void cancel_run(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_run());
    v1::CancelBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    run::v1::Cancel command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_run(call->param("id"));
    if (!body.grace().empty()) {
        const auto grace = read_duration(body.grace(), "grace");
        if (!grace) return call->fail(grace.error());
        *command.mutable_grace() = service::to_duration(*grace);
    }
    ask<Run>(api, call, "berth.cmd.run.cancel", command, std::move(*id), [call](const Run& run) {
        call->json(200, run);
    });
}

void signal_run(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_run());
    v1::SignalBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    if (body.signal() < 1 || body.signal() > kMaxSignal) {
        return call->fail(
            invalid("bad_signal", "'signal' must be a signal's number, 1 to 64", "signal")
        );
    }
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    run::v1::Signal command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_run(call->param("id"));
    command.set_signal(body.signal());
    ask<common::v1::Empty>(
        api,
        call,
        "berth.cmd.run.signal",
        command,
        std::move(*id),
        [call](const common::v1::Empty&) { call->respond({204}); }
    );
}

}  // namespace berth::gateway
