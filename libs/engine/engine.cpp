// SPDX-License-Identifier: Apache-2.0
// Requests to the engine and what its answers mean.
#include "engine/engine.hpp"

#include <algorithm>
#include <charconv>

#include "net/http_client.hpp"

namespace berth::engine {
namespace {

// What is used here exists since 1.40 and unchanged in every version up to this one.
constexpr int kOldestMinor = 40;
constexpr int kNewestMinor = 47;
// Between two words of a build: a step may be a package manager's whole work.
constexpr milliseconds kBuildSilence{600'000};
// Between two words of an engine that fetches an image.
constexpr milliseconds kPullSilence{60'000};
constexpr Json::Limits kAnswerLimits{16U << 20U, 64};

Error away(const std::string& socket, const Error& why) {
    return unavailable(
        "engine_away", "the container engine does not answer at " + socket + ": " + why.message
    );
}

Error failure(int status, const std::string& body) {
    const auto json = Json::parse(body);
    std::string words = json ? json->string_or("message", "") : std::string();
    if (words.empty()) words = "the container engine answers " + std::to_string(status);
    if (status == 404) return not_found("engine_not_found", std::move(words));
    if (status == 409) return conflict("engine_conflict", std::move(words));
    if (status >= 500) return unavailable("engine_failed", std::move(words));
    return invalid("engine_refused", std::move(words));
}

/// Of "1.41" the 41; 0 for anything else.
int minor_of(std::string_view version) {
    if (!version.starts_with("1.")) return 0;
    int minor = 0;
    const std::string_view digits = version.substr(2);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), minor);
    return parsed.ec == std::errc{} ? minor : 0;
}

}  // namespace

Engine::Engine(std::string socket, Transport transport)
    : socket_(std::move(socket)),
      transport_(
          transport ? std::move(transport)
                    : [url = "unix:" + socket_](const net::HttpRequest& request
                      ) { return net::HttpClient(url).send(request); }
      ) {}

Result<std::string> Engine::version() {
    {
        const std::lock_guard lock(mutex_);
        if (version_) return *version_;
    }
    net::HttpRequest request;
    request.path = "/_ping";
    request.timeout = kPatience;
    const auto answer = transport_(request);
    if (!answer) return away(socket_, answer.error());
    if (answer->status != 200) return failure(answer->status, answer->body);
    const int minor = minor_of(answer->headers.get("Api-Version"));
    if (minor < kOldestMinor)
        return invalid(
            "engine_too_old",
            "the container engine speaks API 1." + std::to_string(minor) + "; Berth needs 1." +
                std::to_string(kOldestMinor) + " (Docker 19.03) or newer"
        );
    const std::lock_guard lock(mutex_);
    version_ = "/v1." + std::to_string(std::min(minor, kNewestMinor));
    return *version_;
}

Result<Json> Engine::call(
    const std::string& method, const std::string& path, const Json& body, milliseconds patience
) {
    BERTH_ASSIGN(const std::string prefix, version());
    net::HttpRequest request;
    request.method = method;
    request.path = prefix + path;
    request.timeout = patience;
    if (!body.is_null()) {
        request.body = body.dump();
        request.headers.set("Content-Type", "application/json");
    }
    const auto answer = transport_(request);
    if (!answer) {
        const std::lock_guard lock(mutex_);
        version_.reset();  // it may be another one when it comes back
        return away(socket_, answer.error());
    }
    // 304: it is started, or stopped, as was wanted.
    if (answer->status >= 300 && answer->status != 304)
        return failure(answer->status, answer->body);
    if (answer->body.empty()) return Json();
    auto json = Json::parse(answer->body, kAnswerLimits);
    if (!json) return unavailable("engine_failed", "the container engine's answer is not JSON");
    return std::move(*json);
}

Result<std::string> Engine::logs(const std::string& container) {
    BERTH_ASSIGN(const std::string prefix, version());
    net::HttpRequest request;
    request.path = prefix + "/containers/" + container + "/logs?stdout=1&stderr=1&tail=20";
    request.timeout = kPatience;
    const auto answer = transport_(request);
    if (!answer) return away(socket_, answer.error());
    if (answer->status != 200) return failure(answer->status, answer->body);
    // Frames of 8 bytes (stream, three zeros, big-endian size) and their payload.
    std::string text;
    std::string_view rest = answer->body;
    constexpr std::size_t kHead = 8;
    while (rest.size() >= kHead && text.size() < kLogBytes) {
        std::size_t size = 0;
        for (std::size_t i = 4; i < kHead; ++i)
            size = size << 8U | static_cast<unsigned char>(rest[i]);
        rest.remove_prefix(kHead);
        text += rest.substr(0, size);
        rest.remove_prefix(std::min(size, rest.size()));
    }
    return text;
}

Result<void> Engine::pull(
    const std::string& image, const std::function<void(std::function<void()>)>& begun
) {
    BERTH_ASSIGN(const std::string prefix, version());
    const std::size_t name = image.rfind('/') == std::string::npos ? 0 : image.rfind('/');
    const bool exact = image.find_first_of(":@", name) != std::string::npos;
    const auto client = std::make_shared<net::HttpClient>("unix:" + socket_);
    begun([client] { client->cancel(); });
    net::HttpRequest request;
    request.method = "POST";
    // Without a tag the engine would fetch every one there is.
    request.path = prefix + "/images/create?fromImage=" +
                   net::percent_encode(exact ? image : image + ":latest");
    request.timeout = kPullSilence;
    std::string tail;  // the stream's newest words: a failure is told there, after a 200
    const auto answer = client->stream(request, [&](std::string_view chunk) {
        tail.append(chunk);
        if (tail.size() > kLogBytes) tail.erase(0, tail.size() - kLogBytes);
        return true;
    });
    if (!answer) return away(socket_, answer.error());
    if (answer->status != 200) return failure(answer->status, answer->body);
    if (const std::size_t at = tail.find("\"error\":\""); at != std::string::npos) {
        const std::size_t begin = at + 9;
        return invalid(
            "no_image",
            "the image " + image +
                " cannot be fetched: " + tail.substr(begin, tail.find('"', begin) - begin),
            "profile"
        );
    }
    return {};
}

Result<void> Engine::build(
    const std::string& query,
    const std::string& context,
    const std::function<void(std::string_view)>& on_line
) {
    BERTH_ASSIGN(const std::string prefix, version());
    net::HttpRequest request;
    request.method = "POST";
    request.path = prefix + "/build?" + query;
    request.headers.set("Content-Type", "application/x-tar");
    request.body = context;
    request.timeout = kBuildSilence;
    std::string pending;  // one JSON object a line
    std::string text;     // what the build prints, until its line ends
    std::string failed;
    net::HttpClient client("unix:" + socket_);
    const auto take = [&](std::string_view line) {
        const auto json = Json::parse(line);
        if (!json) return;
        if (const std::string error = json->string_or("error", ""); !error.empty()) failed = error;
        text += json->string_or("stream", "");
        // The engine paints what a step writes to stderr.
        for (const std::string_view paint : {"\x1b[91m", "\x1b[0m"}) {
            for (auto at = text.find(paint); at != std::string::npos; at = text.find(paint))
                text.erase(at, paint.size());
        }
        for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
            on_line(std::string_view(text).substr(0, end));
            text.erase(0, end + 1);
        }
    };
    const auto answer = client.stream(request, [&](std::string_view chunk) {
        pending += chunk;
        for (auto end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
            take(std::string_view(pending).substr(0, end));
            pending.erase(0, end + 1);
        }
        return pending.size() < kAnswerLimits.bytes;
    });
    if (!answer) return away(socket_, answer.error());
    if (answer->status != 200) return failure(answer->status, answer->body);
    take(pending);
    if (!text.empty()) on_line(text);
    if (!failed.empty()) return invalid("build_failed", failed);
    return {};
}

std::string Engine::with_labels(const std::vector<std::string>& labels) {
    Json filters;
    filters.set("label", Json::strings(labels));
    return "filters=" + net::percent_encode(filters.dump());
}

std::string Engine::with_name(const std::string& name) {
    Json filters;
    filters.set("name", Json::strings({name}));
    return "filters=" + net::percent_encode(filters.dump());
}

}  // namespace berth::engine
