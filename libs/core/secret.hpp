// SPDX-License-Identifier: Apache-2.0
// A secret is a type that cannot be printed by accident (rule 9).
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace berth {

/// Holds a secret text. It has no stream operator and no conversion; reveal() is the one, greppable
/// way out. The memory is overwritten on destruction. Copies are allowed: each is wiped too.
class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}
    Secret(const Secret&) = default;
    Secret(Secret&& other) noexcept : value_(other.value_) { other.wipe(); }
    Secret& operator=(const Secret& other) {
        if (this != &other) {
            wipe();
            value_ = other.value_;
        }
        return *this;
    }
    Secret& operator=(Secret&& other) noexcept {
        if (this != &other) {
            wipe();
            value_ = other.value_;
            other.wipe();
        }
        return *this;
    }
    ~Secret() { wipe(); }

    /// The text itself. Whoever calls this must neither log nor print it nor put it in argv.
    const std::string& reveal() const { return value_; }
    bool empty() const { return value_.empty(); }

private:
    void wipe();
    std::string value_;
};

/// Compares in time that depends only on the lengths.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace berth
