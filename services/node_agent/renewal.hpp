// SPDX-License-Identifier: Apache-2.0
// Keeps the machine's bus credential younger than its life: asks for the next one at half life.
#pragma once

#include <memory>
#include <thread>

#include "bus/asker.hpp"
#include "node_agent/node_context.hpp"

namespace berth::node {

/// Lives on the loop's thread. Reads the .creds file each time, so that a restart of the node agent
/// or a credential put there by somebody else is seen; writes the new one atomically. The open
/// connection goes on until its old credential expires and then comes back with the new one.
class Renewal : public std::enable_shared_from_this<Renewal> {
public:
    explicit Renewal(NodeContext context) : context_(context) {}
    /// Looks at the credential now and every kRenewCheckEvery from then on.
    void start();
    void bus_up(bus::Connection& connection);
    void bus_down() { asker_.reset(); }
    ~Renewal();

private:
    void check();
    void ask();
    /// By the key, at the gateway: for a machine that slept past its credential's end.
    void enrol_again();
    void store(const std::string& payload);

    NodeContext context_;
    std::unique_ptr<bus::Asker> asker_;
    bool asking_ = false;
    bool enrolling_ = false;
    std::thread enrolment_;  ///< while enrolling_, and until joined
};

}  // namespace berth::node
