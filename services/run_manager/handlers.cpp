// SPDX-License-Identifier: Apache-2.0
// The commands, queries and events of run_manager.
#include "run_manager/handlers.hpp"

#include <signal.h>

#include <algorithm>

#include "berth/node/v1/node.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "run_manager/settings.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::run {
namespace {

using service::Decision;
using service::decode;
using service::has_role;
using service::make_command;
using service::make_event;
using service::normal;
using service::reply_with;

constexpr std::string_view kToken = "run";

/// Whose machine it is sees and ends what runs there, and so does who manages the lease for him.
template <typename Reader>  // a transaction or a pool
Result<bool> may_see(Reader& reader, const common::v1::Actor& actor, const Run& run) {
    if (actor.org() != run.org || actor.user().empty()) return false;
    if (actor.user() == run.owner || actor.user() == run.lease_owner || has_role(actor, "admin"))
        return true;
    BERTH_ASSIGN(const auto share, repo::share_of(reader, run.lease, actor.user()));
    return share.right == "manage";
}
Error no_such_run(const std::string& id) {
    return not_found(
        "run_not_found", "there is no run '" + clipped(id, 64) + "'; `berth runs` shows yours"
    );
}

Error no_such_lease(const std::string& name) {
    return not_found(
        "lease_not_found",
        "there is no lease '" + clipped(name, 64) + "'; `berth leases` shows yours"
    );
}

store::OutboxMessage run_event(
    const service::Context& context, const Run& run, std::string_view fact
) {
    v1::RunChanged event;
    *event.mutable_run() = to_proto(run);
    return make_event(
        context,
        kToken,
        run.org,
        "run",
        fact,
        run.id,
        static_cast<std::uint64_t>(run.revision),
        event
    );
}

store::OutboxMessage start_command(const service::Context& context, const Run& run) {
    node::v1::Start spec;
    (void)spec.ParseFromString(run.spec);
    // Counted from the placing, since a queued run may wait for hours; nothing else of the spec
    // changes.
    *spec.mutable_start_by() = service::to_timestamp(context.now + kStartBy);
    if (spec.has_deadline()) {
        // Stored as a length from the epoch until the run is placed.
        *spec.mutable_deadline() = service::to_timestamp(
            context.now + service::to_wall_time(spec.deadline()).time_since_epoch()
        );
    }
    return make_command(
        context,
        kToken,
        "berth.cmd.node." + run.machine + ".start",
        "start/" + run.id,
        "run/" + run.id,
        spec,
        kStartBy
    );
}

/// SIGINT to the process group now, SIGKILL to the tree after the grace.
store::OutboxMessage cancel_command(
    const service::Context& context, const Run& run, milliseconds grace
) {
    node::v1::Signal signal;
    signal.set_run(run.id);
    signal.set_signal(SIGINT);
    *signal.mutable_kill_after() = service::to_duration(grace);
    return make_command(
        context,
        kToken,
        "berth.cmd.node." + run.machine + ".signal",
        "cancel/" + run.id,
        "run/" + run.id,
        signal,
        kSignalDeadline
    );
}

/// What a cancel comes to, where it comes to anything: the row, and who has to be told.
Result<void> carry_out(
    const service::Context& context,
    store::Transaction& tx,
    const Run& run,
    CancelEffect effect,
    milliseconds grace,
    std::vector<store::OutboxMessage>& out
) {
    if (effect == CancelEffect::kNothing) return {};
    BERTH_TRY(repo::update(tx, run));
    out.push_back(
        effect == CancelEffect::kEnded ? run_event(context, run, "canceled")
                                       : cancel_command(context, run, grace)
    );
    return {};
}

/// The workspace becomes the sync's: no run of the lease starts from here to the commit, since it
/// would see a tree half sent.
Result<void> take_turn(
    const service::Context& context,
    const v1::OpenSync& request,
    const lease::v1::Attached& attached,
    store::Transaction& tx
) {
    const std::string& lease = attached.lease().id();
    BERTH_TRY(repo::lock_lease(tx, lease));
    BERTH_ASSIGN(const std::string held, repo::tree_of(tx, lease));
    BERTH_ASSIGN(const std::string busy, repo::live_run_on(tx, lease));
    // A run sees one working tree from its start to its end. Where runs go on side by side each has
    // a copy of its own, and only who is just taking it must not see the tree change.
    if (attached.profile().parallel_runs() > 1) {
        BERTH_ASSIGN(const auto waiting, repo::unstarted_run_on(tx, lease));
        if (waiting && waiting->second == RunState::RUN_STATE_STARTING)
            return conflict(
                "sync_busy",
                "run " + waiting->first + " is taking its copy of the machine's workspace"
            );
        if (waiting)
            return conflict(
                "workspace_busy",
                "run " + waiting->first + " waits in line with the tree of the machine's workspace"
            );
    } else if (!busy.empty() && !request.beside_runs()) {
        return conflict("workspace_busy", "run " + busy + " is using the machine's workspace");
    }
    if (held != request.had())
        return conflict(
            "tree_changed", "another working tree was sent to the machine's workspace meanwhile"
        );
    // Also where the sync will fail half-way: the workspace no longer holds what it held.
    return repo::set_tree(tx, lease, request.tree(), context.now);
}

/// The same for one command however often it is delivered. In no order: the command id of a request
/// with an Idempotency-Key, as the CLI's are, is a digest.
std::string run_id_of(const std::string& command_id) {
    return "rn_" + command_id.substr(0, 10) +
           service::child_command_id(command_id, "run").substr(10);
}

}  // namespace

