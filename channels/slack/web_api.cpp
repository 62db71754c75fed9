// SPDX-License-Identifier: Apache-2.0
// Requests and the meaning of refusals.
#include "slack/web_api.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "net/http_types.hpp"

namespace berth::slack {
namespace {

using chat::SendError;
using Kind = SendError::Kind;

constexpr seconds kPatience{20};
constexpr seconds kDefaultPause{5};
constexpr std::string_view kJson = "application/json; charset=utf-8";
constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr std::string_view kAuthTest = "auth.test";
constexpr std::string_view kOpen = "apps.connections.open";
constexpr std::string_view kHooks = "https://hooks.slack.com/";

constexpr std::array<std::string_view, 5> kCredential{
    "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"};
constexpr std::array<std::string_view, 3> kMarkup{
    "invalid_blocks", "invalid_blocks_format", "markdown_text_conflict"};
constexpr std::array<std::string_view, 4> kGoneCodes{
    "message_not_found", "cant_update_message", "edit_window_closed", "no_message"};
constexpr std::array<std::string_view, 5> kUnsure{
    "fatal_error", "internal_error", "service_unavailable", "request_timeout", "unknown_error"};

template <std::size_t N>
bool holds(const std::array<std::string_view, N>& list, std::string_view code) {
    return std::find(list.begin(), list.end(), code) != list.end();
}

milliseconds seconds_of(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && value > 0 ? milliseconds{seconds{value}}
                                             : milliseconds{kDefaultPause};
}

std::string form_of(const Json& arguments) {
    std::string out;
    if (arguments.as_object() == nullptr) return out;
    for (const auto& [name, value] : *arguments.as_object()) {
        if (!out.empty()) out += '&';
        const std::string* text = value.as_string();
        out += net::percent_encode(name) + "=" +
               net::percent_encode(text != nullptr ? *text : value.dump());
    }
    return out;
}

/// "https://host:port" of an address.
std::string origin_of(const std::string& url) {
    const auto scheme = url.find("://");
    if (scheme == std::string::npos) return {};
    const auto path = url.find('/', scheme + 3);
    return url.substr(0, path) + "/";
}

}  // namespace

SendError error_of(std::string_view code) {
    const std::string reason(code);
    if (code == "ratelimited" || code == "rate_limited")
        return {Kind::kLater, kDefaultPause, reason};
    if (holds(kCredential, code)) return {Kind::kUnauthorized, milliseconds{0}, reason};
    if (holds(kMarkup, code)) return {Kind::kBadMarkup, milliseconds{0}, reason};
    if (holds(kGoneCodes, code)) return {Kind::kGone, milliseconds{0}, reason};
    if (holds(kUnsure, code)) return {Kind::kUnknown, milliseconds{0}, reason};
    return {Kind::kRefused, milliseconds{0}, reason};
}

SendError error_of(int status, std::string_view retry_after) {
    const std::string reason = "HTTP " + std::to_string(status);
    if (status == 429) return {Kind::kLater, seconds_of(retry_after), reason};
    if (status >= 500) return {Kind::kUnknown, milliseconds{0}, reason};
    if (status == 401 || status == 403) return {Kind::kUnauthorized, milliseconds{0}, reason};
    return {Kind::kRefused, milliseconds{0}, reason};
}

SendError error_of(const Error& error) {
    // Where something went out it may have been done.
    const Kind kind = http::nothing_sent(error) ? Kind::kLater : Kind::kUnknown;
    return {kind, milliseconds{0}, error.message};
}

WebApi::WebApi(const Settings& settings) : settings_(settings), sender_(http::make_sender()) {}

chat::SendResult<Json> WebApi::send(
    std::string_view method, const Secret& token, std::string body, std::string_view type
) {
    http::Request request;
    request.method = "POST";
    request.url = settings_.api_url + "/" + std::string(method);
    request.headers = {
        {"Authorization", "Bearer " + token.reveal()}, {"Content-Type", std::string(type)}};
    request.body = std::move(body);
    request.timeout = kPatience;
    request.at_most_once = true;
    const auto answer = sender_(request);
    if (!answer) return {std::nullopt, error_of(answer.error())};
    if (answer->status != 200)
        return {std::nullopt, error_of(answer->status, answer->header("retry-after"))};
    auto json = Json::parse(answer->body);
    if (!json) return {std::nullopt, {Kind::kUnknown, milliseconds{0}, "the answer is no JSON"}};
    if (json->bool_or("ok", false)) return {std::move(*json), {}};
    SendError error = error_of(json->string_or("error", "unknown_error"));
    // A scope that one method lacks (missing_scope) is no word about the token; here it is.
    if (error.kind == Kind::kRefused && (method == kAuthTest || method == kOpen))
        error.kind = Kind::kUnauthorized;
    return {std::nullopt, error};
}

chat::SendResult<Json> WebApi::call(std::string_view method, const Json& arguments) {
    return send(method, settings_.bot_token.read(), arguments.dump(), kJson);
}

chat::SendResult<Json> WebApi::call_form(std::string_view method, const Json& arguments) {
    return send(method, settings_.bot_token.read(), form_of(arguments), kForm);
}

chat::SendResult<Json> WebApi::auth_test() { return call_form(kAuthTest, Json::object()); }

chat::SendResult<std::string> WebApi::open_connection() {
    auto answer = send(kOpen, settings_.app_token.read(), {}, kForm);
    if (!answer.value) return {std::nullopt, answer.error};
    std::string url = answer.value->string_or("url", "");
    if (url.empty())
        return {std::nullopt, {Kind::kLater, milliseconds{0}, "Slack gave no address"}};
    return {std::move(url), {}};
}

chat::SendResult<bool> WebApi::upload(const std::string& url, const std::string& bytes) {
    http::Request request;
    request.method = "POST";
    request.url = url;
    request.headers = {{"Content-Type", "application/octet-stream"}};
    request.body = bytes;
    request.timeout = kPatience;
    const auto answer = sender_(request);
    if (!answer) return {std::nullopt, error_of(answer.error())};
    if (answer->status != 200)
        return {std::nullopt, error_of(answer->status, answer->header("retry-after"))};
    return {true, {}};
}

chat::SendResult<bool> WebApi::respond(const std::string& url, const Json& message) {
    const std::string own = origin_of(settings_.api_url);
    if (url.rfind(kHooks, 0) != 0 && (own.empty() || url.rfind(own, 0) != 0))
        return {std::nullopt, {Kind::kGone, milliseconds{0}, "not an address of Slack's"}};
    http::Request request;
    request.method = "POST";
    request.url = url;
    request.headers = {{"Content-Type", std::string(kJson)}};
    request.body = message.dump();
    request.timeout = kPatience;
    request.at_most_once = true;
    const auto answer = sender_(request);
    if (!answer) return {std::nullopt, error_of(answer.error())};
    if (answer->status == 200) return {true, {}};
    // Used up (5 answers) or old (30 minutes): the ordinary way is left.
    if (answer->status == 404 || answer->status == 410 || answer->status == 400)
        return {std::nullopt, {Kind::kGone, milliseconds{0}, "the handle has ended"}};
    return {std::nullopt, error_of(answer->status, answer->header("retry-after"))};
}

}  // namespace berth::slack
