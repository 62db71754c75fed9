// SPDX-License-Identifier: Apache-2.0
// ID tokens made by another implementation (PyJWT), each wrong in one way; and the examples of RFC
// 7515, whose keys and signatures are the standard's own.
#include "jose/id_token.hpp"

#include <gtest/gtest.h>
#include <stdio.h>

#include <memory>

#include "core/text.hpp"

namespace berth::jose {
namespace {

const WallTime kNow = from_unix_micros(1'800'000'000LL * 1'000'000);
const IdTokenRules kRules{"https://issuer.example", "berth-client", "n-1"};

// Prints a JSON object of key sets and tokens. The times are around kNow.
constexpr const char* kMaker = R"PY(
import base64, json, jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
now = 1800000000
b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
num = lambda n, size=None: b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))
def rsa_jwk(key, kid):
    n = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": num(n.n), "e": num(n.e)}
def ec_jwk(key, kid):
    n = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": num(n.x, 32), "y": num(n.y, 32)}
r = rsa.generate_private_key(65537, 2048)
other = rsa.generate_private_key(65537, 2048)
small = rsa.generate_private_key(65537, 1024)
e = ec.generate_private_key(ec.SECP256R1())
good = {"iss": "https://issuer.example", "aud": "berth-client", "sub": "u1", "iat": now - 5,
        "exp": now + 300, "nonce": "n-1", "groups": ["staff"]}
def make(key=r, alg="RS256", kid="r", drop=(), **more):
    claims = {k: v for k, v in {**good, **more}.items() if k not in drop}
    headers = {"kid": kid} if kid else {}
    return jwt.encode(claims, key, algorithm=alg, headers=headers)
out = {
  "keys": {"keys": [rsa_jwk(r, "r"), ec_jwk(e, "e"), rsa_jwk(small, "small"),
                    {"kty": "oct", "k": "AAAA", "kid": "o"}, {**rsa_jwk(other, "enc"), "use": "enc"}]},
  "one": {"keys": [rsa_jwk(r, "r")]},
  "two": {"keys": [rsa_jwk(r, "r"), rsa_jwk(other, "x")]},
  "good": [make(), make(e, "ES256", "e"), make(kid=None), make(aud=["berth-client"]),
           make(aud=["berth-client", "x"], azp="berth-client"), make(drop=["nonce"]),
           make(exp=now - 30), make(iat=now + 30), make(iat=now - 5.5), make(nbf=now)],
  "unknown": [make(kid="gone"), make(kid="e"), make(small, kid="small"), make(other, kid="enc")],
  "bad": {
    "wrong signature": make(other),
    "slash (iss)": make(iss="https://issuer.example/"),
    "no issuer (iss)": make(drop=["iss"]),
    "other (aud)": make(aud="berth"), "none (aud)": make(drop=["aud"]), "list (aud)": make(aud=["x"]),
    "no azp": make(aud=["berth-client", "x"]),
    "(azp)": make(azp="someone"),
    "(exp)": make(exp=now - 90), "'exp'": make(drop=["exp"]),
    "(iat)": make(iat=now + 90), "old (iat)": make(iat=now - 700), "'iat'": make(drop=["iat"]),
    "(nbf)": make(nbf=now + 90),
    "(nonce)": make(nonce="n-2"), "number (nonce)": make(nonce=1),
    "(sub)": make(sub=""), "none (sub)": make(drop=["sub"]),
    "(alg)": jwt.encode(good, None, algorithm="none"),
    "HMAC (alg)": jwt.encode(good, "k", algorithm="HS256", headers={"kid": "r"}),
    "PSS (alg)": make(alg="PS256"),
    "(crit)": jwt.encode(good, r, algorithm="RS256", headers={"kid": "r", "crit": ["x"], "x": 1}),
  },
}
print(json.dumps(out))
)PY";

Json made_by_pyjwt() {
    const std::string command =
        "/usr/bin/python3 - 2>/dev/null <<'MAKER'\n" + std::string(kMaker) + "\nMAKER\n";
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
    std::string text;
    char buffer[4096];
    while (pipe != nullptr) {
        const auto count = ::fread(buffer, 1, sizeof buffer, pipe.get());
        if (count == 0) break;
        text.append(buffer, count);
    }
    const auto json = Json::parse(text);
    return json ? *json : Json();
}

