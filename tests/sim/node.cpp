// SPDX-License-Identifier: Apache-2.0
// The provider's machines and the node agent on each: a recorded start, a supervisor, an end that
// is told surely.
#include "actors.hpp"
#include "service/handlers.hpp"

namespace berth::sim {

using run::RunState;

namespace {

constexpr milliseconds kPresenceEvery{5'000};
constexpr milliseconds kTellAgain{1'000};
constexpr int kSlowestSandbox = 80;      // milliseconds
constexpr unsigned kPresenceLost = 100;  // in thousandths
constexpr unsigned kSupervisorDies = 15;

}  // namespace

// ---- the provider
// ----------------------------------------------------------------------------------------

Host::~Host() = default;

void Host::create(const std::string& machine) {
    auto& node = nodes_[machine];
    if (node) return;
    node = std::make_unique<Node>(world_, bus_, *this, machine);
    node->start();
}

void Host::destroy(const std::string& machine) {
    const auto found = nodes_.find(machine);
    if (found == nodes_.end()) return;
    found->second->die();
    bus_.remove_durable(found->second->name());
    ended_.push_back(std::move(found->second));
    nodes_.erase(found);
}

void Host::lose_one() {
    if (nodes_.empty()) return;
    world_.count("machine failed");
    destroy(std::next(nodes_.begin(), static_cast<long>(world_.below(nodes_.size())))->first);
}

void Host::crash_a_node() {
    if (nodes_.empty()) return;
    std::next(nodes_.begin(), static_cast<long>(world_.below(nodes_.size())))
        ->second->crash(
            "of a node agent",
            world_.dice(25) ? std::optional(world_.between(10'000, 120'000)) : std::nullopt
        );
}

std::vector<std::string> Host::list() const {
    std::vector<std::string> out;
    for (const auto& [machine, node] : nodes_) out.push_back(machine);
    return out;
}

bool Host::really_runs(const std::string& run) const {
    for (const auto& [machine, node] : nodes_) {
        if (node->really_runs(run)) return true;
    }
    return false;
}

int Host::starts_of(const std::string& run) const {
    const auto found = starts_.find(run);
    return found == starts_.end() ? 0 : found->second;
}

// ---- the node agent
// --------------------------------------------------------------------------------------

Node::Node(World& world, Bus& bus, Host& host, std::string machine)
    : Participant(world, bus, "node-" + machine), host_(host), machine_(std::move(machine)) {
    // Made with the machine: what is asked of it earlier than this nobody could have known to ask.
    bus.add_durable(
        name(),
        "CMD_NODE",
        [this](const Message& message) { return message.machine == machine_; },
        [this](const Delivery& delivery) { receive(delivery); }
    );
}
Node::~Node() = default;

bool Node::really_runs(const std::string& run) const {
    const auto found = runs_.find(run);
    return found != runs_.end() && found->second.supervised;
}

void Node::on_start() {
    tell_presence();
    every(kPresenceEvery, [this] { tell_presence(); });
    std::vector<std::string> all;
    for (const auto& [run, state] : runs_) all.push_back(run);
    for (const std::string& run : all) {
        if (done_.contains(run)) {
            world_.count("only the removal was missing");
            runs_.erase(run);
            continue;
        }
        world_.count("run taken up again");
        resume(run);
    }
}

void Node::on_crash() {
    publishing_.clear();
    joined_.clear();
    // A machine that died takes its processes along; host_ asks really_runs() of living machines
    // only.
}

void Node::receive(const Delivery& delivery) {
    if (!up()) return;
    step("before a node acts", [this, delivery] {
        if (delivery.message().verb == "start")
            start_run(delivery);
        else
            signal_run(delivery);
    });
}

void Node::start_run(const Delivery& delivery) {
    const Body& spec = delivery.message().body;
    if (runs_.contains(spec.run) || done_.contains(spec.run)) {
        world_.count("duplicate start");
        return delivery.ack();
    }
    runs_[spec.run].spec = spec;
    tell("records " + spec.run);
    step("between record and exec", [this, delivery, run = spec.run] {
        // A sandbox and a supervisor take their time, in which a cancel finds nobody to tell.
        after(world_.between(0, kSlowestSandbox), [this, delivery, run] {
            resume(run);
            step("between exec and ack", [delivery] { delivery.ack(); });
        });
    });
}

void Node::resume(const std::string& run) {
    Run& state = runs_.at(run);
    if (state.end) return publish(run);
    if (state.supervised) {
        joined_.insert(run);
        return publish(run);
    }
    if (state.started) {
        world_.count("supervisor gone");
        return ended(run, RunState::RUN_STATE_LOST, "its supervisor is gone");
    }
    if (state.spec.start_by < world_.now()) {
        world_.count("start came too late");
        return ended(run, RunState::RUN_STATE_LOST, "the machine got the run too late");
    }
    supervise(run);
}

/// The supervisor is a process of its own: it writes `started`, executes, waits, writes the exit
/// record.
void Node::supervise(const std::string& run) {
    Run& state = runs_.at(run);
    state.started = true;
    state.started_at = world_.now();
    if (world_.fault(kSupervisorDies)) {
        world_.count("supervisor died before exec");
        return ended(run, RunState::RUN_STATE_LOST, "its supervisor is gone");
    }
    state.supervised = true;
    if (++host_.starts_[run] > 1) world_.violated(run + " was started twice");
    joined_.insert(run);
    if (state.spec.lasts.count() > 0) {
        world_.after(state.spec.lasts, [this, run] {
            const auto found = runs_.find(run);
            if (found != runs_.end() && found->second.supervised)
                ended(run, RunState::RUN_STATE_SUCCEEDED, "");
        });
    }
    publish(run);
}

void Node::ended(const std::string& run, RunState outcome, std::string_view reason) {
    Run& state = runs_.at(run);
    state.supervised = false;
    Body end;
    end.state = outcome;
    end.reason = reason;
    end.at = world_.now();
    state.end = end;
    if (!up()) {
        world_.count("end while the node agent was away");
        return;
    }
    publish(run);
}

void Node::signal_run(const Delivery& delivery) {
    delivery.ack();  // nobody listens for its reply, whatever it says
    const auto found = runs_.find(delivery.message().body.run);
    if (found == runs_.end()) return world_.count("cancel of a run the machine does not have");
    if (!joined_.contains(found->first) || found->second.end)
        return world_.count("cancel of a run that is starting or ended");
    if (found->second.canceled) return;
    found->second.canceled = true;
    world_.after(world_.between(0, 10'000), [this, run = found->first] {
        const auto still = runs_.find(run);
        if (still != runs_.end() && still->second.supervised)
            ended(run, RunState::RUN_STATE_CANCELED, "canceled");
    });
}

void Node::surely(Message message, std::function<void()> then) {
    Message copy = message;
    bus_.publish(
        std::move(copy),
        while_alive([this, message = std::move(message), then = std::move(then)](bool stored) {
            if (stored) return then();
            world_.count("a node told its fact again");
            after(kTellAgain, [this, message, then] { surely(message, then); });
        })
    );
}

/// Started, then the end, each until it is stored, also over restarts of the agent.
void Node::publish(const std::string& run) {
    if (!up() || !publishing_.insert(run).second) return;
    const auto tell_end = [this, run] {
        publishing_.erase(run);
        if (!runs_.at(run).end) return;  // told when it comes
        publishing_.insert(run);
        step("between end and telling it", [this, run] {
            surely(fact(run, "ended", *runs_.at(run).end), [this, run] { clean_up(run); });
        });
    };
    const Run& state = runs_.at(run);
    if (!state.started) return tell_end();
    Body body;
    body.at = state.started_at;
    step("between exec and telling it", [this, run, body, tell_end] {
        surely(fact(run, "started", body), tell_end);
    });
}

void Node::clean_up(const std::string& run) {
    done_.insert(run);
    step("between tombstone and removal", [this, run] {
        runs_.erase(run);
        publishing_.erase(run);
        joined_.erase(run);
    });
}

void Node::tell_presence() {
    if (world_.fault(kPresenceLost)) return;
    std::set<std::string> live;
    for (const auto& [run, state] : runs_) {
        if (!state.end) live.insert(run);
    }
    world_.after(
        world_.between(0, 5),
        [watcher = host_.watcher_, machine = machine_, live = std::move(live)] {
            watcher->hear(machine, live);
        }
    );
}

Message Node::fact(const std::string& run, std::string_view what, Body body) const {
    Message message;
    message.stream = "EVT";
    message.verb = "node." + std::string(what);
    message.owner = name();
    message.id = service::child_command_id(run, what);
    message.msg_id = message.id;
    message.entity = "run/" + run;
    message.machine = machine_;
    message.body = std::move(body);
    message.body.run = run;
    return message;
}

}  // namespace berth::sim
