// SPDX-License-Identifier: Apache-2.0
// How states, times and commands read in a table.
#pragma once

#include <string>
#include <string_view>

#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/time.hpp"

namespace berth::cli {

/// "active" for LEASE_STATE_ACTIVE: the name without the enum's prefix, in lower case.
std::string state_name(lease::v1::LeaseState state);
std::string state_name(run::v1::RunState state);
std::string enum_word(std::string_view name, std::string_view prefix);

/// The command on one line of at most `width` bytes, fit for a terminal: control characters could
/// drive it.
std::string command_line(const run::v1::Run& run, std::size_t width = 60);
/// The same of any text.
std::string printable(std::string_view text);
/// With U+FFFD for each byte that is not UTF-8.
std::string to_utf8(std::string_view text);

/// "2026-01-31T09:05:00Z", or "-" where there is none.
std::string when(const google::protobuf::Timestamp& time);
/// "3m" since then, "in 2h" where it is to come: one unit, the largest that fits; "-" where there
/// is none.
std::string age(const google::protobuf::Timestamp& time, WallTime now);
/// How long a run took, or has taken so far: "850ms", "12s", "3m05s"; "-" before it starts.
std::string duration_of(const run::v1::Run& run, WallTime now);
std::string short_duration(milliseconds duration);

/// Millionths as money: two decimals, more only where they would be lost.
std::string money(std::uint64_t micros);

}  // namespace berth::cli
