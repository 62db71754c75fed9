// SPDX-License-Identifier: Apache-2.0
// A small strict JSON value (RFC 8259) for NATS claims and the JetStream API; protobuf messages use
// protobuf's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/result.hpp"

namespace berth {

/// A JSON value. Objects keep the order of their members. Integers that fit 64 signed bits stay
/// exact; other numbers are doubles. A value type: not thread-safe for writing, like any other.
class Json {
public:
    using Array = std::vector<Json>;
    using Member = std::pair<std::string, Json>;
    using Object = std::vector<Member>;

    struct Limits {
        std::size_t bytes = 4U << 20U;  ///< of the whole text
        int depth = 64;                 ///< of nested arrays and objects
    };

    Json() = default;                    ///< null
    Json(bool value) : value_(value) {}  // NOLINT(google-explicit-constructor)
    Json(int value)
        : value_(static_cast<std::int64_t>(value)) {}        // NOLINT(google-explicit-constructor)
    Json(std::int64_t value) : value_(value) {}              // NOLINT(google-explicit-constructor)
    Json(double value) : value_(value) {}                    // NOLINT(google-explicit-constructor)
    Json(const char* value) : value_(std::string(value)) {}  // NOLINT(google-explicit-constructor)
    Json(std::string_view value)
        : value_(std::string(value)) {}                    // NOLINT(google-explicit-constructor)
    Json(std::string value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
    Json(Array value) : value_(std::move(value)) {}        // NOLINT(google-explicit-constructor)
    Json(Object value) : value_(std::move(value)) {}       // NOLINT(google-explicit-constructor)
    /// Text items, the commonest array.
    static Json strings(const std::vector<std::string>& items);
    static Json object() { return Json(Object{}); }
    static Json array() { return Json(Array{}); }

    /// The whole text must be one value: no trailing bytes, no duplicate member, UTF-8 only, no
    /// lone surrogate. Error code "bad_json" names the byte offset. (A defaulted Limits argument
    /// cannot be spelled in-class.)
    static Result<Json> parse(std::string_view text, const Limits& limits);
    static Result<Json> parse(std::string_view text) { return parse(text, Limits{4U << 20U, 64}); }
    /// The shortest text of it, one line. Doubles that are not finite become null.
    std::string dump() const;

    bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
    bool is_object() const { return as_object() != nullptr; }

    /// The value when it is of that type, else nullptr.
    const bool* as_bool() const { return std::get_if<bool>(&value_); }
    const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&value_); }
    const double* as_double() const { return std::get_if<double>(&value_); }
    const std::string* as_string() const { return std::get_if<std::string>(&value_); }
    const Array* as_array() const { return std::get_if<Array>(&value_); }
    const Object* as_object() const { return std::get_if<Object>(&value_); }

    /// A member of an object; nullptr when there is none or this is no object.
    const Json* find(std::string_view key) const;
    /// The member's value when it is of that type, else `fallback`.
    std::string string_or(std::string_view key, std::string_view fallback) const;
    std::int64_t int_or(std::string_view key, std::int64_t fallback) const;
    bool bool_or(std::string_view key, bool fallback) const;

    /// Adds or replaces a member; on anything but an object it first becomes an empty one. Returns
    /// *this.
    Json& set(std::string_view key, Json value);
    /// Appends; on anything but an array it first becomes an empty one. Returns *this.
    Json& push(Json value);

    friend bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

private:
    std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

}  // namespace berth
