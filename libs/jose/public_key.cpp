// SPDX-License-Identifier: Apache-2.0
// libcrypto's provider interface: keys from numbers, one call to verify.
#include "jose/public_key.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <string>

namespace berth::jose {
namespace {

constexpr int kLeastRsaBits = 2'048;
constexpr int kMostRsaBits = 8'192;  // a larger one costs time and proves no more
constexpr std::size_t kCoordinate = 32;

template <auto Free>
struct Freed {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

Number number(std::string_view bytes) {
    return Number(BN_bin2bn(bytes_of(bytes), static_cast<int>(bytes.size()), nullptr));
}

Error bad_key(const char* why) {
    ERR_clear_error();  // the queue is the thread's; nobody else reads it
    return invalid("bad_keys", std::string("a key of the issuer cannot be used: ") + why);
}

EVP_PKEY* make_key(const char* type, OSSL_PARAM* params) {
    EVP_PKEY* key = nullptr;
    const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        return nullptr;
    return key;
}

// JOSE writes r and s one after the other, libcrypto takes them as DER.
std::string der_of(std::string_view signature) {
    const Signature pair(ECDSA_SIG_new());
    Number r = number(signature.substr(0, kCoordinate));
    Number s = number(signature.substr(kCoordinate));
    if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
    (void)r.release();
    (void)s.release();
    const int size = i2d_ECDSA_SIG(pair.get(), nullptr);
    if (size <= 0) return {};
    std::string out(static_cast<std::size_t>(size), '\0');
    auto* place = reinterpret_cast<unsigned char*>(out.data());
    if (i2d_ECDSA_SIG(pair.get(), &place) != size) return {};
    return out;
}

}  // namespace

PublicKey::~PublicKey() { EVP_PKEY_free(static_cast<EVP_PKEY*>(key_)); }

Result<std::shared_ptr<const PublicKey>> PublicKey::rsa(std::string_view n, std::string_view e) {
    if (n.size() > kMostRsaBits / 8 + 1 || e.size() > 8) return bad_key("its numbers are too long");
    const Number modulus = number(n);
    const Number exponent = number(e);
    const Builder builder(OSSL_PARAM_BLD_new());
    if (!modulus || !exponent || !builder) return bad_key("no memory");
    if (BN_num_bits(modulus.get()) < kLeastRsaBits) return bad_key("it has fewer than 2,048 bits");
    if (!BN_is_odd(exponent.get()) || BN_is_one(exponent.get()))
        return bad_key("its exponent is none");
    if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1)
        return bad_key("no memory");
    const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
    EVP_PKEY* key = params ? make_key("RSA", params.get()) : nullptr;
    if (key == nullptr) return bad_key("it is no RSA key");
    return std::shared_ptr<const PublicKey>(new PublicKey(key, true));
}

Result<std::shared_ptr<const PublicKey>> PublicKey::p256(std::string_view x, std::string_view y) {
    if (x.size() != kCoordinate || y.size() != kCoordinate)
        return bad_key("it is no point of P-256");
    std::string point = "\x04";  // uncompressed
    point.append(x).append(y);
    const Builder builder(OSSL_PARAM_BLD_new());
    if (!builder ||
        OSSL_PARAM_BLD_push_utf8_string(
            builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0
        ) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(
            builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()
        ) != 1)
        return bad_key("no memory");
    const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
    EVP_PKEY* key = params ? make_key("EC", params.get()) : nullptr;
    if (key == nullptr) return bad_key("it is no point of P-256");
    return std::shared_ptr<const PublicKey>(new PublicKey(key, false));
}

bool PublicKey::verify(std::string_view signed_bytes, std::string_view signature) const {
    std::string wire(signature);
    if (!is_rsa_) {
        if (signature.size() != 2 * kCoordinate) return false;
        wire = der_of(signature);
    }
    const DigestContext context(EVP_MD_CTX_new());
    const bool good =
        context && !wire.empty() &&
        EVP_DigestVerifyInit(
            context.get(), nullptr, EVP_sha256(), nullptr, static_cast<EVP_PKEY*>(key_)
        ) == 1 &&
        EVP_DigestVerify(
            context.get(), bytes_of(wire), wire.size(), bytes_of(signed_bytes), signed_bytes.size()
        ) == 1;
    ERR_clear_error();
    return good;
}

}  // namespace berth::jose
