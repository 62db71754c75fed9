// SPDX-License-Identifier: Apache-2.0
// libsodium's secretbox with a random nonce in front.
#include "identity/seal.hpp"

#include <sodium.h>

#include "core/text.hpp"
#include "identity/sodium.hpp"
#include "identity/token.hpp"

namespace berth::identity {
namespace {

constexpr std::size_t kNonce = crypto_secretbox_NONCEBYTES;
constexpr std::size_t kMac = crypto_secretbox_MACBYTES;

// Keys of any length, and apart from every other use of the same key.
Secret box_key(const Secret& key) { return Secret(hmac_sha256(key.reveal(), "berth seal")); }

}  // namespace

std::string seal(const Secret& key, const Secret& text) {
    detail::ensure_sodium();
    const Secret box = box_key(key);
    std::string out(kNonce + kMac + text.reveal().size(), '\0');
    randombytes_buf(out.data(), kNonce);
    crypto_secretbox_easy(
        detail::bytes_of(out) + kNonce,
        detail::bytes_of(text.reveal()),
        text.reveal().size(),
        detail::bytes_of(out),
        detail::bytes_of(box.reveal())
    );
    return base64url(out);
}

Result<Secret> unseal(const Secret& key, std::string_view sealed) {
    detail::ensure_sodium();
    const auto raw = decode_base64url(sealed);
    const Error bad = invalid("bad_seal", "what was sealed cannot be opened");
    if (!raw || raw->size() < kNonce + kMac) return bad;
    const Secret box = box_key(key);
    std::string out(raw->size() - kNonce - kMac, '\0');
    const int opened = crypto_secretbox_open_easy(
        detail::bytes_of(out),
        detail::bytes_of(*raw) + kNonce,
        raw->size() - kNonce,
        detail::bytes_of(*raw),
        detail::bytes_of(box.reveal())
    );
    if (opened != 0) return bad;
    return Secret(std::move(out));
}

}  // namespace berth::identity