void RunHandlers::bind(service::Handlers& handlers) {
    handlers.command("start", this, &RunHandlers::start);
    handlers.command("cancel", this, &RunHandlers::cancel);
    handlers.command("signal", this, &RunHandlers::signal);
    handlers.command("open_sync", this, &RunHandlers::open_sync);
    handlers.query("get", this, &RunHandlers::get);
    handlers.query("tree", this, &RunHandlers::tree);
    handlers.query("list", this, &RunHandlers::list);
    handlers.event("run-node", this, &RunHandlers::node_fact);
    handlers.event("run-prov", this, &RunHandlers::machine_fact);
    handlers.event("run-lease", this, &RunHandlers::share_fact);
}

Result<lease::v1::Attached> RunHandlers::attach(
    const Context& context,
    const common::v1::Actor& actor,
    const std::string& lease,
    const std::string& work
) {
    lease::v1::Attach request;
    *request.mutable_actor() = actor;
    request.set_lease(lease);
    request.set_work(work);
    request.set_transient(work.empty());
    bus::Ask ask;
    ask.subject = "berth.cmd.lease.attach";
    ask.type = request.GetTypeName();
    ask.payload = request.SerializeAsString();
    ask.command_id = service::child_command_id(context.command_id, "attach");
    ask.correlation_id = context.correlation_id;
    ask.timeout = kAttachTimeout;
    BERTH_ASSIGN(const bus::Answer answer, asker_.ask_wait(std::move(ask)));
    return decode<lease::v1::Attached>(answer.payload);
}

RunHandlers::Outcome RunHandlers::start(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Start request, decode<v1::Start>(payload));
    BERTH_TRY(check_start(request));
    Run run;
    run.id = run_id_of(context.command_id);
    BERTH_ASSIGN(
        const lease::v1::Attached attached,
        attach(context, request.actor(), request.lease(), run.id)
    );
    const lease::v1::Profile& profile = attached.profile();
    run.org = attached.lease().org();
    run.owner = request.actor().user();
    run.lease = attached.lease().id();
    run.machine = attached.lease().machine();
    run.created_at = context.now;
    run.lease_owner = attached.lease().owner();
    if (run.owner != run.lease_owner && !has_role(request.actor(), "admin"))
        run.share_revision = static_cast<std::int64_t>(attached.lease().revision());

    node::v1::Start spec;
    spec.set_run(run.id);
    spec.set_org(run.org);
    spec.set_lease(run.lease);
    spec.set_slug(attached.lease().slug());
    spec.set_user(run.owner);
    *spec.mutable_argv() = request.argv();
    BERTH_ASSIGN(
        const auto environment,
        allowed_environment(
            request, profile.name(), {profile.env_allow().begin(), profile.env_allow().end()}
        )
    );
    spec.mutable_env()->insert(environment.begin(), environment.end());
    spec.set_cwd(request.cwd());
    spec.set_tty(request.tty());
    spec.set_stdin(request.stdin());
    spec.set_rows(request.rows());
    spec.set_cols(request.cols());
    spec.set_output_cap_bytes(profile.output_cap_bytes());
    spec.set_own_work(profile.parallel_runs() > 1);
    milliseconds timeout =
        request.has_timeout() ? service::to_milliseconds(request.timeout()) : milliseconds{0};
    if (profile.has_run_timeout()) {
        const milliseconds most = service::to_milliseconds(profile.run_timeout());
        timeout = timeout.count() == 0 ? most : std::min(timeout, most);
    }
    if (timeout.count() > 0) {
        *spec.mutable_deadline() =
            service::to_timestamp(WallTime{timeout});  // a length until it is placed
        run.deadline = context.now + timeout;
    }
    run.spec = spec.SerializeAsString();

    if (run.share_revision > 0) {
        // Withdrawn since it let the run on: the event has passed and found no such run.
        BERTH_TRY(repo::lock_share(tx, run.lease, run.owner));
        BERTH_ASSIGN(const auto share, repo::share_of(tx, run.lease, run.owner));
        if (share.withdrawn > run.share_revision) return no_such_lease(request.lease());
    }
    BERTH_TRY(repo::lock_lease(tx, run.lease));
    if (!request.tree().empty()) {
        BERTH_ASSIGN(const std::string held, repo::tree_of(tx, run.lease));
        if (held != request.tree())
            return conflict(
                "tree_changed",
                "the machine's workspace does not hold this working tree (any more); send it again"
            );
    }
    BERTH_ASSIGN(const std::int64_t placed, repo::count_placed(tx, run.lease));
    if (placed < std::max<std::int64_t>(1, profile.parallel_runs())) {
        place(run);
    } else {
        BERTH_ASSIGN(const std::string first, repo::live_run_on(tx, run.lease));
        run.reason = "waits in line behind run " + first;
    }
    BERTH_TRY(repo::insert(tx, run));
    Decision decision = reply_with(to_proto(run));
    if (run.placed()) decision.messages.push_back(start_command(context, run));
    decision.messages.push_back(run_event(context, run, "created"));
    return decision;
}

