// SPDX-License-Identifier: Apache-2.0
// The bus in one process with seeded faults: the same contract as NATS, for tests that try many
// orders of events.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bus/connection.hpp"

namespace berth::bus {

/// Probabilities in percent, per delivery. Faults never break the contract: a dropped delivery of a
/// durable consumer comes again after its ack_wait, a doubled one is counted as redelivered; plain
/// messages and PubAcks may simply be lost.
struct MemoryFaults {
    unsigned drop_percent = 0;
    unsigned duplicate_percent = 0;
    unsigned reorder_percent = 0;
    milliseconds max_delay{0};
};

struct MemoryStream {
    std::string name;
    std::vector<std::string> subjects;
    bool work_queue = false;
    std::size_t max_messages = 1U << 20U;  ///< full: publishes are refused (discard new)
};
struct MemoryDurable {
    std::string stream;
    std::string name;
    std::string filter;
    milliseconds ack_wait{300};
};

/// Holds the streams. connect() may be called often; every connection sees the same streams. One
/// thread of its own delivers; the seed decides faults, the schedule of threads still varies.
class MemoryServer {
public:
    MemoryServer(
        std::uint64_t seed,
        MemoryFaults faults,
        std::vector<MemoryStream> streams,
        std::vector<MemoryDurable> durables
    );
    ~MemoryServer();
    MemoryServer(const MemoryServer&) = delete;
    MemoryServer& operator=(const MemoryServer&) = delete;

    std::unique_ptr<Connection> connect();
    /// Messages a stream holds.
    std::size_t stored(const std::string& stream);

private:
    friend class MemoryConnection;
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace berth::bus
