// SPDX-License-Identifier: Apache-2.0
// JetStream as its promises have it and not better: at least once, in any order, acks and replies
// that get lost.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "world.hpp"

namespace berth::sim {

/// Every field any message of the scenario carries; each kind uses a few.
struct Body {
    std::string lease;
    std::string machine;
    std::string run;
    std::string owner;
    std::string reason;
    int state = 0;  // of the lease, the resource's fact, or the run
    std::int64_t revision = 0;
    milliseconds ttl{};
    milliseconds idle{};
    milliseconds lasts{};    // of a command: how long it runs; 0: until it is signalled
    milliseconds timeout{};  // of a run, from its placing; 0: none
    WallTime at;
    WallTime start_by;
    bool one_shot = false;
    int parallel = 1;
};

struct Message {
    std::string stream;    // "CMD_LEASE", "EVT", "CMD_NODE"
    std::string verb;      // "acquire", "lease.created", "start"
    std::string machine;   // of a node's command or event
    std::string id;        // ce-id: the command id
    std::string msg_id;    // Nats-Msg-Id
    std::string reply_to;  // empty: nobody listens
    std::string digest;    // of the payload, for idempotency conflicts
    std::string entity;
    std::string owner;  // the service an event comes from
    WallTime deadline = WallTime::max();
    Body body;
};

struct Reply {
    std::string cause;  // the Nats-Msg-Id of the attempt it answers
    std::optional<Error> error;
    Body body;
};

class Bus;
/// A message in a consumer's hands. Copyable: settling it twice is harmless, as with NATS.
class Delivery {
public:
    Delivery(
        Bus& bus,
        std::string durable,
        std::uint64_t sequence,
        std::shared_ptr<const Message> message
    )
        : bus_(&bus),
          durable_(std::move(durable)),
          sequence_(sequence),
          message_(std::move(message)) {}
    const Message& message() const { return *message_; }
    const std::string& durable() const { return durable_; }
    void ack() const;
    void nak(milliseconds delay) const;

private:
    Bus* bus_;
    std::string durable_;
    std::uint64_t sequence_;
    std::shared_ptr<const Message> message_;
};

class Bus {
public:
    using Consumer = std::function<void(Delivery)>;
    explicit Bus(World& world) : world_(world) {}

    /// `done(false)`: it may or may not be stored.
    void publish(Message message, std::function<void(bool stored)> done);
    /// Stores a reply and lets its asker hear it, perhaps.
    void reply(const std::string& to, Reply reply, std::function<void(bool stored)> done);

    using Filter = std::function<bool(const Message&)>;
    void add_durable(std::string name, std::string stream, Filter filter, Consumer consumer);
    void remove_durable(const std::string& name) { durables_.erase(name); }
    void listen(const std::string& reply_to, std::function<void(const Reply&)> hear) {
        listeners_[reply_to] = std::move(hear);
    }
    void deafen(const std::string& reply_to) { listeners_.erase(reply_to); }

    /// Messages that some durable has not settled: none may be left when all is quiet.
    std::vector<std::string> unsettled() const;

private:
    friend class Delivery;
    struct Pending {
        std::shared_ptr<const Message> message;
        std::uint64_t turn =
            0;  // of the delivery that counts; a timer of an older one does nothing
    };
    struct Durable {
        std::string stream;
        Filter filter;
        Consumer consumer;
        std::map<std::uint64_t, Pending> pending;
    };
    void store(Message message);
    void deliver(const std::string& durable, std::uint64_t sequence, std::uint64_t turn);
    void settle(const std::string& durable, std::uint64_t sequence);
    void again(const std::string& durable, std::uint64_t sequence, milliseconds delay);
    milliseconds travel();

    World& world_;
    std::map<std::string, Durable> durables_;
    std::map<std::string, std::function<void(const Reply&)>> listeners_;
    std::set<std::string> ids_;
    std::map<std::string, std::string>
        facts_;  // entity and revision -> the id of the one event that told it
    std::uint64_t next_sequence_ = 1;
};

}  // namespace berth::sim
