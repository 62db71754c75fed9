// SPDX-License-Identifier: Apache-2.0
// The handler protocol, straight-line: decode, claim, decide, commit, reply, ack.
#include "service/handlers.hpp"

#include <google/protobuf/message.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "berth/common/v1/common.pb.h"
#include "bus/asker.hpp"
#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"

namespace berth::service {
namespace {

// While the database is away a held message is tried again at this pace.
constexpr milliseconds kOutageWait{200};
constexpr milliseconds kReplyTimeout{5'000};
constexpr milliseconds kReplyRetry{500};
constexpr milliseconds kFailureBackoff{250};
// Attempts are remembered for this many messages; beyond it the oldest is forgotten.
constexpr std::size_t kMaxRemembered = 4'096;

bool is_outage(const Error& error) {
    return error.fault == Fault::kUnavailable || error.fault == Fault::kDeadline;
}

store::Outcome failure_outcome(const Error& error) {
    common::v1::Failure failure;
    failure.set_fault(std::string(to_string(error.fault)));
    failure.set_code(error.code);
    failure.set_message(error.message);
    failure.set_field(error.field);
    return {std::string(failure.GetTypeName()), "failure", failure.SerializeAsString()};
}

Result<Context> decode_context(const bus::Message& message) {
    Context context;
    BERTH_ASSIGN(context.command_id, normalize_ulid(message.header(bus::kCeId)));
    const std::string_view correlation = message.header(bus::kCorrelationId);
    context.correlation_id = correlation.empty() ? context.command_id : std::string(correlation);
    context.subject = message.subject;
    context.traceparent = std::string(message.header(bus::kTraceparent));
    context.now = Clock::system().now();
    context.deadline = WallTime::max();
    if (const std::string_view text = message.header(bus::kDeadline); !text.empty()) {
        BERTH_ASSIGN(context.deadline, parse_rfc3339(text));
    }
    return context;
}

std::string_view verb_of(std::string_view subject) {
    const auto tokens = split(subject, '.');
    return tokens.size() > 3 ? tokens[3] : std::string_view();
}

bus::Headers cloud_event_headers(
    const Context& context,
    std::string_view service,
    std::string_view id,
    const google::protobuf::Message& payload
) {
    bus::Headers headers{
        {std::string(bus::kCeSpecVersion), "1.0"},
        {std::string(bus::kCeId), std::string(id)},
        {std::string(bus::kCeType), payload.GetTypeName()},
        {std::string(bus::kCeSource), "berth/" + std::string(service)},
        {std::string(bus::kCeTime), to_rfc3339(context.now)},
        {std::string(bus::kCeContentType), "application/protobuf"},
        {std::string(bus::kCorrelationId), context.correlation_id},
        {std::string(bus::kCausationId), context.command_id},
    };
    if (!context.traceparent.empty()) headers.emplace_back(bus::kTraceparent, context.traceparent);
    return headers;
}

}  // namespace

Decision reply_with(const google::protobuf::Message& message) {
    return {message.GetTypeName(), message.SerializeAsString(), {}};
}

Decision refuse_with(const Error& error, std::vector<store::OutboxMessage> messages) {
    store::Outcome outcome = failure_outcome(error);
    return {std::move(outcome.type), std::move(outcome.payload), std::move(messages), true};
}

std::string child_command_id(std::string_view command_id, std::string_view purpose) {
    return ulid_from_bytes(identity::sha256(std::string(command_id) + "/" + std::string(purpose)));
}

Error undecodable(std::string_view type) {
    return invalid("undecodable", "the message is not a " + std::string(type));
}

store::OutboxMessage make_event(
    const Context& context,
    std::string_view service,
    std::string_view org,
    std::string_view noun,
    std::string_view fact,
    std::string_view id,
    std::uint64_t revision,
    const google::protobuf::Message& payload
) {
    store::OutboxMessage message;
    message.message_id = child_command_id(
        context.command_id,
        std::string(noun) + "." + std::string(fact) + "." + std::string(id) + "." +
            std::to_string(revision)
    );
    message.entity = std::string(noun) + "/" + std::string(id);
    message.revision = static_cast<std::int64_t>(revision);
    message.subject = "berth.evt." + std::string(org) + "." + std::string(service) + "." +
                      std::string(noun) + "." + std::string(fact) + "." + std::string(id);
    message.headers = cloud_event_headers(context, service, message.message_id, payload);
    message.headers.emplace_back(bus::kCeSubject, std::string(id));
    message.payload = payload.SerializeAsString();
    return message;
}

store::OutboxMessage make_command(
    const Context& context,
    std::string_view service,
    std::string subject,
    std::string_view purpose,
    std::string entity,
    const google::protobuf::Message& payload,
    milliseconds timeout
) {
    store::OutboxMessage message;
    message.message_id = child_command_id(context.command_id, purpose);
    message.entity = std::move(entity);
    message.subject = std::move(subject);
    message.headers = cloud_event_headers(context, service, message.message_id, payload);
    if (timeout.count() > 0)
        message.headers.emplace_back(bus::kDeadline, to_rfc3339(context.now + timeout));
    message.payload = payload.SerializeAsString();
    return message;
}

class Handlers::Impl {
public:
    explicit Impl(Parts parts) : parts_(std::move(parts)) {
        const std::string prefix = "berth_" + parts_.token + "_";
        for (const char* verdict : {"ok", "refused", "repeated", "expired", "retried", "dead"}) {
            verdicts_[verdict] = parts_.metrics.counter(
                prefix + "messages_handled_total",
                "Messages handled, by verdict.",
                {{"verdict", verdict}}
            );
        }
        seconds_ = parts_.metrics.histogram(
            prefix + "handler_seconds", "Time from delivery to commit.", metrics::latency_buckets()
        );
        inbox_hits_ = parts_.metrics.counter(
            prefix + "inbox_hits_total", "Messages that had been handled before."
        );
        dead_letters_ =
            parts_.metrics.counter(prefix + "dead_letters_total", "Messages given up on.");
    }
    ~Impl() { stop(); }

