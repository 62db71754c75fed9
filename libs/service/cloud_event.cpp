// SPDX-License-Identifier: Apache-2.0
// The one place that knows the types of events.
#include "service/cloud_event.hpp"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <memory>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/node/v1/node.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "berth/run/v1/run.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "berth/webhook/v1/webhook.pb.h"
#include "core/json.hpp"
#include "core/text.hpp"

namespace berth::service {
namespace {

// Every message of a schema with events in it. A newer service's type is handed on as bytes.
const google::protobuf::Message* prototype_of(std::string_view type) {
    static const std::array<const google::protobuf::FileDescriptor*, 7> files{
        gateway::v1::UserChanged::descriptor()->file(),
        lease::v1::LeaseChanged::descriptor()->file(),
        node::v1::RunStarted::descriptor()->file(),
        prov::v1::MachineFact::descriptor()->file(),
        run::v1::RunChanged::descriptor()->file(),
        warden::v1::ApprovalChanged::descriptor()->file(),
        webhook::v1::SubscriberChanged::descriptor()->file()};
    const std::string name(type);
    for (const auto* file : files) {
        if (!name.starts_with(file->package() + ".")) continue;
        if (const auto* found =
                file->FindMessageTypeByName(name.substr(file->package().size() + 1)))
            return google::protobuf::MessageFactory::generated_factory()->GetPrototype(found);
    }
    return nullptr;
}

// The HTTP binding, section 3.1.3.2: what is not printable ASCII, and space, quote and percent.
std::string percent_encoded(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (c > ' ' && c < 0x7f && c != '"' && c != '%') {
            out.push_back(c);
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
    return out;
}

}  // namespace

std::string to_json(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    std::string out;
    // Fails only for an Any of an unknown type, which no schema of ours has.
    (void)google::protobuf::util::MessageToJsonString(message, &out, options);
    return out;
}

CloudEvent to_cloud_event(const bus::Message& message) {
    CloudEvent out;
    out.attributes.emplace_back("specversion", "1.0");
    for (const auto& [name, attribute] :
         std::initializer_list<std::pair<std::string_view, std::string_view>>{
             {bus::kCeId, "id"},
             {bus::kCeType, "type"},
             {bus::kCeSource, "source"},
             {bus::kCeTime, "time"},
             {bus::kCorrelationId, "correlationid"},
             {bus::kCausationId, "causationid"}}) {
        const auto value = message.header(name);
        if (!value.empty() && is_utf8(value)) out.attributes.emplace_back(attribute, value);
    }
    if (is_utf8(message.subject)) out.attributes.emplace_back("subject", message.subject);
    if (const auto* prototype = prototype_of(message.header(bus::kCeType))) {
        const std::unique_ptr<google::protobuf::Message> data(prototype->New());
        if (data->ParseFromString(message.payload)) {
            out.content_type = "application/json";
            out.data = to_json(*data);
            return out;
        }
    }
    out.content_type = "application/protobuf";
    out.data = message.payload;
    return out;
}

std::string structured_json(const CloudEvent& event) {
    std::string out = "{";
    for (const auto& [name, value] : event.attributes)
        out += "\"" + std::string(name) + "\":" + Json(value).dump() + ",";
    out += "\"datacontenttype\":\"" + std::string(event.content_type) + "\",";
    if (event.content_type == "application/json") return out + "\"data\":" + event.data + "}";
    return out + "\"data_base64\":\"" + base64(event.data) + "\"}";
}

std::vector<std::pair<std::string, std::string>> binary_headers(const CloudEvent& event) {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, value] : event.attributes)
        out.emplace_back("ce-" + std::string(name), percent_encoded(value));
    return out;
}

}  // namespace berth::service
