// SPDX-License-Identifier: Apache-2.0
// Requests, repeated where that is safe, within the budget and the deadline.
#include "provisioner/drivers/hetzner/api.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/backoff.hpp"

namespace berth::prov::hetzner {
namespace {

// Hetzner's largest page.
constexpr int kPageSize = 50;
// 10,000 resources: a list that goes on for ever is a fault, not a project.
constexpr std::int64_t kMostPages = 200;
// A tenth of the hour's requests is kept from lists, so that machines can still be made and
// removed.
constexpr double kReserveShare = 0.1;

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return value;
}

std::string percent_encoded(std::string_view text) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
        }
    }
    return out;
}

/// The answer's JSON and, of a refusal, its words.
Result<Reply> understood(const http::Response& response) {
    Reply reply;
    reply.status = response.status;
    if (!response.body.empty()) {
        auto parsed = Json::parse(response.body);
        // A proxy's page instead of JSON: of a refusal the status says enough.
        if (parsed)
            reply.body = std::move(*parsed);
        else if (reply.ok())
            return internal("bad_answer", "the provider's answer is no JSON");
    }
    if (!reply.ok()) {
        const Json* error = reply.body.find("error");
        reply.code = error == nullptr ? "http_" + std::to_string(reply.status)
                                      : error->string_or("code", "unknown");
        if (error != nullptr) reply.message = error->string_or("message", "");
    }
    return reply;
}

Error lost(std::string_view what) {
    return deadline(
        std::string(kAnswerLost), "the provider's answer is lost: " + std::string(what)
    );
}

}  // namespace

Error refusal(const Reply& reply, const std::string& what) {
    const std::string words =
        what + ": " + reply.code + (reply.message.empty() ? "" : " (" + reply.message + ")");
    switch (reply.status) {
        case 401: return forbidden("provider_denied", words + "; check hetzner_token_file");
        case 403: return forbidden("provider_denied", words);
        case 404: return not_found("provider_missing", words);
        case 409:
        case 412:
        case 423: return unavailable("provider_busy", words);
        case 429: return unavailable("rate_limited", words);
        default: return invalid("provider_refused", words);
    }
}

Api::Api(ApiSettings settings, Sender sender, const Clock& clock)
    : settings_(std::move(settings)),
      sender_(std::move(sender)),
      clock_(clock),
      budget_(settings_.requests_per_hour, kReserveShare) {}

void Api::interrupt() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    interrupted_.notify_all();
}

double Api::budget_left() {
    const std::lock_guard lock(mutex_);
    return budget_.available(clock_.steady());
}

milliseconds Api::backoff(int attempt) const {
    return berth::backoff(attempt, settings_.first_pause, settings_.slowest_pause);
}

Result<void> Api::pause(milliseconds span, const Call& call) {
    if (clock_.steady() + span > call.until)
        return deadline("provider_slow", "the provider did not get there in time");
    std::unique_lock lock(mutex_);
    if (interrupted_.wait_for(lock, span, [this] { return stopping_; }))
        return unavailable("interrupted", "the provisioner is stopping");
    return {};
}

Result<void> Api::wait_for_budget(const Call& call) {
    for (;;) {
        milliseconds wait{};
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) return unavailable("interrupted", "the provisioner is stopping");
            wait = budget_.take(clock_.steady(), call.urgent);
        }
        if (wait == milliseconds{0}) return {};
        if (clock_.steady() + wait > call.until)
            return unavailable(
                "rate_limited",
                "the account's request budget is spent; more in " + format_duration(wait)
            );
        BERTH_TRY(pause(wait, call));
    }
}

void Api::note(const http::Response& response) {
    RateNotice notice;
    notice.limit = number_of<long long>(response.header("ratelimit-limit"));
    notice.remaining = number_of<long long>(response.header("ratelimit-remaining"));
    notice.reset_unix = number_of<long long>(response.header("ratelimit-reset"));
    notice.refused = response.status == 429;
    if (const auto pause_s = number_of<int>(response.header("retry-after")))
        notice.retry_after = seconds{*pause_s};
    const std::lock_guard lock(mutex_);
    budget_.heard(notice, clock_.steady(), clock_.now());
}

