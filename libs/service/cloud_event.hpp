// SPDX-License-Identifier: Apache-2.0
// An event of the bus as others' programs read it: CloudEvents 1.0, with the data as JSON.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/message.hpp"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace berth::service {

/// Field names as in the schema (snake_case); fields with their default value are written too,
/// except unset messages and optionals. Enums are their names, 64-bit integers texts, bytes base64
/// (protobuf's mapping).
std::string to_json(const google::protobuf::Message& message);

/// An event in parts: what both HTTP modes are written from.
struct CloudEvent {
    /// specversion, id, type, source, time, correlationid, causationid, subject (the bus's, whole),
    /// in this order; those that are there and are UTF-8.
    std::vector<std::pair<std::string_view, std::string>> attributes;
    /// application/json, or application/protobuf where the type is of a newer schema.
    std::string_view content_type;
    std::string data;
};

/// Thread-safe.
CloudEvent to_cloud_event(const bus::Message& message);

/// The structured mode (application/cloudevents+json), on one line.
std::string structured_json(const CloudEvent& event);

/// The attributes of the binary mode as HTTP headers: ce-id and so on, percent-encoded as the HTTP
/// binding wants it.
std::vector<std::pair<std::string, std::string>> binary_headers(const CloudEvent& event);

}  // namespace berth::service
