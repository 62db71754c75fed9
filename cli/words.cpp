// SPDX-License-Identifier: Apache-2.0
// One spelling for every view.
#include "cli/words.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"

namespace berth::cli {
namespace {

WallTime wall(const google::protobuf::Timestamp& time) {
    return from_unix_micros(time.seconds() * 1'000'000 + time.nanos() / 1'000);
}

std::string one_unit(long long seconds) {
    constexpr long long kMinute = 60;
    constexpr long long kHour = 60 * kMinute;
    constexpr long long kDay = 24 * kHour;
    if (seconds < kMinute) return fmt::format("{}s", seconds);
    if (seconds < kHour) return fmt::format("{}m", seconds / kMinute);
    if (seconds < 2 * kDay) return fmt::format("{}h", seconds / kHour);
    return fmt::format("{}d", seconds / kDay);
}

}  // namespace

std::string enum_word(std::string_view name, std::string_view prefix) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    std::string out(name);
    std::transform(out.begin(), out.end(), out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

std::string state_name(lease::v1::LeaseState state) {
    return enum_word(lease::v1::LeaseState_Name(state), "LEASE_STATE_");
}

std::string state_name(run::v1::RunState state) {
    return enum_word(run::v1::RunState_Name(state), "RUN_STATE_");
}

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c == '\t') c = ' ';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return out;
}

std::string to_utf8(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        std::size_t size = 1;
        while (size < 5 && !is_utf8(text.substr(0, size))) ++size;
        const bool whole = size < 5;
        out += whole ? text.substr(0, size) : "\xEF\xBF\xBD";
        text.remove_prefix(whole ? std::min(size, text.size()) : 1);
    }
    return out;
}

std::string command_line(const run::v1::Run& run, std::size_t width) {
    std::string out;
    for (const auto& word : run.argv()) out += (out.empty() ? "" : " ") + printable(word);
    return out.size() <= width ? out : clipped(out, width - 3) + "...";
}

std::string when(const google::protobuf::Timestamp& time) {
    if (time.seconds() == 0) return "-";
    return to_rfc3339(from_unix_micros(time.seconds() * 1'000'000)).substr(0, 19) + "Z";
}

std::string age(const google::protobuf::Timestamp& time, WallTime now) {
    if (time.seconds() == 0) return "-";
    const auto past = std::chrono::duration_cast<seconds>(now - wall(time)).count();
    return past >= 0 ? one_unit(past) : "in " + one_unit(-past);
}

std::string short_duration(milliseconds duration) {
    const long long ms = std::max<long long>(0, duration.count());
    if (ms < 1'000) return fmt::format("{}ms", ms);
    if (ms < 10'000) return fmt::format("{}.{}s", ms / 1'000, ms % 1'000 / 100);
    const long long all = ms / 1'000;
    if (all < 60) return fmt::format("{}s", all);
    if (all < 3'600) return fmt::format("{}m{:02}s", all / 60, all % 60);
    return fmt::format("{}h{:02}m", all / 3'600, all % 3'600 / 60);
}

std::string duration_of(const run::v1::Run& run, WallTime now) {
    if (!run.has_started_at()) return "-";
    const WallTime end = run.has_ended_at() ? wall(run.ended_at()) : now;
    return short_duration(std::chrono::duration_cast<milliseconds>(end - wall(run.started_at())));
}

std::string money(std::uint64_t micros) {
    const std::uint64_t whole = micros / 1'000'000;
    const std::uint64_t part = micros % 1'000'000;
    if (part % 10'000 == 0) return fmt::format("{}.{:02}", whole, part / 10'000);
    return fmt::format("{}.{:06}", whole, part);
}

}  // namespace berth::cli
