// SPDX-License-Identifier: Apache-2.0
// What runs and syncs need of the node agent they belong to, and the headers of what it publishes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bus/message.hpp"
#include "node_agent/bus_link.hpp"
#include "node_agent/loop.hpp"
#include "node_agent/place.hpp"
#include "node_agent/settings.hpp"

namespace google::protobuf {
class Message;
}

namespace berth::node {

class WardenLink;
class WorkCopies;

/// Everything here lives on the loop's thread and outlives runs and syncs.
struct NodeContext {
    Loop& loop;
    BusLink& bus;
    const Settings& settings;
    Place& place;
    WardenLink& warden;
    WorkCopies& copies;
};

/// An event of this node: berth.evt.<org>.node.run.<fact>.<machine>. The same run and fact always
/// make the same ids, so that a repeated publish is known as one.
bus::Message make_run_event(
    const Settings& settings,
    const std::string& run,
    std::string_view fact,
    const google::protobuf::Message& payload,
    std::string_view which = {}  ///< tells facts apart that come more than once
);

/// The same of any noun: berth.evt.<org>.node.<noun>.<fact>.<machine>, about `about`.
bus::Message make_node_event(
    const Settings& settings,
    std::string_view noun,
    const std::string& about,
    std::string_view fact,
    const google::protobuf::Message& payload,
    std::string_view which = {}
);

/// Publishes until the PubAck came, with a growing pause; `done` then runs on the loop. Stops when
/// `alive` is gone.
void publish_surely(
    NodeContext context,
    bus::Message message,
    std::weak_ptr<void> alive,
    std::function<void()> done,
    milliseconds pause = kPublishPauseFirst
);

}  // namespace berth::node
