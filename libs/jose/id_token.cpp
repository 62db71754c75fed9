// SPDX-License-Identifier: Apache-2.0
// Reads key sets and judges ID tokens; signatures are public_key.cpp's.
#include "jose/id_token.hpp"

#include <algorithm>

#include "core/secret.hpp"
#include "core/text.hpp"
#include "jose/public_key.hpp"

namespace berth::jose {
namespace {

constexpr std::size_t kMaxKeys = 64;
constexpr std::size_t kMaxKeySet = 1U << 20U;
constexpr int kMaxDepth = 16;

Error bad(const std::string& why) { return invalid("bad_id_token", "the ID token " + why); }

Result<std::string> member_bytes(const Json& key, std::string_view name) {
    auto bytes = decode_base64url(key.string_or(name, ""));
    if (!bytes || bytes->empty()) return invalid("bad_keys", "a key lacks a number");
    return bytes;
}

// A time of a claim: RFC 7519 allows fractions.
Result<WallTime> time_of(const Json& claims, std::string_view name) {
    constexpr double kFarthest = 1e11;  // the year 5138
    const Json* value = claims.find(name);
    double number = -1;
    if (value != nullptr && value->as_int() != nullptr)
        number = static_cast<double>(*value->as_int());
    if (value != nullptr && value->as_double() != nullptr) number = *value->as_double();
    if (!(number >= 0 && number < kFarthest)) return bad("has no time '" + std::string(name) + "'");
    return from_unix_micros(static_cast<long long>(number * 1e6));
}

Result<void> check_audience(const Json& claims, const IdTokenRules& rules) {
    const Json* aud = claims.find("aud");
    std::vector<std::string> audiences;
    if (aud != nullptr && aud->as_string() != nullptr) audiences.push_back(*aud->as_string());
    if (aud != nullptr && aud->as_array() != nullptr) {
        for (const Json& each : *aud->as_array())
            audiences.push_back(each.as_string() != nullptr ? *each.as_string() : "");
    }
    if (std::find(audiences.begin(), audiences.end(), rules.audience) == audiences.end())
        return bad("is for another client (aud)");
    const Json* party = claims.find("azp");
    if (party == nullptr && audiences.size() > 1) return bad("has several audiences and no azp");
    if (party != nullptr &&
        (party->as_string() == nullptr || *party->as_string() != rules.audience))
        return bad("was given to another client (azp)");
    return {};
}

Result<void> check_times(const Json& claims, WallTime now) {
    BERTH_ASSIGN(const WallTime expires, time_of(claims, "exp"));
    if (expires + kClockLeeway <= now) return bad("has expired (exp)");
    BERTH_ASSIGN(const WallTime issued, time_of(claims, "iat"));
    if (issued > now + kClockLeeway) return bad("is from the future (iat); compare the clocks");
    if (issued + kMaxIdTokenAge + kClockLeeway < now) return bad("is too old (iat)");
    if (claims.find("nbf") != nullptr) {
        BERTH_ASSIGN(const WallTime begins, time_of(claims, "nbf"));
        if (begins > now + kClockLeeway) return bad("is not valid yet (nbf)");
    }
    return {};
}

Result<void> check_claims(const Json& claims, const IdTokenRules& rules, WallTime now) {
    if (claims.string_or("iss", "") != rules.issuer) return bad("is of another issuer (iss)");
    BERTH_TRY(check_audience(claims, rules));
    BERTH_TRY(check_times(claims, now));
    if (const Json* nonce = claims.find("nonce"); nonce != nullptr) {
        if (nonce->as_string() == nullptr || !equal_constant_time(*nonce->as_string(), rules.nonce))
            return bad("answers another sign-in (nonce)");
    }
    if (claims.string_or("sub", "").empty()) return bad("names nobody (sub)");
    return {};
}

}  // namespace

/// Finds the key that a header means.
class Verifier {
public:
    static Result<void> check(
        const KeySet& keys,
        const std::string& algorithm,
        const std::string& id,
        std::string_view signed_bytes,
        std::string_view signature
    ) {
        std::vector<const KeySet::Entry*> fitting;
        for (const auto& entry : keys.keys_) {
            if (entry.algorithm == algorithm && (id.empty() || entry.id == id))
                fitting.push_back(&entry);
        }
        if (fitting.empty())
            return invalid(
                "unknown_key", "the ID token is signed by a key the issuer does not list"
            );
        // Without a kid the one key there is must be meant.
        if (fitting.size() > 1) return bad("does not say which key signed it (kid)");
        if (!fitting.front()->key->verify(signed_bytes, signature))
            return bad("has a wrong signature");
        return {};
    }
};

Result<KeySet> KeySet::parse(std::string_view text) {
    const auto json = Json::parse(text, Json::Limits{kMaxKeySet, kMaxDepth});
    const Json* list = json ? json->find("keys") : nullptr;
    if (list == nullptr || list->as_array() == nullptr)
        return invalid("bad_keys", "the issuer's keys are no key set");
    if (list->as_array()->size() > kMaxKeys)
        return invalid("bad_keys", "the issuer lists too many keys");
    KeySet out;
    for (const Json& each : *list->as_array()) {
        const std::string type = each.string_or("kty", "");
        const std::string algorithm = type == "RSA" ? "RS256"
                                      : type == "EC" && each.string_or("crv", "") == "P-256"
                                          ? "ES256"
                                          : "";
        if (algorithm.empty() || each.string_or("use", "sig") != "sig" ||
            each.string_or("alg", algorithm) != algorithm)
            continue;
        const bool rsa = type == "RSA";
        const auto first = member_bytes(each, rsa ? "n" : "x");
        const auto second = member_bytes(each, rsa ? "e" : "y");
        if (!first || !second) continue;
        auto key = rsa ? PublicKey::rsa(*first, *second) : PublicKey::p256(*first, *second);
        if (key) out.keys_.push_back({each.string_or("kid", ""), algorithm, std::move(*key)});
    }
    return out;
}

Result<Json> verify_id_token(
    std::string_view token, const KeySet& keys, const IdTokenRules& rules, WallTime now
) {
    if (token.size() > kMaxIdToken) return bad("is too long");
    const auto parts = split(token, '.');
    if (parts.size() != 3) return bad("is no signed token");
    const auto header_text = decode_base64url(parts[0]);
    const auto payload = decode_base64url(parts[1]);
    const auto signature = decode_base64url(parts[2]);
    if (!header_text || !payload || !signature) return bad("is not base64url");
    const auto header = Json::parse(*header_text, Json::Limits{kMaxIdToken, kMaxDepth});
    if (!header || !header->is_object()) return bad("has no header");
    const std::string algorithm = header->string_or("alg", "");
    if (algorithm != "RS256" && algorithm != "ES256")
        return bad("is not signed by RS256 or ES256 (alg)");
    // An extension that must be understood, and is not (RFC 7515, 4.1.11).
    if (header->find("crit") != nullptr) return bad("asks for an unknown extension (crit)");
    BERTH_TRY(Verifier::check(
        keys,
        algorithm,
        header->string_or("kid", ""),
        token.substr(0, parts[0].size() + 1 + parts[1].size()),
        *signature
    ));
    auto claims = Json::parse(*payload, Json::Limits{kMaxIdToken, kMaxDepth});
    if (!claims || !claims->is_object()) return bad("has no claims");
    BERTH_TRY(check_claims(*claims, rules, now));
    return std::move(*claims);
}

}  // namespace berth::jose
