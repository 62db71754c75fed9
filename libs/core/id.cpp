// SPDX-License-Identifier: Apache-2.0
// ULID text form and the word lists of slugs.
#include "core/id.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/text.hpp"

namespace berth {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kUlidSize = 26;

constexpr std::array<std::string_view, 48> kAdjectives{
    "amber", "bold",  "brave",  "brisk", "calm",  "clear",  "clever", "cosy",  "crisp",  "deft",
    "eager", "early", "fair",   "fleet", "fond",  "fresh",  "gentle", "glad",  "golden", "grand",
    "happy", "hardy", "keen",   "kind",  "light", "lively", "loyal",  "lucky", "merry",  "mild",
    "neat",  "noble", "plain",  "proud", "quick", "quiet",  "rapid",  "ready", "sharp",  "silver",
    "smart", "snug",  "steady", "still", "sunny", "swift",  "vivid",  "warm",
};
constexpr std::array<std::string_view, 64> kNouns{
    "anchor",   "auk",    "badger", "barge",  "bay",     "beacon", "brig",   "buoy",
    "canoe",    "cape",   "clam",   "cod",    "coral",   "cove",   "crab",   "crane",
    "creek",    "cutter", "dingy",  "dock",   "dove",    "drake",  "eel",    "egret",
    "ferry",    "finch",  "fjord",  "galley", "gannet",  "gull",   "harbor", "heron",
    "ibis",     "inlet",  "jetty",  "kayak",  "keel",    "ketch",  "lagoon", "loon",
    "mackerel", "marlin", "mast",   "mole",   "narwhal", "oar",    "osprey", "otter",
    "pelican",  "perch",  "pier",   "plover", "puffin",  "quay",   "raft",   "reef",
    "rudder",   "sail",   "salmon", "seal",   "skiff",   "sloop",  "tern",   "walrus",
};

__extension__ using u128 = unsigned __int128;

int value_of(char c) {
    const char lower = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    const auto at = kAlphabet.find(lower);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

std::string ulid_from_bytes(std::string_view bytes16) {
    // 128 bits in 26 digits of 5: the first digit carries only 3 bits.
    std::string text(kUlidSize, '0');
    u128 value = 0;
    for (const char c : bytes16.substr(0, 16)) value = (value << 8U) | static_cast<std::uint8_t>(c);
    for (std::size_t i = kUlidSize; i-- > 0;) {
        text[i] = kAlphabet[static_cast<std::size_t>(value & 31U)];
        value >>= 5U;
    }
    return text;
}

std::string make_ulid(WallTime now, Random& random) {
    std::array<std::uint8_t, 16> bytes{};
    random.fill(bytes);
    auto millis = static_cast<std::uint64_t>(std::max<long long>(0, to_unix_micros(now) / 1000));
    for (std::size_t i = 6; i-- > 0;) {
        bytes[i] = static_cast<std::uint8_t>(millis & 0xFFU);
        millis >>= 8U;
    }
    return ulid_from_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Result<std::string> normalize_ulid(std::string_view text) {
    std::string out(text);
    bool good = text.size() == kUlidSize && value_of(text[0]) >= 0 && value_of(text[0]) <= 7;
    for (std::size_t i = 0; good && i < text.size(); ++i) {
        const int value = value_of(text[i]);
        good = value >= 0;
        if (good) out[i] = kAlphabet[static_cast<std::size_t>(value)];
    }
    if (!good) {
        return invalid(
            "bad_id",
            "'" + clipped(text, 64) + "' is not a ULID (26 characters of Crockford base32)"
        );
    }
    return out;
}

std::string make_id(std::string_view prefix, WallTime now, Random& random) {
    return std::string(prefix) + "_" + make_ulid(now, random);
}

bool is_id(std::string_view prefix, std::string_view text) {
    if (text.size() != prefix.size() + 1 + kUlidSize || !text.starts_with(prefix) ||
        text[prefix.size()] != '_') {
        return false;
    }
    const std::string_view ulid = text.substr(prefix.size() + 1);
    const auto normal = normalize_ulid(ulid);
    return normal.has_value() && *normal == ulid;
}

Result<std::string> normalize_id(std::string_view prefix, std::string_view text) {
    std::string lower(text.substr(0, prefix.size() + 2 + kUlidSize));
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
        return (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (text.size() > lower.size() || !is_id(prefix, lower)) {
        return invalid(
            "bad_id",
            "'" + clipped(text, 64) + "' is not an id of the form " + std::string(prefix) +
                "_<26 characters>"
        );
    }
    return lower;
}

std::string make_slug(Random& random, int attempt) {
    std::string slug(kAdjectives[random.below(kAdjectives.size())]);
    slug += '-';
    slug += kNouns[random.below(kNouns.size())];
    if (attempt >= 2) {
        slug += '-';
        for (int i = 0; i < 4; ++i) slug += kAlphabet[10 + random.below(kAlphabet.size() - 10)];
    }
    return slug;
}

bool is_subject_token(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
}

}  // namespace berth
