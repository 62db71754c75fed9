// SPDX-License-Identifier: Apache-2.0
// One finding per thing that must be right for Berth to work from here, each with its remedy.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/api.hpp"
#include "cli/context.hpp"
#include "core/json.hpp"

namespace berth::cli {

struct Finding {
    enum class Verdict { kOk, kWarning, kFailure };
    std::string name;
    Verdict verdict = Verdict::kOk;
    std::string detail;
    std::string remedy;  ///< what to do; empty where all is well
};
using Findings = std::vector<Finding>;

/// Programs this machine needs to send and fetch files.
void check_tools(Findings& out);
/// Gateway reached, its clock, the token, services and versions. Returns false where nothing more
/// can be asked.
bool check_gateway(const Context& context, Findings& out);
/// What the local driver needs of this host: only where the gateway is here.
void check_host(const Context& context, Findings& out);
/// What the provisioner sees at its providers and no record wants, or the other way round. Nothing
/// is found where the caller may not see it.
void check_drift(const Context& context, Findings& out);
/// The findings of GET /v1/drift's answer.
Findings findings_of_drift(const Json& drift);

/// The difference of two clocks that an HTTP Date shows, in seconds: it counts whole ones.
std::optional<long long> clock_skew(std::string_view http_date, WallTime now);
/// The version in the first line of `rsync --version`, as {3, 2}; {0, 0} where there is none.
std::pair<int, int> rsync_version(std::string_view text);

}  // namespace berth::cli
