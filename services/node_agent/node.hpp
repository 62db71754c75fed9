// SPDX-License-Identifier: Apache-2.0
// The node agent: takes a machine's commands from the bus and keeps its runs and syncs.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "bus/connection.hpp"
#include "node_agent/cleaning.hpp"
#include "node_agent/halting.hpp"
#include "node_agent/node_context.hpp"
#include "node_agent/renewal.hpp"
#include "node_agent/run.hpp"
#include "node_agent/sync.hpp"
#include "node_agent/warden_link.hpp"
#include "node_agent/work_copies.hpp"

namespace google::protobuf {
class Message;
}

namespace berth::node {

/// Lives on the loop's thread. It keeps nothing that the folders do not hold: killed at any point
/// and started again, it goes on where it was.
class Node {
public:
    Node(Loop& loop, const Settings& settings, Place& place, bus::ConnectSettings bus);
    /// After the loop has ended. Runs go on without it.
    ~Node();

    /// Takes up the runs on disk, connects, and begins to serve.
    void start();

private:
    void on_bus_up(bus::Connection& connection);
    void on_bus_again();
    void on_bus_down();
    void on_warden();
    void consume(bus::Connection& connection);
    void handle(const std::shared_ptr<bus::Delivery>& delivery);
    Result<void> dispatch(const bus::Message& message);
    void reply(const std::shared_ptr<bus::Delivery>& delivery, const Result<void>& outcome);

    Result<void> start_run(const v1::Start& command);
    Result<void> decide(const v1::Decide& command);
    Result<void> signal_run(const v1::Signal& command);
    Result<void> open_sync(const v1::OpenSync& command);
    /// Ends syncs and runs; true once none is left.
    bool quiet();
    void adopt(v1::Start spec);
    void take_up_runs();
    void forget_old_tombstones();
    bool is_done(const std::string& run) const;
    void tell_presence();  // every kPresenceEvery
    void send_presence();

    Loop& loop_;
    const Settings& settings_;
    Place& place_;
    BusLink bus_;
    std::shared_ptr<WardenLink> warden_;
    WorkCopies copies_;
    NodeContext context_;
    std::shared_ptr<Renewal> renewal_;
    std::unique_ptr<bus::Receiver> consumer_;
    std::map<std::string, std::shared_ptr<Run>> runs_;
    std::shared_ptr<Halting> halting_;
    std::map<std::string, std::shared_ptr<Sync>> syncs_;
    std::string sending_;      // the newest sync, which may have ended
    std::string sending_for_;  // how its sender names it
    std::shared_ptr<Cleaning> cleaning_;
    // Outcomes of commands that are not recorded in a folder: a redelivered signal is not sent
    // twice.
    std::map<std::string, Result<void>> outcomes_;
    std::deque<std::string> outcome_order_;
};

/// Kills everything that belongs to the machine of `dir` (supervisors with their trees, holder,
/// pasta, the container) by the recorded identities and waits until it is gone. Removes nothing.
/// Idempotent.
Result<void> destroy_machine(const std::filesystem::path& dir);

}  // namespace berth::node
