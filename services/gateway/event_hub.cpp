// SPDX-License-Identifier: Apache-2.0
// A few plain subscriptions for all waiters: cheaper than one for each, and nothing is gained by
// decoding.
#include "gateway/event_hub.hpp"

#include "core/text.hpp"

namespace berth::gateway {
namespace {

std::string key_of(std::string_view org, std::string_view noun, std::string_view id) {
    return std::string(org) + "/" + std::string(noun) + "/" + std::string(id);
}

}  // namespace

Result<void> EventHub::start(bus::Connection& bus) {
    for (const char* subject :
         {"berth.evt.*.lease.lease.*.*",
          "berth.evt.*.lease.share.*.*",
          "berth.evt.*.run.run.*.*"}) {
        BERTH_ASSIGN(auto receiver, bus.subscribe(subject, [this](const bus::Message& message) {
            hear(message.subject);
        }));
        receivers_.push_back(std::move(receiver));
    }
    return {};
}

std::shared_ptr<void> EventHub::watch(
    const std::string& org,
    const std::string& noun,
    const std::string& id,
    std::function<void()> wake
) {
    const auto shared = std::make_shared<const std::function<void()>>(std::move(wake));
    const std::lock_guard lock(state_->mutex);
    const auto it = state_->watchers.emplace(key_of(org, noun, id), shared);
    return std::shared_ptr<void>(nullptr, [state = state_, it](void*) {
        Wake last;  // dies after the lock: what it captured may be the last of something
        const std::lock_guard guard(state->mutex);
        last = it->second;
        state->watchers.erase(it);
    });
}

void EventHub::hear(const std::string& subject) {
    const auto tokens = split(subject, '.');
    if (tokens.size() != 7) return;
    std::vector<Wake> wakes;
    {
        const std::lock_guard lock(state_->mutex);
        const auto [begin, end] =
            state_->watchers.equal_range(key_of(tokens[2], tokens[4], tokens[6]));
        for (auto it = begin; it != end; ++it) wakes.push_back(it->second);
    }
    for (const auto& wake : wakes) (*wake)();
}

}  // namespace berth::gateway
