// SPDX-License-Identifier: Apache-2.0
// Connecting to NATS with the traps of libnats 3.4.1 avoided: own login retry, every callback set,
// newest JWT.
#include "bus/nats_core.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>

#include "core/guarded.hpp"
#include "core/id.hpp"

namespace berth::bus {
namespace {

// A login fails at random once in 256 (a signature that begins with a zero byte): three times this
// in a row is one in 16 million, and the deadline still bounds the loop.
constexpr milliseconds kLoginRetry{50};
constexpr milliseconds kReconnectWait{100};
constexpr milliseconds kReconnectJitter{100};
constexpr std::int64_t kPingIntervalMs = 10'000;
constexpr int kMaxPingsOut = 3;
constexpr std::int64_t kConnectMs = 2'000;  // of one attempt, a TLS handshake included
constexpr int kReconnectBufferBytes = 32 << 20;
constexpr int kPendingBytes = 256 << 20;  // of one subscription, until its handler takes them
// Messages that wait to be freed together: as many, or as many bytes.
constexpr std::size_t kRetiredMessages = 64;
constexpr std::size_t kRetiredBytes = 256U << 10U;

std::string between(std::string_view text, std::string_view begin, std::string_view end) {
    const auto first = text.find(begin);
    if (first == std::string_view::npos) return {};
    const auto from = text.find('\n', first);
    const auto to = text.find(end, from);
    if (from == std::string_view::npos || to == std::string_view::npos) return {};
    std::string_view body = text.substr(from + 1, to - from - 1);
    while (!body.empty() && (body.back() == '\n' || body.back() == '\r' || body.back() == ' '))
        body.remove_suffix(1);
    return std::string(body);
}

char* duplicate(std::string_view text) {
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (copy == nullptr) std::abort();
    std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
    return copy;
}

Result<NatsMsgPtr> make_message(
    const std::string& subject,
    const std::string& reply,
    std::string_view payload,
    const Headers& headers
) {
    natsMsg* raw = nullptr;
    natsStatus status = natsMsg_Create(
        &raw,
        subject.c_str(),
        reply.empty() ? nullptr : reply.c_str(),
        payload.data(),
        static_cast<int>(payload.size())
    );
    NatsMsgPtr message(raw);
    for (auto it = headers.begin(); it != headers.end() && status == NATS_OK; ++it)
        status = natsMsgHeader_Set(raw, it->first.c_str(), it->second.c_str());
    if (status != NATS_OK) return nats_error("cannot make a message for " + subject, status);
    return message;
}

struct Retired {
    std::vector<natsMsg*> messages;
    std::size_t bytes = 0;
};

// Never destroyed: a message may end while the process does.
Guarded<Retired>& retired() {
    static auto* const one = new Guarded<Retired>;
    return *one;
}

void free_retired() {
    std::vector<natsMsg*> messages;
    {
        auto lock = retired().lock();
        messages.swap(lock->messages);
        lock->bytes = 0;
    }
    for (natsMsg* const message : messages) natsMsg_Destroy(message);
}

}  // namespace

void retire(natsMsg* message) {
    bool full = false;
    {
        auto lock = retired().lock();
        lock->bytes += static_cast<std::size_t>(natsMsg_GetDataLength(message));
        lock->messages.push_back(message);
        full = lock->messages.size() >= kRetiredMessages || lock->bytes >= kRetiredBytes;
    }
    if (full) free_retired();
}

Error nats_error(std::string_view what, natsStatus status) {
    std::string message = std::string(what) + ": " + natsStatus_GetText(status);
    // Only the library's last words tell which check of the certificate failed.
    if (status == NATS_SSL_ERROR || status == NATS_SECURE_CONNECTION_WANTED) {
        natsStatus last = NATS_OK;
        const char* words = nats_GetLastError(&last);
        if (words != nullptr && *words != '\0') message += ": " + std::string(words);
        return unavailable("bus_not_trusted", std::move(message));
    }
    if (status == NATS_TIMEOUT) return deadline("bus_timeout", std::move(message));
    return unavailable("bus_unavailable", std::move(message));
}

NatsCore::~NatsCore() {
    close();
    if (connection_ == nullptr) return;
    loop_.flush();  // the last verdicts, which may still be gathering
    loop_.stop();
    natsConnection_Close(connection_);
    // libnats calls the closed callback from a thread of its own; this object must outlive that
    // call.
    while (!nats_closed_.load()) std::this_thread::sleep_for(milliseconds{1});
    free_retired();
    natsConnection_Destroy(connection_);
}

void NatsCore::close() { closed_.store(true); }

bool NatsCore::connected() const {
    return !closed() && connection_ != nullptr &&
           natsConnection_Status(connection_) == NATS_CONN_STATUS_CONNECTED;
}

std::string NatsCore::new_inbox() {
    return settings_.inbox_prefix + "." + settings_.name + "." +
           std::to_string(inboxes_.fetch_add(1));
}

natsStatus NatsCore::on_jwt(char** jwt, char** error, void* closure) {
    const auto& self = *static_cast<NatsCore*>(closure);
    const auto text = self.settings_.credentials();
    if (!text) {
        *error = duplicate(text.error().message);
        return NATS_ERR;
    }
    *jwt = duplicate(
        between(text->reveal(), "-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------")
    );
    return NATS_OK;
}

natsStatus NatsCore::on_sign(
    char** error, unsigned char** signature, int* size, const char* nonce, void* closure
) {
    const auto& self = *static_cast<NatsCore*>(closure);
    const auto text = self.settings_.credentials();
    if (!text) {
        *error = duplicate(text.error().message);
        return NATS_ERR;
    }
    const Secret seed(
        between(text->reveal(), "-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------")
    );
    return nats_Sign(seed.reveal().c_str(), nonce, signature, size);
}

void NatsCore::on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
    auto& self = *static_cast<NatsCore*>(closure);
    if (self.closed()) return;
    if (status == NATS_NOT_PERMITTED) ++self.stats_.permission_violations;
    if (status == NATS_SLOW_CONSUMER) ++self.stats_.slow_consumer;
}

