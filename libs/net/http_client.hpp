// SPDX-License-Identifier: Apache-2.0
// A small blocking HTTP/1.1 client for the command line and for health checks: plain sockets, so
// that a program that uses it starts no slower for it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/time.hpp"
#include "net/http_types.hpp"

namespace berth::net {

struct HttpRequest {
    std::string method = "GET";
    std::string path = "/";  ///< with query, already percent-encoded
    HeaderMap headers{};
    std::string body{};
    /// For the whole exchange of send(); for stream() the longest silence (0: none is too long).
    milliseconds timeout{30'000};
};

struct HttpResponse {
    int status = 0;
    HeaderMap headers;
    std::string body;
};

/// One kept-alive connection to one server. One thread at a time; another thread may call cancel().
/// Errors: "bad_url", "connect_failed" (kUnavailable), "timeout" (kDeadline), "connection_lost"
/// (kUnavailable), "bad_response" (kInternal), "canceled" (kCanceled), "tls_unavailable".
class HttpClient {
public:
    /// "http://host:port[/prefix]", "https://…" or "unix:/path". A wrong URL is told by the first
    /// request.
    explicit HttpClient(std::string_view base_url);
    ~HttpClient();
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;

    /// An answer of any status is a value. A body over 64 MiB is the error "too_large". A request
    /// on a kept-alive connection that the server closed meanwhile is sent once more where that is
    /// safe.
    Result<HttpResponse> send(const HttpRequest& request);

    /// Gives a 2xx body to `on_chunk` as it arrives; it returns false to stop (the answer so far is
    /// then the value, and the connection is closed). Of any other status the body is in the value.
    Result<HttpResponse> stream(
        const HttpRequest& request, const std::function<bool(std::string_view)>& on_chunk
    );

    /// Makes a request under way fail with "canceled", and every later one. Thread- and
    /// signal-safe.
    void cancel();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::net
