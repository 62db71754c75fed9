// SPDX-License-Identifier: Apache-2.0
// Streams, durables and their faults.
#include "bus.hpp"

namespace berth::sim {
namespace {

constexpr milliseconds kAckWait{3'000};
constexpr milliseconds kPublishTimeout{5'000};
// Faults, in thousandths per message while faults go on.
constexpr unsigned kLost = 40;
constexpr unsigned kAckLost = 40;
constexpr unsigned kDoubled = 50;
constexpr unsigned kLate = 60;
constexpr unsigned kForgotten = 15;  // a power cut takes what was acked since the last fsync; only
                                     // starts have somebody who watches
constexpr unsigned kIdForgotten = 100;  // a restarted server forgets the ids of what was acked

}  // namespace

void Delivery::ack() const { bus_->settle(durable_, sequence_); }
void Delivery::nak(milliseconds delay) const { bus_->again(durable_, sequence_, delay); }

milliseconds Bus::travel() {
    // Different delays are what reorders.
    return world_.fault(kLate) ? world_.between(50, 8'000) : world_.between(0, 4);
}

void Bus::publish(Message message, std::function<void(bool)> done) {
    if (world_.fault(kLost)) {
        world_.count("publish lost");
        world_.after(kPublishTimeout, [done = std::move(done)] { done(false); });
        return;
    }
    const bool ack_lost = world_.fault(kAckLost);
    world_.after(
        travel(),
        [this, ack_lost, message = std::move(message), done = std::move(done)]() mutable {
            store(std::move(message));
            if (ack_lost) world_.count("PubAck lost");
            world_.after(ack_lost ? kPublishTimeout : travel(), [ack_lost, done = std::move(done)] {
                done(!ack_lost);
            });
        }
    );
}

void Bus::store(Message message) {
    if (ids_.contains(message.stream + "/" + message.msg_id)) {
        if (!world_.fault(kIdForgotten)) {
            world_.count("publish de-duplicated");
            return;
        }
        world_.count("message stored twice");
    }
    ids_.insert(message.stream + "/" + message.msg_id);
    if (message.stream == "EVT" && message.body.revision > 0) {
        const auto [known, fresh] = facts_.emplace(
            message.owner + " " + message.entity + " " + std::to_string(message.body.revision),
            message.id
        );
        if (!fresh && known->second != message.id)
            world_.violated("two events tell different things of " + known->first);
    }
    if (message.verb == "start" && message.stream == "CMD_NODE" && world_.fault(kForgotten))
        return world_.count("an acked start forgotten");
    const auto shared = std::make_shared<const Message>(std::move(message));
    const std::uint64_t sequence = next_sequence_++;
    for (auto& [name, durable] : durables_) {
        if (durable.stream != shared->stream || !durable.filter(*shared)) continue;
        durable.pending.emplace(sequence, Pending{shared, 0});
        world_.after(travel(), [this, name = name, sequence] { deliver(name, sequence, 0); });
    }
}

void Bus::deliver(const std::string& name, std::uint64_t sequence, std::uint64_t turn) {
    const auto durable = durables_.find(name);
    if (durable == durables_.end()) return;
    const auto pending = durable->second.pending.find(sequence);
    if (pending == durable->second.pending.end() || pending->second.turn != turn) return;
    if (turn > 0) world_.count("redelivery");
    again(name, sequence, kAckWait);
    if (world_.fault(kLost)) {
        world_.count("delivery lost");
        return;
    }
    const Delivery delivery(*this, name, sequence, pending->second.message);
    if (world_.fault(kDoubled)) {
        world_.count("delivery doubled");
        world_.after(travel(), [this, name, delivery] {
            if (const auto still = durables_.find(name); still != durables_.end())
                still->second.consumer(delivery);
        });
    }
    durable->second.consumer(delivery);
}

void Bus::again(const std::string& name, std::uint64_t sequence, milliseconds delay) {
    const auto durable = durables_.find(name);
    if (durable == durables_.end()) return;
    const auto pending = durable->second.pending.find(sequence);
    if (pending == durable->second.pending.end()) return;
    const std::uint64_t turn = ++pending->second.turn;
    world_.after(delay, [this, name, sequence, turn] { deliver(name, sequence, turn); });
}

void Bus::settle(const std::string& name, std::uint64_t sequence) {
    if (world_.fault(kAckLost)) {
        world_.count("ack lost");
        return;
    }
    if (const auto durable = durables_.find(name); durable != durables_.end())
        durable->second.pending.erase(sequence);
}

void Bus::reply(const std::string& to, Reply reply, std::function<void(bool)> done) {
    if (world_.fault(kLost)) {
        world_.count("reply not stored");
        world_.after(kPublishTimeout, [done = std::move(done)] { done(false); });
        return;
    }
    world_.after(travel(), [done = std::move(done)] { done(true); });
    // The asker hears it by a plain subscription: stored is not heard.
    if (world_.fault(kLost)) {
        world_.count("reply lost");
        return;
    }
    const auto hear = [this, to, reply] {
        if (const auto listener = listeners_.find(to); listener != listeners_.end())
            listener->second(reply);
    };
    world_.after(travel(), hear);
    if (world_.fault(kDoubled)) world_.after(travel(), hear);
}

void Bus::add_durable(std::string name, std::string stream, Filter filter, Consumer consumer) {
    durables_[std::move(name)] =
        Durable{std::move(stream), std::move(filter), std::move(consumer), {}};
}

std::vector<std::string> Bus::unsettled() const {
    std::vector<std::string> out;
    for (const auto& [name, durable] : durables_) {
        for (const auto& [sequence, pending] : durable.pending)
            out.push_back(name + " " + pending.message->verb + " " + pending.message->entity);
    }
    return out;
}

}  // namespace berth::sim
