// SPDX-License-Identifier: Apache-2.0
// What admins ask: subscribers, their secrets, their log.
#pragma once

#include <functional>

#include "core/secret.hpp"
#include "service/handlers.hpp"
#include "webhook/repo.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook {

/// The event of a subscriber's change; its url is cut to what everybody may see.
store::OutboxMessage changed(
    const service::Context& context, std::string_view fact, const SubscriberRow& row
);

/// Thread-safe: everything changing is in the database.
class WebhookHandlers {
public:
    /// `key` seals secrets; `wake` tells the sender that a subscriber has changed or has something
    /// new, before the handler's transaction ends.
    WebhookHandlers(
        const WebhookSettings& settings,
        const Secret& key,
        store::Pool& pool,
        std::function<void()> wake
    )
        : settings_(settings), key_(key), pool_(pool), wake_(std::move(wake)) {}
    void bind(service::Handlers& handlers);

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    Outcome add(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome change(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome remove(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome rotate(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome test(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome replay(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome find(const Context& context, const std::string& payload);
    Outcome list(const Context& context, const std::string& payload);
    Outcome deliveries(const Context& context, const std::string& payload);

    Result<void> check_url(const std::string& url) const;
    /// A new secret for `row`: its sealed form for the asker.
    Result<std::string> new_secret(SubscriberRow& row, const std::string& box_key) const;

    const WebhookSettings& settings_;
    const Secret& key_;
    store::Pool& pool_;
    const std::function<void()> wake_;
};

}  // namespace berth::webhook
