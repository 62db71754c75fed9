// SPDX-License-Identifier: Apache-2.0
// libcurl's easy interface behind Client.
#include "http/client.hpp"

#include <optional>

#include "core/guarded.hpp"
#include "http/curl.hpp"

namespace berth::http {

struct Client::Impl {
    detail::Handle handle;
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
    const detail::Curl* const lib = detail::Curl::get();
    if (lib != nullptr && !impl_->handle) impl_->handle.reset(lib->easy_init());
    CURL* const curl = impl_->handle.get();
    if (curl == nullptr) return detail::no_libcurl();
    lib->easy_reset(curl);
    detail::Exchange exchange(request);
    exchange.prepare(curl);
    return exchange.finish(curl, lib->perform(curl));
}

bool nothing_sent(const Error& error) {
    return error.code == "http_unreachable" || error.code == "no_libcurl" ||
           error.code == "bad_url";
}

Sender make_sender() {
    // Clients that nobody uses just now. At most as many as threads ever asked at once.
    auto idle = std::make_shared<Guarded<std::vector<Client>>>();
    return [idle](const Request& request) {
        std::optional<Client> client;
        if (auto lock = idle->lock(); !lock->empty()) {
            client.emplace(std::move(lock->back()));
            lock->pop_back();
        }
        if (!client) client.emplace();
        auto response = client->send(request);
        idle->lock()->push_back(std::move(*client));
        return response;
    };
}

}  // namespace berth::http
