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
    const auto add = [&](const char* subject,
                         void (Presences::*take)(const bus::Message&, WallTime)) -> Result<void> {
        BERTH_ASSIGN(
            auto receiver,
            bus.subscribe(
                subject,
                [this, take](const bus::Message& message) {
                    (this->*take)(message, Clock::system().now());
                }
            )
        );
        receivers_.push_back(std::move(receiver));
        return {};
    };
    BERTH_TRY(add("berth.live.*.*", &Presences::hear));
    return add("berth.evt.*.lease.machine.*.*", &Presences::hear_machine);
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
        entry.service.set_guard(presence.guard());
        entry.service.set_freezer(presence.freezer());
    } else {
        v1::ServicePresence presence;
        if (!presence.ParseFromString(message.payload)) return;
        entry.service.set_ready(presence.ready());
        entry.service.set_reason(presence.reason());
        entry.service.set_version(presence.version());
        entry.service.set_health_url(presence.health_url());
    }
    const std::lock_guard lock(mutex_);
    const auto known = entries_.find(message.subject);
    if (known == entries_.end() && entries_.size() >= kMaxEntries) return;
    if (known != entries_.end()) {
        if (known->second.gone) return;
        entry.leaving = known->second.leaving;
    }
    entries_[message.subject] = std::move(entry);
}

void Presences::hear_machine(const bus::Message& message, WallTime now) {
    // berth.evt.<org>.lease.machine.<fact>.<machine>
    const auto tokens = split(message.subject, '.');
    if (tokens.size() != 7 || (tokens[5] != "gone" && tokens[5] != "draining")) return;
    lease::v1::MachineChanged event;
    if (!event.ParseFromString(message.payload)) return;
    // One that is being cleaned stays.
    if (tokens[5] == "draining" && event.machine().reason() == "cleaning") return;
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find("berth.live.node." + std::string(tokens[6]));
    if (found == entries_.end()) return;
    found->second.leaving = "being removed";
    found->second.gone = tokens[5] == "gone";
    found->second.seen = now;
}

void Presences::describe(lease::v1::Machine& machine, WallTime now) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find("berth.live.node." + machine.id());
    if (found == entries_.end()) return;
    const Entry& entry = found->second;
    if (entry.gone || entry.org != machine.org() || now - entry.seen > kSilentPresence) return;
    machine.set_guard(entry.service.guard());
    machine.set_freezer(entry.service.freezer());
}

v1::Status Presences::status(const std::string& org, WallTime now) {
    v1::Status out;
    out.set_version(BERTH_VERSION);
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const auto& item) {
        return now - item.second.seen > kForgetPresence;
    });
    for (const auto& [subject, entry] : entries_) {
        if (entry.gone || (!entry.org.empty() && entry.org != org)) continue;
        auto* service = out.add_services();
        *service = entry.service;
        *service->mutable_seen_at() = service::to_timestamp(entry.seen);
        if (!entry.leaving.empty()) {
            service->set_ready(false);
            service->set_leaving(true);
            service->set_reason(entry.leaving);
        } else if (now - entry.seen > kSilentPresence) {
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
