// SPDX-License-Identifier: Apache-2.0
// What subscribers and their admins write: URLs, networks, Retry-After. What is taken as a URL has
// one host, and none that could be read otherwise.
#include "fuzz.hpp"
#include "webhook/schedule.hpp"
#include "webhook/settings.hpp"
#include "webhook/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace berth::webhook;
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (const auto target = parse_target(text, true)) {
        FUZZ_CHECK(!target->host.empty() && target->port != 0);
        FUZZ_CHECK(target->host.find_first_of("@/?#\\ []%\r\n") == std::string::npos);
        FUZZ_CHECK(text.starts_with(target->origin));
        const auto again = parse_target(target->origin + "/", true);
        FUZZ_CHECK(again && again->host == target->host && again->port == target->port);
    }
    if (const auto network = parse_network(text)) {
        FUZZ_CHECK(network->bytes.size() == 16 && network->prefix <= 128);
        const std::string address(text.substr(0, text.find('/')));
        FUZZ_CHECK(AddressGuard({*network}).check(address));
    }
    (void)AddressGuard().check(text);
    const auto wait = parse_retry_after(text, berth::from_unix_micros(1'800'000'000'000'000));
    FUZZ_CHECK(!wait || (wait->count() >= 0 && *wait <= berth::milliseconds{kGiveUpAfter}));
    return 0;
}
