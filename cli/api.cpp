// SPDX-License-Identifier: Apache-2.0
// Encodes bodies by protobuf's JSON mapping and turns problems into errors with a remedy.
#include "cli/api.hpp"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "cli/words.hpp"
#include "core/id.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

constexpr milliseconds kAskAgain{200};
constexpr milliseconds kLongPoll{50'000};  // below the 55 s the gateway holds a question at most

Fault fault_of(int status) {
    switch (status) {
        case 400: return Fault::kInvalid;
        case 401: return Fault::kUnauthenticated;
        case 403: return Fault::kForbidden;
        case 404: return Fault::kNotFound;
        case 409: return Fault::kConflict;
        case 413: return Fault::kTooLarge;
        case 429: return Fault::kLimit;
        case 503:
        case 502: return Fault::kUnavailable;
        case 504: return Fault::kDeadline;
        default: return Fault::kInternal;
    }
}

Result<void> parse(const std::string& text, google::protobuf::Message& out) {
    google::protobuf::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;  // a newer gateway may say more
    if (!google::protobuf::util::JsonStringToMessage(text, &out, options).ok())
        return internal(
            "bad_answer", "the gateway's answer cannot be read; is --server a Berth gateway?"
        );
    return {};
}

// A line for each thing that a provider was asked for: its own words are a stranger's.
std::string attempt_lines(const Attempts& attempts) {
    std::string lines;
    for (const auto& attempt : attempts) {
        lines += fmt::format(
            "\n  {} {}: {}",
            printable(attempt.provider()),
            printable(attempt.target()),
            printable(attempt.code())
        );
        if (!attempt.message().empty()) lines += fmt::format(" ({})", printable(attempt.message()));
    }
    return lines;
}

}  // namespace

Error no_machine(std::string code, std::string_view why, const Attempts& attempts) {
    if (code == "capacity_exhausted" && !attempts.empty())
        return unavailable(
            std::move(code),
            fmt::format(
                "no provider has room for this machine:{}\ntry again later, or lease from a "
                "profile "
                "with other types or locations ('berth profiles')",
                attempt_lines(attempts)
            )
        );
    return unavailable(std::move(code), std::string(why) + attempt_lines(attempts));
}

std::string path_of(std::string_view collection, std::string_view id, std::string_view rest) {
    return fmt::format("/v1/{}/{}{}", collection, net::percent_encode(id), rest);
}

bool is_gateway_away(const Error& error) {
    return error.code == "connect_failed" || error.code == "connection_lost";
}

std::string to_json(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    options.always_print_primitive_fields = true;
    std::string out;
    if (!google::protobuf::util::MessageToJsonString(message, &out, options).ok()) return "{}";
    return out;
}

Api::Api(std::string server, Secret token)
    : server_(std::move(server)), token_(std::move(token)), client_(server_) {}

net::HeaderMap Api::headers() const {
    net::HeaderMap out;
    if (!token_.empty()) out.set("Authorization", "Bearer " + token_.reveal());
    return out;
}

Error Api::problem(int status, std::string_view body) {
    Error error{fault_of(status), "http_" + std::to_string(status), {}, {}};
    gateway::v1::Problem problem;
    if (parse(std::string(body), problem) && !problem.code().empty()) {
        error.code = problem.code();
        error.message = problem.detail().empty() ? problem.title() : problem.detail();
        error.field = problem.field();
        if (problem.attempts_size() > 0)
            error = no_machine(error.code, printable(error.message), problem.attempts());
    } else {
        error.message =
            fmt::format("the gateway answered {} {}", status, net::reason_phrase(status));
    }
    if (status == 401) error.message += "; log in with 'berth login'";
    return error;
}

