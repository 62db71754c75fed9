// SPDX-License-Identifier: Apache-2.0
// JSON or multipart out, {"ok": …} back.
#include "telegram/bot_api.hpp"

#include <array>
#include <cstdint>

#include "core/random.hpp"
#include "core/text.hpp"

namespace berth::telegram {
namespace {

constexpr std::size_t kMaxAnswer = 32U << 20U;  // a hundred updates of the largest kind

chat::SendError no_answer(const Error& error) {
    using Kind = chat::SendError::Kind;
    const bool unsent =
        error.code == "http_unreachable" || error.code == "no_libcurl" || error.code == "bad_url";
    return {unsent ? Kind::kLater : Kind::kUnknown, {}, error.describe()};
}

/// Random, so that no file can hold it.
std::string make_boundary() {
    std::array<std::uint8_t, 16> bytes{};
    Random::system().fill(bytes);
    return "berth-" + hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Reply read(const http::Response& response) {
    Reply reply;
    reply.status = response.status;
    auto body = Json::parse(response.body, {kMaxAnswer, 64});
    const Json parsed = body ? std::move(*body) : Json();
    reply.ok = response.status == 200 && parsed.bool_or("ok", false);
    if (reply.ok) {
        if (const Json* result = parsed.find("result")) reply.result = *result;
        return reply;
    }
    reply.error = error_of(response.status, parsed);
    reply.moved_to = migrated_to(parsed);
    return reply;
}

}  // namespace

BotApi::BotApi(std::string url, Secret token, http::Sender sender)
    : url_(std::move(url)), token_(std::move(token)), sender_(std::move(sender)) {
    while (!url_.empty() && url_.back() == '/') url_.pop_back();
}

Reply BotApi::call(const Call& call, milliseconds timeout, std::function<bool()> canceled) const {
    http::Request request;
    request.method = "POST";
    request.url = url_ + "/bot" + token_.reveal() + "/" + call.method;
    request.timeout = timeout;
    request.max_response = kMaxAnswer;
    request.at_most_once = true;
    request.canceled = std::move(canceled);
    if (call.file_name.empty()) {
        request.headers.emplace_back("Content-Type", "application/json");
        request.body = call.parameters.dump();
    } else {
        const std::string boundary = make_boundary();
        request.headers.emplace_back("Content-Type", "multipart/form-data; boundary=" + boundary);
        request.body = multipart(call, boundary);
    }
    const auto response = sender_(request);
    if (response) return read(*response);
    Reply reply;
    reply.error = no_answer(response.error());
    return reply;
}

}  // namespace berth::telegram
