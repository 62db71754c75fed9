// SPDX-License-Identifier: Apache-2.0
// Internal to libs/net: listening, connecting and waiting on plain sockets, each wait with a
// deadline.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "core/time.hpp"
#include "net/http_types.hpp"

namespace berth::net {

/// A non-blocking listening socket and the address a client needs.
struct Listener {
    Fd fd;
    std::string address;
    bool unix_socket = false;
};
Result<Listener> listen_on(const std::string& listen);

/// Wakes a thread that waits in one of the functions below. Async-signal-safe to fire.
class Interrupter {
public:
    Interrupter();
    void fire();
    bool fired() const { return fired_.load(std::memory_order_acquire); }
    int fd() const { return fd_.get(); }

private:
    Fd fd_;
    std::atomic<bool> fired_{false};
};

/// A connected, non-blocking byte pipe: a socket, or TLS over one. One reading and one writing
/// thread.
class Wire {
public:
    virtual ~Wire() = default;
    /// At most `size` bytes; 0 means the peer ended. Errors: "timeout", "canceled",
    /// "connection_lost".
    virtual Result<std::size_t> read(char* data, std::size_t size, SteadyTime deadline) = 0;
    virtual Result<void> write(std::string_view bytes, SteadyTime deadline) = 0;
    /// False where the peer has closed or sent something unasked: not to be reused for a next
    /// request.
    virtual bool reusable() = 0;
    /// Ends both directions; a reader wakes.
    virtual void shut_down() = 0;
};

/// Connects to `url` by TCP (with TCP_NODELAY, each address in turn), unix socket or TLS.
Result<std::unique_ptr<Wire>> open_wire(
    const BaseUrl& url, SteadyTime deadline, const Interrupter* interrupter
);

/// The far future, for waits without a deadline of their own.
inline constexpr SteadyTime kNever = SteadyTime::max();

/// "canceled" once `interrupter` has fired. Asked before each step and not only where one waits: a
/// peer that always has more to give must not keep a canceled reader busy.
Result<void> go_on(const Interrupter* interrupter);

/// Waits for poll(2) `events` on `fd`. Errors: "timeout", "canceled".
Result<void> wait_for(int fd, short events, SteadyTime deadline, const Interrupter* interrupter);

/// TLS over a connected socket; see tls.cpp for why it is loaded at run time.
Result<std::unique_ptr<Wire>> open_tls(
    Fd fd, const std::string& host, SteadyTime deadline, const Interrupter* interrupter
);

}  // namespace berth::net
