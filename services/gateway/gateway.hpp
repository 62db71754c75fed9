// SPDX-License-Identifier: Apache-2.0
// The gateway put together: the HTTP server, and the parts its endpoints share.
#pragma once

#include <memory>
#include <string>

#include "bus/asker.hpp"
#include "bus/connection.hpp"
#include "gateway/settings.hpp"
#include "metrics/metrics.hpp"
#include "store/outbox.hpp"
#include "store/postgres.hpp"

namespace berth::gateway {

/// Thread-safe. The parts given must outlive it.
class Gateway {
public:
    struct Parts {
        bus::Connection& bus;
        bus::Asker& asker;
        store::Pool& pool;
        metrics::Registry& metrics;
        store::Relay* relay = nullptr;  ///< none: the background of others' sends what is told
    };
    Gateway(GatewaySettings settings, Parts parts);
    ~Gateway();
    Gateway(const Gateway&) = delete;
    Gateway& operator=(const Gateway&) = delete;

    /// Imports the bootstrap token, listens to events and presences, then serves.
    Result<void> start();
    /// Ends streams and WebSockets, lets requests under way finish for a few seconds. Idempotent.
    void stop();
    /// "http://127.0.0.1:40123" or "unix:/path", once started.
    std::string url() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::gateway
