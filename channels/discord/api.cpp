// SPDX-License-Identifier: Apache-2.0
// One request and its answer.
#include "discord/api.hpp"

#include <thread>

#include "discord/wire.hpp"

namespace berth::discord {
namespace {

constexpr std::size_t kMaxAnswer = 8U << 20U;

chat::SendError unsent(const Error& error) {
    return {
        http::nothing_sent(error) ? chat::SendError::Kind::kLater : chat::SendError::Kind::kUnknown,
        milliseconds{0},
        "Discord is not reached: " + error.message};
}

}  // namespace

Api::Api(std::string url, std::function<Secret()> token, http::Sender sender)
    : url_(std::move(url)), token_(std::move(token)), send_(std::move(sender)) {}

bool Api::wait_for_budget(const Call& call, const std::string& route, chat::SendError& error) {
    const SteadyTime give_up = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        const SteadyTime now = std::chrono::steady_clock::now();
        milliseconds wait{0};
        {
            const std::lock_guard lock(mutex_);
            wait = limits_.take(route, call.major, call.by_token, now);
        }
        if (wait.count() == 0) return true;
        if (now + wait > give_up) {
            error = {chat::SendError::Kind::kLater, wait, "Discord's budget for this is used up"};
            return false;
        }
        std::this_thread::sleep_for(wait);
    }
}

Answer Api::call(const Call& call) {
    Answer answer;
    const std::string route = call.method + " " + call.route;
    if (!wait_for_budget(call, route, answer.error)) return answer;
    http::Request request;
    request.method = call.method;
    request.url = url_ + call.path;
    request.timeout = call.timeout;
    request.max_response = kMaxAnswer;
    request.at_most_once = call.method == "POST";  // the others may be repeated
    request.headers.emplace_back("User-Agent", kUserAgent);
    if (!call.by_token) request.headers.emplace_back("Authorization", "Bot " + token_().reveal());
    if (!call.file_name.empty()) {
        const http::Form form = form_of(call.body, call.file_name, call.file_bytes);
        request.body = form.body();
        request.headers.emplace_back("Content-Type", form.content_type());
    } else if (!call.body.is_null()) {
        request.body = call.body.dump();
        request.headers.emplace_back("Content-Type", "application/json");
    }
    const auto response = send_(request);
    if (!response) {
        answer.error = unsent(response.error());
        return answer;
    }
    answer.status = response->status;
    if (auto body = Json::parse(response->body, {kMaxAnswer, 64}); body)
        answer.body = std::move(*body);
    answer.ok = response->status >= 200 && response->status < 300;
    if (!answer.ok)
        answer.error = error_of(answer.status, answer.body, response->header("retry-after"));
    learn(call, route, *response, answer);
    return answer;
}

void Api::learn(
    const Call& call, const std::string& route, const http::Response& response, const Answer& answer
) {
    const SteadyTime now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    const auto header = [&](std::string_view name) { return std::string(response.header(name)); };
    limits_.learn(
        route,
        call.major,
        {header("x-ratelimit-bucket"),
         header("x-ratelimit-remaining"),
         header("x-ratelimit-reset-after")},
        now
    );
    if (answer.status == 429) {
        const bool everywhere = header("x-ratelimit-global") == "true" ||
                                answer.body.bool_or("global", false) || !answer.body.is_object();
        limits_.refused(route, call.major, everywhere, answer.error.retry_after, now);
    }
    // A budget shared with others is not counted as our mistake (its documentation).
    const bool shared = header("x-ratelimit-scope") == "shared";
    if (answer.status == 401 || answer.status == 403 || (answer.status == 429 && !shared))
        limits_.invalid(now);
}

}  // namespace berth::discord
