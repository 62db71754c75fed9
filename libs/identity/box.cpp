// SPDX-License-Identifier: Apache-2.0
// libsodium's sealed box.
#include "identity/box.hpp"

#include <sodium.h>

#include "core/text.hpp"
#include "identity/sodium.hpp"
#include "identity/token.hpp"

namespace berth::identity {
namespace {}  // namespace

Box::Box(const Secret& seed, std::string_view purpose) {
    detail::ensure_sodium();
    static_assert(crypto_box_SEEDBYTES == 32);
    const Secret derived(hmac_sha256(seed.reveal(), "berth box/" + std::string(purpose)));
    std::string public_key(crypto_box_PUBLICKEYBYTES, '\0');
    std::string private_key(crypto_box_SECRETKEYBYTES, '\0');
    crypto_box_seed_keypair(
        detail::bytes_of(public_key),
        detail::bytes_of(private_key),
        detail::bytes_of(derived.reveal())
    );
    public_key_ = base64url(public_key);
    private_key_ = Secret(std::move(private_key));
}

Result<Secret> Box::open(std::string_view sealed) const {
    const auto raw = decode_base64url(sealed);
    const auto key = decode_base64url(public_key_);
    const Error bad = invalid("bad_seal", "what was sealed cannot be opened");
    if (!raw || !key || raw->size() < crypto_box_SEALBYTES) return bad;
    std::string out(raw->size() - crypto_box_SEALBYTES, '\0');
    const int opened = crypto_box_seal_open(
        detail::bytes_of(out),
        detail::bytes_of(*raw),
        raw->size(),
        detail::bytes_of(*key),
        detail::bytes_of(private_key_.reveal())
    );
    if (opened != 0) return bad;
    return Secret(std::move(out));
}

Result<std::string> seal_for(std::string_view public_key, const Secret& text) {
    detail::ensure_sodium();
    const auto key = decode_base64url(public_key);
    const Error bad = invalid("bad_public_key", "this is no key to seal for", "box_key");
    if (!key || key->size() != crypto_box_PUBLICKEYBYTES) return bad;
    std::string out(text.reveal().size() + crypto_box_SEALBYTES, '\0');
    const int sealed = crypto_box_seal(
        detail::bytes_of(out),
        detail::bytes_of(text.reveal()),
        text.reveal().size(),
        detail::bytes_of(*key)
    );
    if (sealed != 0) return bad;
    return base64url(out);
}

}  // namespace berth::identity