Result<Reply> Api::send(
    const char* method, const std::string& path, const Json* body, const Call& call
) {
    BERTH_TRY(wait_for_budget(call));
    const auto left = std::chrono::duration_cast<milliseconds>(call.until - clock_.steady());
    if (left <= milliseconds{0})
        return deadline("provider_slow", "no time was left to ask the provider");
    http::Request request;
    request.method = method;
    request.url = settings_.endpoint + path;
    request.timeout = std::min(settings_.request_timeout, left);
    request.headers = {
        {"Authorization", "Bearer " + settings_.token.reveal()}, {"User-Agent", "berth"}};
    if (body != nullptr) {
        request.headers.emplace_back("Content-Type", "application/json");
        request.body = body->dump();
    }
    const auto response = sender_(request);
    if (!response) {
        if (response.error().fault == Fault::kInvalid) return response.error();
        return lost(response.error().message);
    }
    note(*response);
    if (response->status >= 500) return lost("status " + std::to_string(response->status));
    BERTH_ASSIGN(Reply reply, understood(*response));
    if (reply.status == 401) return refusal(reply, std::string(method) + " " + path);
    return reply;
}

Result<Reply> Api::repeat(
    const char* method, const std::string& path, const Json* body, const Call& call
) {
    const bool changes = std::string_view(method) != "GET";
    for (int attempt = 0;; ++attempt) {
        auto reply = send(method, path, body, call);
        const bool last = attempt + 1 >= kTries;
        if (!reply) {
            if (reply.error().code != kAnswerLost) return reply;
            if (last) return unavailable("provider_unreachable", std::move(reply).error().message);
        } else {
            const bool busy = changes && (reply->status == 423 || reply->status == 409);
            if (reply->status != 429 && !busy) return reply;
            if (last) return refusal(*reply, std::string(method) + " " + path);
            if (reply->status == 429) continue;  // the budget knows how long to wait
        }
        BERTH_TRY(pause(backoff(attempt), call));
    }
}

Result<Reply> Api::get(const std::string& path, const Call& call) {
    return repeat("GET", path, nullptr, call);
}
Result<Reply> Api::put(const std::string& path, const Json& body, const Call& call) {
    return repeat("PUT", path, &body, call);
}
Result<Reply> Api::remove(const std::string& path, const Call& call) {
    return repeat("DELETE", path, nullptr, call);
}
Result<Reply> Api::post(const std::string& path, const Json& body, const Call& call) {
    return send("POST", path, &body, call);
}
Result<Reply> Api::post(const std::string& path, const Call& call) {
    return send("POST", path, nullptr, call);
}

Result<std::vector<Json>> Api::list_labelled(
    const std::string& kind, const std::string& selector, const Call& call
) {
    return list(kind, "label_selector=" + percent_encoded(selector), call);
}
Result<std::vector<Json>> Api::list_named(
    const std::string& kind, const std::string& name, const Call& call
) {
    return list(kind, "name=" + percent_encoded(name), call);
}

Result<std::vector<Json>> Api::list(
    const std::string& kind, const std::string& filter, const Call& call
) {
    std::vector<Json> items;
    std::int64_t page = 1;
    for (std::int64_t turns = 0; turns < kMostPages; ++turns) {
        const std::string path = "/" + kind + "?" + filter + "&page=" + std::to_string(page) +
                                 "&per_page=" + std::to_string(kPageSize);
        BERTH_ASSIGN(const Reply reply, get(path, call));
        if (!reply.ok()) return refusal(reply, "GET /" + kind);
        const Json* array = reply.body.find(kind);
        const Json* meta = reply.body.find("meta");
        const Json* pages = meta == nullptr ? nullptr : meta->find("pagination");
        if (array == nullptr || array->as_array() == nullptr || pages == nullptr)
            return internal("bad_answer", "the provider's list of " + kind + " is none");
        for (const Json& item : *array->as_array()) items.push_back(item);
        const std::int64_t next = pages->int_or("next_page", 0);
        if (next == 0) return items;
        if (next <= page)
            return internal("bad_answer", "the pages of the provider's list do not go forward");
        page = next;
    }
    return internal("bad_answer", "the provider's list of " + kind + " does not end");
}

}  // namespace berth::prov::hetzner
