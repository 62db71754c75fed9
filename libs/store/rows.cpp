// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's text and binary forms, both ways: parameters in, columns out.
#include <libpq-fe.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <stdexcept>

#include "store/postgres.hpp"

namespace berth::store {
namespace {

const PGresult* as_result(const void* result) { return static_cast<const PGresult*>(result); }

[[noreturn]] void misuse(const std::string& what, const Column& column) {
    throw std::logic_error(
        "result column " +
        (column.name().empty() ? std::to_string(column.index()) : std::string(column.name())) +
        ": " + what
    );
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

void append_hex(std::string& out, std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        out += kDigits[byte >> 4U];
        out += kDigits[byte & 15U];
    }
}

/// Reads `digits` decimal digits at `at`; -1 when they are not there.
int digits_at(std::string_view text, std::size_t at, std::size_t digits) {
    int value = 0;
    if (at + digits > text.size()) return -1;
    for (std::size_t i = at; i < at + digits; ++i) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/// "2026-01-31 09:05:00.000001+00", as a session in UTC with DateStyle ISO prints it.
std::optional<WallTime> parse_timestamp(std::string_view text) {
    const int year = digits_at(text, 0, 4);
    const int month = digits_at(text, 5, 2);
    const int day = digits_at(text, 8, 2);
    const int hour = digits_at(text, 11, 2);
    const int minute = digits_at(text, 14, 2);
    const int second = digits_at(text, 17, 2);
    if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0)
        return std::nullopt;
    int micros = 0;
    std::size_t at = 19;
    if (at < text.size() && text[at] == '.') {
        int scale = 100'000;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
            micros += (text[at] - '0') * scale;
    }
    if (at < text.size() && text.substr(at) != "+00") return std::nullopt;
    const std::chrono::sys_days days = std::chrono::year{year} / month / day;
    return WallTime{days.time_since_epoch()} + std::chrono::hours{hour} +
           std::chrono::minutes{minute} + seconds{second} + microseconds{micros};
}

template <typename Values, typename Append>
std::string array_literal(const Values& values, Append append) {
    std::string out = "{";
    for (const auto& value : values) {
        if (out.size() > 1) out += ',';
        append(out, value);
    }
    return out + "}";
}

}  // namespace

Param::Param(double value) {
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
    value_.assign(buffer.data(), end.ptr);
}

Param::Param(WallTime time) : value_(to_rfc3339(time)) {}

Param Param::bytes(std::string value) {
    Param param(std::move(value));
    param.kind_ = Kind::kBinary;
    return param;
}

Param Param::int64_array(std::span<const std::int64_t> values) {
    return Param(array_literal(values, [](std::string& out, std::int64_t value) {
        out += std::to_string(value);
    }));
}

Param Param::text_array(std::span<const std::string> values) {
    return Param(array_literal(values, [](std::string& out, const std::string& value) {
        out += '"';
        for (const char c : value) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        out += '"';
    }));
}

Param Param::bytes_array(std::span<const std::string> values) {
    return Param(array_literal(values, [](std::string& out, const std::string& value) {
        out += "\"\\\\x";
        append_hex(out, value);
        out += '"';
    }));
}

int Row::find(Column column) const {
    const PGresult* const result = as_result(rows_->result_.get());
    const int fields = PQnfields(result);
    if (column.index() >= 0) {
        if (column.index() < fields) return column.index();
        misuse("there is no such column", column);
    }
    for (int i = 0; i < fields; ++i) {
        if (column.name() == PQfname(result, i)) return i;
    }
    misuse("there is no such column", column);
}

std::string_view Row::raw(Column column) const {
    const PGresult* const result = as_result(rows_->result_.get());
    const int field = find(column);
    if (PQgetisnull(result, index_, field) != 0) misuse("is NULL", column);
    return {
        PQgetvalue(result, index_, field),
        static_cast<std::size_t>(PQgetlength(result, index_, field))};
}

bool Row::is_null(Column column) const {
    return PQgetisnull(as_result(rows_->result_.get()), index_, find(column)) != 0;
}

std::string_view Row::text(Column column) const { return raw(column); }

std::int64_t Row::int64(Column column) const {
    const std::string_view text = raw(column);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        misuse("is not an integer", column);
    return value;
}

double Row::number(Column column) const {
    const std::string_view text = raw(column);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) misuse("is not a number", column);
    return value;
}

bool Row::boolean(Column column) const {
    const std::string_view text = raw(column);
    if (text != "t" && text != "f") misuse("is not a boolean", column);
    return text == "t";
}

std::string Row::bytes(Column column) const {
    const std::string_view text = raw(column);
    if (!text.starts_with("\\x") || text.size() % 2 != 0) misuse("is not bytea", column);
    std::string out(text.size() / 2 - 1, '\0');
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = hex_digit(text[2 * i + 2]);
        const int low = hex_digit(text[2 * i + 3]);
        if (high < 0 || low < 0) misuse("is not bytea", column);
        out[i] = static_cast<char>(high * 16 + low);
    }
    return out;
}

WallTime Row::time(Column column) const {
    const std::optional<WallTime> time = parse_timestamp(raw(column));
    if (!time) misuse("is not a timestamptz between the years 1 and 9999", column);
    return *time;
}

std::vector<std::int64_t> Row::int64_array(Column column) const {
    const std::string_view text = raw(column);
    if (text.size() < 2 || text.front() != '{') misuse("is not an array of integers", column);
    std::vector<std::int64_t> out;
    const char* at = text.data() + 1;
    const char* const last = text.data() + text.size() - 1;
    while (at < last) {
        const auto [end, error] = std::from_chars(at, last, out.emplace_back());
        if (error != std::errc{}) misuse("is not an array of integers", column);
        at = end + 1;
    }
    return out;
}

std::optional<std::string> Row::optional_text(Column column) const {
    if (is_null(column)) return std::nullopt;
    return std::string(text(column));
}
std::optional<std::int64_t> Row::optional_int64(Column column) const {
    if (is_null(column)) return std::nullopt;
    return int64(column);
}
std::optional<std::string> Row::optional_bytes(Column column) const {
    if (is_null(column)) return std::nullopt;
    return bytes(column);
}
std::optional<WallTime> Row::optional_time(Column column) const {
    if (is_null(column)) return std::nullopt;
    return time(column);
}

void Rows::Clear::operator()(void* result) const { PQclear(static_cast<PGresult*>(result)); }

std::size_t Rows::size() const {
    return result_ ? static_cast<std::size_t>(PQntuples(as_result(result_.get()))) : 0;
}

Row Rows::operator[](std::size_t index) const {
    if (index >= size()) throw std::logic_error("a result has no row " + std::to_string(index));
    return {*this, static_cast<int>(index)};
}

std::int64_t Rows::affected() const {
    if (!result_) return 0;
    const std::string_view text = PQcmdTuples(static_cast<PGresult*>(result_.get()));
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace berth::store