Result<Run> RunHandlers::owned(
    store::Transaction& tx, const common::v1::Actor& actor, const std::string& id
) {
    BERTH_ASSIGN(auto run, repo::lock(tx, normal(id, "rn")));
    if (!run) return no_such_run(id);
    BERTH_ASSIGN(const bool sees, may_see(tx, actor, *run));
    if (!sees) return no_such_run(id);
    return std::move(*run);
}

RunHandlers::Outcome RunHandlers::cancel(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Cancel request, decode<v1::Cancel>(payload));
    const milliseconds grace = request.has_grace() ? service::to_milliseconds(request.grace())
                                                   : milliseconds{kDefaultGrace};
    if (grace < milliseconds{0} || grace > kMaxGrace)
        return invalid("bad_duration", "grace must be between 0s and 1h", "grace");
    BERTH_ASSIGN(Run run, owned(tx, request.actor(), request.run()));
    const CancelEffect effect = run::cancel(run, context.now);
    Decision decision = reply_with(to_proto(run));
    BERTH_TRY(carry_out(context, tx, run, effect, grace, decision.messages));
    return decision;
}

RunHandlers::Outcome RunHandlers::signal(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Signal request, decode<v1::Signal>(payload));
    if (request.signal() < 1 || request.signal() > 64)
        return invalid("bad_signal", "signal must be 1 to 64", "signal");
    BERTH_ASSIGN(const Run run, owned(tx, request.actor(), request.run()));
    if (!run.live())
        return conflict(
            "run_ended", "run " + run.id + " has ended (" + std::string(state_name(run.state)) + ")"
        );
    Decision decision = reply_with(common::v1::Empty{});
    node::v1::Signal signal;
    signal.set_run(run.id);
    signal.set_signal(request.signal());
    decision.messages.push_back(make_command(
        context,
        kToken,
        "berth.cmd.node." + run.machine + ".signal",
        "signal/" + run.id,
        "run/" + run.id,
        signal,
        kSignalDeadline
    ));
    return decision;
}

