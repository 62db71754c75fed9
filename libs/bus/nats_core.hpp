// SPDX-License-Identifier: Apache-2.0
// Private to libs/bus: ownership of libnats handles and the state that every part of a NATS
// connection shares.
#pragma once

#include <nats/nats.h>

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "bus/connection.hpp"
#include "bus/nats_loop.hpp"

namespace berth::bus {

template <typename T, void (*Destroy)(T*)>
struct NatsDeleter {
    void operator()(T* handle) const { Destroy(handle); }
};
using NatsOptionsPtr = std::unique_ptr<natsOptions, NatsDeleter<natsOptions, natsOptions_Destroy>>;
/// Ends a message, some time later. libnats frees messages on a thread of its own and wakes it for
/// each, which costs more than a small message does: they are handed over many at once.
/// Thread-safe.
void retire(natsMsg* message);
using NatsMsgPtr = std::unique_ptr<natsMsg, NatsDeleter<natsMsg, retire>>;
using RawHandler = std::function<void(natsMsg*)>;

/// The connection's shared heart. Receivers and the publisher hold it; the handle dies with the
/// last of them. Thread-safe: libnats' connection is, the rest is guarded.
class NatsCore {
public:
    NatsCore(ConnectSettings settings, BusStats& stats)
        : settings_(std::move(settings)), stats_(stats) {}
    ~NatsCore();
    NatsCore(const NatsCore&) = delete;
    NatsCore& operator=(const NatsCore&) = delete;

    Result<void> connect();
    /// No callback reaches the stats or the owner after this. Receivers notice by closed().
    void close();
    bool closed() const { return closed_.load(); }
    bool connected() const;

    natsConnection* handle() const { return connection_; }
    BusStats& stats() { return stats_; }
    const ConnectSettings& settings() const { return settings_; }
    /// A subject below the user's inbox prefix that nobody else of this process has.
    std::string new_inbox();

    std::shared_ptr<void> on_reconnect(std::function<void()> handler);
    /// Grows with each reconnect, so that a loop notices one it slept through.
    std::uint64_t epoch() const { return epoch_.load(); }

    Result<void> publish_raw(
        const std::string& subject,
        const std::string& reply,
        std::string_view payload,
        const Headers& headers
    );
    Result<std::string> request(
        std::string_view subject, std::string_view payload, milliseconds timeout
    );
    /// A publish whose answer is waited for: in the calling thread, which may not be the loop's.
    /// Error "no_responders": nobody hears the subject.
    Result<std::string> request(const Message& message, milliseconds timeout);
    /// Hands the subject's messages to `handler` in the loop's thread, which borrows each for the
    /// call and must not wait for the bus. Until hush(). `unheard` is called there when nobody
    /// heard a publish whose answer the subject awaits.
    Result<std::shared_ptr<NatsLoop::Listener>> listen(
        const std::string& subject, RawHandler handler, std::function<void()> unheard
    );
    /// Ends a subscription made on handle(), which no thread uses any more.
    void bury(natsSubscription* subscription) { loop_.bury(subscription); }
    /// Returns when the listener's handler does not run any more.
    void hush(const std::shared_ptr<NatsLoop::Listener>& listener) { loop_.forget(listener); }

private:
    Result<NatsOptionsPtr> make_options();
    static natsStatus on_jwt(char** jwt, char** error, void* closure);
    static natsStatus on_sign(
        char** error, unsigned char** signature, int* size, const char* nonce, void* closure
    );
    static void on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure);
    static void on_reconnected(natsConnection*, void* closure);
    static void on_closed(natsConnection*, void* closure);

    ConnectSettings settings_;
    BusStats& stats_;
    NatsLoop loop_;
    natsConnection* connection_ = nullptr;  // written once, by connect()
    std::atomic<bool> closed_{false};
    std::atomic<bool> nats_closed_{true};  // libnats will call no callback any more
    std::atomic<std::uint64_t> epoch_{0};
    std::atomic<std::uint64_t> inboxes_{0};
    std::mutex handlers_mutex_;
    std::map<std::uint64_t, std::weak_ptr<std::function<void()>>> handlers_;
    std::uint64_t next_handler_ = 0;
};

/// Our own message from libnats'. Keeps nothing of the original.
Message to_message(natsMsg* message);
/// The inline status of a JetStream control message ("100", "404", "408", "409", "503"), or empty
/// for data.
std::string_view status_of(natsMsg* message);
/// What a reply subject `$JS.ACK.…` of a delivered message says.
struct AckInfo {
    std::uint64_t delivered = 0;
    std::uint64_t stream_sequence = 0;
    std::uint64_t consumer_sequence = 0;
    std::uint64_t pending = 0;
};
bool parse_ack_subject(std::string_view reply, AckInfo& info);

Error nats_error(std::string_view what, natsStatus status);

/// The handler borrows the message for the call.
Result<std::unique_ptr<Receiver>> make_raw_subscription(
    std::shared_ptr<NatsCore> core,
    std::string subject,
    RawHandler handler,
    std::function<void()> unheard = {}
);
Result<std::unique_ptr<Receiver>> make_subscription(
    std::shared_ptr<NatsCore> core, std::string subject, Connection::MessageHandler handler
);
Result<std::unique_ptr<Receiver>> make_consumer(
    std::shared_ptr<NatsCore> core, ConsumerSettings settings, Connection::DeliveryHandler handler
);
Result<std::unique_ptr<Receiver>> make_reader(
    std::shared_ptr<NatsCore> core, ReaderSettings settings, Connection::ReadHandler handler
);

}  // namespace berth::bus