    Result<void> start() {
        const std::string upper = upper_token();
        if (!commands_.empty()) {
            BERTH_TRY(consume(
                "CMD_" + upper,
                parts_.token,
                parts_.workers,
                [this](bus::Delivery delivery) { on_command(std::move(delivery)); }
            ));
        }
        if (!queries_.empty()) {
            BERTH_TRY(consume(
                "QRY_" + upper,
                parts_.token,
                parts_.workers,
                [this](bus::Delivery delivery) { on_query(std::move(delivery)); }
            ));
        }
        for (const auto& [durable, handler] : events_) {
            // One worker: events of one entity are handled in their order.
            BERTH_TRY(consume("EVT", durable, 1, [this, name = durable](bus::Delivery delivery) {
                on_event(name, std::move(delivery));
            }));
        }
        return {};
    }

    void stop() {
        {
            const std::lock_guard lock(stop_mutex_);
            stopping_ = true;
        }
        stop_changed_.notify_all();
        for (const auto& receiver : receivers_) receiver->stop();
        receivers_.clear();
    }

    std::map<std::string, Command, std::less<>> commands_;
    std::map<std::string, Query, std::less<>> queries_;
    std::map<std::string, Event, std::less<>> events_;

private:
    /// What became of a message inside the transaction.
    struct Handled {
        store::Outcome outcome;
        std::vector<store::OutboxMessage> messages;
        const char* verdict = "ok";
        std::function<void()> committed{};
    };

    std::string upper_token() const {
        std::string upper = parts_.token;
        for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        return upper;
    }

    Result<void> consume(
        std::string stream,
        std::string durable,
        std::size_t workers,
        bus::Connection::DeliveryHandler handler
    ) {
        bus::ConsumerSettings settings;
        settings.stream = std::move(stream);
        settings.durable = std::move(durable);
        settings.workers = workers;
        settings.max_in_flight = parts_.max_in_flight;
        BERTH_ASSIGN(
            auto receiver, parts_.connection.consume(std::move(settings), std::move(handler))
        );
        receivers_.push_back(std::move(receiver));
        return {};
    }