RunHandlers::Outcome RunHandlers::open_sync(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::OpenSync request, decode<v1::OpenSync>(payload));
    BERTH_ASSIGN(
        const lease::v1::Attached attached, attach(context, request.actor(), request.lease(), {})
    );
    if (!request.fetch()) BERTH_TRY(take_turn(context, request, attached, tx));
    node::v1::OpenSync open;
    open.set_lease(attached.lease().id());
    open.set_channel("ch_" + service::child_command_id(context.command_id, "channel"));
    open.set_delete_extraneous(request.delete_extraneous());
    open.set_fetch(request.fetch());
    open.set_sync(request.sync());
    if (request.fetch() && !request.run().empty()) {
        BERTH_ASSIGN(const Run run, owned(tx, request.actor(), request.run()));
        node::v1::Start spec;
        if (run.lease == open.lease() && spec.ParseFromString(run.spec) && spec.own_work())
            open.set_run(run.id);
    }
    bus::Ask ask;
    ask.subject = "berth.cmd.node." + attached.lease().machine() + ".open_sync";
    ask.type = open.GetTypeName();
    ask.payload = open.SerializeAsString();
    ask.command_id = service::child_command_id(context.command_id, "open_sync");
    ask.correlation_id = context.correlation_id;
    ask.timeout = kSyncTimeout;
    const auto answer = asker_.ask_wait(std::move(ask));
    // The machine's silence is told, not retried under the caller: it decides whether to try again.
    if (!answer) {
        Error error = answer.error();
        if (error.fault == Fault::kDeadline || error.fault == Fault::kUnavailable) {
            error = conflict(
                "machine_silent", "the machine does not answer; its lease may need to be released"
            );
        }
        return error;
    }
    v1::SyncOpened reply;
    reply.set_channel(open.channel());
    reply.set_machine(attached.lease().machine());
    return reply_with(reply);
}

RunHandlers::Outcome RunHandlers::get(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::Get request, decode<v1::Get>(payload));
    BERTH_ASSIGN(const auto run, repo::find(pool_, normal(request.run(), "rn")));
    if (!run) return no_such_run(request.run());
    BERTH_ASSIGN(const bool sees, may_see(pool_, request.actor(), *run));
    if (!sees) return no_such_run(request.run());
    return reply_with(to_proto(*run));
}

RunHandlers::Outcome RunHandlers::tree(const Context& context, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetTree request, decode<v1::GetTree>(payload));
    BERTH_ASSIGN(
        const lease::v1::Attached attached, attach(context, request.actor(), request.lease(), {})
    );
    v1::Tree reply;
    BERTH_ASSIGN(*reply.mutable_tree(), repo::tree_of(pool_, attached.lease().id()));
    return reply_with(reply);
}

RunHandlers::Outcome RunHandlers::list(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::List request, decode<v1::List>(payload));
    BERTH_ASSIGN(const int limit, service::page_limit(request.page()));
    repo::ListFilter filter;
    filter.org = request.actor().org();
    filter.lease = normal(request.lease(), "ls");
    if (!has_role(request.actor(), "admin")) filter.owner = request.actor().user();
    if (!filter.owner.empty() && !filter.lease.empty()) {
        BERTH_ASSIGN(const auto share, repo::share_of(pool_, filter.lease, filter.owner));
        if (share.right == "manage") filter.owner.clear();
    }
    filter.cursor = request.page().cursor();
    filter.limit = limit + 1;
    BERTH_ASSIGN(const auto runs, repo::list(pool_, filter));
    v1::ListReply reply;
    for (const Run& run : runs) {
        if (reply.runs_size() == limit) {
            reply.set_next_cursor(repo::cursor_of(runs[static_cast<std::size_t>(limit - 1)]));
            break;
        }
        *reply.add_runs() = to_proto(run);
    }
    return reply_with(reply);
}

Result<void> RunHandlers::place_next(
    const Context& context,
    store::Transaction& tx,
    const std::string& lease,
    std::vector<store::OutboxMessage>& out
) {
    BERTH_TRY(repo::lock_lease(tx, lease));
    // One ended, one may begin: how many run at once was decided when they were queued.
    BERTH_ASSIGN(auto next, repo::lock_next_queued(tx, lease));
    if (!next || !place(*next)) return {};
    BERTH_TRY(repo::update(tx, *next));
    out.push_back(start_command(context, *next));
    return {};
}

