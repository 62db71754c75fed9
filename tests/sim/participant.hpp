// SPDX-License-Identifier: Apache-2.0
// Whoever takes part: a process that may die between any two steps, and a service that keeps the
// handler protocol.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bus.hpp"
#include "core/result.hpp"

namespace berth::sim {

/// A process. What a subclass keeps in members marked durable survives a crash; on_crash() drops
/// the rest.
class Participant {
public:
    Participant(World& world, Bus& bus, std::string name)
        : world_(world), bus_(bus), name_(std::move(name)) {}
    virtual ~Participant() = default;
    Participant(const Participant&) = delete;
    Participant& operator=(const Participant&) = delete;

    void start();
    /// Dies now and comes back after a while, by default a short one.
    void crash(std::string_view where, std::optional<milliseconds> outage = std::nullopt);
    /// Dies and never comes back.
    void die();
    bool up() const { return up_; }
    const std::string& name() const { return name_; }

protected:
    virtual void on_start() = 0;
    virtual void on_crash() = 0;
    /// Later, unless the process has died by then.
    void after(milliseconds delay, std::function<void()> action);
    /// The next step of something, before which the process may die; `where` names the place
    /// between the steps.
    void step(std::string_view where, std::function<void()> action);
    void every(milliseconds pause, std::function<void()> action);
    /// `action`, if the process lives on when it is called.
    template <typename F>
    auto while_alive(F action) {
        return [this, life = life_, action = std::move(action)](auto&&... values) {
            if (up_ && life == life_) action(std::forward<decltype(values)>(values)...);
        };
    }
    std::uint64_t life() const { return life_; }
    void tell(const std::string& what) const { world_.tell(name_, what); }

    World& world_;
    Bus& bus_;

private:
    std::string name_;
    bool up_ = false;
    bool dead_ = false;
    std::uint64_t life_ = 0;
};

/// The asker's half of the protocol, as libs/bus/asker.cpp has it: the same command id, a new
/// attempt, doubling pauses, an end. In memory only: a crash forgets what was asked.
class Asker {
public:
    using Done = std::function<void(Result<Body>)>;
    Asker(World& world, Bus& bus, std::string name)
        : world_(world), bus_(bus), name_(std::move(name)) {}
    ~Asker() { reset(); }
    void ask(Message message, milliseconds timeout, Done done);
    /// The process died: a new life listens elsewhere.
    void reset();
    bool idle() const { return open_.empty(); }

private:
    struct Open {
        Message message;
        Done done;
        WallTime until;
        milliseconds pause{2'000};
        unsigned attempt = 0;
    };
    void send(std::uint64_t serial);
    void hear(const Reply& reply);

    World& world_;
    Bus& bus_;
    std::string name_;
    std::string reply_to_;
    std::uint64_t next_ = 1;
    std::map<std::uint64_t, Open> open_;
    std::shared_ptr<bool> alive_;
};

/// What a handler decided.
struct Decision {
    Body reply;
    std::vector<Message> messages;
};

/// A service with an inbox and an outbox that commit with its state: claim, decide, commit,
/// publish, reply, ack, step by step as libs/service/handlers.cpp does it.
class Service : public Participant {
public:
    using Participant::Participant;
    bool outbox_empty() const { return outbox_.empty(); }
    const std::string& stuck() const { return outbox_.begin()->second.message.verb; }

protected:
    struct Context {
        std::string id;
        WallTime now;
    };
    using Decided = std::function<void(Result<Decision>)>;

    /// Changes the state and calls `decided` at once, or asks somebody first and then does both in
    /// one go.
    virtual void decide(const Message& message, const Context& context, Decided decided) = 0;
    void receive(const Delivery& delivery);
    /// Something no message caused commits: its messages go to the outbox and out.
    void commit(std::vector<Message> messages, std::string_view where);
    void on_start() override;
    void on_crash() override;

    Message event(const Context& context, std::string_view verb, std::string entity, Body body)
        const;
    Message command(
        const Context& context,
        std::string stream,
        std::string_view verb,
        std::string purpose,
        std::string entity,
        Body body,
        milliseconds timeout
    ) const;

private:
    struct Outcome {
        std::string digest;
        std::optional<Error> error;
        Body reply;
    };
    struct Row {
        Message message;
        WallTime since;
    };
    void handle(const Delivery& delivery);
    void decided(const Delivery& delivery, const std::string& inbox_id, Result<Decision> result);
    void publish_then_answer(
        const Delivery& delivery, std::vector<std::string> entities, Outcome outcome
    );
    void answer(const Delivery& delivery, Outcome outcome);
    std::vector<std::string> add_rows(std::vector<Message> messages);
    void pump(const std::string& entity, bool by_relay);

    std::map<std::string, Outcome> inbox_;  // durable
    std::map<std::uint64_t, Row> outbox_;   // durable
    std::uint64_t next_row_ = 1;            // durable
    std::set<std::string> claiming_;        // commands whose transaction is open
    std::set<std::string> in_flight_;       // entities with a row on its way
};

}  // namespace berth::sim
