// SPDX-License-Identifier: Apache-2.0
// What both buses share: the delivery that settles once, and the waiting publish.
#include "bus/connection.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "bus/completion.hpp"
#include "core/fd.hpp"

namespace berth::bus {
namespace {

constexpr milliseconds kLeastNakDelay{100};
// What an unsettled delivery waits for before it comes again: long enough not to spin, short enough
// to notice.
constexpr milliseconds kDroppedNakDelay{1'000};

}  // namespace

Delivery::Delivery(
    Message message, std::uint64_t sequence, std::uint64_t delivered, std::unique_ptr<Port> port
)
    : message_(std::move(message)),
      sequence_(sequence),
      delivered_(delivered),
      port_(std::move(port)) {}
Delivery::Delivery(Delivery&&) noexcept = default;
Delivery& Delivery::operator=(Delivery&&) noexcept = default;
Delivery::~Delivery() {
    if (port_) settle(Port::Verdict::kDropped, kDroppedNakDelay);
}

void Delivery::ack() { settle(Port::Verdict::kAck, milliseconds{0}); }
void Delivery::nak(milliseconds delay) {
    settle(Port::Verdict::kNak, std::max(delay, kLeastNakDelay));
}
void Delivery::term() { settle(Port::Verdict::kTerm, milliseconds{0}); }

void Delivery::settle(Port::Verdict verdict, milliseconds delay) {
    if (const std::unique_ptr<Port> port = std::move(port_)) port->settle(verdict, delay);
}

Result<PubAck> Connection::publish_wait(Message message, milliseconds timeout) {
    const auto completion = std::make_shared<Completion<PubAck>>();
    publish(
        std::move(message),
        [completion](Result<PubAck> result) { completion->set(std::move(result)); },
        timeout
    );
    // publish() itself ends at its timeout; the second on top only guards against a bug in it.
    auto result = completion->wait_until(std::chrono::steady_clock::now() + timeout + seconds{1});
    if (!result) return deadline("publish_timeout", "the bus did not confirm the message in time");
    return std::move(*result);
}

std::function<Result<Secret>()> credentials_from_file(std::string path) {
    return [path = std::move(path)]() -> Result<Secret> {
        BERTH_ASSIGN(std::string text, read_file(path, 64U << 10U));
        return Secret(std::move(text));
    };
}

Result<void> believe_only(const std::string& ca_file) {
    // libnats adds the system's authorities to whatever it is given, and has no switch for it;
    // OpenSSL asks these two where the system keeps them.
    if (::access(ca_file.c_str(), R_OK) != 0)
        return system_error("cannot read the bus's authority " + ca_file, errno);
    if (::setenv("SSL_CERT_FILE", ca_file.c_str(), 1) != 0 ||
        ::setenv("SSL_CERT_DIR", "/nonexistent", 1) != 0)
        return system_error("cannot set the authority", errno);
    return {};
}

}  // namespace berth::bus
