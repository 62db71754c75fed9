// SPDX-License-Identifier: Apache-2.0
// Health as one line, and the numbers of a bridge.
#include "chat/parts.hpp"

namespace berth::chat {

namespace {
// Said anew every few seconds while there is something to send; after that the connection knows.
constexpr seconds kRefusedFor{30};
}  // namespace

void HealthBoard::set_connection(Health health) {
    const std::lock_guard lock(mutex_);
    connection_ = std::move(health);
}

void HealthBoard::set_refused(std::string reason) {
    const std::lock_guard lock(mutex_);
    refused_ = std::move(reason);
    refused_at_ = std::chrono::steady_clock::now();
}

void HealthBoard::set_leading(bool leading, std::string reason) {
    const std::lock_guard lock(mutex_);
    if (leading && !leading_) connection_ = {false, "connecting to the platform"};
    if (!leading) refused_.clear();
    leading_ = leading;
    reason_ = std::move(reason);
}

std::string HealthBoard::not_ready() const {
    const std::lock_guard lock(mutex_);
    if (!leading_) return reason_;
    if (!refused_.empty() && std::chrono::steady_clock::now() < refused_at_ + kRefusedFor)
        return "the platform refuses the credential: " + refused_;
    if (connection_.ready) return {};
    return connection_.reason.empty() ? "not connected to the platform" : connection_.reason;
}

void add_metrics(Parts& parts) {
    metrics::Registry& registry = parts.runtime.metrics();
    const std::string prefix = "berth_" + parts.runtime.token() + "_";
    auto& m = parts.metrics;
    const auto counter = [&](const char* name, const char* help) {
        return registry.counter(prefix + name, help);
    };
    m.received = counter("inbound_total", "Messages and clicks that came from the platform.");
    m.repeated = counter("inbound_repeated_total", "Those that had come before.");
    m.handled = counter("inbound_handled_total", "Those that were carried out and answered.");
    m.refused = counter("inbound_refused_total", "Those of people who may not use the bridge.");
    m.ignored = counter("inbound_ignored_total", "Those of chats that are not in the settings.");
    m.sent = counter("outbound_sent_total", "Messages posted.");
    m.edited = counter("outbound_edited_total", "Messages changed in place.");
    m.retried = counter("outbound_retried_total", "Attempts that are made again.");
    m.failed = counter("outbound_failed_total", "Messages given up and put into the dead letters.");
    m.expired = counter("outbound_expired_total", "Messages that were too old to be sent.");
    m.doubted = counter(
        "outbound_doubted_total", "Messages of which it was not known whether they went out."
    );
    m.post_seconds = registry.histogram(
        prefix + "post_seconds", "Time of one call of the platform.", metrics::latency_buckets()
    );
    m.reply_seconds = registry.histogram(
        prefix + "reply_seconds",
        "Time from a message's arrival to its stored answer.",
        metrics::latency_buckets()
    );
    m.waiting =
        registry.gauge(prefix + "inbound_waiting", "Messages that came and are not carried out.");
    m.backlog = registry.gauge(prefix + "outbound_waiting", "Messages that are not posted.");
    m.backlog_age = registry.gauge(prefix + "outbound_age_seconds", "Age of the oldest of them.");
    m.connected =
        registry.gauge(prefix + "platform_connected", "1 while the platform can be used.");
}

}  // namespace berth::chat
