// SPDX-License-Identifier: Apache-2.0
// What every failure in Berth looks like: a class for programs, a stable code for clients, words
// for people.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace berth {

/// The class of a failure. It decides the HTTP status and whether trying again can help.
enum class Fault {
    kInvalid,          ///< 400: the request is wrong and stays wrong
    kUnauthenticated,  ///< 401
    kForbidden,        ///< 403
    kNotFound,         ///< 404
    kConflict,         ///< 409: the state does not allow it
    kTooLarge,         ///< 413
    kLimit,            ///< 429: a limit of the caller's own
    kInternal,         ///< 500: a bug of ours
    kUnavailable,      ///< 503: something Berth needs is away; trying again may help
    kExhausted,        ///< 503: nothing is left of what was asked for; its owner's last word
    kDeadline,         ///< 504: no answer in time; the effect may have happened
    kCanceled,         ///< 499: the caller took it back
};

/// The HTTP status of a class (RFC 9110 section 15; 499 is the customary one for a caller that
/// left).
int http_status(Fault fault);

/// True where the same request may succeed later with nothing changed by the caller.
bool is_retryable(Fault fault);

/// The lower-case name of a class, as it travels on the bus ("not_found"), and back.
std::string_view to_string(Fault fault);
Fault fault_from_string(std::string_view name);

/// A failure as a value. `code` is stable, snake_case, part of the API; `message` says what
/// happened and what to do next; `field` names the offending field of a request, or is empty.
struct Error {
    Fault fault = Fault::kInternal;
    std::string code;
    std::string message;
    std::string field;

    /// "code: message (field)", for logs and terminals.
    std::string describe() const;
};

inline Error invalid(std::string code, std::string message, std::string field = {}) {
    return {Fault::kInvalid, std::move(code), std::move(message), std::move(field)};
}
inline Error not_found(std::string code, std::string message) {
    return {Fault::kNotFound, std::move(code), std::move(message), {}};
}
inline Error conflict(std::string code, std::string message) {
    return {Fault::kConflict, std::move(code), std::move(message), {}};
}
inline Error forbidden(std::string code, std::string message) {
    return {Fault::kForbidden, std::move(code), std::move(message), {}};
}
inline Error unavailable(std::string code, std::string message) {
    return {Fault::kUnavailable, std::move(code), std::move(message), {}};
}
inline Error exhausted(std::string code, std::string message) {
    return {Fault::kExhausted, std::move(code), std::move(message), {}};
}
inline Error limit(std::string code, std::string message) {
    return {Fault::kLimit, std::move(code), std::move(message), {}};
}
inline Error deadline(std::string code, std::string message) {
    return {Fault::kDeadline, std::move(code), std::move(message), {}};
}
inline Error internal(std::string code, std::string message) {
    return {Fault::kInternal, std::move(code), std::move(message), {}};
}

/// The error of a failed system call: `what` plus strerror(errno_value); code "system".
Error system_error(std::string_view what, int errno_value);

}  // namespace berth
