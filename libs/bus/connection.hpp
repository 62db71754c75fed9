// SPDX-License-Identifier: Apache-2.0
// The bus as everybody in Berth sees it. Two implementations keep one contract (tests/contract):
// NATS JetStream (connect) and an in-memory bus with seeded faults (memory_bus.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bus/message.hpp"
#include "core/secret.hpp"

namespace berth::bus {

/// A message that was delivered by a durable consumer and must be settled exactly once. Move-only.
/// Settle from any one thread. Destroyed unsettled it is negatively acknowledged with a delay:
/// nothing is lost, and it counts as a bug in the metrics. Until settled, the consumer keeps it
/// alive (+WPI). Must not outlive its Consumer's stop(); after that settling is a no-op and the
/// server redelivers.
class Delivery {
public:
    /// How a delivery reports its fate; implemented by each bus.
    class Port {
    public:
        virtual ~Port() = default;
        enum class Verdict { kAck, kNak, kTerm, kDropped };  // kDropped: a nak that nobody meant
        virtual void settle(Verdict verdict, milliseconds delay) = 0;
    };

    Delivery(
        Message message, std::uint64_t sequence, std::uint64_t delivered, std::unique_ptr<Port> port
    );
    Delivery(Delivery&&) noexcept;
    Delivery& operator=(Delivery&&) noexcept;
    ~Delivery();

    const Message& message() const { return message_; }
    /// The stream sequence, for dead letters.
    std::uint64_t sequence() const { return sequence_; }
    /// How often the server has handed it out, this time included. 1 on the first.
    std::uint64_t delivered() const { return delivered_; }

    void ack();
    /// Redelivered after `delay` (0 becomes 100 ms: an immediate redelivery loop helps nobody).
    void nak(milliseconds delay);
    /// Never again.
    void term();
    bool settled() const { return port_ == nullptr; }

private:
    void settle(Port::Verdict verdict, milliseconds delay);
    Message message_;
    std::uint64_t sequence_ = 0;
    std::uint64_t delivered_ = 0;
    std::unique_ptr<Port> port_;
};

/// A running subscription or consumer: stops receiving when destroyed or stopped. stop() returns
/// when no handler runs any more; do not call it from the handler itself.
class Receiver {
public:
    virtual ~Receiver() = default;
    virtual void stop() = 0;
};

/// How a durable consumer is drained. The durable exists already: services bind, they never create.
struct ConsumerSettings {
    std::string stream;
    std::string durable;
    std::size_t workers = 4;         ///< threads that run the handler; 0: the one that reads the
                                     ///< connection does, for a handler that never blocks
    std::size_t max_in_flight = 64;  ///< deliveries held at once (credit asked of the server)
    milliseconds ack_wait{5'000};    ///< the shortest of the durables' own; a held delivery is kept
                                     ///< alive at a third of it
};

/// An ordered, gap-free read of a stream without acknowledgements, that survives reconnects and a
/// consumer the server forgot. Only users with CONSUMER.CREATE on the stream may.
struct ReaderSettings {
    std::string stream;
    std::string filter;                 ///< one subject pattern
    std::uint64_t start_sequence = 1;   ///< first stream sequence wanted; 0: only new ones
    std::size_t batch = 64;             ///< messages asked for at once: the most held in memory
    std::size_t max_bytes = 8U << 20U;  ///< bytes asked for at once
};

/// A message of a reader.
struct ReadMessage {
    Message message;
    std::uint64_t sequence = 0;
    std::uint64_t pending = 0;  ///< messages of the filter that are stored behind this one
};

struct BusStats {
    std::atomic<std::uint64_t> published{0};
    std::atomic<std::uint64_t> publish_errors{0};
    std::atomic<std::uint64_t> delivered{0};
    std::atomic<std::uint64_t> redelivered{0};
    std::atomic<std::uint64_t> acked{0};
    std::atomic<std::uint64_t> nacked{0};
    std::atomic<std::uint64_t> termed{0};
    std::atomic<std::uint64_t> dropped_unsettled{0};
    std::atomic<std::uint64_t> reconnects{0};
    std::atomic<std::uint64_t> permission_violations{0};
    std::atomic<std::uint64_t> slow_consumer{0};
};

/// A connection to the bus. Thread-safe. Handlers run on the bus's own threads, one at a time per
/// receiver unless it is a durable consumer with several workers. A plain subscription's handler,
/// a publish's `done` and an ask's run in the thread that reads the connection: they must not
/// block, and what waits for the bus there waits for ever.
class Connection {
public:
    using PublishDone = std::function<void(Result<PubAck>)>;
    using MessageHandler = std::function<void(Message)>;
    using DeliveryHandler = std::function<void(Delivery)>;
    /// Returns false to stop reading.
    using ReadHandler = std::function<bool(ReadMessage)>;

