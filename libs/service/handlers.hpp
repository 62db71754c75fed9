// SPDX-License-Identifier: Apache-2.0
// The one handler protocol of every service (ARCHITECTURE.md, "One handler protocol"): inbox,
// decide, outbox, reply.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/connection.hpp"
#include "metrics/metrics.hpp"
#include "store/inbox.hpp"
#include "store/outbox.hpp"
#include "store/postgres.hpp"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace berth::service {

/// What a handler knows about the message beside its payload.
struct Context {
    std::string command_id;      ///< ce-id
    std::string correlation_id;  ///< of the first request in this chain
    std::string subject;
    std::string traceparent;
    WallTime now;
    WallTime deadline;  ///< the asker's; far future where it set none
};

/// What a handler decided. The messages go to the outbox in the handler's transaction, the reply to
/// the inbox row.
struct Decision {
    std::string reply_type;     ///< protobuf full name
    std::string reply_payload;  ///< serialized
    std::vector<store::OutboxMessage> messages;
    bool refused = false;  ///< the reply is a Failure, and yet what was written commits
    /// Called after the commit, on the handler's thread: to wake who looks at the rows. A hint
    /// only; it is lost with the process.
    std::function<void()> committed{};
};

/// A decision whose reply is `message`.
Decision reply_with(const google::protobuf::Message& message);

/// A refusal whose rows and messages commit: for what must be recorded though it is refused. (A
/// handler that returns the Error instead leaves nothing behind.)
Decision refuse_with(const Error& error, std::vector<store::OutboxMessage> messages);

/// An event for the outbox: berth.evt.<org>.<service>.<noun>.<fact>.<id> with CloudEvents headers.
/// `entity` is "<noun>/<id>": its events go out in revision order.
store::OutboxMessage make_event(
    const Context& context,
    std::string_view service,
    std::string_view org,
    std::string_view noun,
    std::string_view fact,
    std::string_view id,
    std::uint64_t revision,
    const google::protobuf::Message& payload
);

/// A command for the outbox, wanting no reply. Its id is derived from the cause (child_command_id),
/// so that a repeated cause makes the same command. `entity` orders it among the same entity's
/// messages.
store::OutboxMessage make_command(
    const Context& context,
    std::string_view service,
    std::string subject,
    std::string_view purpose,
    std::string entity,
    const google::protobuf::Message& payload,
    milliseconds timeout
);

/// A ULID that is a digest of the cause's command id and a purpose: the same each time.
std::string child_command_id(std::string_view command_id, std::string_view purpose);

/// A handler's own decoding of the payload has failed: never worth a retry.
Error undecodable(std::string_view type);

/// Where the handlers of a service meet the bus. Thread-safe after start(). Handlers run on worker
/// threads, several at once; their transaction is their own.
///
/// A handler that returns an Error of a permanent class (invalid, not found, conflict, …) has
/// refused: its transaction is rolled back, the refusal is the outcome. Unavailable and deadline
/// errors mean "again later": the message is held and the handler run anew, without counting as an
/// attempt. Internal errors count; after kMaxAttempts the asker is told, the message goes to the
/// dead letters and is ended.
class Handlers {
public:
    using Command = std::function<
        Result<Decision>(const Context&, const std::string& payload, store::Transaction&)>;
    using Query = std::function<Result<Decision>(const Context&, const std::string& payload)>;
    using Event = std::function<
        Result<Decision>(const Context&, const std::string& payload, store::Transaction&)>;

    static constexpr int kMaxAttempts = 5;  // a bug does not go away by itself; five cover a race

    struct Parts {
        bus::Connection& connection;
        store::Pool& pool;
        store::Relay& relay;
        metrics::Registry& metrics;
        std::string token;  // the service's: "lease"
        std::string instance;
        std::size_t workers;
        std::size_t max_in_flight;
    };
    explicit Handlers(Parts parts);
    ~Handlers();
    Handlers(const Handlers&) = delete;
    Handlers& operator=(const Handlers&) = delete;

    /// `verb` is the subject's fourth token: berth.cmd.<token>.<verb>[.…],
    /// berth.qry.<token>.<verb>.
    void command(std::string verb, Command handler);
    void query(std::string verb, Query handler);
    /// Events of a durable of stream EVT; the handler tells facts apart by the context's subject.
    /// Each event takes effect once.
    void event(std::string durable, Event handler);
    /// The same, where the handler is a member function of `owner`, which outlives this.
    template <typename Owner, typename... Arguments>
    void command(std::string verb, Owner* owner, Result<Decision> (Owner::*handler)(Arguments...)) {
        command(std::move(verb), bound(owner, handler));
    }
    template <typename Owner, typename... Arguments>
    void query(std::string verb, Owner* owner, Result<Decision> (Owner::*handler)(Arguments...)) {
        query(std::move(verb), bound(owner, handler));
    }
    template <typename Owner, typename... Arguments>
    void event(
        std::string durable, Owner* owner, Result<Decision> (Owner::*handler)(Arguments...)
    ) {
        event(std::move(durable), bound(owner, handler));
    }

    /// Begins to consume: CMD_<TOKEN> and QRY_<TOKEN> (durable <token>) where such handlers exist,
    /// and EVT.
    Result<void> start();
    /// Stops receiving and waits for handlers under way.
    void stop();

private:
    template <typename Owner, typename... Arguments>
    static auto bound(Owner* owner, Result<Decision> (Owner::*handler)(Arguments...)) {
        // Every argument is a reference: nothing is copied on the way.
        return [owner, handler](Arguments... arguments) { return (owner->*handler)(arguments...); };
    }

    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::service
