// SPDX-License-Identifier: Apache-2.0
// HTTP requests to others' services by libcurl: TLS, proxies and redirects are its business.
// (Berth's own edge and CLI speak through libs/net.)
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"

namespace berth::http {

struct Request {
    std::string method = "GET";
    std::string url;  ///< http:// or https:// only
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    milliseconds timeout{30'000};  ///< for the whole exchange
    milliseconds connect_timeout{5'000};
    std::size_t max_response = 16U << 20U;  ///< larger answers are an error "response_too_large"
};

struct Response {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower-cased
    std::string body;
    /// The first header of that (lower-case) name, or empty.
    std::string_view header(std::string_view name) const;
};

/// Keeps its connections between requests. One thread at a time. Redirects are not followed: an API
/// that moves is news. Errors: kDeadline "http_timeout", kUnavailable "http_unreachable", kInvalid
/// "bad_url".
class Client {
public:
    Client();
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;

    Result<Response> send(const Request& request);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::http
