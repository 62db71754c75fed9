// SPDX-License-Identifier: Apache-2.0
// A plain subscription: a word that is lost is followed by the next.
#include "service/machine_presence.hpp"

namespace berth::service {

Result<std::unique_ptr<bus::Receiver>> hear_machines(
    bus::Connection& bus,
    std::function<void(const std::string& machine, const node::v1::Presence& presence)> hear
) {
    return bus.subscribe("berth.live.node.*", [hear = std::move(hear)](bus::Message message) {
        node::v1::Presence presence;
        if (!presence.ParseFromString(message.payload)) return;
        hear(message.subject.substr(message.subject.rfind('.') + 1), presence);
    });
}

}  // namespace berth::service
