// SPDX-License-Identifier: Apache-2.0
// Presence messages, remembered by subject.
#include "gateway/presences.hpp"

#include "berth/node/v1/node.pb.h"
#include "core/text.hpp"
#include "gateway/settings.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

// Instances that came and went within kForgetPresence; a flood of names beyond it is not
// remembered.
constexpr std::size_t kMaxEntries = 10'000;

}  // namespace

Result<void> Presences::start(bus::Connection& bus) {
    BERTH_ASSIGN(receiver_, bus.subscribe("berth.live.*.*", [this](const bus::Message& message) {
        hear(message, Clock::system().now());
    }));
    return {};
}

void Presences::hear(const bus::Message& message, WallTime now) {
    const auto tokens = split(message.subject, '.');
    if (tokens.size() != 4) return;
    Entry entry;
    entry.seen = now;
    // The subject is what the sender's rights allow; the payload is only its word.
    entry.service.set_name(std::string(tokens[2]));
    entry.service.set_instance(std::string(tokens[3]));
    if (tokens[2] == "node") {
        node::v1::Presence presence;
        if (!presence.ParseFromString(message.payload)) return;
        entry.org = presence.org();
        entry.service.set_ready(true);
        entry.service.set_version(presence.version());
    } else {
        v1::ServicePresence presence;
        if (!presence.ParseFromString(message.payload)) return;
        entry.service.set_ready(presence.ready());
        entry.service.set_reason(presence.reason());
        entry.service.set_version(presence.version());
        entry.service.set_health_url(presence.health_url());
    }
    const std::lock_guard lock(mutex_);
    if (entries_.size() < kMaxEntries || entries_.contains(message.subject))
        entries_[message.subject] = std::move(entry);
}

v1::Status Presences::status(const std::string& org, WallTime now) {
    v1::Status out;
    out.set_version(BERTH_VERSION);
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const auto& item) {
        return now - item.second.seen > kForgetPresence;
    });
    for (const auto& [subject, entry] : entries_) {
        if (!entry.org.empty() && entry.org != org) continue;
        auto* service = out.add_services();
        *service = entry.service;
        *service->mutable_seen_at() = service::to_timestamp(entry.seen);
        if (now - entry.seen > kSilentPresence) {
            service->set_ready(false);
            service->set_reason(
                "silent for " +
                format_duration(milliseconds(std::chrono::duration_cast<seconds>(now - entry.seen)))
            );
        }
    }
    return out;
}

}  // namespace berth::gateway
