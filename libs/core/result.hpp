// SPDX-License-Identifier: Apache-2.0
// A value or an Error: the interface of C++23's std::expected, which g++ 12 does not have under
// C++20.
#pragma once

#include <cassert>
#include <optional>
#include <utility>
#include <variant>

#include "core/error.hpp"

namespace berth {

/// Holds a T or an Error. Reading the wrong side is a bug and asserts. Not thread-safe, like any
/// value.
template <typename T>
class [[nodiscard]] Result {
public:
    // Implicit on purpose: `return value;` and `return error;` both read well.
    Result(T value)
        : state_(std::in_place_index<0>, std::move(value)) {
    }  // NOLINT(google-explicit-constructor)
    Result(Error error)
        : state_(std::in_place_index<1>, std::move(error)) {
    }  // NOLINT(google-explicit-constructor)

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & { return get(); }
    const T& value() const& { return std::get<0>(state_); }
    T&& value() && { return std::move(get()); }
    T& operator*() & { return get(); }
    const T& operator*() const& { return std::get<0>(state_); }
    T&& operator*() && { return std::move(get()); }
    T* operator->() { return &get(); }
    const T* operator->() const { return &std::get<0>(state_); }

    Error& error() & { return std::get<1>(state_); }
    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

    T value_or(T fallback) const& {
        return has_value() ? std::get<0>(state_) : std::move(fallback);
    }

private:
    T& get() { return std::get<0>(state_); }
    std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

    bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }
    Error& error() & { return *error_; }
    const Error& error() const& { return *error_; }
    Error&& error() && { return std::move(*error_); }

private:
    std::optional<Error> error_;
};

}  // namespace berth

/// Returns the error of a Result<void>-like expression from the enclosing function.
#define BERTH_TRY(expression)                                              \
    do {                                                                   \
        auto berth_try_result = (expression);                              \
        if (!berth_try_result) return std::move(berth_try_result).error(); \
    } while (false)

#define BERTH_CONCAT_INNER(a, b) a##b
#define BERTH_CONCAT(a, b) BERTH_CONCAT_INNER(a, b)

/// `BERTH_ASSIGN(auto x, f());` declares x from the value, or returns the error.
#define BERTH_ASSIGN(declaration, expression) \
    BERTH_ASSIGN_INNER(declaration, expression, BERTH_CONCAT(berth_assign_, __LINE__))
#define BERTH_ASSIGN_INNER(declaration, expression, name) \
    auto name = (expression);                             \
    if (!name) return std::move(name).error();            \
    declaration = std::move(name).value()
