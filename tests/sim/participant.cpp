// SPDX-License-Identifier: Apache-2.0
// Crashes, asking, and the handler protocol step by step.
#include "participant.hpp"

#include "service/handlers.hpp"

namespace berth::sim {
namespace {

constexpr unsigned kCrash = 6;  // in thousandths, per step
constexpr milliseconds kOutageWait{200};
constexpr milliseconds kReplyRetry{500};
constexpr milliseconds kRelayPause{1'000};
constexpr seconds kRelayAge{2};

bool is_outage(const Error& error) {
    return error.fault == Fault::kUnavailable || error.fault == Fault::kDeadline;
}

}  // namespace

void Participant::start() {
    if (dead_) return;
    up_ = true;
    on_start();
}

void Participant::crash(std::string_view where, std::optional<milliseconds> outage) {
    if (!up_) return;
    world_.count("crash " + std::string(where));
    tell("crashes " + std::string(where));
    up_ = false;
    ++life_;
    on_crash();
    world_.after(outage ? *outage : world_.between(100, 6'000), [this] { start(); });
}

void Participant::die() {
    up_ = false;
    dead_ = true;
    ++life_;
    on_crash();
}

void Participant::after(milliseconds delay, std::function<void()> action) {
    world_.after(delay, while_alive(std::move(action)));
}

void Participant::step(std::string_view where, std::function<void()> action) {
    if (world_.fault(kCrash)) return crash(where);
    after(world_.between(0, 2), std::move(action));
}

void Participant::every(milliseconds pause, std::function<void()> action) {
    after(pause, [this, pause, action = std::move(action)] {
        action();
        every(pause, action);
    });
}

// ---- asking
// ----------------------------------------------------------------------------------------------

void Asker::ask(Message message, milliseconds timeout, Done done) {
    if (!alive_) {
        alive_ = std::make_shared<bool>(true);
        reply_to_ = name_ + "#" + std::to_string(world_.fresh());
        bus_.listen(reply_to_, [this](const Reply& reply) { hear(reply); });
    }
    const std::uint64_t serial = next_++;
    Open open;
    open.until = world_.now() + timeout;
    message.deadline = open.until;
    message.reply_to = reply_to_;
    open.message = std::move(message);
    open.done = std::move(done);
    open_.emplace(serial, std::move(open));
    send(serial);
}

void Asker::reset() {
    if (!alive_) return;
    *alive_ = false;
    alive_.reset();
    bus_.deafen(reply_to_);
    open_.clear();
}

void Asker::send(std::uint64_t serial) {
    Open& open = open_.at(serial);
    if (++open.attempt > 1) world_.count("asked again");
    Message message = open.message;
    message.msg_id = message.id + "/" + reply_to_ + "/" + std::to_string(serial) + "-" +
                     std::to_string(open.attempt);
    bus_.publish(std::move(message), [](bool) {});
    const milliseconds left = std::chrono::ceil<milliseconds>(open.until - world_.now());
    const milliseconds wait = std::min(open.pause, left);
    open.pause *= 2;
    world_.after(wait, [this, serial, alive = alive_] {
        if (!*alive) return;
        const auto found = open_.find(serial);
        if (found == open_.end()) return;
        if (world_.now() < found->second.until) return send(serial);
        const Done done = std::move(found->second.done);
        open_.erase(found);
        done(deadline("no_answer", "no answer in time"));
    });
}

void Asker::hear(const Reply& reply) {
    const auto slash = reply.cause.rfind('/');
    const auto found = open_.find(std::stoull(reply.cause.substr(slash + 1)));
    if (found == open_.end() ||
        !reply.cause.starts_with(found->second.message.id + "/" + reply_to_))
        return;
    if (found->second.attempt > 1) world_.count("answered after asking again");
    const Done done = std::move(found->second.done);
    open_.erase(found);
    if (reply.error) return done(*reply.error);
    done(reply.body);
}

// ---- the handler protocol
// --------------------------------------------------------------------------------

void Service::on_start() {
    every(kRelayPause, [this] {
        std::set<std::string> old;
        for (const auto& [row, entry] : outbox_) {
            if (entry.since + kRelayAge <= world_.now()) old.insert(entry.message.entity);
        }
        for (const std::string& entity : old) pump(entity, true);
    });
}

void Service::on_crash() {
    claiming_.clear();
    in_flight_.clear();
}

void Service::receive(const Delivery& delivery) {
    if (!up()) return;  // it comes again after its ack_wait
    step("before the commit", [this, delivery] { handle(delivery); });
}

void Service::handle(const Delivery& delivery) {
    const Message& message = delivery.message();
    const std::string inbox_id =
        message.stream == "EVT" ? delivery.durable() + "/" + message.id : message.id;
    if (claiming_.contains(inbox_id)) {
        // The claim's row is locked by another worker's transaction.
        world_.count("delivered again while under way");
        return after(kOutageWait, [this, delivery] { handle(delivery); });
    }
    if (const auto known = inbox_.find(inbox_id); known != inbox_.end()) {
        if (known->second.digest != message.digest) {
            world_.count("idempotency conflict");
            return answer(
                delivery,
                {message.digest,
                 conflict("idempotency_conflict", "used for a different request"),
                 {}}
            );
        }
        world_.count("outcome repeated");
        return answer(delivery, known->second);
    }
    if (message.stream != "EVT" && world_.now() > message.deadline) {
        world_.count("expired");
        // Not stored: the same command asked anew, with time left, is carried out.
        return answer(
            delivery, {message.digest, deadline("expired", "the request came too late"), {}}
        );
    }
    claiming_.insert(inbox_id);
    decide(
        message,
        {message.id, world_.now()},
        while_alive([this, delivery, inbox_id](Result<Decision> result) {
            decided(delivery, inbox_id, std::move(result));
        })
    );
}

/// In the same instant as the change of state: one transaction.
void Service::decided(
    const Delivery& delivery, const std::string& inbox_id, Result<Decision> result
) {
    claiming_.erase(inbox_id);
    if (!result && is_outage(result.error())) {
        world_.count("held through an outage");
        return after(kOutageWait, [this, delivery] { handle(delivery); });
    }
    Outcome outcome{delivery.message().digest, {}, {}};
    std::vector<std::string> entities;
    if (result) {
        outcome.reply = result->reply;
        entities = add_rows(std::move(result->messages));
    } else {
        outcome.error = result.error();
    }
    inbox_[inbox_id] = outcome;
    step("between commit and publish", [this, delivery, entities, outcome] {
        publish_then_answer(delivery, entities, outcome);
    });
}

void Service::publish_then_answer(
    const Delivery& delivery, std::vector<std::string> entities, Outcome outcome
) {
    for (const std::string& entity : entities) pump(entity, false);
    step("between publish and reply", [this, delivery, outcome = std::move(outcome)] {
        answer(delivery, outcome);
    });
}

void Service::answer(const Delivery& delivery, Outcome outcome) {
    const Message& message = delivery.message();
    if (message.stream == "EVT" && outcome.error)
        world_.violated(
            name() + " refused the event " + message.verb + " of " + message.entity + ": " +
            outcome.error->code
        );
    if (message.reply_to.empty()) return delivery.ack();
    bus_.reply(
        message.reply_to,
        {message.msg_id, outcome.error, outcome.reply},
        while_alive([this, delivery](bool stored) {
            if (!stored) return delivery.nak(kReplyRetry);
            step("between reply and ack", [delivery] { delivery.ack(); });
        })
    );
}

std::vector<std::string> Service::add_rows(std::vector<Message> messages) {
    std::vector<std::string> entities;
    for (Message& message : messages) {
        entities.push_back(message.entity);
        outbox_.emplace(next_row_++, Row{std::move(message), world_.now()});
    }
    return entities;
}

void Service::commit(std::vector<Message> messages, std::string_view where) {
    const auto entities = add_rows(std::move(messages));
    step(where, [this, entities] {
        for (const std::string& entity : entities) pump(entity, false);
    });
}

/// Nothing of an entity goes out while an older row of it is unconfirmed.
void Service::pump(const std::string& entity, bool by_relay) {
    if (in_flight_.contains(entity)) return;
    for (const auto& [row, entry] : outbox_) {
        if (entry.message.entity != entity) continue;
        if (by_relay) world_.count("published by the relay");
        in_flight_.insert(entity);
        bus_.publish(entry.message, while_alive([this, entity, id = row](bool stored) {
                         in_flight_.erase(entity);
                         if (!stored) return;  // the relay's turn
                         step("between PubAck and the row's end", [this, entity, id] {
                             outbox_.erase(id);
                             pump(entity, false);
                         });
                     }));
        return;
    }
}

Message Service::event(const Context& context, std::string_view verb, std::string entity, Body body)
    const {
    Message message;
    message.stream = "EVT";
    message.verb = verb;
    message.owner = name();
    message.id = service::child_command_id(
        context.id, std::string(verb) + "." + entity + "." + std::to_string(body.revision)
    );
    message.msg_id = message.id;
    message.entity = std::move(entity);
    message.machine = body.machine;
    message.body = std::move(body);
    return message;
}

Message Service::command(
    const Context& context,
    std::string stream,
    std::string_view verb,
    std::string purpose,
    std::string entity,
    Body body,
    milliseconds timeout
) const {
    Message message;
    message.stream = std::move(stream);
    message.verb = verb;
    message.owner = name();
    message.id = service::child_command_id(context.id, purpose);
    message.msg_id = message.id;
    message.entity = std::move(entity);
    message.machine = body.machine;
    message.deadline = context.now + timeout;
    message.body = std::move(body);
    return message;
}

}  // namespace berth::sim
