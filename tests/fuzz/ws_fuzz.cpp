// SPDX-License-Identifier: Apache-2.0
// WebSocket frames in pieces of any size: the same events however the bytes were cut.
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "net/ws_frame.hpp"

namespace {

constexpr std::size_t kMaxMessage = 4'096;

std::string events_of(berth::net::WsParser::Role role, std::string_view bytes, std::size_t piece) {
    berth::net::WsParser parser(role, kMaxMessage);
    std::string told;
    while (!bytes.empty()) {
        parser.feed(bytes.substr(0, piece));
        bytes.remove_prefix(std::min(piece, bytes.size()));
        while (const auto event = parser.next()) {
            FUZZ_CHECK(event->payload.size() <= kMaxMessage);
            told += std::to_string(static_cast<int>(event->kind)) + ":" +
                    std::to_string(event->code) + ":" + event->payload + ";";
        }
    }
    return told;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view bytes = berth::fuzz::text_of(data + 1, size - 1);
    const auto role = data[0] % 2 == 0 ? berth::net::WsParser::Role::kServer
                                       : berth::net::WsParser::Role::kClient;
    FUZZ_CHECK(events_of(role, bytes, bytes.size()) == events_of(role, bytes, 1U + data[0] / 2U));
    (void)berth::net::is_ws_key(bytes);
    return 0;
}
