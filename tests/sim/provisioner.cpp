// SPDX-License-Identifier: Apache-2.0
// The provisioner's rows and messages around its own state machine, and a provider that fails and
// dawdles.
#include "actors.hpp"
#include "provisioner/settings.hpp"
#include "service/handlers.hpp"

namespace berth::sim {

using prov::Resource;
using prov::ResourceState;

namespace {

constexpr milliseconds kProvisionerPoll{500};
constexpr milliseconds kTendEvery{2'000};
constexpr unsigned kPassingFailure = 120;  // of a driver call, in thousandths
constexpr unsigned kFinalFailure = 40;
constexpr int kSlowestEffect = 4'000;
constexpr int kLatestEffect = 40'000;  // at a provider that was left alone with it

}  // namespace

Provisioner::Provisioner(World& world, Bus& bus, Host& host)
    : Service(world, bus, "prov"), host_(host) {
    bus.add_durable(
        "prov",
        "CMD_PROV",
        [](const Message&) { return true; },
        [this](const Delivery& delivery) { receive(delivery); }
    );
}

void Provisioner::on_start() {
    Service::on_start();
    every(kProvisionerPoll, [this] { look(); });
    every(kTendEvery, [this] { tend(); });
}
void Provisioner::on_crash() {
    Service::on_crash();
    acting_.clear();
}

void Provisioner::decide(const Message& message, const Context& context, Decided decided) {
    decided(message.verb == "create" ? create(message, context) : destroy(message, context));
}

Decision Provisioner::create(const Message& message, const Context& context) {
    const auto [found, inserted] = resources_.emplace(message.machine, Resource{});
    if (!inserted) {
        world_.count(
            found->second.state == ResourceState::kGone ? "destroy before create"
                                                        : "create of a known machine"
        );
        return {};
    }
    found->second.machine = message.machine;
    found->second.lease = message.body.lease;
    found->second.next_at = context.now;
    after(milliseconds{2}, [this] { look(); });
    return {};
}

Decision Provisioner::destroy(const Message& message, const Context& context) {
    Decision decision;
    const auto [found, inserted] = resources_.emplace(message.machine, Resource{});
    Resource& resource = found->second;
    if (inserted) {
        resource.machine = message.machine;
        resource.lease = message.body.lease;
        resource.state = ResourceState::kGone;
        decision.messages.push_back(fact(context, resource));
        return decision;
    }
    if (resource.state == ResourceState::kCreating) world_.count("destroy during create");
    if (!prov::want_destroyed(resource, context.now)) {
        world_.count("destroy of what is going or gone");
        return decision;
    }
    after(milliseconds{2}, [this] { look(); });
    return decision;
}

void Provisioner::look() {
    for (const auto& [machine, resource] : resources_) {
        const bool due = (resource.state == ResourceState::kCreating ||
                          resource.state == ResourceState::kDestroying) &&
                         resource.next_at <= world_.now();
        if (due && !acting_.contains(machine)) act(machine);
    }
}

/// The effect happens at the provider whether or not this process lives to see it.
void Provisioner::act(const std::string& machine) {
    acting_.insert(machine);
    const bool creating = resources_.at(machine).state == ResourceState::kCreating;
    const bool passing = world_.fault(kPassingFailure);
    const bool is_final = creating && world_.fault(kFinalFailure);
    const milliseconds takes =
        world_.faults() ? world_.between(20, kSlowestEffect) : world_.between(20, 200);
    if (!passing && !is_final) {
        world_.after(takes, [this, machine, creating, began = life()] {
            milliseconds late{0};
            if (life() != began) {
                if (world_.dice(50)) return;  // it died with its caller
                world_.count(
                    creating ? "machine made after its provisioner crashed"
                             : "machine removed after its provisioner crashed"
                );
                late = world_.between(0, kLatestEffect);
            }
            world_.after(late, [this, machine, creating] {
                if (creating)
                    host_.create(machine);
                else
                    host_.destroy(machine);
            });
        });
    }
    after(takes, [this, machine, creating, done = !passing && !is_final, is_final] {
        step("between driver and record", [this, machine, creating, done, is_final] {
            acting_.erase(machine);
            if (creating)
                record_created(machine, done, is_final);
            else
                record_destroyed(machine, done);
        });
    });
}

void Provisioner::record_created(const std::string& machine, bool done, bool is_final) {
    Resource& resource = resources_.at(machine);
    std::vector<Message> messages;
    if (done) {
        if (prov::created(resource))
            messages.push_back(fact(context_of(resource, "ready"), resource));
        else
            world_.count("created and already unwanted");
    } else {
        prov::create_failed(
            resource, "the provider said no", is_final, prov::kCreateAttempts, world_.now()
        );
        if (resource.state == ResourceState::kFailed)
            messages.push_back(fact(context_of(resource, "failed"), resource));
        else
            world_.count("creation tried again");
    }
    commit(std::move(messages), "between the actor's commit and publish");
}

void Provisioner::record_destroyed(const std::string& machine, bool done) {
    Resource& resource = resources_.at(machine);
    if (!done) {
        world_.count("destruction tried again");
        prov::destroy_failed(resource, "the provider said no", prov::kSlowestRetry, world_.now());
        return;
    }
    prov::destroyed(resource);
    std::vector<Message> messages{fact(context_of(resource, "gone"), resource)};
    commit(std::move(messages), "between the actor's commit and publish");
}

void Provisioner::tend() {
    for (auto& [machine, resource] : resources_) {
        if (resource.state != ResourceState::kReady || host_.has(machine) ||
            !prov::vanished(resource))
            continue;
        world_.count("a ready machine vanished");
        std::vector<Message> messages{fact(context_of(resource, "gone"), resource)};
        commit(std::move(messages), "between the reconciler's commit and publish");
        if (!up()) return;
    }
    for (const std::string& machine : host_.list()) {
        const auto found = resources_.find(machine);
        if (found != resources_.end() && found->second.state != ResourceState::kGone) continue;
        world_.count("orphan removed");
        host_.destroy(machine);
    }
}

Message Provisioner::fact(const Context& context, const Resource& resource) const {
    Body body;
    body.machine = resource.machine;
    body.lease = resource.lease;
    body.revision = resource.revision;
    return event(
        context,
        "prov." + std::string(prov::state_name(resource.state)),
        "machine/" + resource.machine,
        body
    );
}

Service::Context Provisioner::context_of(const Resource& resource, std::string_view what) const {
    return {
        service::child_command_id(
            resource.machine, std::string(what) + "/" + std::to_string(resource.revision)
        ),
        world_.now()};
}

}  // namespace berth::sim
