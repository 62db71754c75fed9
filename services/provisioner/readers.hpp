// SPDX-License-Identifier: Apache-2.0
// Readers of events: others' programs on the bus, each with a durable of its own and a user that
// ends.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provisioner/enrolment.hpp"
#include "service/handlers.hpp"

namespace berth::prov {

struct ReaderRow {
    std::string id;  ///< rd_<ulid>
    std::string org;
    std::string name;
    std::string created_by;
    WallTime created_at{};
    WallTime expires_at{};  ///< of its newest credential
};

/// berth.cmd.prov.reader, drop_reader and berth.qry.prov.readers. Thread-safe: everything changing
/// is in the database and on the bus.
class ReaderHandlers {
public:
    /// `nats_url`: where readers reach the bus.
    ReaderHandlers(Enrolment& enrolment, store::Pool& pool, std::string nats_url)
        : enrolment_(enrolment), pool_(pool), nats_url_(std::move(nats_url)) {}
    void bind(service::Handlers& handlers);

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    Outcome make(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome drop(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome list(const Context& context, const std::string& payload);
    /// Those nobody has renewed for longer than events are kept have nothing left to read.
    Result<void> drop_stale(store::Transaction& tx, WallTime now);

    Enrolment& enrolment_;
    store::Pool& pool_;
    const std::string nats_url_;
};

}  // namespace berth::prov
