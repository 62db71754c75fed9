// SPDX-License-Identifier: Apache-2.0
// Claims to JSON and back, in the shape NATS tools (nsc) write.
#include "identity/jwt.hpp"

#include "core/json.hpp"
#include "core/text.hpp"
#include "identity/sodium.hpp"

namespace berth::identity {
namespace {

constexpr std::string_view kHeader = R"({"typ":"JWT","alg":"ed25519-nkey"})";
constexpr std::size_t kMaxJwt =
    1U << 20U;  // an account with many claims is some KiB; the bus takes 1 MiB
constexpr int kClaimsVersion = 2;
constexpr int kUnlimited = -1;

std::int64_t unix_seconds(WallTime time) {
    return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

Result<void> expect_kind(std::string_view key, KeyKind wanted, std::string_view field) {
    const auto kind = kind_of_public_key(key);
    if (!kind || *kind != wanted)
        return invalid("bad_claims", "the key is missing or of another kind", std::string(field));
    return {};
}

/// Signs `claims`, to which it adds the id: the hash of everything else, as nsc makes it.
std::string sign_claims(Json claims, const KeyPair& issuer, WallTime now) {
    claims.set("iat", unix_seconds(now)).set("iss", issuer.public_key());
    claims.set("jti", base32(detail::sha512_256(claims.dump())));
    const std::string signed_part = base64url(kHeader) + "." + base64url(claims.dump());
    return signed_part + "." + base64url(issuer.sign(signed_part));
}

Json permission(const std::vector<std::string>& allow, const std::vector<std::string>& deny) {
    Json out = Json::object();
    if (!allow.empty()) out.set("allow", Json::strings(allow));
    if (!deny.empty()) out.set("deny", Json::strings(deny));
    return out;
}

Json common_claims(std::string_view type) {
    return Json::object().set("type", type).set("version", kClaimsVersion);
}

Error bad_jwt(std::string why) {
    return invalid("bad_jwt", "the JWT is not valid: " + std::move(why));
}

/// The claims of a JWT of `type`, its signature checked against the issuer it names.
Result<Json> open_claims(std::string_view jwt, std::string_view type) {
    if (jwt.size() > kMaxJwt) return bad_jwt("it is too long");
    const auto parts = split(jwt, '.');
    if (parts.size() != 3) return bad_jwt("it does not have three parts");
    const auto header = decode_base64url(parts[0]);
    const auto body = decode_base64url(parts[1]);
    const auto signature = decode_base64url(parts[2]);
    if (!header || !body || !signature) return bad_jwt("a part is not base64url");
    const auto header_json = Json::parse(*header);
    if (!header_json || header_json->string_or("alg", "") != "ed25519-nkey")
        return bad_jwt("its algorithm is not ed25519-nkey");
    auto claims = Json::parse(*body);
    if (!claims) return bad_jwt(claims.error().message);
    if (!verify(
            claims->string_or("iss", ""),
            jwt.substr(0, parts[0].size() + 1 + parts[1].size()),
            *signature
        )) {
        return bad_jwt("its signature is not its issuer's");
    }
    const Json* nats = claims->find("nats");
    if (nats == nullptr || nats->string_or("type", "") != type ||
        nats->int_or("version", 0) != kClaimsVersion) {
        return bad_jwt("it is not a version 2 claim of type " + std::string(type));
    }
    return claims;
}

Result<std::vector<std::string>> string_list(const Json* of, std::string_view key) {
    std::vector<std::string> out;
    const Json* list = of != nullptr ? of->find(key) : nullptr;
    if (list == nullptr) return out;
    if (list->as_array() == nullptr) return bad_jwt(std::string(key) + " is not a list");
    for (const Json& item : *list->as_array()) {
        if (item.as_string() == nullptr)
            return bad_jwt(std::string(key) + " holds something else than text");
        out.push_back(*item.as_string());
    }
    return out;
}

Result<void> expect_issuer_kind(const Json& claims, KeyKind wanted) {
    const auto kind = kind_of_public_key(claims.string_or("iss", ""));
    if (!kind || *kind != wanted) return bad_jwt("its issuer may not issue this type");
    return {};
}

}  // namespace

Result<std::string> encode_user(const UserClaims& claims, const KeyPair& account, WallTime now) {
    BERTH_TRY(expect_kind(claims.subject, KeyKind::kUser, "subject"));
    BERTH_TRY(expect_kind(account.public_key(), KeyKind::kAccount, "issuer"));
    if (claims.name.empty()) return invalid("bad_claims", "a user needs a name", "name");
    const Permissions& may = claims.permissions;
    if ((may.pub_allow.empty() && may.pub_deny.empty()) ||
        (may.sub_allow.empty() && may.sub_deny.empty())) {
        return invalid(
            "unrestricted_user",
            "user " + claims.name + " has no rule, which NATS reads as every right"
        );
    }
    Json nats = common_claims("user");
    nats.set("pub", permission(may.pub_allow, may.pub_deny))
        .set("sub", permission(may.sub_allow, may.sub_deny));
    if (may.allow_responses)
        nats.set("resp", Json::object().set("max", *may.allow_responses).set("ttl", 0));
    nats.set("subs", kUnlimited).set("data", kUnlimited).set("payload", kUnlimited);
    Json all = Json::object();
    all.set("name", claims.name).set("sub", claims.subject).set("nats", std::move(nats));
    if (claims.expires_at) all.set("exp", unix_seconds(*claims.expires_at));
    return sign_claims(std::move(all), account, now);
}

Result<std::string> encode_account(const AccountClaims& claims, const KeyPair& op, WallTime now) {
    BERTH_TRY(expect_kind(claims.subject, KeyKind::kAccount, "subject"));
    BERTH_TRY(expect_kind(op.public_key(), KeyKind::kOperator, "issuer"));
    Json limits = Json::object();
    for (const char* name : {"subs", "data", "payload", "imports", "exports", "conn", "leaf"})
        limits.set(name, kUnlimited);
    limits.set("wildcards", true);
    if (claims.jetstream) {
        for (const char* name : {"mem_storage", "disk_storage", "streams", "consumer"})
            limits.set(name, kUnlimited);
    }
    Json nats = common_claims("account");
    nats.set("limits", std::move(limits));
    nats.set(
        "default_permissions", Json::object().set("pub", Json::object()).set("sub", Json::object())
    );
    Json all = Json::object();
    all.set("name", claims.name).set("sub", claims.subject).set("nats", std::move(nats));
    return sign_claims(std::move(all), op, now);
}

Result<std::string> encode_operator(const OperatorClaims& claims, const KeyPair& op, WallTime now) {
    BERTH_TRY(expect_kind(claims.subject, KeyKind::kOperator, "subject"));
    BERTH_TRY(expect_kind(claims.system_account, KeyKind::kAccount, "system_account"));
    if (claims.subject != op.public_key())
        return invalid("bad_claims", "an operator signs itself", "subject");
    Json nats = common_claims("operator");
    nats.set("system_account", claims.system_account);
    Json all = Json::object();
    all.set("name", claims.name).set("sub", claims.subject).set("nats", std::move(nats));
    return sign_claims(std::move(all), op, now);
}

Result<UserClaims> decode_user(std::string_view jwt) {
    BERTH_ASSIGN(const Json claims, open_claims(jwt, "user"));
    BERTH_TRY(expect_issuer_kind(claims, KeyKind::kAccount));
    UserClaims out;
    out.name = claims.string_or("name", "");
    out.subject = claims.string_or("sub", "");
    out.issuer = claims.string_or("iss", "");
    if (const auto kind = kind_of_public_key(out.subject); !kind || *kind != KeyKind::kUser)
        return bad_jwt("its subject is no user");
    const Json* nats = claims.find("nats");
    BERTH_ASSIGN(out.permissions.pub_allow, string_list(nats->find("pub"), "allow"));
    BERTH_ASSIGN(out.permissions.pub_deny, string_list(nats->find("pub"), "deny"));
    BERTH_ASSIGN(out.permissions.sub_allow, string_list(nats->find("sub"), "allow"));
    BERTH_ASSIGN(out.permissions.sub_deny, string_list(nats->find("sub"), "deny"));
    if (const Json* responses = nats->find("resp")) {
        const auto max = responses->int_or("max", 0);
        if (max < kUnlimited || max > 1'000'000) return bad_jwt("resp.max is out of range");
        out.permissions.allow_responses = static_cast<int>(max);
    }
    if (const Json* expiry = claims.find("exp")) {
        constexpr std::int64_t kLastSecond =
            253402300799;  // the year 9999: seconds times a million still fit
        if (expiry->as_int() == nullptr || *expiry->as_int() <= 0 ||
            *expiry->as_int() > kLastSecond)
            return bad_jwt("exp is no time");
        out.expires_at = WallTime{std::chrono::seconds{*expiry->as_int()}};
    }
    return out;
}

Result<AccountClaims> decode_account(std::string_view jwt) {
    BERTH_ASSIGN(const Json claims, open_claims(jwt, "account"));
    BERTH_TRY(expect_issuer_kind(claims, KeyKind::kOperator));
    const Json* limits = claims.find("nats")->find("limits");
    const bool jetstream = limits != nullptr && limits->int_or("disk_storage", 0) != 0;
    return AccountClaims{
        claims.string_or("name", ""),
        claims.string_or("sub", ""),
        jetstream,
        claims.string_or("iss", "")};
}

Result<OperatorClaims> decode_operator(std::string_view jwt) {
    BERTH_ASSIGN(const Json claims, open_claims(jwt, "operator"));
    BERTH_TRY(expect_issuer_kind(claims, KeyKind::kOperator));
    return OperatorClaims{
        claims.string_or("name", ""),
        claims.string_or("sub", ""),
        claims.find("nats")->string_or("system_account", ""),
        claims.string_or("iss", "")};
}

Result<UserClaims> verify_user(std::string_view jwt, std::string_view account, WallTime now) {
    BERTH_ASSIGN(UserClaims claims, decode_user(jwt));
    if (claims.issuer != account) {
        return Error{
            Fault::kUnauthenticated, "wrong_issuer", "the JWT was issued by another account", {}};
    }
    if (claims.expires_at && *claims.expires_at <= now) {
        return Error{
            Fault::kUnauthenticated,
            "expired",
            "the JWT expired at " + to_rfc3339(*claims.expires_at),
            {}};
    }
    return claims;
}

}  // namespace berth::identity
