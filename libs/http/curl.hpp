// SPDX-License-Identifier: Apache-2.0
// Private to libs/http: libcurl, loaded when it is first needed, and one exchange in its terms.
#pragma once

#include <curl/curl.h>

#include <memory>

#include "http/client.hpp"

namespace berth::http::detail {

/// The functions of libcurl. The library is loaded by the first request, once, and never unloaded:
/// with the forty it brings along it costs 4 MiB and 6 ms of start, and most deployments never make
/// one.
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
    decltype(&::curl_multi_init) multi_init = nullptr;
    decltype(&::curl_multi_setopt) multi_setopt = nullptr;
    decltype(&::curl_multi_add_handle) multi_add = nullptr;
    decltype(&::curl_multi_remove_handle) multi_remove = nullptr;
    decltype(&::curl_multi_perform) multi_perform = nullptr;
    decltype(&::curl_multi_poll) multi_poll = nullptr;
    decltype(&::curl_multi_wakeup) multi_wakeup = nullptr;
    decltype(&::curl_multi_info_read) multi_info = nullptr;
    decltype(&::curl_multi_cleanup) multi_cleanup = nullptr;

    /// nullptr where it is not installed.
    static const Curl* get();
};

struct HandleDeleter {
    void operator()(CURL* handle) const { Curl::get()->cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, HandleDeleter>;

struct ListDeleter {
    void operator()(curl_slist* list) const { Curl::get()->free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

/// A request and what has come of it. Stays where it is while the handle works with it.
class Exchange {
public:
    explicit Exchange(Request request) : request_(std::move(request)) {}
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    /// Makes `curl` (fresh or reset) ready to perform it.
    void prepare(CURL* curl);
    /// What it led to, by what libcurl said at its end.
    Result<Response> finish(CURL* curl, CURLcode code);

private:
    static std::size_t take_body(char* data, std::size_t size, std::size_t count, void* closure);
    static std::size_t take_header(char* data, std::size_t size, std::size_t count, void* closure);
    static int stop_asked(void* closure, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
    static int refuse_second(void* closure, char*, char*, int, int);
    /// Why there is no answer, and whether the server may have acted.
    Error failure(CURL* curl, CURLcode code) const;

    const Request request_;
    List headers_;
    List connect_to_;
    Response response_;
    bool too_large_ = false;
    int started_ = 0;
};

Error no_libcurl();

}  // namespace berth::http::detail