    virtual ~Connection() = default;

    /// Publishes to a stream. `done` is called exactly once, on a bus thread or in the caller's:
    /// with the PubAck, or with an error after `timeout` (Fault::kDeadline: it may still be stored;
    /// publish again with the same Nats-Msg-Id), when the stream refuses (Fault::kLimit
    /// "stream_full"), or when more than 8,192 publishes or 64 MiB are unconfirmed (Fault::kLimit
    /// "publisher_full"). A publish that a reconnect interrupted is repeated with its id inside the
    /// timeout.
    virtual void publish(
        Message message, PublishDone done, milliseconds timeout = milliseconds{5000}
    ) = 0;
    /// The same, waiting. Not from a handler of a plain subscription.
    Result<PubAck> publish_wait(Message message, milliseconds timeout = milliseconds{5000});

    /// Fire and forget: at most once, no storage.
    virtual Result<void> publish_plain(
        std::string_view subject, std::string_view payload, const Headers& headers = {}
    ) = 0;

    virtual Result<std::unique_ptr<Receiver>> subscribe(
        std::string subject, MessageHandler handler
    ) = 0;
    virtual Result<std::unique_ptr<Receiver>> consume(
        ConsumerSettings settings, DeliveryHandler handler
    ) = 0;
    virtual Result<std::unique_ptr<Receiver>> read(
        ReaderSettings settings, ReadHandler handler
    ) = 0;

    /// A core request, for the JetStream API: the answer's payload.
    virtual Result<std::string> request(
        std::string_view subject, std::string_view payload, milliseconds timeout
    ) = 0;

    virtual bool connected() const = 0;
    /// Called on a bus thread after each reconnect. Cancelled by destroying the handle.
    virtual std::shared_ptr<void> on_reconnect(std::function<void()> handler) = 0;
    /// Pushes out what is buffered; returns when the server has seen it or the timeout passed.
    virtual Result<void> flush(milliseconds timeout) = 0;

    const BusStats& stats() const { return stats_; }
    BusStats& stats() { return stats_; }

private:
    BusStats stats_;
};

/// How to reach NATS.
struct ConnectSettings {
    /// nats://host:port, or tls://host:port: then nothing is said to a server that shows no
    /// certificate for `server_name` by an authority that is believed.
    std::string url = "nats://127.0.0.1:4222";
    std::string ca_file{};  ///< PEM; believed besides the system's authorities (see believe_only)
    std::string server_name{};  ///< the name the certificate must bear; empty: the url's host
    std::string name;           ///< shown by nats-server; also the inbox prefix's last token
    std::string inbox_prefix;   ///< "_INBOX.<user>"; the user's rights allow this and nothing else
    /// The newest credentials, asked for at every (re)connect: a .creds text (JWT and seed). Empty:
    /// none.
    std::function<Result<Secret>()> credentials;
    milliseconds connect_deadline{10'000};  ///< for the first connect, retried inside
    /// The connection closed for good (authorisation was revoked). A service exits; a node connects
    /// anew.
    std::function<void()> on_closed;
};

/// Connects. Retries inside the deadline (a login fails at random once in 256 with this client:
/// facts.md).
Result<std::unique_ptr<Connection>> connect(ConnectSettings settings);

/// From now on this process's connections believe the authorities of this file and no other, not
/// even the system's. Call before any thread begins; programs it starts inherit it by environment.
/// Error: the file cannot be read.
Result<void> believe_only(const std::string& ca_file);

/// Credentials from a file, read again at each connect.
std::function<Result<Secret>()> credentials_from_file(std::string path);

}  // namespace berth::bus