Error Api::explain(Error error) const {
    if (error.code == "connect_failed") {
        error.message = fmt::format(
            "cannot reach the gateway at {} ({}); start one here with 'berth up', or name another "
            "with --server",
            server_,
            error.message
        );
    } else if (error.code == "timeout" || error.code == "connection_lost") {
        error.message =
            fmt::format("no answer from {} ({}); see 'berth status'", server_, error.message);
    }
    return error;
}

Result<std::string> Api::call(
    std::string_view method,
    const std::string& path,
    const std::string& body,
    milliseconds timeout,
    const std::string& key
) {
    net::HttpRequest request;
    request.method = method;
    request.path = path;
    request.headers = headers();
    request.headers.set("Accept", "application/json");
    if (!key.empty()) request.headers.set("Idempotency-Key", key);
    if (!body.empty()) request.headers.set("Content-Type", "application/json");
    request.body = body;
    request.timeout = timeout.count() > 0 ? timeout : patience_;
    auto answer = client_.send(request);
    if (!answer) return explain(std::move(answer).error());
    reached_ = true;
    if (answer->status < 200 || answer->status > 299) return problem(answer->status, answer->body);
    return std::move(answer->body);
}

Result<std::string> Api::insist(
    std::string_view method, const std::string& path, const std::string& body, milliseconds timeout
) {
    std::optional<SteadyTime> until;
    for (;;) {
        auto answer = call(method, path, body, timeout);
        if (answer || !reached_ || !is_gateway_away(answer.error())) return answer;
        const SteadyTime now = std::chrono::steady_clock::now();
        if (!until) until = now + kGatewayPatience;
        if (now > *until) return answer;
        std::this_thread::sleep_for(kAskAgain);
    }
}

Result<void> Api::exchange(
    std::string_view method,
    const std::string& path,
    std::string body,
    google::protobuf::Message& out,
    milliseconds timeout
) {
    BERTH_ASSIGN(
        const std::string text,
        method == "GET" ? insist(method, path, body, timeout) : call(method, path, body, timeout)
    );
    return parse(text, out);
}

template <typename Message>
Result<Message> Api::make(const std::string& path, const google::protobuf::Message& body) {
    const std::string key = make_ulid(Clock::system().now(), Random::system());
    const SteadyTime until = std::chrono::steady_clock::now() + patience_;
    const std::string text = to_json(body);
    for (bool asked = reached_;; asked = true) {
        const auto answer = call("POST", path, text, {}, key);
        Message out;
        if (answer) {
            BERTH_TRY(parse(*answer, out));
            return out;
        }
        const Error& error = answer.error();
        const bool lost = error.fault == Fault::kDeadline || error.code == "connection_lost" ||
                          (asked && error.code == "connect_failed");
        if (!lost || std::chrono::steady_clock::now() > until) return error;
        std::this_thread::sleep_for(kAskAgain);
    }
}

Result<lease::v1::Lease> Api::acquire(const gateway::v1::AcquireBody& body) {
    auto lease = make<lease::v1::Lease>("/v1/leases", body);
    if (lease || lease.error().code != "pool_exhausted") return lease;
    Error error = std::move(lease).error();
    error.message = fmt::format(
        "every machine of profile {} is taken; stand in line with --wait 10m, or see 'berth pool'",
        body.profile()
    );
    return error;
}

Result<lease::v1::Lease> Api::lease(std::string_view id) {
    return ask<lease::v1::Lease>("GET", path_of("leases", id));
}

Result<lease::v1::Lease> Api::look(std::string_view id, milliseconds hold) {
    hold = std::clamp(hold, milliseconds{1}, kLongPoll);
    const std::string query = fmt::format("?wait=active&timeout={}ms", hold.count());
    return ask<lease::v1::Lease>("GET", path_of("leases", id, query), {}, hold + seconds{15});
}

Result<std::string> Api::tree(std::string_view lease) {
    BERTH_ASSIGN(const auto found, ask<run::v1::Tree>("GET", path_of("leases", lease, "/tree")));
    return found.tree();
}

