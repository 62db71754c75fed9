// SPDX-License-Identifier: Apache-2.0
// HTTP requests to others' services by libcurl: TLS, proxies and redirects are its business.
// (Berth's own edge and CLI speak through libs/net.)
#pragma once

#include <functional>
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
    /// Instead, what is beyond it is left out and the answer stands.
    bool cut_response = false;
    /// An IP address to connect to, whatever the URL's host resolves to (TLS still proves the
    /// host), and without a proxy. Empty: as the name and the environment say.
    std::string connect_to{};
    /// For what must not be done twice: where a kept connection breaks under the request, that is
    /// "http_broken" and not a second try on another connection.
    bool at_most_once = false;
    /// Asked about once a second while it waits; true ends the exchange with "http_canceled".
    std::function<bool()> canceled{};
};

struct Response {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  ///< names lower-cased
    std::string body;
    /// The first header of that (lower-case) name, or empty.
    std::string_view header(std::string_view name) const;
};

/// Keeps its connections between requests. One thread at a time. Redirects are not followed: an API
/// that moves is news. Errors: kUnavailable "http_unreachable" (nothing of the request went out);
/// kUnavailable "http_broken", kDeadline "http_timeout" and kCanceled "http_canceled" (the server
/// may have acted on it); kInvalid "bad_url".
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

/// True where an error means that nothing of the request went out: it may be sent again.
bool nothing_sent(const Error& error);

/// Sends one request; called by many threads at once.
using Sender = std::function<Result<Response>(const Request&)>;
/// By Clients, one kept connection for each thread that asks at the same time.
Sender make_sender();

}  // namespace berth::http
