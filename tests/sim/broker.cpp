// SPDX-License-Identifier: Apache-2.0
// lease_broker's rows and messages around its own state machine.
#include "actors.hpp"
#include "lease_broker/settings.hpp"
#include "service/handlers.hpp"

namespace berth::sim {

using lease::Lease;
using lease::LeaseState;
using lease::MachineState;

namespace {

constexpr milliseconds kReapEvery{1'000};

Body body_of(const Lease& lease) {
    Body body;
    body.lease = lease.id;
    body.machine = lease.machine;
    body.owner = lease.owner;
    body.state = lease.state;
    body.revision = lease.revision;
    body.reason = lease.end_reason;
    return body;
}

}  // namespace

Broker::Broker(World& world, Bus& bus) : Service(world, bus, "lease") {
    bus.add_durable(
        "lease",
        "CMD_LEASE",
        [](const Message&) { return true; },
        [this](const Delivery& delivery) { receive(delivery); }
    );
    bus.add_durable(
        "lease-prov",
        "EVT",
        [](const Message& m) { return m.verb.starts_with("prov."); },
        [this](const Delivery& d) { receive(d); }
    );
    bus.add_durable(
        "lease-run",
        "EVT",
        [](const Message& m) { return m.verb.starts_with("run."); },
        [this](const Delivery& d) { receive(d); }
    );
}

std::optional<Lease> Broker::get(const std::string& id) const {
    const auto found = leases_.find(id);
    if (!up() || found == leases_.end()) return std::nullopt;
    return found->second;
}

void Broker::on_start() {
    Service::on_start();
    every(kReapEvery, [this] { reap(); });
}

void Broker::decide(const Message& message, const Context& context, Decided decided) {
    if (message.verb == "acquire") return decided(acquire(message, context));
    if (message.verb == "heartbeat") return decided(heartbeat(message, context));
    if (message.verb == "release") return decided(release(message, context));
    if (message.verb == "attach") return decided(attach(message, context));
    decided(
        message.verb.starts_with("prov.") ? machine_fact(message, context)
                                          : run_fact(message, context)
    );
}

Result<Decision> Broker::acquire(const Message& message, const Context& context) {
    BERTH_TRY(lease::check_duration(message.body.ttl, "ttl"));
    Lease lease;
    lease.id = "ls_" + std::to_string(world_.fresh());
    lease.machine = "m_" + std::to_string(world_.fresh());
    lease.owner = message.body.owner;
    lease.created_at = context.now;
    lease.touched_at = context.now;
    lease.ttl = message.body.ttl;
    lease.idle_timeout = message.body.idle;
    lease.one_shot = message.body.one_shot;
    lease.label = message.id;
    leases_[lease.id] = lease;
    machines_[lease.machine] = {
        lease.machine, lease.id, MachineState::MACHINE_STATE_PROVISIONING, 1};
    parallel_[lease.id] = message.body.parallel;
    Decision decision{body_of(lease), {}};
    decision.messages.push_back(lease_event(context, lease, "created"));
    decision.messages.push_back(command(
        context,
        "CMD_PROV",
        "create",
        "create/" + lease.machine,
        "machine/" + lease.machine,
        body_of(lease),
        lease::kCreateDeadline
    ));
    return decision;
}

Result<Decision> Broker::heartbeat(const Message& message, const Context& context) {
    Lease lease = leases_.at(message.body.lease);
    BERTH_TRY(lease::touch(lease, context.now));
    leases_[lease.id] = lease;
    return Decision{body_of(lease), {}};
}

bool Broker::finish(
    const Context& context,
    Lease& lease,
    LeaseState to,
    std::string_view reason,
    std::vector<Message>& out
) {
    if (!lease::end(lease, to, reason, context.now)) return false;
    leases_[lease.id] = lease;
    out.push_back(lease_event(context, lease, lease::state_name(lease.state)));
    Machine& machine = machines_.at(lease.machine);
    if (machine.state == MachineState::MACHINE_STATE_GONE ||
        machine.state == MachineState::MACHINE_STATE_DRAINING)
        return true;
    machine.state = MachineState::MACHINE_STATE_DRAINING;
    ++machine.revision;
    out.push_back(destroy_command(context, machine));
    return true;
}

Result<Decision> Broker::release(const Message& message, const Context& context) {
    Lease lease = leases_.at(message.body.lease);
    Decision decision;
    if (!finish(context, lease, LeaseState::LEASE_STATE_RELEASED, "released", decision.messages))
        world_.count("release of an ended lease");
    decision.reply = body_of(lease);
    return decision;
}

Result<Decision> Broker::attach(const Message& message, const Context& context) {
    Lease lease = leases_.at(message.body.lease);
    BERTH_TRY(lease::attach(lease, context.now));
    if (attachments_.emplace(message.body.run, Attachment{lease.id, context.now, false}).second)
        leases_[lease.id] = lease;
    Decision decision{body_of(lease), {}};
    decision.reply.parallel = parallel_.at(lease.id);
    return decision;
}

Decision Broker::machine_fact(const Message& message, const Context& context) {
    Decision decision;
    const auto found = machines_.find(message.machine);
    if (found == machines_.end() || found->second.state == MachineState::MACHINE_STATE_GONE)
        return decision;
    Machine& machine = found->second;
    Lease lease = leases_.at(machine.lease);
    if (message.verb == "prov.ready") {
        if (lease.state != LeaseState::LEASE_STATE_PENDING) {
            if (!lease.live()) world_.count("machine ready after its lease ended");
            return decision;
        }
        if (machine.state != MachineState::MACHINE_STATE_PROVISIONING ||
            !lease::activate(lease, context.now))
            return decision;
        machine.state = MachineState::MACHINE_STATE_LEASED;
        leases_[lease.id] = lease;
        decision.messages.push_back(lease_event(context, lease, "activated"));
    } else {
        const bool failed = message.verb == "prov.failed";
        if (message.verb == "prov.gone" &&
            machine.state == MachineState::MACHINE_STATE_PROVISIONING)
            world_.count("machine gone before it was ready");
        if (lease::end(
                lease,
                LeaseState::LEASE_STATE_FAILED,
                failed ? "provisioning_failed" : "machine_gone",
                context.now
            )) {
            world_.count(
                failed ? "lease failed with its creation" : "lease failed with its machine"
            );
            leases_[lease.id] = lease;
            decision.messages.push_back(lease_event(context, lease, "failed"));
        }
        machine.state =
            failed ? MachineState::MACHINE_STATE_FAILED : MachineState::MACHINE_STATE_GONE;
        if (failed) decision.messages.push_back(destroy_command(context, machine));
    }
    ++machine.revision;
    return decision;
}

Decision Broker::run_fact(const Message& message, const Context& context) {
    Decision decision;
    const auto attachment = attachments_.find(message.body.run);
    if (message.body.state < run::RunState::RUN_STATE_SUCCEEDED) {
        if (attachment != attachments_.end()) attachment->second.confirmed = true;
        return decision;
    }
    const bool attached = attachment != attachments_.end();
    if (attached) attachments_.erase(attachment);
    Lease lease = leases_.at(message.body.lease);
    if (!lease.live()) return decision;
    if (attached) lease::detach(lease, context.now);
    if (lease.one_shot && lease.live_runs == 0) {
        world_.count("one-shot lease released by its run");
        finish(context, lease, LeaseState::LEASE_STATE_RELEASED, "run_ended", decision.messages);
    } else if (attached) {
        leases_[lease.id] = lease;
    }
    return decision;
}

void Broker::reap() {
    std::vector<std::string> due;
    for (const auto& [id, lease] : leases_) {
        if (!lease::overdue(lease, world_.now()).empty()) due.push_back(id);
    }
    for (const std::string& id : due) {
        Lease lease = leases_.at(id);
        const Context context{
            service::child_command_id(id, "expire/" + std::to_string(lease.revision)),
            world_.now()};
        std::vector<Message> messages;
        const std::string reason(lease::overdue(lease, world_.now()));
        world_.count(
            lease.state == LeaseState::LEASE_STATE_PENDING ? "pending lease expired"
                                                           : "lease expired: " + reason
        );
        finish(context, lease, LeaseState::LEASE_STATE_EXPIRED, reason, messages);
        commit(std::move(messages), "between the reaper's commit and publish");
        if (!up()) return;
    }
    std::vector<std::string> stale;
    for (const auto& [work, attachment] : attachments_) {
        if (!attachment.confirmed &&
            attachment.since < world_.now() - lease::kUnconfirmedAttachment)
            stale.push_back(work);
    }
    for (const std::string& work : stale) {
        world_.count("stale attachment dropped");
        dropped_.insert(work);
        Lease& lease = leases_.at(attachments_.at(work).lease);
        attachments_.erase(work);
        if (lease.live()) lease::detach(lease, world_.now());
    }
}

Message Broker::lease_event(const Context& context, const Lease& lease, std::string_view fact)
    const {
    return event(context, "lease." + std::string(fact), "lease/" + lease.id, body_of(lease));
}

Message Broker::destroy_command(const Context& context, const Machine& machine) const {
    Body body;
    body.machine = machine.id;
    body.lease = machine.lease;
    return command(
        context,
        "CMD_PROV",
        "destroy",
        "destroy/" + machine.id,
        "machine/" + machine.id,
        body,
        lease::kDestroyDeadline
    );
}

}  // namespace berth::sim
