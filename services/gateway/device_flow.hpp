// SPDX-License-Identifier: Apache-2.0
// The device authorization grant (RFC 8628) at a sign-in provider, as its client: a person confirms
// on any screen, and the provider tells who it was.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"
#include "gateway/settings.hpp"

namespace berth::gateway {

/// The provider's answer to a beginning.
struct DeviceStart {
    Secret device_code;
    std::string user_code;
    std::string verification_uri;
    std::string verification_uri_complete;  ///< may be empty
    seconds expires_in{900};
    seconds interval{5};
};

/// Who confirmed.
struct ProviderIdentity {
    std::string subject;    ///< the provider's lasting id: names change hands
    std::string login;      ///< fit for a terminal
    bool admitted = false;  ///< the admission's condition is there and met
    bool refused = false;   ///< it is there and not met: not even a linked user may sign in
};

struct DevicePoll {
    enum class State { kPending, kSlowDown, kDenied, kExpired, kDone };
    State state = State::kPending;
    seconds interval{0};  ///< the provider's wish, or 0
    ProviderIdentity identity{};
};

/// Asks over the network and waits, kProviderTimeout at most for each exchange. Thread-safe.
class SignInProvider {
public:
    virtual ~SignInProvider() = default;
    /// Errors: "provider_unreachable" (kUnavailable), "provider_error" with its words.
    virtual Result<DeviceStart> start(const std::string& nonce) = 0;
    /// The same, and those of verify_id_token().
    virtual Result<DevicePoll> poll(const Secret& device_code, const std::string& nonce) = 0;
};

std::unique_ptr<SignInProvider> make_github(const GithubSettings& settings);
/// Error "unreadable" of the client secret's file.
Result<std::unique_ptr<SignInProvider>> make_oidc(const OidcSettings& settings);

// What both are made of; device_flow.cpp.

/// "a=b&c=d" with both percent-encoded.
using FormFields = std::vector<std::pair<std::string, std::string>>;
std::string form_encode(const FormFields& fields);
/// Reads a device authorization response (RFC 8628, 3.2).
Result<DeviceStart> read_device_start(const std::string& body);
/// Reads the error code of a token endpoint's answer (3.5); error "provider_error" for any that
/// ends the sign-in otherwise.
Result<DevicePoll> read_poll_error(const std::string& code, const std::string& words);
/// A text of a provider on one line, cut, without control characters.
std::string shown(std::string_view text);

}  // namespace berth::gateway