void NatsCore::on_reconnected(natsConnection*, void* closure) {
    auto& self = *static_cast<NatsCore*>(closure);
    if (self.closed()) return;
    ++self.stats_.reconnects;
    ++self.epoch_;
    std::vector<std::shared_ptr<std::function<void()>>> live;
    {
        const std::lock_guard lock(self.handlers_mutex_);
        std::erase_if(self.handlers_, [&live](const auto& entry) {
            if (auto handler = entry.second.lock()) {
                live.push_back(std::move(handler));
                return false;
            }
            return true;
        });
    }
    for (const auto& handler : live) (*handler)();
}

void NatsCore::on_closed(natsConnection*, void* closure) {
    auto& self = *static_cast<NatsCore*>(closure);
    if (!self.closed() && self.settings_.on_closed) self.settings_.on_closed();
    self.nats_closed_.store(true);
}

std::shared_ptr<void> NatsCore::on_reconnect(std::function<void()> handler) {
    auto held = std::make_shared<std::function<void()>>(std::move(handler));
    const std::lock_guard lock(handlers_mutex_);
    handlers_[next_handler_++] = held;
    return held;
}

Result<NatsOptionsPtr> NatsCore::make_options() {
    natsOptions* raw = nullptr;
    if (const natsStatus status = natsOptions_Create(&raw); status != NATS_OK)
        return nats_error("NATS options", status);
    NatsOptionsPtr options(raw);
    natsStatus status = natsOptions_SetURL(raw, settings_.url.c_str());
    const auto set = [&status](natsStatus next) { status = status == NATS_OK ? next : status; };
    set(natsOptions_SetName(raw, settings_.name.c_str()));
    if (!settings_.inbox_prefix.empty())
        set(natsOptions_SetCustomInboxPrefix(raw, settings_.inbox_prefix.c_str()));
    set(natsOptions_SetAllowReconnect(raw, true));
    set(natsOptions_SetMaxReconnect(raw, -1));
    set(natsOptions_SetReconnectWait(raw, kReconnectWait.count()));
    set(natsOptions_SetReconnectJitter(raw, kReconnectJitter.count(), kReconnectJitter.count()));
    set(natsOptions_SetReconnectBufSize(raw, kReconnectBufferBytes));
    set(natsOptions_SetPingInterval(raw, kPingIntervalMs));
    set(natsOptions_SetMaxPingsOut(raw, kMaxPingsOut));
    set(natsOptions_SetFailRequestsOnDisconnect(raw, true));
    set(natsOptions_SetTimeout(raw, kConnectMs));
    const bool tls = settings_.url.starts_with("tls://");
    if (tls) {
        set(natsOptions_SetSecure(raw, true));
        if (!settings_.ca_file.empty())
            set(natsOptions_LoadCATrustedCertificates(raw, settings_.ca_file.c_str()));
        if (!settings_.server_name.empty())
            set(natsOptions_SetExpectedHostname(raw, settings_.server_name.c_str()));
    }
    set(natsOptions_SetSendAsap(raw, true));
    set(natsOptions_SetMaxPendingMsgs(raw, 1 << 20));
    set(natsOptions_SetErrorHandler(raw, &NatsCore::on_error, this));
    set(natsOptions_SetReconnectedCB(raw, &NatsCore::on_reconnected, this));
    set(natsOptions_SetClosedCB(raw, &NatsCore::on_closed, this));
    if (settings_.credentials) {
        set(natsOptions_SetUserCredentialsCallbacks(
            raw, &NatsCore::on_jwt, this, &NatsCore::on_sign, this
        ));
    }
    if (status != NATS_OK) return nats_error("NATS options", status);
    BERTH_TRY(loop_.attach_to(raw, tls));
    return options;
}

