// SPDX-License-Identifier: Apache-2.0
// What travels on the bus: a subject, headers readable without decoding, a bare protobuf payload.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::bus {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Names of the headers Berth sets (CloudEvents 1.0 binary mode; extensions are lower-case, no
/// hyphen).
inline constexpr std::string_view kMsgId = "Nats-Msg-Id";
inline constexpr std::string_view kCeId = "ce-id";
inline constexpr std::string_view kCeSpecVersion = "ce-specversion";
inline constexpr std::string_view kCeType = "ce-type";
inline constexpr std::string_view kCeSource = "ce-source";
inline constexpr std::string_view kCeTime = "ce-time";
inline constexpr std::string_view kCeSubject = "ce-subject";
inline constexpr std::string_view kCeContentType = "ce-datacontenttype";
inline constexpr std::string_view kCorrelationId = "ce-correlationid";
inline constexpr std::string_view kCausationId = "ce-causationid";
inline constexpr std::string_view kReplyTo = "ce-replyto";
inline constexpr std::string_view kDeadline = "ce-deadline";
inline constexpr std::string_view kTraceparent = "traceparent";
/// Of a reply: "ok" or "failure" (the payload is then berth.common.v1.Failure).
inline constexpr std::string_view kStatus = "berth-status";

/// One message. The payload may hold any bytes; nats-server's default limit is 1 MiB with headers.
struct Message {
    std::string subject;
    Headers headers;
    std::string payload;

    /// The first header of that name (case-sensitive, as CloudEvents' NATS binding has them), or
    /// empty.
    std::string_view header(std::string_view name) const;
    void set_header(std::string_view name, std::string value);
};

/// Where a stored message went.
struct PubAck {
    std::string stream;
    std::uint64_t sequence = 0;
    bool duplicate = false;  ///< the stream had this Nats-Msg-Id already
};

/// True where `subject` matches `pattern` with NATS wildcards (`*` one token, `>` the rest).
bool subject_matches(std::string_view pattern, std::string_view subject);

}  // namespace berth::bus
