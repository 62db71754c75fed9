// SPDX-License-Identifier: Apache-2.0
// The runs of this working tree: the gateway knows runs and leases, the label joins them.
#pragma once

#include <string>
#include <vector>

#include "cli/api.hpp"
#include "cli/context.hpp"

namespace berth::cli {

struct History {
    struct Entry {
        run::v1::Run run;
        std::string lease;  ///< the lease's name, or its id where that is not known
    };
    std::vector<Entry> runs;  ///< the newest first
    bool complete = true;     ///< false: there are older ones that were not looked at
};

/// At most `limit` runs on leases of this tree. Looks through the newest thousand leases and runs
/// of the caller.
Result<History> history_of_tree(const Context& context, Api& api, std::size_t limit);
/// At most `limit` runs of one lease, ended ones too.
Result<History> history_of_lease(Api& api, const std::string& lease, std::size_t limit);

}  // namespace berth::cli
