// SPDX-License-Identifier: Apache-2.0
// Loading libcurl, and a request as options of a handle.
#include "http/curl.hpp"

#include <dlfcn.h>

#include <algorithm>

namespace berth::http::detail {
namespace {

constexpr long kFreshSeconds = 20;  // servers close idle connections after 30 s and more

std::unique_ptr<const Curl> load() {
    void* const library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return nullptr;
    auto curl = std::make_unique<Curl>();
    bool whole = true;
    const auto find = [&](auto& function, const char* name) {
        function =
            reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
        whole = whole && function != nullptr;
    };
    find(curl->global_init, "curl_global_init");
    find(curl->easy_init, "curl_easy_init");
    find(curl->easy_reset, "curl_easy_reset");
    find(curl->setopt, "curl_easy_setopt");
    find(curl->perform, "curl_easy_perform");
    find(curl->getinfo, "curl_easy_getinfo");
    find(curl->strerror, "curl_easy_strerror");
    find(curl->cleanup, "curl_easy_cleanup");
    find(curl->append, "curl_slist_append");
    find(curl->free_all, "curl_slist_free_all");
    find(curl->multi_init, "curl_multi_init");
    find(curl->multi_setopt, "curl_multi_setopt");
    find(curl->multi_add, "curl_multi_add_handle");
    find(curl->multi_remove, "curl_multi_remove_handle");
    find(curl->multi_perform, "curl_multi_perform");
    find(curl->multi_poll, "curl_multi_poll");
    find(curl->multi_wakeup, "curl_multi_wakeup");
    find(curl->multi_info, "curl_multi_info_read");
    find(curl->multi_cleanup, "curl_multi_cleanup");
    if (!whole || curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return nullptr;
    return curl;
}

}  // namespace

const Curl* Curl::get() {
    // Never destroyed: a static Client, which knows it from its first request on, ends after it.
    static const Curl* const loaded = load().release();
    return loaded;
}

Error no_libcurl() {
    return unavailable("no_libcurl", "libcurl cannot be loaded; install the package libcurl4");
}

int Exchange::stop_asked(void* closure, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<const Exchange*>(closure)->request_.canceled() ? 1 : 0;
}

/// libcurl sends a request again, whatever its method, when a kept connection breaks under it: the
/// second time it is about to is refused.
int Exchange::refuse_second(void* closure, char*, char*, int, int) {
    return static_cast<Exchange*>(closure)->started_++ == 0 ? CURL_PREREQFUNC_OK
                                                            : CURL_PREREQFUNC_ABORT;
}

Error Exchange::failure(CURL* curl, CURLcode code) const {
    const Curl& lib = *Curl::get();
    if (code == CURLE_ABORTED_BY_CALLBACK && started_ < 2)
        return {Fault::kCanceled, "http_canceled", "the request was given up", {}};
    long sent = 0;
    lib.getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
    if (sent == 0) return unavailable("http_unreachable", lib.strerror(code));
    if (code == CURLE_OPERATION_TIMEDOUT) return deadline("http_timeout", "no answer in time");
    return unavailable("http_broken", started_ > 1 ? "the connection broke" : lib.strerror(code));
}

std::size_t Exchange::take_body(char* data, std::size_t size, std::size_t count, void* closure) {
    auto& self = *static_cast<Exchange*>(closure);
    const std::size_t bytes = size * count;
    if (self.response_.body.size() + bytes > self.request_.max_response) {
        self.too_large_ = true;
        return 0;
    }
    self.response_.body.append(data, bytes);
    return bytes;
}

std::size_t Exchange::take_header(char* data, std::size_t size, std::size_t count, void* closure) {
    auto& into = static_cast<Exchange*>(closure)->response_;
    std::string_view line(data, size * count);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) into.headers.clear();  // of a 100 Continue before
    if (const auto colon = line.find(':'); colon != std::string_view::npos) {
        std::string name(line.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
        into.headers.emplace_back(std::move(name), std::string(value));
    }
    return size * count;
}

void Exchange::prepare(CURL* curl) {
    const Curl& lib = *Curl::get();
    curl_slist* raw = nullptr;
    for (const auto& [name, value] : request_.headers)
        raw = lib.append(raw, (name + ": " + value).c_str());
    raw = lib.append(raw, "Expect:");  // no waiting for a 100 Continue
    headers_.reset(raw);
    lib.setopt(curl, CURLOPT_URL, request_.url.c_str());
    lib.setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.setopt(curl, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    if (request_.method == "HEAD") lib.setopt(curl, CURLOPT_NOBODY, 1L);
    lib.setopt(curl, CURLOPT_HTTPHEADER, headers_.get());
    lib.setopt(curl, CURLOPT_NOSIGNAL, 1L);
    lib.setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout.count()));
    lib.setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count())
    );
    if (!request_.connect_to.empty()) {
        const bool six = request_.connect_to.find(':') != std::string::npos;
        const std::string where =
            six ? "::[" + request_.connect_to + "]:" : "::" + request_.connect_to + ":";
        connect_to_.reset(lib.append(nullptr, where.c_str()));
        lib.setopt(curl, CURLOPT_CONNECT_TO, connect_to_.get());
        lib.setopt(curl, CURLOPT_PROXY, "");  // a proxy would ask for the name again
    }
    if (!request_.body.empty() || request_.method == "POST" || request_.method == "PUT") {
        lib.setopt(curl, CURLOPT_POSTFIELDS, request_.body.data());
        lib.setopt(
            curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size())
        );
    }
    lib.setopt(curl, CURLOPT_WRITEFUNCTION, &Exchange::take_body);
    lib.setopt(curl, CURLOPT_WRITEDATA, this);
    lib.setopt(curl, CURLOPT_HEADERFUNCTION, &Exchange::take_header);
    lib.setopt(curl, CURLOPT_HEADERDATA, this);
    if (request_.at_most_once) {
        lib.setopt(curl, CURLOPT_PREREQFUNCTION, &Exchange::refuse_second);
        lib.setopt(curl, CURLOPT_PREREQDATA, this);
        lib.setopt(curl, CURLOPT_MAXAGE_CONN, kFreshSeconds);
    }
    if (request_.canceled) {
        lib.setopt(curl, CURLOPT_NOPROGRESS, 0L);
        lib.setopt(curl, CURLOPT_XFERINFOFUNCTION, &Exchange::stop_asked);
        lib.setopt(curl, CURLOPT_XFERINFODATA, this);
    }
}

Result<Response> Exchange::finish(CURL* curl, CURLcode code) {
    const Curl& lib = *Curl::get();
    if (too_large_ && !request_.cut_response)
        return Error{
            Fault::kTooLarge, "response_too_large", "the answer is larger than expected", {}};
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return invalid("bad_url", "the URL is not one of http or https");
    if (code != CURLE_OK && !too_large_) return failure(curl, code);
    long status = 0;
    lib.getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    return std::move(response_);
}

}  // namespace berth::http::detail
