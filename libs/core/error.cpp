// SPDX-License-Identifier: Apache-2.0
// The one table that ties a class of failure to its name, HTTP status and retry rule.
#include "core/error.hpp"

#include <array>
#include <system_error>

namespace berth {
namespace {

struct Row {
    Fault fault;
    std::string_view name;
    int status;
    bool retryable;
};

constexpr std::array<Row, 12> kRows{{
    {Fault::kInvalid, "invalid", 400, false},
    {Fault::kUnauthenticated, "unauthenticated", 401, false},
    {Fault::kForbidden, "forbidden", 403, false},
    {Fault::kNotFound, "not_found", 404, false},
    {Fault::kConflict, "conflict", 409, false},
    {Fault::kTooLarge, "too_large", 413, false},
    {Fault::kLimit, "limit", 429, true},
    {Fault::kInternal, "internal", 500, false},
    {Fault::kUnavailable, "unavailable", 503, true},
    {Fault::kExhausted, "exhausted", 503, false},
    {Fault::kDeadline, "deadline", 504, true},
    {Fault::kCanceled, "canceled", 499, false},
}};

const Row& row(Fault fault) {
    for (const Row& r : kRows) {
        if (r.fault == fault) return r;
    }
    return kRows[7];
}

}  // namespace

int http_status(Fault fault) { return row(fault).status; }
bool is_retryable(Fault fault) { return row(fault).retryable; }
std::string_view to_string(Fault fault) { return row(fault).name; }

Fault fault_from_string(std::string_view name) {
    for (const Row& r : kRows) {
        if (r.name == name) return r.fault;
    }
    return Fault::kInternal;
}

std::string Error::describe() const {
    std::string text = code + ": " + message;
    if (!field.empty()) text += " (" + field + ")";
    return text;
}

Error system_error(std::string_view what, int errno_value) {
    return internal(
        "system",
        std::string(what) + ": " + std::error_code(errno_value, std::generic_category()).message()
    );
}

}  // namespace berth
