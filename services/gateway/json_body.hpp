// SPDX-License-Identifier: Apache-2.0
// Between HTTP's JSON and protobuf: strict on the way in, complete on the way out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "berth/lease/v1/lease.pb.h"
#include "core/result.hpp"
#include "net/http_server.hpp"
#include "service/cloud_event.hpp"

namespace google::protobuf {
class Message;
}

namespace berth::gateway {

using service::to_json;

/// Fills `out` from `text`, which must be an object. Unknown members, wrong types, texts with
/// NUL, and nesting deeper than 32 are errors: code "bad_body" or "unknown_field" with the field's
/// path.
Result<void> from_json(std::string_view text, google::protobuf::Message& out);

/// The body of a request: its media type (415 "bad_content_type"), then as from_json. An empty body
/// is {}.
Result<void> read_body(const net::Request& request, google::protobuf::Message& out);

/// What providers were asked for in vain.
using Attempts = std::vector<lease::v1::Attempt>;

/// application/problem+json (RFC 9457) for an error.
net::Response to_problem(
    const Error& error, std::string_view request_id, const Attempts& attempts = {}
);
/// The same with a status that no Fault has (405, 415, 426).
net::Response to_problem(
    int status, const Error& error, std::string_view request_id, const Attempts& attempts = {}
);

}  // namespace berth::gateway
