// SPDX-License-Identifier: Apache-2.0
// libcurl's easy interface behind Client. The library is loaded by the first request: with the
// forty it brings along it costs 4 MiB and 6 ms of start, and most deployments never make one.
#include "http/client.hpp"

#include <curl/curl.h>
#include <dlfcn.h>

#include <algorithm>

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

/// The functions of libcurl. Loaded once, never unloaded; nullptr where it is not installed.
struct Curl {
    decltype(&::curl_global_init) global_init = nullptr;
    decltype(&::curl_easy_init) easy_init = nullptr;
    decltype(&::curl_easy_reset) easy_reset = nullptr;
    decltype(&::curl_easy_setopt) setopt = nullptr;
    decltype(&::curl_easy_perform) perform = nullptr;
    decltype(&::curl_easy_getinfo) getinfo = nullptr;
    decltype(&::curl_easy_strerror) strerror = nullptr;
    decltype(&::curl_easy_cleanup) cleanup = nullptr;
    decltype(&::curl_slist_append) append = nullptr;
    decltype(&::curl_slist_free_all) free_all = nullptr;

    static const Curl* get() {
        static const std::unique_ptr<const Curl> loaded = load();
        return loaded.get();
    }

private:
    static std::unique_ptr<const Curl> load() {
        void* const library = ::dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return nullptr;
        auto curl = std::make_unique<Curl>();
        bool whole = true;
        const auto find = [&](auto& function, const char* name) {
            function =
                reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name)
                );
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
        if (!whole || curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return nullptr;
        return curl;
    }
};

struct ListDeleter {
    void operator()(curl_slist* list) const { Curl::get()->free_all(list); }
};
struct CurlDeleter {
    void operator()(CURL* handle) const { Curl::get()->cleanup(handle); }
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

Client::Client() : impl_(std::make_unique<Impl>()) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Response> Client::send(const Request& request) {
    const Curl* const lib = Curl::get();
    if (lib != nullptr && !impl_->handle) impl_->handle.reset(lib->easy_init());
    CURL* const curl = impl_->handle.get();
    if (curl == nullptr)
        return unavailable("no_libcurl", "libcurl cannot be loaded; install the package libcurl4");
    lib->easy_reset(curl);
    Collected collected;
    collected.limit = request.max_response;
    curl_slist* raw = nullptr;
    for (const auto& [name, value] : request.headers)
        raw = lib->append(raw, (name + ": " + value).c_str());
    raw = lib->append(raw, "Expect:");  // no waiting for a 100 Continue
    const std::unique_ptr<curl_slist, ListDeleter> headers(raw);
    lib->setopt(curl, CURLOPT_URL, request.url.c_str());
    lib->setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    lib->setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (request.method == "HEAD") lib->setopt(curl, CURLOPT_NOBODY, 1L);
    lib->setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    lib->setopt(curl, CURLOPT_NOSIGNAL, 1L);
    lib->setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    lib->setopt(
        curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count())
    );
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
        lib->setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
        lib->setopt(
            curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size())
        );
    }
    lib->setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    lib->setopt(curl, CURLOPT_WRITEDATA, &collected);
    lib->setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    lib->setopt(curl, CURLOPT_HEADERDATA, &collected);
    const CURLcode code = lib->perform(curl);
    if (collected.too_large)
        return Error{
            Fault::kTooLarge, "response_too_large", "the answer is larger than expected", {}};
    if (code == CURLE_OPERATION_TIMEDOUT) return deadline("http_timeout", "no answer in time");
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return invalid("bad_url", "the URL is not one of http or https");
    if (code != CURLE_OK) return unavailable("http_unreachable", lib->strerror(code));
    long status = 0;
    lib->getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    collected.response.status = static_cast<int>(status);
    return std::move(collected.response);
}

}  // namespace berth::http
