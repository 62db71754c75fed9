// SPDX-License-Identifier: Apache-2.0
// Event headers and the publish that does not give up.
#include "node_agent/node_context.hpp"

#include <google/protobuf/message.h>

#include "core/id.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"

namespace berth::node {

bus::Message make_run_event(
    const Settings& settings,
    const std::string& run,
    std::string_view fact,
    const google::protobuf::Message& payload,
    std::string_view which
) {
    return make_node_event(settings, "run", run, fact, payload, which);
}

bus::Message make_node_event(
    const Settings& settings,
    std::string_view noun,
    const std::string& about,
    std::string_view fact,
    const google::protobuf::Message& payload,
    std::string_view which
) {
    std::string id = about + "/" + std::string(fact);
    if (!which.empty()) id += "/" + std::string(which);
    bus::Message message;
    message.subject = "berth.evt." + settings.org + ".node." + std::string(noun) + "." +
                      std::string(fact) + "." + settings.machine;
    message.payload = payload.SerializeAsString();
    message.headers = {
        {std::string(bus::kMsgId), id},
        {std::string(bus::kCeSpecVersion), "1.0"},
        {std::string(bus::kCeId),
         ulid_from_bytes(identity::sha256("berth-node/" + id).substr(0, 16))},
        {std::string(bus::kCeType), payload.GetTypeName()},
        {std::string(bus::kCeSource), "berth/node/" + settings.machine},
        {std::string(bus::kCeTime), to_rfc3339(Clock::system().now())},
        {std::string(bus::kCeSubject), about},
        {std::string(bus::kCeContentType), "application/protobuf"},
    };
    return message;
}

void publish_surely(
    NodeContext context,
    bus::Message message,
    std::weak_ptr<void> alive,
    std::function<void()> done,
    milliseconds pause
) {
    bus::Message copy = message;
    context.bus.publish(
        std::move(copy),
        [=, message = std::move(message)](Result<bus::PubAck> result) mutable {
            if (alive.expired()) return;
            if (result) return done();
            log::debug(
                "publishing again", {{"subject", message.subject}, {"error", result.error()}}
            );
            context.loop.after(pause, [=, message = std::move(message)]() mutable {
                if (!alive.expired())
                    publish_surely(
                        context,
                        std::move(message),
                        alive,
                        done,
                        std::min(pause * 2, kPublishPauseLongest)
                    );
            });
        }
    );
}

}  // namespace berth::node
