// SPDX-License-Identifier: Apache-2.0
// The five kinds of participant. Their decisions are the services' own pure functions; only rows
// and messages are modelled here, as the handlers of the services have them.
#pragma once

#include <optional>

#include "lease_broker/lease.hpp"
#include "lease_broker/machine.hpp"
#include "participant.hpp"
#include "provisioner/resource.hpp"
#include "run_manager/run.hpp"

namespace berth::sim {

/// services/lease_broker: handlers and reaper.
class Broker final : public Service {
public:
    struct Machine {
        std::string id;
        std::string lease;
        lease::MachineState state = lease::MachineState::MACHINE_STATE_PROVISIONING;
        std::int64_t revision = 1;
    };
    struct Attachment {
        std::string lease;
        WallTime since;
        bool confirmed = false;
    };
    Broker(World& world, Bus& bus);
    const std::map<std::string, lease::Lease>& leases() const { return leases_; }
    /// Runs whose attachment was dropped because no word of them came for so long.
    const std::set<std::string>& dropped() const { return dropped_; }
    /// berth.qry.lease.get: nothing while the broker is away.
    std::optional<lease::Lease> get(const std::string& id) const;

private:
    void decide(const Message& message, const Context& context, Decided decided) override;
    void on_start() override;
    Result<Decision> acquire(const Message& message, const Context& context);
    Result<Decision> heartbeat(const Message& message, const Context& context);
    Result<Decision> release(const Message& message, const Context& context);
    Result<Decision> attach(const Message& message, const Context& context);
    Decision machine_fact(const Message& message, const Context& context);
    Decision run_fact(const Message& message, const Context& context);
    bool finish(
        const Context& context,
        lease::Lease& lease,
        lease::LeaseState to,
        std::string_view reason,
        std::vector<Message>& out
    );
    void reap();
    Message lease_event(const Context& context, const lease::Lease& lease, std::string_view fact)
        const;
    Message destroy_command(const Context& context, const Machine& machine) const;

    std::map<std::string, lease::Lease> leases_;  // durable, like all of these
    std::map<std::string, Machine> machines_;
    std::map<std::string, Attachment> attachments_;  // by run
    std::map<std::string, int> parallel_;            // of the lease's profile
    std::set<std::string> dropped_;
};

class Node;
class Runs;

/// The provider: what really exists.
class Host {
public:
    Host(World& world, Bus& bus) : world_(world), bus_(bus) {}
    ~Host();
    /// Who hears the presences of its machines.
    void set_watcher(Runs& watcher) { watcher_ = &watcher; }
    /// Idempotent by machine id.
    void create(const std::string& machine);
    void destroy(const std::string& machine);
    /// The machine is gone without anybody having asked for it.
    void lose_one();
    void crash_a_node();
    bool has(const std::string& machine) const { return nodes_.contains(machine); }
    std::vector<std::string> list() const;
    bool really_runs(const std::string& run) const;
    int starts_of(const std::string& run) const;
    const std::map<std::string, int>& starts() const { return starts_; }

private:
    friend class Node;
    World& world_;
    Bus& bus_;
    Runs* watcher_ = nullptr;
    std::map<std::string, std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Node>> ended_;  // their planned steps still point at them
    std::map<std::string, int> starts_;         // of the run's process
};

/// services/provisioner: handlers, actors, reconciler.
class Provisioner final : public Service {
public:
    Provisioner(World& world, Bus& bus, Host& host);
    const std::map<std::string, prov::Resource>& resources() const { return resources_; }

private:
    void decide(const Message& message, const Context& context, Decided decided) override;
    void on_start() override;
    void on_crash() override;
    Decision create(const Message& message, const Context& context);
    Decision destroy(const Message& message, const Context& context);
    void look();
    void act(const std::string& machine);
    void record_created(const std::string& machine, bool done, bool is_final);
    void record_destroyed(const std::string& machine, bool done);
    void tend();
    Message fact(const Context& context, const prov::Resource& resource) const;
    Context context_of(const prov::Resource& resource, std::string_view what) const;

    Host& host_;
    std::map<std::string, prov::Resource> resources_;  // durable
    std::set<std::string> acting_;                     // advisory locks: they end with the process
};

/// services/run_manager: handlers and watch.
class Runs final : public Service {
public:
    Runs(World& world, Bus& bus);
    const std::map<std::string, run::Run>& runs() const { return runs_; }
    std::optional<run::Run> get(const std::string& id) const;
    const std::set<std::string>& canceled() const { return canceled_; }
    /// A presence on the plain subject berth.live.node.<machine>.
    void hear(const std::string& machine, std::set<std::string> live);

private:
    struct Heard {
        WallTime at;
        std::set<std::string> runs;
    };
    void decide(const Message& message, const Context& context, Decided decided) override;
    void on_start() override;
    void on_crash() override;
    void start_run(const Message& message, const Context& context, Decided decided);
    Decision place_new(const Message& message, const Context& context, const Body& attached);
    Result<Decision> cancel(const Message& message, const Context& context);
    Decision node_fact(const Message& message, const Context& context);
    Decision machine_fact(const Message& message, const Context& context);
    void place_next(const Context& context, const std::string& lease, std::vector<Message>& out);
    void watch();
    void lose(run::Run& run, std::string_view reason);
    Message run_event(const Context& context, const run::Run& run, std::string_view fact) const;
    Message start_command(const Context& context, const run::Run& run) const;
    Message cancel_command(const Context& context, const run::Run& run, const std::string& purpose)
        const;

    std::map<std::string, run::Run> runs_;  // durable
    std::map<std::string, Body> specs_;     // durable
    std::set<std::string> canceled_;        // runs whose cancel was answered with yes
    Asker asker_;
    std::map<std::string, Heard> heard_;
    std::map<std::string, WallTime> placed_;  // when the watch first saw it placed
    WallTime began_;
};

/// services/node_agent on one machine: the agent may crash, its supervisors live on.
class Node final : public Participant {
public:
    Node(World& world, Bus& bus, Host& host, std::string machine);
    ~Node() override;
    bool really_runs(const std::string& run) const;

private:
    struct Run {
        Body spec;
        bool started = false;     // written by the supervisor before it executes
        bool supervised = false;  // its supervisor lives
        std::optional<Body> end;  // the supervisor's exit record
        WallTime started_at;
        bool canceled = false;
    };
    void on_start() override;
    void on_crash() override;
    void receive(const Delivery& delivery);
    void start_run(const Delivery& delivery);
    void signal_run(const Delivery& delivery);
    void resume(const std::string& run);
    void supervise(const std::string& run);
    void ended(const std::string& run, run::RunState state, std::string_view reason);
    void publish(const std::string& run);
    void surely(Message message, std::function<void()> then);
    void clean_up(const std::string& run);
    void tell_presence();
    Message fact(const std::string& run, std::string_view what, Body body) const;

    Host& host_;
    std::string machine_;
    std::map<std::string, Run> runs_;  // durable
    std::set<std::string> done_;       // durable
    std::set<std::string> publishing_;
    std::set<std::string> joined_;  // runs whose supervisor this agent talks to
};

}  // namespace berth::sim
