// SPDX-License-Identifier: Apache-2.0
// The container engine's API over its unix socket, as far as machines and their images need it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/time.hpp"
#include "net/http_client.hpp"

namespace berth::engine {

/// Thread-safe: each call has a connection of its own (a unix socket costs microseconds).
///
/// Errors of every call: kUnavailable "engine_away" (no answer, or none in time) and
/// "engine_failed" (its 5xx); kNotFound "engine_not_found", kConflict "engine_conflict" and
/// kInvalid "engine_refused" carry the engine's own words.
class Engine {
public:
    /// One exchange with the engine. The tests put crashes between it and the driver.
    using Transport = std::function<Result<net::HttpResponse>(const net::HttpRequest&)>;
    explicit Engine(std::string socket, Transport transport = {});

    /// The answer's JSON; null where there is none. `path` without the version: "/containers/json".
    Result<Json> get(const std::string& path) { return call("GET", path, {}, kPatience); }
    Result<Json> post(
        const std::string& path, const Json& body = {}, milliseconds patience = kPatience
    ) {
        return call("POST", path, body, patience);
    }
    Result<Json> remove(const std::string& path) { return call("DELETE", path, {}, kPatience); }
    /// The text a container wrote, without the stream's frames; at most kLogBytes.
    Result<std::string> logs(const std::string& container);
    /// Fetches an image, which may take minutes. `begun` is given what makes it fail early; that
    /// may be called from any thread and at any time, also later.
    Result<void> pull(
        const std::string& image, const std::function<void(std::function<void()>)>& begun
    );

    /// Builds an image from a context (a tar file that holds a Dockerfile); each line of the
    /// build's own output goes to `on_line`. `query` is that of the API's /build, "t=name". Error
    /// "build_failed" in the engine's words.
    Result<void> build(
        const std::string& query,
        const std::string& context,
        const std::function<void(std::string_view)>& on_line
    );

    /// "filters=…" for lists: what carries all of these labels, or whose name holds this.
    static std::string with_labels(const std::vector<std::string>& labels);
    static std::string with_name(const std::string& name);

    /// Of one call. The engine may be busy with others' containers.
    static constexpr milliseconds kPatience{10'000};
    static constexpr std::size_t kLogBytes = 4'096;

private:
    Result<Json> call(
        const std::string& method, const std::string& path, const Json& body, milliseconds patience
    );
    /// "/v1.41": the newest that both sides know; asked once, and again after the engine was away.
    Result<std::string> version();

    const std::string socket_;
    const Transport transport_;
    std::mutex mutex_;
    std::optional<std::string> version_;  // by mutex_
};

}  // namespace berth::engine