Result<void> NatsCore::connect() {
    if (settings_.name.empty()) settings_.name = make_ulid(Clock::system().now(), Random::system());
    if (settings_.inbox_prefix.empty()) settings_.inbox_prefix = "_INBOX";
    BERTH_ASSIGN(const NatsOptionsPtr options, make_options());
    const SteadyTime until = std::chrono::steady_clock::now() + settings_.connect_deadline;
    for (;;) {
        nats_closed_.store(false);
        const natsStatus status = natsConnection_Connect(&connection_, options.get());
        if (status == NATS_OK) {
            loop_.start();
            return {};
        }
        nats_closed_.store(true);
        connection_ = nullptr;
        if (std::chrono::steady_clock::now() + kLoginRetry >= until) {
            return nats_error("cannot connect to NATS at " + settings_.url, status);
        }
        std::this_thread::sleep_for(kLoginRetry);
    }
}

Result<void> NatsCore::publish_raw(
    const std::string& subject,
    const std::string& reply,
    std::string_view payload,
    const Headers& headers
) {
    if (closed()) return unavailable("bus_closed", "the connection to the bus is closed");
    natsStatus status = NATS_OK;
    if (headers.empty()) {
        status = loop_.write([&] {
            const int size = static_cast<int>(payload.size());
            const char* const to = subject.c_str();
            if (reply.empty()) return natsConnection_Publish(connection_, to, payload.data(), size);
            return natsConnection_PublishRequest(
                connection_, to, reply.c_str(), payload.data(), size
            );
        });
    } else {
        BERTH_ASSIGN(const NatsMsgPtr message, make_message(subject, reply, payload, headers));
        status = loop_.write([&] { return natsConnection_PublishMsg(connection_, message.get()); });
    }
    if (status != NATS_OK) return nats_error("cannot publish to " + subject, status);
    return {};
}

Result<std::string> NatsCore::request(
    std::string_view subject, std::string_view payload, milliseconds timeout
) {
    return request(Message{std::string(subject), {}, std::string(payload)}, timeout);
}

Result<std::string> NatsCore::request(const Message& message, milliseconds timeout) {
    if (closed()) return unavailable("bus_closed", "the connection to the bus is closed");
    BERTH_ASSIGN(
        const NatsMsgPtr question,
        make_message(message.subject, {}, message.payload, message.headers)
    );
    natsMsg* raw = nullptr;
    const natsStatus status =
        natsConnection_RequestMsg(&raw, connection_, question.get(), timeout.count());
    const NatsMsgPtr answer(raw);
    if (status == NATS_NO_RESPONDERS) {
        return unavailable(
            "no_responders",
            "nobody answers on " + message.subject + " (is JetStream enabled and the name right?)"
        );
    }
    if (status != NATS_OK) return nats_error("request to " + message.subject, status);
    return std::string(natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw)));
}

Result<std::shared_ptr<NatsLoop::Listener>> NatsCore::listen(
    const std::string& subject, RawHandler handler, std::function<void()> unheard
) {
    natsSubscription* raw = nullptr;
    const natsStatus status = natsConnection_SubscribeSync(&raw, connection_, subject.c_str());
    if (status != NATS_OK) return nats_error("cannot subscribe to " + subject, status);
    natsSubscription_SetPendingLimits(raw, -1, kPendingBytes);
    return loop_.listen(
        raw,
        [this, handler = std::move(handler), unheard = std::move(unheard)](natsMsg* message) {
            const NatsMsgPtr held(message);
            if (closed()) return;
            if (message != nullptr)
                handler(message);
            else if (unheard)
                unheard();
        }
    );
}

Message to_message(natsMsg* message) {
    Message out;
    out.subject = natsMsg_GetSubject(message);
    out.payload.assign(
        natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))
    );
    const char** keys = nullptr;
    int count = 0;
    if (natsMsgHeader_Keys(message, &keys, &count) != NATS_OK) return out;
    out.headers.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        const char* value = nullptr;
        if (natsMsgHeader_Get(message, keys[i], &value) == NATS_OK && value != nullptr)
            out.headers.emplace_back(keys[i], value);
    }
    // The keys are the message's; only the array is ours.
    std::free(static_cast<void*>(keys));
    return out;
}

std::string_view status_of(natsMsg* message) {
    if (natsMsg_GetDataLength(message) != 0) return {};
    const char* value = nullptr;
    if (natsMsgHeader_Get(message, "Status", &value) != NATS_OK || value == nullptr) return {};
    return value;
}

bool parse_ack_subject(std::string_view reply, AckInfo& info) {
    // $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, and a
    // longer form with domain and account before the stream and a random token at the end (ADR-15).
    if (!reply.starts_with("$JS.ACK.")) return false;
    std::uint64_t numbers[16]{};
    std::size_t tokens = 0;
    std::size_t first = 0;
    for (std::size_t i = 0; i <= reply.size() && tokens < 16; ++i) {
        if (i != reply.size() && reply[i] != '.') continue;
        std::uint64_t value = 0;
        for (std::size_t k = first; k < i; ++k)
            value = value * 10 + static_cast<std::uint64_t>(reply[k] - '0');
        numbers[tokens++] = value;  // garbage for the textual tokens, which are not read
        first = i + 1;
    }
    if (tokens != 9 && tokens < 11) return false;
    const std::size_t base = tokens == 9 ? 4 : 6;
    info = {numbers[base], numbers[base + 1], numbers[base + 2], numbers[base + 4]};
    return true;
}

}  // namespace berth::bus