    bool wait_unless_stopping(milliseconds wait) {
        std::unique_lock lock(stop_mutex_);
        return !stop_changed_.wait_for(lock, wait, [this] { return stopping_; });
    }

    void count(const char* verdict, SteadyTime began) {
        verdicts_.at(verdict).add();
        seconds_.observe(std::chrono::steady_clock::now() - began);
    }

    void on_command(bus::Delivery delivery) {
        const SteadyTime began = std::chrono::steady_clock::now();
        auto context = decode_context(delivery.message());
        const auto handler = commands_.find(verb_of(delivery.message().subject));
        if (!context || handler == commands_.end()) {
            const Error why =
                context
                    ? invalid("unknown_command", "no such command: " + delivery.message().subject)
                    : context.error();
            dead_letter(std::move(delivery), why);
            return;
        }
        auto handled = run(*context, context->command_id, delivery.message(), handler->second);
        if (!handled) {
            fail(std::move(delivery), *context, handled.error());
            return;
        }
        count(handled->verdict, began);
        parts_.relay.publish_committed(std::move(handled->messages));
        reply_and_ack(std::move(delivery), *context, handled->outcome);
    }

    void on_event(const std::string& durable, bus::Delivery delivery) {
        const SteadyTime began = std::chrono::steady_clock::now();
        auto context = decode_context(delivery.message());
        if (!context) {
            dead_letter(std::move(delivery), context.error());
            return;
        }
        context->deadline = WallTime::max();
        auto handled = run(
            *context, durable + "/" + context->command_id, delivery.message(), events_.at(durable)
        );
        if (!handled) {
            fail(std::move(delivery), *context, handled.error());
            return;
        }
        if (handled->outcome.status == "failure" &&
            std::string_view(handled->verdict) == "refused") {
            // A fact cannot be refused: an event that a handler finds wrong is somebody's bug, kept
            // for reading.
            dead_letter(std::move(delivery), invalid("event_refused", handled->outcome.payload));
            return;
        }
        count(handled->verdict, began);
        parts_.relay.publish_committed(std::move(handled->messages));
        delivery.ack();
    }

    void on_query(bus::Delivery delivery) {
        const SteadyTime began = std::chrono::steady_clock::now();
        auto context = decode_context(delivery.message());
        const auto handler = queries_.find(verb_of(delivery.message().subject));
        if (!context || handler == queries_.end()) {
            dead_letter(
                std::move(delivery),
                context ? invalid("unknown_query", delivery.message().subject) : context.error()
            );
            return;
        }
        if (context->now > context->deadline) {  // nobody waits for it any more
            count("expired", began);
            delivery.ack();
            return;
        }
        const auto decision = handler->second(*context, delivery.message().payload);
        count(decision ? "ok" : "refused", began);
        const store::Outcome outcome =
            decision ? store::Outcome{decision->reply_type, "ok", decision->reply_payload}
                     : failure_outcome(decision.error());
        reply_and_ack(std::move(delivery), *context, outcome);
    }

