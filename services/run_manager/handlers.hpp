// SPDX-License-Identifier: Apache-2.0
// What run_manager does with each message: decode, decide (run.hpp), write (repo.hpp), tell.
#pragma once

#include "berth/lease/v1/lease.pb.h"
#include "bus/asker.hpp"
#include "run_manager/repo.hpp"
#include "service/handlers.hpp"

namespace berth::run {

/// Thread-safe: everything changing is in the database.
class RunHandlers {
public:
    RunHandlers(store::Pool& pool, bus::Asker& asker) : pool_(pool), asker_(asker) {}
    void bind(service::Handlers& handlers);

    /// Ends a run that its machine will not end any more, and places the next in its line.
    Result<std::vector<store::OutboxMessage>> lose(
        store::Transaction& tx, const std::string& run, std::string_view reason, WallTime now
    );

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    Outcome start(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome cancel(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome signal(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome open_sync(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome get(const Context& context, const std::string& payload);
    Outcome list(const Context& context, const std::string& payload);
    Outcome tree(const Context& context, const std::string& payload);
    Outcome node_fact(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome machine_fact(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome share_fact(const Context& context, const std::string& payload, store::Transaction& tx);

    Result<lease::v1::Attached> attach(
        const Context& context,
        const common::v1::Actor& actor,
        const std::string& lease,
        const std::string& work
    );
    Result<Run> owned(
        store::Transaction& tx, const common::v1::Actor& actor, const std::string& id
    );
    /// After a run of the lease ended: the next queued one is told to its machine.
    Result<void> place_next(
        const Context& context,
        store::Transaction& tx,
        const std::string& lease,
        std::vector<store::OutboxMessage>& out
    );

    store::Pool& pool_;
    bus::Asker& asker_;
};

}  // namespace berth::run
