// SPDX-License-Identifier: Apache-2.0
// Tokens and credential files: no input may pass for one that was signed.
#include "fuzz.hpp"
#include "identity/creds.hpp"
#include "identity/jwt.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    (void)berth::identity::decode_user(text);
    (void)berth::identity::decode_account(text);
    (void)berth::identity::decode_operator(text);
    (void)berth::identity::kind_of_public_key(text);
    (void)berth::identity::KeyPair::from_seed(berth::Secret(std::string(text)));
    static const berth::identity::KeyPair account =
        berth::identity::KeyPair::create(berth::identity::KeyKind::kAccount);
    FUZZ_CHECK(!berth::identity::verify_user(text, account.public_key(), berth::WallTime{}));
    if (const auto creds = berth::identity::parse_creds(text)) {
        const auto again =
            berth::identity::parse_creds(berth::identity::format_creds(*creds).reveal());
        FUZZ_CHECK(again && again->jwt == creds->jwt);
    }
    return 0;
}
