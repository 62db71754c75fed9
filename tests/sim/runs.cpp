// SPDX-License-Identifier: Apache-2.0
// run_manager's rows and messages around its own state machine, and its watch over silent machines.
#include <signal.h>

#include "actors.hpp"
#include "run_manager/settings.hpp"
#include "service/handlers.hpp"

namespace berth::sim {

using run::Run;
using run::RunState;

namespace {

constexpr milliseconds kLookPause{
    2'000};  // coarser than the service's: fewer steps of virtual time

Body body_of(const Run& run) {
    Body body;
    body.run = run.id;
    body.lease = run.lease;
    body.machine = run.machine;
    body.state = run.state;
    body.revision = run.revision;
    body.reason = run.reason;
    return body;
}

}  // namespace

Runs::Runs(World& world, Bus& bus) : Service(world, bus, "run"), asker_(world, bus, "run") {
    bus.add_durable(
        "run",
        "CMD_RUN",
        [](const Message&) { return true; },
        [this](const Delivery& delivery) { receive(delivery); }
    );
    bus.add_durable(
        "run-node",
        "EVT",
        [](const Message& m) { return m.verb.starts_with("node."); },
        [this](const Delivery& d) { receive(d); }
    );
    bus.add_durable(
        "run-prov",
        "EVT",
        [](const Message& m) { return m.verb.starts_with("prov."); },
        [this](const Delivery& d) { receive(d); }
    );
}

std::optional<Run> Runs::get(const std::string& id) const {
    const auto found = runs_.find(id);
    if (!up() || found == runs_.end()) return std::nullopt;
    return found->second;
}

void Runs::on_start() {
    Service::on_start();
    began_ = world_.now();
    every(kLookPause, [this] { watch(); });
}
void Runs::on_crash() {
    Service::on_crash();
    asker_.reset();
    heard_.clear();
    placed_.clear();
}

void Runs::hear(const std::string& machine, std::set<std::string> live) {
    if (up()) heard_[machine] = {world_.now(), std::move(live)};
}

void Runs::decide(const Message& message, const Context& context, Decided decided) {
    if (message.verb == "start") return start_run(message, context, std::move(decided));
    if (message.verb == "cancel") return decided(cancel(message, context));
    decided(
        message.verb.starts_with("node.") ? node_fact(message, context)
                                          : machine_fact(message, context)
    );
}

void Runs::start_run(const Message& message, const Context& context, Decided decided) {
    Message attach;
    attach.stream = "CMD_LEASE";
    attach.verb = "attach";
    attach.id = service::child_command_id(context.id, "attach");
    attach.body.lease = message.body.lease;
    attach.body.run = "rn_" + service::child_command_id(context.id, "run");
    asker_.ask(
        attach,
        run::kAttachTimeout,
        [this, message, context, decided = std::move(decided)](Result<Body> answer) {
            if (!answer) return decided(answer.error());
            decided(place_new(message, {context.id, world_.now()}, *answer));
        }
    );
}

Decision Runs::place_new(const Message& message, const Context& context, const Body& attached) {
    Run run;
    run.id = "rn_" + service::child_command_id(context.id, "run");
    run.lease = attached.lease;
    run.machine = attached.machine;
    run.created_at = context.now;
    specs_[run.id] = message.body;
    int placed = 0;
    for (const auto& [id, other] : runs_)
        placed += other.lease == run.lease && other.placed() ? 1 : 0;
    if (placed < std::max(1, attached.parallel))
        run::place(run);
    else
        world_.count("run queued");
    runs_[run.id] = run;
    Decision decision{body_of(run), {}};
    if (run.placed()) decision.messages.push_back(start_command(context, run));
    decision.messages.push_back(run_event(context, run, "created"));
    return decision;
}

Result<Decision> Runs::cancel(const Message& message, const Context& context) {
    const auto found = runs_.find(message.body.run);
    if (found == runs_.end()) return not_found("run_not_found", "there is no such run");
    Run& run = found->second;
    const run::CancelEffect effect = run::cancel(run, context.now);
    canceled_.insert(run.id);
    Decision decision{body_of(run), {}};
    if (effect == run::CancelEffect::kEnded) {
        world_.count("canceled before it started");
        decision.messages.push_back(run_event(context, run, "canceled"));
    } else if (effect == run::CancelEffect::kTellMachine) {
        decision.messages.push_back(cancel_command(context, run, "cancel/" + run.id));
    }
    return decision;
}

Decision Runs::node_fact(const Message& message, const Context& context) {
    Decision decision;
    const auto found = runs_.find(message.body.run);
    if (found == runs_.end() || found->second.machine != message.machine) {
        world_.violated("a machine told of a run nobody knows");
        return decision;
    }
    Run& run = found->second;
    if (message.verb == "node.started") {
        const bool was_starting = run.state == RunState::RUN_STATE_STARTING;
        if (!run.live()) world_.count("end before start");
        if (!run::started(run, message.body.at)) return decision;
        if (was_starting) decision.messages.push_back(run_event(context, run, "started"));
        if (run.live() && run.cancel_requested) {
            // The first word may have reached the machine before the run did.
            world_.count("cancel told again at the start");
            decision.messages.push_back(cancel_command(context, run, "cancel-at-start/" + run.id));
        }
        return decision;
    }
    run::v1::OutputFrame::End end;
    end.set_state(static_cast<RunState>(message.body.state));
    end.set_reason(message.body.reason);
    if (!run::ended(run, end, 0, message.body.at)) {
        world_.count("end of an ended run");
        return decision;
    }
    decision.messages.push_back(run_event(context, run, run::state_name(run.state)));
    place_next(context, run.lease, decision.messages);
    return decision;
}

void Runs::place_next(const Context& context, const std::string& lease, std::vector<Message>& out) {
    Run* next = nullptr;
    for (auto& [id, run] : runs_) {
        if (run.lease == lease && run.state == RunState::RUN_STATE_QUEUED &&
            (next == nullptr || run.created_at < next->created_at))
            next = &run;
    }
    if (next == nullptr || !run::place(*next)) return;
    world_.count("queued run placed");
    out.push_back(start_command(context, *next));
}

Decision Runs::machine_fact(const Message& message, const Context& context) {
    Decision decision;
    if (message.verb != "prov.gone" && message.verb != "prov.failed") return decision;
    for (auto& [id, run] : runs_) {
        if (run.machine != message.machine || !run::lose(run, "its machine is gone", context.now))
            continue;
        world_.count("run lost with its machine");
        decision.messages.push_back(run_event(context, run, "lost"));
    }
    return decision;
}

void Runs::watch() {
    const WallTime now = world_.now();
    for (auto& [id, run] : runs_) {
        if (!run.placed()) continue;
        const WallTime placed = placed_.emplace(id, now).first->second;
        WallTime heard = began_;
        bool listed = false;
        if (const auto found = heard_.find(run.machine); found != heard_.end()) {
            heard = std::max(heard, found->second.at);
            listed = found->second.runs.contains(id);
        }
        if (now - heard > run::kMachineSilence) {
            world_.count("run lost in silence");
            lose(run, "its machine has not been heard");
        } else if (!listed && now > placed + run::kStartBy + run::kStartGrace && now - began_ > run::kMachineSilence && run.state == RunState::RUN_STATE_STARTING) {
            world_.count("run lost: never started");
            lose(run, "its machine never started it");
        }
        if (!up()) return;
    }
}

void Runs::lose(Run& run, std::string_view reason) {
    if (!run::lose(run, reason, world_.now())) return;
    const Context context{service::child_command_id(run.id, "lost"), world_.now()};
    std::vector<Message> messages{run_event(context, run, "lost")};
    place_next(context, run.lease, messages);
    commit(std::move(messages), "between the watch's commit and publish");
}

Message Runs::run_event(const Context& context, const Run& run, std::string_view fact) const {
    return event(context, "run." + std::string(fact), "run/" + run.id, body_of(run));
}

Message Runs::start_command(const Context& context, const Run& run) const {
    Body spec = specs_.at(run.id);
    spec.run = run.id;
    spec.lease = run.lease;
    spec.machine = run.machine;
    spec.start_by = context.now + run::kStartBy;
    return command(
        context, "CMD_NODE", "start", "start/" + run.id, "run/" + run.id, spec, run::kStartBy
    );
}

Message Runs::cancel_command(const Context& context, const Run& run, const std::string& purpose)
    const {
    return command(
        context, "CMD_NODE", "signal", purpose, "run/" + run.id, body_of(run), run::kSignalDeadline
    );
}

}  // namespace berth::sim