RunHandlers::Outcome RunHandlers::node_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    // berth.evt.<org>.node.run.<fact>.<machine>: the machine's rights let it name itself only.
    const auto tokens = split(context.subject, '.');
    if (tokens.size() != 7) return invalid("bad_subject", "not an event of a node", {});
    Decision decision = reply_with(common::v1::Empty{});
    const auto of_this_machine = [&](const std::optional<Run>& run) {
        return run && run->machine == tokens[6] && run->org == tokens[2];
    };
    if (tokens[5] == "started") {
        BERTH_ASSIGN(const node::v1::RunStarted fact, decode<node::v1::RunStarted>(payload));
        BERTH_ASSIGN(auto run, repo::lock(tx, fact.run()));
        if (!of_this_machine(run)) return forbidden("not_its_run", "the machine has no such run");
        const bool was_live = run->live();
        if (!started(*run, service::to_wall_time(fact.started_at()))) return decision;
        BERTH_TRY(repo::update(tx, *run));
        if (was_live) decision.messages.push_back(run_event(context, *run, "started"));
    } else if (tokens[5] == "held" || tokens[5] == "continued") {
        BERTH_ASSIGN(const node::v1::RunHeld fact, decode<node::v1::RunHeld>(payload));
        BERTH_ASSIGN(auto run, repo::lock(tx, fact.run()));
        if (!of_this_machine(run)) return forbidden("not_its_run", "the machine has no such run");
        if (!(tokens[5] == "held" ? held(*run) : continued(*run))) return decision;
        BERTH_TRY(repo::update(tx, *run));
        decision.messages.push_back(run_event(context, *run, tokens[5]));
    } else if (tokens[5] == "ended") {
        BERTH_ASSIGN(const node::v1::RunEnded fact, decode<node::v1::RunEnded>(payload));
        BERTH_ASSIGN(auto run, repo::lock(tx, fact.run()));
        if (!of_this_machine(run)) return forbidden("not_its_run", "the machine has no such run");
        if (!ended(
                *run,
                fact.end(),
                static_cast<std::int64_t>(fact.output_bytes()),
                service::to_wall_time(fact.ended_at())
            ))
            return decision;
        BERTH_TRY(repo::update(tx, *run));
        decision.messages.push_back(run_event(context, *run, state_name(run->state)));
        BERTH_TRY(place_next(context, tx, run->lease, decision.messages));
    }
    return decision;
}

RunHandlers::Outcome RunHandlers::machine_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const prov::v1::MachineFact fact, decode<prov::v1::MachineFact>(payload));
    const auto tokens = split(context.subject, '.');
    Decision decision = reply_with(common::v1::Empty{});
    if (tokens.size() != 7 || (tokens[5] != "gone" && tokens[5] != "failed")) return decision;
    BERTH_ASSIGN(const auto live, repo::live_runs_of(tx, fact.machine()));
    for (const std::string& id : live) {
        BERTH_ASSIGN(auto run, repo::lock(tx, id));
        if (!run ||
            !run::lose(
                *run, "its machine is gone: the lease ended or the machine failed", context.now
            ))
            continue;
        BERTH_TRY(repo::update(tx, *run));
        decision.messages.push_back(run_event(context, *run, "lost"));
    }
    return decision;
}

RunHandlers::Outcome RunHandlers::share_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    // berth.evt.<org>.lease.share.<fact>.<lease>
    BERTH_ASSIGN(const lease::v1::ShareChanged changed, decode<lease::v1::ShareChanged>(payload));
    const auto tokens = split(context.subject, '.');
    Decision decision = reply_with(common::v1::Empty{});
    if (tokens.size() != 7 || (tokens[5] != "given" && tokens[5] != "withdrawn")) return decision;
    const bool withdrawn = tokens[5] == "withdrawn";
    const lease::v1::Share& share = changed.share();
    const auto revision = static_cast<std::int64_t>(changed.revision());
    BERTH_TRY(repo::lock_share(tx, share.lease(), share.user()));
    BERTH_TRY(repo::put_share(
        tx, {share.lease(), share.user(), withdrawn ? "" : share.right(), revision}, context.now
    ));
    if (!withdrawn) return decision;
    BERTH_ASSIGN(auto runs, repo::lock_guest_runs(tx, share.lease(), share.user()));
    for (Run& run : runs) {
        const CancelEffect effect = withdraw(run, revision, context.now);
        BERTH_TRY(carry_out(context, tx, run, effect, kWithdrawnGrace, decision.messages));
    }
    return decision;
}

Result<std::vector<store::OutboxMessage>> RunHandlers::lose(
    store::Transaction& tx, const std::string& id, std::string_view reason, WallTime now
) {
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(auto run, repo::lock(tx, id));
    if (!run || !run::lose(*run, reason, now)) return messages;
    BERTH_TRY(repo::update(tx, *run));
    Context context;
    context.command_id = service::child_command_id(run->id, "lost");
    context.correlation_id = context.command_id;
    context.now = now;
    messages.push_back(run_event(context, *run, "lost"));
    BERTH_TRY(place_next(context, tx, run->lease, messages));
    return messages;
}

}  // namespace berth::run
