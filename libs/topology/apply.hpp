// SPDX-License-Identifier: Apache-2.0
// Makes a running server's streams and durables equal to the topology, and proves it by what the
// server answers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "topology/topology.hpp"

namespace berth::topology {

/// One request to the JetStream API: the answer's payload. Retries and deadlines are the caller's.
using ApiRequest =
    std::function<Result<std::string>(std::string_view subject, std::string_view json)>;

struct ApplyOptions {
    std::map<std::string, std::int64_t> max_bytes;  ///< by stream, instead of the topology's
    int replicas = 1;                               ///< 3 on a cluster
    bool check_only = false;  ///< changes nothing: a difference is an error "differs"
};

/// Names of streams ("CMD_RUN") and durables ("CMD_RUN/run").
struct ApplyReport {
    std::vector<std::string> created;
    std::vector<std::string> updated;
    std::vector<std::string> unchanged;
};

/// Creates or updates every stream, then every durable. Safe to repeat and to run twice at once.
/// After each change the configuration the server echoes is compared field by field with the one
/// asked for: an old server ignores silently what it does not know. Errors: "config_ignored"
/// (stream, field, wanted, got), "differs", "jetstream_api" (the server's words), "bad_option", and
/// those of `request`. (Not "apply": std::apply would be found for a std::function argument.)
Result<ApplyReport> apply_topology(
    const Topology& topology, const ApiRequest& request, const ApplyOptions& options = {}
);

/// The same for one durable: what the provisioner does for a machine. The report names what
/// happened.
Result<void> apply_consumer(
    const Consumer& consumer,
    const ApiRequest& request,
    const ApplyOptions& options,
    ApplyReport& report
);

/// Deletes a durable; one that does not exist is success.
Result<void> delete_consumer(const Consumer& consumer, const ApiRequest& request);

/// Deletes the messages of `subject` (a pattern) from a stream; the number of them.
Result<std::int64_t> purge(
    std::string_view stream, std::string_view subject, const ApiRequest& request
);

/// The configuration as the JetStream API spells it.
Json stream_config(const Stream& stream, const ApplyOptions& options);
Json consumer_config(const Consumer& consumer);

}  // namespace berth::topology
