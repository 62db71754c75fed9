// SPDX-License-Identifier: Apache-2.0
// The gateway's keys of its settings file.
#include "gateway/settings.hpp"

namespace berth::gateway {

GatewaySettings read_gateway_settings(config::Reader& reader) {
    GatewaySettings out;
    out.http_listen = reader.get_string("http_listen", out.http_listen);
    out.http_addr_file = reader.get_string("http_addr_file");
    out.bootstrap_token_file = reader.get_string("bootstrap_token_file");
    out.ask_timeout = reader.get_duration("ask_timeout", out.ask_timeout);
    out.token_cache = reader.get_duration("token_cache", out.token_cache);
    out.streams_per_user =
        static_cast<std::size_t>(reader.get_int("streams_per_user", 100, 1, 10'000));
    return out;
}

}  // namespace berth::gateway
