// SPDX-License-Identifier: Apache-2.0
// Sending, signing, repeating.
#include "provisioner/drivers/aws/ec2_client.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>

#include "core/backoff.hpp"
#include "core/text.hpp"
#include "log/log.hpp"
#include "provisioner/drivers/aws/ec2_codes.hpp"

namespace berth::prov::aws {
namespace {

// A request in all; EC2's own clients give up after 3 to 5.
constexpr int kTries = 5;
constexpr milliseconds kLongestPause{8'000};
// EC2 answers within seconds; RunInstances of one machine too.
constexpr milliseconds kPatience{30'000};
// What is kept of EC2's words: an encoded authorisation failure alone has kilobytes.
constexpr std::size_t kMaxWords = 300;
// A Date further away than this is not a skewed clock.
constexpr std::chrono::hours kMaxSkew{48};

struct Pool {
    std::mutex mutex;
    std::vector<http::Client> idle;
};

std::string words_of(std::string text) {
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    if (text.size() <= kMaxWords) return text;
    return clipped(text, kMaxWords) + "…";
}

/// scheme://host[:port] and the path after it, which is "/" for EC2.
struct Target {
    std::string url;
    std::string host;
};
Target target_of(std::string endpoint, const std::string& region) {
    constexpr std::string_view kMark = "{region}";
    if (const auto at = endpoint.find(kMark); at != std::string::npos)
        endpoint.replace(at, kMark.size(), region);
    while (endpoint.ends_with('/')) endpoint.pop_back();
    const auto scheme = endpoint.find("://");
    return {endpoint + "/", scheme == std::string::npos ? endpoint : endpoint.substr(scheme + 3)};
}

Error refused(
    const std::string& action,
    const std::string& region,
    const std::string& code,
    const std::string& words
) {
    return {
        fault_of(classify(code)),
        code,
        action + " in " + region + ": " + code + (words.empty() ? "" : ": " + words_of(words)),
        {}};
}

}  // namespace

HttpSend pooled_http() {
    return [pool = std::make_shared<Pool>()](const http::Request& request) {
        http::Client client = [&] {
            const std::lock_guard lock(pool->mutex);
            if (pool->idle.empty()) return http::Client();
            http::Client taken = std::move(pool->idle.back());
            pool->idle.pop_back();
            return taken;
        }();
        auto response = client.send(request);
        const std::lock_guard lock(pool->mutex);
        pool->idle.push_back(std::move(client));
        return response;
    };
}

Params::Params(std::string action) {
    add("Action", std::move(action));
    add("Version", "2016-11-15");
}
Params& Params::add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
    return *this;
}
Params& Params::filter(std::string_view name, const std::vector<std::string>& values) {
    const std::string prefix = "Filter." + std::to_string(++filters_);
    add(prefix + ".Name", std::string(name));
    int number = 0;
    for (const std::string& value : values)
        add(prefix + ".Value." + std::to_string(++number), value);
    return *this;
}
Params& Params::tags(std::string_view resource_type, const Tags& tags) {
    const std::string prefix = "TagSpecification." + std::to_string(++tag_specifications_);
    add(prefix + ".ResourceType", std::string(resource_type));
    int number = 0;
    for (const auto& [key, value] : tags) {
        const std::string tag = prefix + ".Tag." + std::to_string(++number);
        add(tag + ".Key", key);
        add(tag + ".Value", value);
    }
    return *this;
}
std::string Params::form() const {
    std::string out;
    for (const auto& [name, value] : fields_) {
        if (!out.empty()) out += '&';
        out += percent_encode(name) + "=" + percent_encode(value);
    }
    return out;
}

Ec2Client::Reply Ec2Client::send_once(
    const std::string& region, const Params& params, SteadyTime until
) {
    const Target target = target_of(settings_.endpoint, region);
    const Scope scope{clock_.now() + microseconds{offset_us_.load()}, region, "ec2"};
    SignedParts parts;
    parts.body = params.form();
    parts.headers = {
        {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"},
        {"Host", target.host},
        {"X-Amz-Date", amz_date(scope.time)}};
    const Secret& token = settings_.credentials.session_token;
    if (!token.empty()) parts.headers.emplace_back("X-Amz-Security-Token", token.reveal());
    http::Request request;
    request.method = parts.method;
    request.url = target.url;
    request.headers = parts.headers;
    request.headers.emplace_back(
        "Authorization", authorization(parts, scope, settings_.credentials)
    );
    request.body = std::move(parts.body);
    const auto left =
        std::chrono::duration_cast<milliseconds>(until - clock_.steady()) + milliseconds{1};
    request.timeout = std::min(kPatience, left);
    request.max_response = kMaxAnswer;
    auto response = send_(request);
    const Secret wiped(std::move(request.body));  // user data holds an enrolment token
    if (!response) {
        Error error = std::move(response).error();
        error.message = params.action() + " in " + region + ": " + error.message;
        return {std::move(error), {}};
    }
    std::string date(response->header("date"));
    if (response->status == 200) return {std::move(response->body), std::move(date)};
    if (const auto error = parse_error(response->body))
        return {refused(params.action(), region, error->code, error->message), std::move(date)};
    return {
        unavailable(
            "http_status",
            params.action() + " in " + region + ": HTTP " + std::to_string(response->status)
        ),
        std::move(date)};
}

Result<std::string> Ec2Client::call(
    const std::string& region, const Params& params, SteadyTime until
) {
    bool corrected = false;
    for (int attempt = 1;; ++attempt) {
        if (is_stopping()) return unavailable("interrupted", "the provisioner is stopping");
        if (clock_.steady() >= until)
            return deadline("no_time_left", params.action() + " in " + region + ": no time left");
        Reply reply = send_once(region, params, until);
        if (reply.result) return std::move(reply.result);
        const Error& error = reply.result.error();
        Refusal refusal = classify(error.code);
        // EC2 tells of a wrong clock as a failed signature, too.
        if (error.code == "SignatureDoesNotMatch" &&
            (error.message.find("Signature expired") != std::string::npos ||
             error.message.find("not yet current") != std::string::npos))
            refusal = Refusal::kClock;
        if (refusal == Refusal::kClock && !corrected && correct_clock(reply.date)) {
            corrected = true;
            continue;
        }
        const bool again = (refusal == Refusal::kThrottled || refusal == Refusal::kPassing) &&
                           error.code != "bad_url" && attempt < kTries;
        const milliseconds wait = pause(attempt);
        if (!again || clock_.steady() + wait >= until) return std::move(reply.result);
        log::debug("EC2 is asked again", {{"error", error}, {"attempt", attempt}});
        rest(wait);
    }
}

void Ec2Client::rest(milliseconds span) {
    std::unique_lock lock(mutex_);
    interrupted_.wait_for(lock, span, [this] { return stopping_; });
}

bool Ec2Client::is_stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
}

void Ec2Client::interrupt() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    interrupted_.notify_all();
}

bool Ec2Client::correct_clock(std::string_view date) {
    const auto theirs = parse_http_date(date);
    if (!theirs) return false;
    const auto offset = *theirs - clock_.now();
    if (offset > kMaxSkew || offset < -kMaxSkew) return false;
    offset_us_ = offset.count();
    log::warning(
        "this host's clock is wrong; AWS is asked by AWS's own",
        {{"offset_s", std::chrono::duration_cast<seconds>(offset).count()}}
    );
    return true;
}

milliseconds Ec2Client::pause(int attempt) const {
    return backoff(attempt - 1, settings_.backoff, kLongestPause);
}

Result<WallTime> parse_http_date(std::string_view text) {
    constexpr std::array<std::string_view, 12> kMonths = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const Error bad = invalid("bad_date", "the Date header cannot be read");
    if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT") return bad;
    const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
    if (month == kMonths.end()) return bad;
    const auto number = static_cast<int>(month - kMonths.begin()) + 1;
    return parse_rfc3339(
        std::string(text.substr(12, 4)) + (number < 10 ? "-0" : "-") + std::to_string(number) +
        "-" + std::string(text.substr(5, 2)) + "T" + std::string(text.substr(17, 8)) + "Z"
    );
}

}  // namespace berth::prov::aws
