// SPDX-License-Identifier: Apache-2.0
// An event as the HTTP request that a subscriber gets.
#pragma once

#include <string>

#include "bus/message.hpp"
#include "core/secret.hpp"
#include "http/client.hpp"

namespace berth::webhook {

/// A subscriber as far as its requests need it, secrets opened.
struct Destination {
    std::string url;
    bool binary = false;
    Secret secret;
    Secret old_secret;  ///< empty: none
    WallTime old_secret_until{};
};

/// CloudEvents 1.0 in the mode wanted, signed now, to be sent to `address`.
http::Request make_post(
    const Destination& to,
    const bus::Message& event,
    const std::string& webhook_id,
    const std::string& address,
    WallTime now,
    milliseconds timeout
);

}  // namespace berth::webhook
