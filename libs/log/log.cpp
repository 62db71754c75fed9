// SPDX-License-Identifier: Apache-2.0
// Builds each line in one buffer on the caller's thread and writes it once, so that lines never
// mix.
#include "log/log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "core/time.hpp"

namespace berth::log {
namespace {

Level first_level() {
    const char* text = std::getenv("BERTH_LOG_LEVEL");
    if (text == nullptr) return Level::kInfo;
    return parse_level(text).value_or(Level::kInfo);
}

bool json_by_environment() {
    const char* text = std::getenv("BERTH_LOG_FORMAT");
    const std::string_view word = text == nullptr ? "" : text;
    if (word == "json") return true;
    if (word == "text") return false;
    return ::isatty(STDERR_FILENO) == 0;
}

struct State {
    std::atomic<Level> level{first_level()};
    std::atomic<Format> format{Format::kAutomatic};
    const bool automatic_json = json_by_environment();
    std::atomic<std::uint64_t> errors{0};
    std::mutex mutex;
    // Read by every line, replaced as a whole; guarded by mutex.
    std::string service;
    std::string instance;
    std::shared_ptr<const Sink> sink;
};

// Never destroyed: threads may log while the process ends.
State& state() {
    static State& instance = *new State;
    return instance;
}

// The length of the well-formed UTF-8 sequence at `at`, or 0.
std::size_t sequence_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) -> unsigned {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    const unsigned lead = byte(at);
    const unsigned second = byte(at + 1);
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return continues(at + 1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (!continues(at + 1) || !continues(at + 2)) return 0;
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (!continues(at + 1) || !continues(at + 2) || !continues(at + 3)) return 0;
        if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;
        return 4;
    }
    return 0;
}

// Appends `text` as the inside of a JSON string: control characters escaped, bytes that are not
// UTF-8 replaced by U+FFFD. `room` is the number of bytes out may still grow by; false when the
// text was cut.
bool append_escaped(std::string& out, std::string_view text, std::size_t room) {
    const std::size_t end = out.size() + room;
    for (std::size_t i = 0; i < text.size();) {
        if (out.size() + 6 > end) return false;  // 6: the longest escape, \u0000
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
            ++i;
        } else if (c == '\n' || c == '\t' || c == '\r') {
            out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r";
            ++i;
        } else if (c < 0x20 || c == 0x7F) {
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
            ++i;
        } else if (const std::size_t length = sequence_length(text, i); length > 0) {
            // C1 controls (U+0080..U+009F) drive terminals as ESC does.
            if (length == 2 && c == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
                fmt::format_to(
                    std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(text[i + 1])
                );
            } else {
                out.append(text, i, length);
            }
            i += length;
        } else {
            out += "\xEF\xBF\xBD";
            ++i;
        }
    }
    return true;
}

constexpr std::size_t kMaxMessage = 2 * 1024;
// Kept free for the closing mark: ,"truncated":true}\n
constexpr std::size_t kReserve = 32;

