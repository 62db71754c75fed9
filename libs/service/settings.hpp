// SPDX-License-Identifier: Apache-2.0
// What every service is told by its settings file (YAML, given with --config).
#pragma once

#include <string>

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::service {

struct Settings {
    std::string nats_url;      ///< nats:// or tls://
    std::string nats_ca_file;  ///< of tls: who signed the bus's certificate; empty: the system's
    std::string nats_name;     ///< of tls: the name it bears; empty: nats_url's host
    std::string creds_file;    ///< NATS .creds; empty: no authentication (tests)
    std::string data_dir;
    std::string listen = "127.0.0.1:0";  ///< health and metrics: /healthz /readyz /metrics
    std::string
        addr_file;  ///< the bound health address is written here, for whoever started the service
    std::string postgres;  ///< libpq conninfo; the file is 0600 since this may hold a password
    std::string instance;  ///< a subject token; empty: a new ULID at each start
    int workers =
        4;  ///< threads per consumer: more only helps where handlers wait for the database
    int max_in_flight = 64;  ///< deliveries held at once per consumer
};

/// Reads the common keys; the caller reads its own from the same reader and calls finish() on it.
Settings read_settings(config::Reader& reader);

}  // namespace berth::service