    /// Claims, decides and commits. An error is internal (a bug) or means that the service is
    /// stopping; outages are waited for here, with the message held.
    Result<Handled> run(
        const Context& context,
        const std::string& inbox_id,
        const bus::Message& message,
        const Command& handler
    ) {
        const std::string digest = identity::sha256(message.payload);
        // Almost every message is new: its id is recorded with its outcome, by COMMIT. One that is
        // known after all, or too late, is looked at first.
        bool known_before = false;
        for (;;) {
            std::optional<Error> refusal;
            bool expired = false;
            Context current = context;
            current.now = Clock::system().now();
            const bool late = current.now > current.deadline;
            auto handled = parts_.pool.transact([&](store::Transaction& tx) -> Result<Handled> {
                const bool look_first = known_before || late;
                if (look_first) {
                    BERTH_ASSIGN(Handled known, claim(tx, inbox_id, digest));
                    if (std::string_view(known.verdict) != "ok") return known;
                }
                if (late) {
                    expired = true;
                    return deadline("expired", "the request came too late to be carried out");
                }
                auto decision = handler(current, message.payload, tx);
                if (!decision) {
                    if (!is_outage(decision.error()) && decision.error().fault != Fault::kInternal)
                        refusal = decision.error();
                    return decision.error();
                }
                Handled done{
                    {decision->reply_type,
                     decision->refused ? "failure" : "ok",
                     decision->reply_payload},
                    std::move(decision->messages),
                    decision->refused ? "refused" : "ok",
                    std::move(decision->committed)};
                if (!done.messages.empty()) BERTH_TRY(store::Outbox::add_all(tx, done.messages));
                if (look_first) {
                    store::Inbox::settle(tx, inbox_id, done.outcome);
                } else {
                    store::Inbox::record(tx, inbox_id, digest, done.outcome);
                }
                return done;
            });
            // Not stored: it had no effect, and it follows from this message's own deadline. The
            // same command asked anew, after an outage that outlived the first question, is carried
            // out.
            if (!handled && !known_before && store::Inbox::was_claimed(handled.error())) {
                known_before = true;
                continue;
            }
            if (!handled && expired)
                return Handled{failure_outcome(handled.error()), {}, "expired"};
            if (!handled && refusal) handled = store_refusal(inbox_id, digest, *refusal);
            if (handled && handled->committed) handled->committed();
            if (handled || !is_outage(handled.error())) return handled;
            log::warning(
                "held until the outage ends",
                {{"subject", message.subject}, {"error", handled.error()}}
            );
            if (!wait_unless_stopping(kOutageWait))
                return unavailable("stopping", "the service is stopping");
        }
    }

    Result<Handled> claim(
        store::Transaction& tx, const std::string& inbox_id, const std::string& digest
    ) {
        BERTH_ASSIGN(const store::Claim claim, store::Inbox::claim(tx, inbox_id, digest));
        if (claim.is_known()) {
            inbox_hits_.add();
            return Handled{claim.outcome, {}, "repeated"};
        }
        if (claim.is_conflict()) {
            return Handled{
                failure_outcome(conflict(
                    "idempotency_conflict",
                    "this idempotency key was used for a different request; use a new key"
                )),
                {},
                "refused"};
        }
        return Handled{};
    }

    Result<Handled> store_refusal(
        const std::string& inbox_id, const std::string& digest, const Error& refusal
    ) {
        return parts_.pool.transact([&](store::Transaction& tx) -> Result<Handled> {
            BERTH_ASSIGN(Handled known, claim(tx, inbox_id, digest));
            if (std::string_view(known.verdict) != "ok") return known;
            Handled refused{failure_outcome(refusal), {}, "refused"};
            store::Inbox::settle(tx, inbox_id, refused.outcome);
            return refused;
        });
    }

    bus::Message make_reply(
        const bus::Message& command, const Context& context, const store::Outcome& outcome
    ) const {
        bus::Message reply;
        reply.subject = bus::reply_subject(
            command.header(bus::kReplyTo), parts_.token, parts_.instance, context.command_id
        );
        const std::string cause(command.header(bus::kMsgId));
        reply.headers = {
            {std::string(bus::kMsgId), cause + "/r"},
            {std::string(bus::kCeSpecVersion), "1.0"},
            {std::string(bus::kCeId), context.command_id},
            {std::string(bus::kCeType), outcome.type},
            {std::string(bus::kCeSource), "berth/" + parts_.token},
            {std::string(bus::kCausationId), cause},
            {std::string(bus::kStatus), outcome.status},
        };
        reply.payload = outcome.payload;
        return reply;
    }

    /// The command is acked when its reply is stored. A reply that cannot be stored brings the
    /// command back, and the inbox then repeats the outcome: the inbox row is the promise, not this
    /// process.
    void reply_and_ack(
        bus::Delivery delivery, const Context& context, const store::Outcome& outcome
    ) {
        if (delivery.message().header(bus::kReplyTo).empty()) {
            delivery.ack();
            return;
        }
        bus::Message reply = make_reply(delivery.message(), context, outcome);
        auto held = std::make_shared<bus::Delivery>(std::move(delivery));
        parts_.connection.publish(
            std::move(reply),
            [held](Result<bus::PubAck> stored) {
                if (stored) {
                    held->ack();
                } else {
                    held->nak(kReplyRetry);
                }
            },
            kReplyTimeout
        );
    }

