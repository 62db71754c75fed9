// SPDX-License-Identifier: Apache-2.0
// Slack's Web API: one call, and what its answer means for the message.
#pragma once

#include <string>
#include <string_view>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "http/client.hpp"
#include "slack/settings.hpp"

namespace berth::slack {

/// Thread-safe.
class WebApi {
public:
    explicit WebApi(const Settings& settings);

    /// POST <api_url>/<method> with JSON arguments and a bearer token; the answer where it is "ok".
    chat::SendResult<Json> call(std::string_view method, const Json& arguments);
    /// With form arguments, for methods that take no JSON.
    chat::SendResult<Json> call_form(std::string_view method, const Json& arguments);
    chat::SendResult<Json> auth_test();
    /// apps.connections.open: the address of a new Socket Mode connection.
    chat::SendResult<std::string> open_connection();
    /// The bytes of a file to the address that Slack gave for them.
    chat::SendResult<bool> upload(const std::string& url, const std::string& bytes);
    /// A response_url that came with a command or a click. Only Slack's own addresses are called.
    chat::SendResult<bool> respond(const std::string& url, const Json& message);

private:
    chat::SendResult<Json> send(
        std::string_view method, const Secret& token, std::string body, std::string_view type
    );
    const Settings& settings_;
    http::Sender sender_;
};

/// What an "error" of an answer means.
chat::SendError error_of(std::string_view code);
/// What a status or a broken exchange means; `retry_after` is the header's text.
chat::SendError error_of(int status, std::string_view retry_after);
chat::SendError error_of(const Error& error);

}  // namespace berth::slack