bool is_bare(std::string_view text) {
    if (text.empty()) return false;
    for (const char c : text) {
        const auto u = static_cast<unsigned char>(c);
        if (u <= 0x20 || u >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
    }
    return true;
}

std::string number_text(double number, bool json) {
    if (std::isfinite(number)) return fmt::format("{}", number);
    const auto word = std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
    return json ? fmt::format("\"{}\"", word) : word;
}

struct Writer {
    std::string& out;
    bool json;

    std::size_t room() const {
        const std::size_t used = out.size() + kReserve;
        return used >= kMaxLine ? 0 : kMaxLine - used;
    }

    // False when the field did not fit and the line must be closed as truncated.
    bool field(std::string_view key, const Value& value) {
        if (room() < key.size() + 64) return false;
        const bool is_time = std::holds_alternative<std::chrono::nanoseconds>(value.data());
        out += json ? ",\"" : " ";
        append_escaped(out, key, key.size() * 6 + 6);
        if (is_time) out += "_ms";
        out += json ? "\":" : "=";
        if (const auto* text = std::get_if<std::string>(&value.data())) {
            if (!json && is_bare(*text) && text->size() < room()) {
                out += *text;
                return true;
            }
            out += '"';
            const bool whole = append_escaped(out, *text, room());
            out += '"';
            return whole;
        }
        if (const auto* number = std::get_if<std::int64_t>(&value.data())) {
            fmt::format_to(std::back_inserter(out), "{}", *number);
        } else if (const auto* real = std::get_if<double>(&value.data())) {
            out += number_text(*real, json);
        } else if (const auto* flag = std::get_if<bool>(&value.data())) {
            out += *flag ? "true" : "false";
        } else if (const auto* time = std::get_if<std::chrono::nanoseconds>(&value.data())) {
            out += number_text(static_cast<double>(time->count()) / 1e6, json);
        }
        return true;
    }
};

std::string build(
    Level level,
    std::string_view message,
    std::span<const Field> fields,
    bool json,
    std::string_view service,
    std::string_view instance
) {
    std::string out;
    out.reserve(256);
    Writer writer{out, json};
    const std::string time = to_rfc3339(Clock::system().now());
    bool whole = true;
    if (json) {
        fmt::format_to(
            std::back_inserter(out), "{{\"time\":\"{}\",\"level\":\"{}\"", time, to_string(level)
        );
        if (!service.empty()) whole = writer.field("service", service) && whole;
        if (!instance.empty()) whole = writer.field("instance", instance) && whole;
        out += ",\"message\":\"";
        whole = append_escaped(out, message, kMaxMessage) && whole;
        out += '"';
    } else {
        fmt::format_to(std::back_inserter(out), "{} {:<7} ", time, to_string(level));
        if (!service.empty()) {
            append_escaped(out, service, kMaxMessage);
            out += ": ";
        }
        whole = append_escaped(out, message, kMaxMessage);
    }
    for (const Field& field : fields) {
        if (!writer.field(field.key, field.value)) {
            whole = false;
            break;
        }
    }
    if (!whole) out += json ? ",\"truncated\":true" : " truncated=true";
    if (json) out += '}';
    return out;
}

void write_stderr(std::string& line) {
    line += '\n';
    std::size_t done = 0;
    while (done < line.size()) {  // once, unless a signal or a full pipe cuts it short
        const auto count = ::write(STDERR_FILENO, line.data() + done, line.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;  // nowhere left to tell
        done += static_cast<std::size_t>(count);
    }
}

}  // namespace

std::string_view to_string(Level level) {
    switch (level) {
        case Level::kDebug: return "debug";
        case Level::kInfo: return "info";
        case Level::kWarning: return "warning";
        case Level::kError: return "error";
    }
    return "error";
}

Result<Level> parse_level(std::string_view text) {
    for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
        if (text == to_string(level)) return level;
    }
    return invalid(
        "bad_level", fmt::format("'{}' is no log level; use debug, info, warning or error", text)
    );
}

void write(Level level, std::string_view message, std::span<const Field> fields) {
    State& all = state();
    if (level == Level::kError) all.errors.fetch_add(1, std::memory_order_relaxed);
    if (!enabled(level)) return;
    const Format format = all.format.load(std::memory_order_relaxed);
    const bool json =
        format == Format::kJson || (format == Format::kAutomatic && all.automatic_json);
    std::string service;
    std::string instance;
    {
        const std::lock_guard lock(all.mutex);
        service = all.service;
        instance = all.instance;
    }
    std::string line = build(level, message, fields, json, service, instance);
    const std::lock_guard lock(all.mutex);
    if (all.sink) {
        (*all.sink)(level, line);
    } else {
        write_stderr(line);
    }
}

void set_service(std::string_view name, std::string_view instance) {
    State& all = state();
    const std::lock_guard lock(all.mutex);
    all.service = name;
    all.instance = instance;
}

void set_level(Level level) { state().level.store(level, std::memory_order_relaxed); }
Level level() { return state().level.load(std::memory_order_relaxed); }
bool enabled(Level level) { return level >= state().level.load(std::memory_order_relaxed); }
void set_format(Format format) { state().format.store(format, std::memory_order_relaxed); }

void set_sink(Sink sink) {
    State& all = state();
    const std::lock_guard lock(all.mutex);
    all.sink = sink ? std::make_shared<const Sink>(std::move(sink)) : nullptr;
}

std::uint64_t error_count() { return state().errors.load(std::memory_order_relaxed); }

}  // namespace berth::log
