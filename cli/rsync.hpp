// SPDX-License-Identifier: Apache-2.0
// Starts rsync with Berth as its remote shell: the one way files go to a machine and come back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/capture.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::cli {

struct RsyncPeer {
    std::string server;
    Secret token;
    std::string lease;
    std::string query;  ///< of GET /v1/leases/{id}/sync: "fetch=1" where the machine sends
};

/// Errors: that of the gateway where it refused the channel, "rsync_missing". rsync's own failure
/// is in the result's code and words. `arguments` as after "rsync", the machine's workspace is
/// "berth:."; `input` goes to its stdin. Error "rsync_missing", and capture's own; an exit code
/// that is not zero is the caller's to judge.
Result<Captured> run_rsync(
    const RsyncPeer& peer, std::vector<std::string> arguments, std::string_view input = {}
);

/// What a failed rsync says of `trouble`, like "the working tree could not be sent".
Error rsync_failure(std::string code, std::string_view trouble, const Captured& result);

}  // namespace berth::cli
