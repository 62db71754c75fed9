// SPDX-License-Identifier: Apache-2.0
// What every service's main() does: settings, bus, database, health, signals and the order of
// stopping.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "bus/asker.hpp"
#include "bus/connection.hpp"
#include "metrics/metrics.hpp"
#include "service/handlers.hpp"
#include "service/settings.hpp"
#include "store/leader.hpp"
#include "store/migrations.hpp"
#include "store/outbox.hpp"
#include "store/postgres.hpp"

namespace berth::service {

/// The parts a service is composed from; they outlive its App.
class Runtime {
public:
    virtual ~Runtime() = default;
    virtual const Settings& settings() const = 0;
    virtual const std::string& token() const = 0;
    virtual bus::Connection& bus() = 0;
    virtual store::Pool& pool() = 0;
    virtual store::Relay& relay() = 0;
    virtual metrics::Registry& metrics() = 0;
    /// For a leader lock's own connection.
    virtual store::PoolSettings database() const = 0;
    /// Handlers wired to the parts above.
    virtual std::unique_ptr<Handlers> make_handlers() = 0;
};

/// A service. Destroyed before the runtime's parts.
class App {
public:
    virtual ~App() = default;
    /// Starts to work; readiness follows its success.
    virtual Result<void> start() = 0;
    /// Stops receiving and finishes what is under way.
    virtual void stop() = 0;
    /// Empty when ready, else why not. Called every second and by /readyz.
    virtual std::string not_ready() { return {}; }
};

/// What a service tells main.
struct Service {
    std::string token;    ///< "lease": subject, durable, NATS user, metric prefix, schema and role
    std::string summary;  ///< one line for --help
    std::span<const store::Migration> migrations;
    /// Reads the service's own keys from `reader` (the common ones are read) and composes the app.
    std::function<Result<std::unique_ptr<App>>(Runtime& runtime, config::Reader& reader)> compose;
};

/// Runs until SIGTERM or SIGINT (a second one exits at once). Returns the process's exit code: 0
/// after a stop that was asked for, 1 for anything else, with a line on stderr that says what to
/// do.
int run(const Service& service, int argc, char** argv);

}  // namespace berth::service
