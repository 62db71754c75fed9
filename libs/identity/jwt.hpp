// SPDX-License-Identifier: Apache-2.0
// NATS decentralised auth: the claims of operator, account and user as signed JWTs (version 2,
// ed25519-nkey).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "identity/nkeys.hpp"

namespace berth::identity {

/// The subjects a user may use. In NATS an empty allow list with an empty deny list means
/// everything: encoding such claims is refused, and "nothing" is spelled deny {">"}.
struct Permissions {
    std::vector<std::string> pub_allow;
    std::vector<std::string> pub_deny;
    std::vector<std::string> sub_allow;
    std::vector<std::string> sub_deny;
    /// Set: may answer this many times to the reply subject of a message it received.
    std::optional<int> allow_responses;

    bool operator==(const Permissions&) const = default;
};

struct UserClaims {
    std::string name;
    std::string subject;  ///< the user's public key (U…)
    Permissions permissions;
    /// Unset: never. Kept in whole seconds; the server disconnects the user at this moment.
    std::optional<WallTime> expires_at;
    std::string issuer;  ///< set by decoding: the account's public key (A…)

    bool operator==(const UserClaims&) const = default;
};

struct AccountClaims {
    std::string name;
    std::string subject;     ///< A…
    bool jetstream = false;  ///< unlimited, or none; the system account must have none
    std::string issuer;      ///< set by decoding: O…
};

struct OperatorClaims {
    std::string name;
    std::string subject;         ///< O…
    std::string system_account;  ///< A…
    std::string issuer;          ///< set by decoding: the operator itself
};

/// The signed JWT. Errors: "bad_claims" (a key of the wrong kind, a missing name),
/// "unrestricted_user".
Result<std::string> encode_user(const UserClaims& claims, const KeyPair& account, WallTime now);
Result<std::string> encode_account(const AccountClaims& claims, const KeyPair& op, WallTime now);
Result<std::string> encode_operator(const OperatorClaims& claims, const KeyPair& op, WallTime now);

/// Reads a JWT whose signature is that of the issuer it names; whether that issuer is to be trusted
/// is the caller's question. Error code "bad_jwt". Made for what encode_* wrote: unknown claims are
/// dropped.
Result<UserClaims> decode_user(std::string_view jwt);
Result<AccountClaims> decode_account(std::string_view jwt);
Result<OperatorClaims> decode_operator(std::string_view jwt);

/// decode_user, and the issuer is `account`, and it has not expired ("wrong_issuer", "expired").
Result<UserClaims> verify_user(std::string_view jwt, std::string_view account, WallTime now);

}  // namespace berth::identity