TEST(IdToken, JudgesWhatAnotherImplementationMade) {
    const Json made = made_by_pyjwt();
    if (!made.is_object()) GTEST_SKIP() << "python3-jwt and python3-cryptography are not installed";
    const KeySet keys = KeySet::parse(made.find("keys")->dump()).value();
    EXPECT_EQ(
        keys.size(), 2U
    ) << "neither the small, nor the symmetric, nor the one for encryption";
    for (const Json& token : *made.find("good")->as_array()) {
        const auto claims = verify_id_token(*token.as_string(), keys, kRules, kNow);
        ASSERT_TRUE(claims) << claims.error().message;
        EXPECT_EQ(claims->string_or("sub", ""), "u1");
    }
    for (const Json& token : *made.find("unknown")->as_array()) {
        const auto claims = verify_id_token(*token.as_string(), keys, kRules, kNow);
        ASSERT_FALSE(claims);
        EXPECT_EQ(claims.error().code, "unknown_key");
    }
    for (const auto& [why, token] : *made.find("bad")->as_object()) {
        const auto claims = verify_id_token(*token.as_string(), keys, kRules, kNow);
        ASSERT_FALSE(claims) << why;
        EXPECT_EQ(claims.error().code, "bad_id_token") << why;
        const auto claim = why.find('(');
        const std::string named = claim == std::string::npos ? why : why.substr(claim);
        EXPECT_NE(claims.error().message.find(named), std::string::npos)
            << why << ": " << claims.error().message;
    }
    // Every byte counts: each changed letter of a good one is refused.
    const std::string good = *made.find("good")->as_array()->front().as_string();
    for (std::size_t i = 0; i < good.size(); i += 7) {
        std::string changed = good;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (changed == good) continue;
        EXPECT_FALSE(verify_id_token(changed, keys, kRules, kNow)) << i;
    }
    // Without a kid one key is clear, two are not.
    const std::string nameless = *(*made.find("good")->as_array())[2].as_string();
    const KeySet one = KeySet::parse(made.find("one")->dump()).value();
    const KeySet two = KeySet::parse(made.find("two")->dump()).value();
    EXPECT_TRUE(verify_id_token(nameless, one, kRules, kNow));
    EXPECT_EQ(verify_id_token(nameless, two, kRules, kNow).error().code, "bad_id_token");
}

// RFC 7515, A.2 and A.3: their payload is no ID token, so that a right signature is told by what is
// refused next: the payload's issuer.
TEST(IdToken, TakesTheSignaturesOfRfc7515) {
    const char* kPayload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cn"
        "VlfQ";
    const KeySet keys = KeySet::parse(R"({"keys":[
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})")
                            .value();
    const std::string signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const std::string header = "eyJhbGciOiJFUzI1NiJ9.";
    const auto taken = verify_id_token(header + kPayload + "." + signature, keys, kRules, kNow);
    ASSERT_FALSE(taken);
    EXPECT_NE(taken.error().message.find("(iss)"), std::string::npos) << taken.error().message;
    std::string other = signature;
    other[5] = 'A';
    const auto refused = verify_id_token(header + kPayload + "." + other, keys, kRules, kNow);
    EXPECT_NE(refused.error().message.find("signature"), std::string::npos);
}

TEST(IdToken, RefusesWhatIsNone) {
    const KeySet keys = KeySet::parse(R"({"keys":[]})").value();
    const std::string huge(kMaxIdToken + 1, 'a');
    for (const std::string& text :
         {std::string(),
          std::string("."),
          std::string(".."),
          std::string("a.b.c"),
          std::string("e30.e30."),
          huge}) {
        const auto claims = verify_id_token(text, keys, kRules, kNow);
        ASSERT_FALSE(claims);
        EXPECT_EQ(claims.error().code, "bad_id_token");
    }
    for (const char* text : {"", "{}", "[]", R"({"keys":{}})", R"({"keys":1})"})
        EXPECT_EQ(KeySet::parse(text).error().code, "bad_keys");
    // Points that are not on the curve, and numbers that are none, are left out.
    EXPECT_EQ(
        KeySet::parse(R"({"keys":[{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"},
            {"kty":"RSA","n":"AA","e":"AQAB"},{"kty":"RSA"},7]})")
            ->size(),
        0U
    );
}

}  // namespace
}  // namespace berth::jose
