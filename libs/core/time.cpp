// SPDX-License-Identifier: Apache-2.0
// RFC 3339 and duration texts, written out by hand since <format> is absent in g++ 12.
#include "core/time.hpp"

#include <array>
#include <cstdio>

namespace berth {
namespace {

class SystemClock final : public Clock {
public:
    WallTime now() const override {
        return std::chrono::time_point_cast<microseconds>(std::chrono::system_clock::now());
    }
    SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

struct Unit {
    std::string_view name;
    long long millis;
};
constexpr std::array<Unit, 5> kUnits{{
    {"d", 86'400'000},
    {"h", 3'600'000},
    {"m", 60'000},
    {"s", 1'000},
    {"ms", 1},
}};
constexpr long long kMaxMillis = 3'660LL * 86'400'000LL;  // ten years: longer is a mistake

bool digits(std::string_view text, std::size_t at, std::size_t count, int& out) {
    if (at + count > text.size()) return false;
    int value = 0;
    for (std::size_t i = at; i < at + count; ++i) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (text[i] - '0');
    }
    out = value;
    return true;
}

Error bad_time(std::string_view text) {
    return invalid(
        "bad_time",
        "'" + std::string(text) + "' is not an RFC 3339 time such as 2026-01-31T09:05:00Z"
    );
}

Error bad_duration(std::string_view text) {
    return invalid(
        "bad_duration", "'" + std::string(text) + "' is not a duration such as 90s, 15m or 1h30m"
    );
}

}  // namespace

const Clock& Clock::system() {
    static const SystemClock clock;
    return clock;
}

std::string to_rfc3339(WallTime time) {
    using namespace std::chrono;
    const auto day = floor<days>(time);
    const year_month_day date{day};
    const auto rest = time - day;
    const auto hour = duration_cast<hours>(rest);
    const auto minute = duration_cast<minutes>(rest - hour);
    const auto second = duration_cast<seconds>(rest - hour - minute);
    const auto micro = rest - hour - minute - second;
    std::array<char, 64> text{};
    const int size = std::snprintf(
        text.data(),
        text.size(),
        "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
        static_cast<int>(date.year()),
        static_cast<unsigned>(date.month()),
        static_cast<unsigned>(date.day()),
        static_cast<int>(hour.count()),
        static_cast<int>(minute.count()),
        static_cast<int>(second.count()),
        static_cast<int>(micro.count())
    );
    return {text.data(), static_cast<std::size_t>(size)};
}

Result<WallTime> parse_rfc3339(std::string_view text) {
    using namespace std::chrono;
    int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
    const bool shape = digits(text, 0, 4, y) && digits(text, 5, 2, mo) && digits(text, 8, 2, d) &&
                       digits(text, 11, 2, h) && digits(text, 14, 2, mi) &&
                       digits(text, 17, 2, s) && text[4] == '-' && text[7] == '-' &&
                       (text[10] == 'T' || text[10] == 't') && text[13] == ':' && text[16] == ':';
    if (!shape || text.size() < 20) return bad_time(text);
    const year_month_day date{
        year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
    if (!date.ok() || h > 23 || mi > 59 || s > 60) return bad_time(text);
    std::size_t at = 19;
    long long micro = 0;
    if (text[at] == '.') {
        int scale = 100'000;
        std::size_t count = 0;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count) {
            micro += (text[at] - '0') * scale;
            scale /= 10;
        }
        if (count == 0 || count > 9) return bad_time(text);
    }
    long long offset = 0;
    if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
        ++at;
    } else {
        int oh = 0, om = 0;
        if (at + 6 != text.size() || (text[at] != '+' && text[at] != '-') ||
            !digits(text, at + 1, 2, oh) || text[at + 3] != ':' || !digits(text, at + 4, 2, om)) {
            return bad_time(text);
        }
        offset = (oh * 60 + om) * (text[at] == '-' ? -60 : 60);
        at += 6;
    }
    if (at != text.size()) return bad_time(text);
    const auto whole = sys_days{date} + hours{h} + minutes{mi} + seconds{s - offset};
    return WallTime{duration_cast<microseconds>(whole.time_since_epoch()) + microseconds{micro}};
}

// More digits after the point than a millisecond of a day can tell apart.
constexpr long long kMaxFraction = 1'000'000'000;

Result<milliseconds> parse_duration(std::string_view text) {
    if (text.empty()) return bad_duration(text);
    long long total = 0;
    std::size_t at = 0;
    std::size_t last_unit = 0;
    while (at < text.size()) {
        long long value = 0;
        const std::size_t first = at;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
            value = value * 10 + (text[at] - '0');
            if (value > kMaxMillis) return bad_duration(text);
        }
        const std::size_t last = at;
        long long fraction = 0, scale = 1;  // as fraction / scale
        if (at < text.size() && text[at] == '.') {
            for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
                if (scale == kMaxFraction) return bad_duration(text);
                fraction = fraction * 10 + (text[at] - '0');
                scale *= 10;
            }
            if (scale == 1) return bad_duration(text);
        }
        std::size_t end = at;
        while (end < text.size() && (text[end] < '0' || text[end] > '9')) ++end;
        const std::string_view unit = text.substr(at, end - at);
        std::size_t index = 0;
        while (index < kUnits.size() && kUnits[index].name != unit) ++index;
        if (first == last || index == kUnits.size() || (first > 0 && index <= last_unit)) {
            return bad_duration(text);
        }
        last_unit = index;
        if (value > (kMaxMillis - total) / kUnits[index].millis) return bad_duration(text);
        total += value * kUnits[index].millis + fraction * kUnits[index].millis / scale;
        at = end;
    }
    return milliseconds{total};
}

std::string format_duration(milliseconds duration) {
    long long rest = duration.count();
    std::string text;
    for (const Unit& unit : kUnits) {
        if (const long long count = rest / unit.millis; count > 0) {
            text += std::to_string(count);
            text += unit.name;
            rest %= unit.millis;
        }
    }
    return text.empty() ? "0s" : text;
}

}  // namespace berth
