// SPDX-License-Identifier: Apache-2.0
// The common keys of a service's settings file.
#include "service/settings.hpp"

#include "core/id.hpp"

namespace berth::service {

Settings read_settings(config::Reader& reader) {
    Settings settings;
    settings.nats_url = reader.require_string("nats_url");
    settings.nats_ca_file = reader.get_string("nats_ca_file");
    settings.nats_name = reader.get_string("nats_name");
    settings.creds_file = reader.get_string("creds_file");
    settings.data_dir = reader.get_string("data_dir", ".");
    settings.listen = reader.get_string("listen", settings.listen);
    settings.addr_file = reader.get_string("addr_file");
    settings.postgres = reader.require_string("postgres");
    settings.instance = reader.get_string("instance");
    settings.workers = static_cast<int>(reader.get_int("workers", settings.workers, 1, 64));
    settings.max_in_flight =
        static_cast<int>(reader.get_int("max_in_flight", settings.max_in_flight, 1, 4096));
    if (settings.instance.empty()) {
        settings.instance = make_ulid(Clock::system().now(), Random::system());
    } else if (!is_subject_token(settings.instance)) {
        reader.reject("instance", "must be 1 to 64 characters of a-z 0-9 _ -");
    }
    return settings;
}

}  // namespace berth::service
