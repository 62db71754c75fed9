// SPDX-License-Identifier: Apache-2.0
// Structured log lines on stderr: one event, one line, one write(2), readable by people and by
// programs.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/error.hpp"
#include "core/result.hpp"

/// Thread rules: every function may be called from any thread at any time; lines never mix.
/// A line is JSON when stderr is not a terminal or BERTH_LOG_FORMAT=json, and readable text
/// otherwise (BERTH_LOG_FORMAT=text forces text). BERTH_LOG_LEVEL (debug, info, warning, error)
/// sets the first level. Secrets cannot be logged: berth::Secret converts to no Value.
namespace berth::log {

enum class Level { kDebug, kInfo, kWarning, kError };

/// "debug", "info", "warning", "error".
std::string_view to_string(Level level);
/// Error code "bad_level" names the accepted words.
Result<Level> parse_level(std::string_view text);

/// The longest line, its newline included; what is longer is cut and marked with "truncated".
inline constexpr std::size_t kMaxLine = 8 * 1024;

/// What a field may hold. A duration is written in milliseconds with a fraction.
class Value {
public:
    Value(const char* text)
        : data_(std::string(text == nullptr ? "" : text)) {}  // NOLINT(google-explicit-constructor)
    Value(std::string_view text)
        : data_(std::string(text)) {}                       // NOLINT(google-explicit-constructor)
    Value(std::string text) : data_(std::move(text)) {}     // NOLINT(google-explicit-constructor)
    Value(const Error& error) : data_(error.describe()) {}  // NOLINT(google-explicit-constructor)
    template <std::same_as<bool> T>
    Value(T flag) : data_(flag) {}  // NOLINT(google-explicit-constructor)
    template <std::integral T>
    requires(!std::same_as<T, bool>) Value(T number)
        : data_(static_cast<std::int64_t>(number)) {}  // NOLINT(google-explicit-constructor)
    template <std::floating_point T>
    Value(T number) : data_(static_cast<double>(number)) {}  // NOLINT(google-explicit-constructor)
    template <typename Rep, typename Period>
    Value(std::chrono::duration<Rep, Period> time)  // NOLINT(google-explicit-constructor)
        : data_(std::chrono::duration_cast<std::chrono::nanoseconds>(time)) {}

    using Data = std::variant<std::string, std::int64_t, double, bool, std::chrono::nanoseconds>;
    const Data& data() const { return data_; }

private:
    Data data_;
};

/// One name and value. Names are snake_case literals; a duration's name gets no unit, the line adds
/// "_ms".
struct Field {
    std::string_view key;  // a literal
    Value value;
};

/// Writes one line. `message` is a short fixed sentence; what varies belongs in fields.
void write(Level level, std::string_view message, std::span<const Field> fields);

inline void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::kDebug, message, {fields.begin(), fields.size()});
}
inline void info(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::kInfo, message, {fields.begin(), fields.size()});
}
inline void warning(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::kWarning, message, {fields.begin(), fields.size()});
}
/// Something Berth must never do happened. A line at this level fails a test.
inline void error(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::kError, message, {fields.begin(), fields.size()});
}

/// Names the process in every line from now on ("service", "instance"); empty ones are left out.
void set_service(std::string_view name, std::string_view instance);

/// Lines below `level` are dropped. The default is info.
void set_level(Level level);
Level level();
/// True when a line at `level` would be written; for fields that are costly to build.
bool enabled(Level level);

enum class Format { kAutomatic, kJson, kText };
void set_format(Format format);

/// Receives each line (without its newline) instead of stderr; an empty function restores stderr.
/// The sink runs on the logging thread under a lock: it must be quick and must not log.
using Sink = std::function<void(Level level, std::string_view line)>;
void set_sink(Sink sink);

/// How many lines at error level this process has written since it started, also dropped ones.
std::uint64_t error_count();

}  // namespace berth::log
