// SPDX-License-Identifier: Apache-2.0
// libcurl's easy interface behind Client.
#include "http/client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <mutex>

namespace berth::http {
namespace {

struct Collected {
    Response response;
    std::size_t limit = 0;
    bool too_large = false;
};

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* closure) {
    auto& into = *static_cast<Collected*>(closure);
    const std::size_t bytes = size * count;
    if (into.response.body.size() + bytes > into.limit) {
        into.too_large = true;
        return 0;
    }
    into.response.body.append(data, bytes);
    return bytes;
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* closure) {
    auto& into = *static_cast<Collected*>(closure);
    std::string_view line(data, size * count);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) into.response.headers.clear();  // of a 100 Continue before
    if (const auto colon = line.find(':'); colon != std::string_view::npos) {
        std::string name(line.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
        into.response.headers.emplace_back(std::move(name), std::string(value));
    }
    return size * count;
}

struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct CurlDeleter {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

}  // namespace

struct Client::Impl {
    std::unique_ptr<CURL, CurlDeleter> handle;
};

std::string_view Response::header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
        if (key == name) return value;
    }
    return {};
}

Client::Client() : impl_(std::make_unique<Impl>()) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    impl_->handle.reset(curl_easy_init());
}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Response> Client::send(const Request& request) {
    CURL* curl = impl_->handle.get();
    curl_easy_reset(curl);
    Collected collected;
    collected.limit = request.max_response;
    curl_slist* raw = nullptr;
    for (const auto& [name, value] : request.headers)
        raw = curl_slist_append(raw, (name + ": " + value).c_str());
    raw = curl_slist_append(raw, "Expect:");  // no waiting for a 100 Continue
    const std::unique_ptr<curl_slist, ListDeleter> headers(raw);
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (request.method == "HEAD") curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count())
    );
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
        curl_easy_setopt(
            curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size())
        );
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &collected);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &collected);
    const CURLcode code = curl_easy_perform(curl);
    if (collected.too_large)
        return Error{
            Fault::kTooLarge, "response_too_large", "the answer is larger than expected", {}};
    if (code == CURLE_OPERATION_TIMEDOUT) return deadline("http_timeout", "no answer in time");
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return invalid("bad_url", "the URL is not one of http or https");
    if (code != CURLE_OK) return unavailable("http_unreachable", curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    collected.response.status = static_cast<int>(status);
    return std::move(collected.response);
}

}  // namespace berth::http
