// SPDX-License-Identifier: Apache-2.0
// The check of a body against its schema happens before protobuf's parser, whose messages name no
// field a client could use.
#include "gateway/json_body.hpp"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include "berth/gateway/v1/gateway.pb.h"
#include "core/json.hpp"

namespace berth::gateway {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxBody = 1U << 20U;

Error wrong(const std::string& path, std::string_view wanted) {
    return invalid("bad_body", "'" + path + "' must be " + std::string(wanted), path);
}

Result<void> check_object(const Json& value, const Descriptor& type, const std::string& path);

bool is_integer_text(const std::string& text) {
    return !text.empty() && text.find_first_not_of("-0123456789") == std::string::npos;
}

Result<void> check_single(
    const Json& value, const FieldDescriptor& field, const std::string& path
) {
    const bool number = value.as_int() != nullptr || value.as_double() != nullptr;
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_BOOL:
            if (value.as_bool() == nullptr) return wrong(path, "true or false");
            return {};
        case FieldDescriptor::CPPTYPE_STRING:
            if (value.as_string() == nullptr)
                return wrong(
                    path, field.type() == FieldDescriptor::TYPE_BYTES ? "a base64 text" : "a text"
                );
            if (value.as_string()->find('\0') != std::string::npos)
                return wrong(path, "a text without NUL");
            return {};
        case FieldDescriptor::CPPTYPE_ENUM:
            if (value.as_string() == nullptr && value.as_int() == nullptr)
                return wrong(path, "one of the documented names");
            return {};
        case FieldDescriptor::CPPTYPE_MESSAGE:
            // Timestamps and durations are texts in JSON; protobuf checks their form.
            if (field.message_type()->file()->package() == "google.protobuf") {
                if (value.as_string() == nullptr)
                    return wrong(path, "a text such as \"2030-01-31T09:00:00Z\"");
                return {};
            }
            if (!value.is_object()) return wrong(path, "an object");
            return check_object(value, *field.message_type(), path);
        case FieldDescriptor::CPPTYPE_DOUBLE:
        case FieldDescriptor::CPPTYPE_FLOAT:
            if (!number) return wrong(path, "a number");
            return {};
        default:
            if (value.as_int() != nullptr ||
                (value.as_string() != nullptr && is_integer_text(*value.as_string())))
                return {};
            return wrong(path, "a whole number");
    }
}

Result<void> check_field(const Json& value, const FieldDescriptor& field, const std::string& path) {
    if (value.is_null()) return {};
    if (field.is_map()) {
        const auto* object = value.as_object();
        if (object == nullptr) return wrong(path, "an object");
        for (const auto& [key, item] : *object) {
            if (key.find('\0') != std::string::npos)
                return wrong(path, "an object whose names have no NUL");
            BERTH_TRY(check_single(item, *field.message_type()->map_value(), path + "." + key));
        }
        return {};
    }
    if (!field.is_repeated()) return check_single(value, field, path);
    const auto* items = value.as_array();
    if (items == nullptr) return wrong(path, "a list");
    for (std::size_t i = 0; i < items->size(); ++i) {
        BERTH_TRY(check_single((*items)[i], field, path + "[" + std::to_string(i) + "]"));
    }
    return {};
}

Result<void> check_object(const Json& value, const Descriptor& type, const std::string& path) {
    for (const auto& [name, item] : *value.as_object()) {
        const auto* field = type.FindFieldByName(name);
        if (field == nullptr) field = type.FindFieldByCamelcaseName(name);
        const std::string here = path.empty() ? name : path + "." + name;
        if (field == nullptr)
            return invalid("unknown_field", "there is no field '" + here + "' here", here);
        BERTH_TRY(check_field(item, *field, here));
    }
    return {};
}

}  // namespace

Result<void> from_json(std::string_view text, google::protobuf::Message& out) {
    auto parsed = Json::parse(text, Json::Limits{kMaxBody, kMaxDepth});
    if (!parsed)
        return invalid("bad_body", "the body is not valid JSON: " + parsed.error().message);
    if (!parsed->is_object()) return invalid("bad_body", "the body must be a JSON object");
    BERTH_TRY(check_object(*parsed, *out.GetDescriptor(), ""));
    google::protobuf::util::JsonParseOptions options;
    options.ignore_unknown_fields = false;
    const auto status = google::protobuf::util::JsonStringToMessage(
        google::protobuf::StringPiece(text.data(), text.size()), &out, options
    );
    if (!status.ok())
        return invalid(
            "bad_body", "the body does not fit its schema: " + std::string(status.message())
        );
    return {};
}

Result<void> read_body(const net::Request& request, google::protobuf::Message& out) {
    if (request.body.empty()) return {};
    auto type = request.headers.get("Content-Type");
    type = type.substr(0, type.find(';'));
    while (type.ends_with(' ')) type.remove_suffix(1);
    if (!net::equal_no_case(type, "application/json")) {
        return invalid("bad_content_type", "the body must be application/json (Content-Type)");
    }
    return from_json(request.body, out);
}

net::Response to_problem(
    int status, const Error& error, std::string_view request_id, const Attempts& attempts
) {
    v1::Problem problem;
    problem.set_type("about:blank");
    problem.set_title(std::string(net::reason_phrase(status)));
    problem.set_status(static_cast<std::uint32_t>(status));
    problem.set_detail(error.message);
    problem.set_code(error.code);
    problem.set_field(error.field);
    problem.set_request_id(std::string(request_id));
    problem.mutable_attempts()->Add(attempts.begin(), attempts.end());
    net::Response response{status, "application/problem+json", {}, to_json(problem)};
    if (status == 401) response.headers.add("WWW-Authenticate", "Bearer realm=\"berth\"");
    if (status == 503 || status == 429) response.headers.add("Retry-After", "1");
    return response;
}

net::Response to_problem(
    const Error& error, std::string_view request_id, const Attempts& attempts
) {
    if (error.code == "bad_content_type") return to_problem(415, error, request_id);
    return to_problem(http_status(error.fault), error, request_id, attempts);
}

}  // namespace berth::gateway