    void fail(bus::Delivery delivery, const Context& context, const Error& error) {
        if (error.code == "stopping") {
            delivery.nak(milliseconds{0});
            return;
        }
        const int attempts = count_attempt(context.command_id);
        if (attempts < kMaxAttempts) {
            verdicts_.at("retried").add();
            log::warning(
                "a handler failed, to be tried again",
                {{"subject", delivery.message().subject},
                 {"command_id", context.command_id},
                 {"attempt", attempts},
                 {"error", error}}
            );
            delivery.nak(kFailureBackoff * (1 << attempts));
            return;
        }
        // The asker first: whatever happens to the dead letter, it is not left waiting.
        if (!delivery.message().header(bus::kReplyTo).empty()) {
            const Error told = internal(
                "internal",
                "the request failed inside Berth and was put aside; the operator finds it in the "
                "dead letters as " +
                    context.command_id
            );
            (void)parts_.connection.publish_wait(
                make_reply(delivery.message(), context, failure_outcome(told)), kReplyTimeout
            );
        }
        dead_letter(std::move(delivery), error);
    }

    int count_attempt(const std::string& command_id) {
        const std::lock_guard lock(attempts_mutex_);
        if (attempts_.size() >= kMaxRemembered) attempts_.erase(attempts_.begin());
        return ++attempts_[command_id];
    }

    void dead_letter(bus::Delivery delivery, const Error& why) {
        const bus::Message& original = delivery.message();
        bus::Message letter;
        const auto tokens = split(original.subject, '.');
        const std::string kind(tokens.size() > 1 ? tokens[1] : "unknown");
        letter.subject = "berth.dlq." +
                         (kind == "evt" ? std::string("evt") : kind + "_" + parts_.token) + "." +
                         parts_.token;
        letter.headers = original.headers;
        letter.set_header(
            bus::kMsgId,
            "dlq/" + parts_.token + "/" + original.subject + "/" +
                std::to_string(delivery.sequence())
        );
        letter.set_header("berth-dlq-subject", original.subject);
        letter.set_header("berth-dlq-reason", why.code + ": " + why.message);
        letter.payload = original.payload;
        const auto stored = parts_.connection.publish_wait(std::move(letter));
        if (!stored) {
            delivery.nak(seconds{2});
            return;
        }
        verdicts_.at("dead").add();
        dead_letters_.add();
        log::warning("put into the dead letters", {{"subject", original.subject}, {"error", why}});
        delivery.term();
    }

    const Parts parts_;
    std::map<std::string_view, metrics::Counter> verdicts_;
    metrics::Histogram seconds_;
    metrics::Counter inbox_hits_;
    metrics::Counter dead_letters_;
    std::mutex attempts_mutex_;
    std::map<std::string, int> attempts_;  // by attempts_mutex_
    std::mutex stop_mutex_;
    std::condition_variable stop_changed_;
    bool stopping_ = false;  // by stop_mutex_
    std::vector<std::unique_ptr<bus::Receiver>> receivers_;
};

Handlers::Handlers(Parts parts) : impl_(std::make_unique<Impl>(std::move(parts))) {}
Handlers::~Handlers() = default;
void Handlers::command(std::string verb, Command handler) {
    impl_->commands_[std::move(verb)] = std::move(handler);
}
void Handlers::query(std::string verb, Query handler) {
    impl_->queries_[std::move(verb)] = std::move(handler);
}
void Handlers::event(std::string durable, Event handler) {
    impl_->events_[std::move(durable)] = std::move(handler);
}
Result<void> Handlers::start() { return impl_->start(); }
void Handlers::stop() { impl_->stop(); }

}  // namespace berth::service
