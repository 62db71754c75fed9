// SPDX-License-Identifier: Apache-2.0
// The gateway's keys of its settings file.
#include "gateway/settings.hpp"

#include <filesystem>

namespace berth::gateway {

GatewaySettings read_gateway_settings(config::Reader& reader) {
    GatewaySettings out;
    out.http_listen = reader.get_string("http_listen", out.http_listen);
    out.http_addr_file = reader.get_string("http_addr_file");
    out.bootstrap_token_file = reader.get_string("bootstrap_token_file");
    std::error_code error;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    out.node_bundle_file = reader.get_string(
        "node_bundle_file", (program.parent_path() / "berth-node.tar.gz").string()
    );
    out.ask_timeout = reader.get_duration("ask_timeout", out.ask_timeout);
    out.token_cache = reader.get_duration("token_cache", out.token_cache);
    out.streams_per_user =
        static_cast<std::size_t>(reader.get_int("streams_per_user", 100, 1, 10'000));
    return out;
}

}  // namespace berth::gateway
