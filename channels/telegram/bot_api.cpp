// SPDX-License-Identifier: Apache-2.0
// JSON or multipart out, {"ok": …} back.
#include "telegram/bot_api.hpp"

namespace berth::telegram {
namespace {

constexpr std::size_t kMaxAnswer = 32U << 20U;  // a hundred updates of the largest kind

chat::SendError no_answer(const Error& error) {
    using Kind = chat::SendError::Kind;
    return {http::nothing_sent(error) ? Kind::kLater : Kind::kUnknown, {}, error.describe()};
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

BotApi::BotApi(std::string url, chat::LiveSecret token, http::Sender sender)
    : url_(std::move(url)), token_(std::move(token)), sender_(std::move(sender)) {
    while (!url_.empty() && url_.back() == '/') url_.pop_back();
}

Reply BotApi::call(const Call& call, milliseconds timeout, std::function<bool()> canceled) const {
    http::Request request;
    request.method = "POST";
    request.url = url_ + "/bot" + token_.read().reveal() + "/" + call.method;
    request.timeout = timeout;
    request.max_response = kMaxAnswer;
    request.at_most_once = true;
    request.canceled = std::move(canceled);
    if (call.file_name.empty()) {
        request.headers.emplace_back("Content-Type", "application/json");
        request.body = call.parameters.dump();
    } else {
        const http::Form form = form_of(call);
        request.headers.emplace_back("Content-Type", form.content_type());
        request.body = form.body();
    }
    const auto response = sender_(request);
    if (response) return read(*response);
    Reply reply;
    reply.error = no_answer(response.error());
    return reply;
}

}  // namespace berth::telegram