Result<run::v1::Run> Api::wait_ended(std::string_view id) {
    for (;;) {
        auto run = wait_ended(id, kLongPoll);
        if (!run || run->has_ended_at()) return run;
    }
}

Result<run::v1::Run> Api::wait_ended(std::string_view id, milliseconds patience) {
    const std::string query = fmt::format("?wait=ended&timeout={}ms", patience.count());
    return ask<run::v1::Run>("GET", path_of("runs", id, query), {}, patience + seconds{15});
}

Result<lease::v1::Lease> Api::heartbeat(std::string_view id) {
    return tell_lease(id, "/heartbeat", seconds{10});
}

Result<lease::v1::Lease> Api::release(std::string_view id) { return tell_lease(id, "/release"); }

Result<lease::v1::Lease> Api::tell_lease(
    std::string_view id, std::string_view verb, milliseconds timeout
) {
    BERTH_ASSIGN(const auto text, insist("POST", path_of("leases", id, verb), "{}", timeout));
    lease::v1::Lease lease;
    BERTH_TRY(parse(text, lease));
    return lease;
}

Result<lease::v1::ListReply> Api::leases(bool all, int pages) {
    lease::v1::ListReply out;
    std::string cursor;
    for (int page = 0; page < pages; ++page) {
        std::string path = std::string("/v1/leases?limit=100") + (all ? "&all=true" : "");
        if (!cursor.empty()) path += "&cursor=" + net::percent_encode(cursor);
        BERTH_ASSIGN(const auto reply, ask<lease::v1::ListReply>("GET", path));
        out.mutable_leases()->MergeFrom(reply.leases());
        cursor = reply.next_cursor();
        if (cursor.empty()) break;
    }
    return out;
}

Result<run::v1::Run> Api::start(const gateway::v1::RunBody& body) {
    return make<run::v1::Run>("/v1/runs", body);
}

Result<run::v1::Run> Api::run(std::string_view id) {
    return ask<run::v1::Run>("GET", path_of("runs", id));
}

Result<run::v1::ListReply> Api::runs(
    std::string_view lease, std::string_view cursor, std::string_view limit
) {
    std::string path = fmt::format("/v1/runs?limit={}", net::percent_encode(limit));
    if (!lease.empty()) path += "&lease=" + net::percent_encode(lease);
    if (!cursor.empty()) path += "&cursor=" + net::percent_encode(cursor);
    return ask<run::v1::ListReply>("GET", path);
}

Result<run::v1::Run> Api::cancel(std::string_view id, std::string_view grace) {
    gateway::v1::CancelBody body;
    body.set_grace(std::string(grace));
    return ask<run::v1::Run>("POST", path_of("runs", id, "/cancel"), to_json(body));
}

Result<void> Api::signal(std::string_view id, int number) {
    gateway::v1::SignalBody body;
    body.set_signal(number);
    // Short: the user holds Ctrl-C and waits.
    auto answer = call("POST", path_of("runs", id, "/signal"), to_json(body), seconds{5});
    if (!answer) return std::move(answer).error();
    return {};
}

Result<gateway::v1::Whoami> Api::whoami() { return ask<gateway::v1::Whoami>("GET", "/v1/whoami"); }
Result<gateway::v1::Status> Api::status() { return ask<gateway::v1::Status>("GET", "/v1/status"); }

Result<std::string> Api::text(std::string_view method, const std::string& path, std::string body) {
    return call(method, path, std::move(body));
}

Result<void> Api::stream(
    const std::string& path, const std::function<bool(std::string_view)>& on_chunk
) {
    net::HttpRequest request;
    request.path = path;
    request.headers = headers();
    request.timeout = milliseconds{0};  // silence is normal: nothing may happen for hours
    auto answer = client_.stream(request, on_chunk);
    if (!answer) return explain(std::move(answer).error());
    if (answer->status < 200 || answer->status > 299) return problem(answer->status, answer->body);
    return {};
}

}  // namespace berth::cli
