// SPDX-License-Identifier: Apache-2.0
// What the vocabulary types promise: texts that round-trip, ids that sort, errors that say
// something.
#include <gtest/gtest.h>

#include <set>

#include "core/backoff.hpp"
#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/secret.hpp"
#include "core/text.hpp"

namespace berth {
namespace {

TEST(Time, Rfc3339RoundTripsToTheMicrosecond) {
    const WallTime time = from_unix_micros(1'769'850'300'000'001);
    EXPECT_EQ(to_rfc3339(time), "2026-01-31T09:05:00.000001Z");
    EXPECT_EQ(*parse_rfc3339(to_rfc3339(time)), time);
    EXPECT_EQ(*parse_rfc3339("2026-01-31T10:05:00.000001+01:00"), time);
}

TEST(Time, RefusesWhatIsNotRfc3339) {
    for (const char* bad :
         {"",
          "2026",
          "2026-02-30T00:00:00Z",
          "2026-01-31T09:05:00",
          "2026-01-31T09:05:00.Z",
          "2026-01-31T09:05:00Zx"}) {
        EXPECT_FALSE(parse_rfc3339(bad)) << bad;
    }
}

TEST(Duration, ReadsWhatPeopleWriteAndNothingElse) {
    EXPECT_EQ(*parse_duration("1h30m"), std::chrono::minutes{90});
    EXPECT_EQ(*parse_duration("250ms"), milliseconds{250});
    EXPECT_EQ(*parse_duration("0.2s"), milliseconds{200});
    EXPECT_EQ(*parse_duration("1.5h2.5s"), milliseconds{5'402'500});
    EXPECT_EQ(*parse_duration("0.0019s"), milliseconds{1});
    EXPECT_EQ(format_duration(std::chrono::minutes{90}), "1h30m");
    for (const char* bad :
         {"",
          "5",
          "-5s",
          "5m1h",
          "5x",
          "s",
          "99999999999999999999d",
          "222222602226d",
          "1.s",
          ".5s",
          "1.5",
          "1..5s",
          "1.0000000001s"}) {
        EXPECT_FALSE(parse_duration(bad)) << bad;
    }
}

TEST(Ulid, SortsByTimeAndNormalisesCase) {
    SeededRandom random(1);
    const std::string early = make_ulid(from_unix_micros(1'000'000'000'000'000), random);
    const std::string late = make_ulid(from_unix_micros(1'000'000'000'001'000), random);
    EXPECT_EQ(early.size(), 26U);
    EXPECT_LT(early, late);
    EXPECT_EQ(*normalize_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV"), "01arz3ndektsv4rrffq69g5fav");
    EXPECT_FALSE(normalize_ulid("81arz3ndektsv4rrffq69g5fav")) << "more than 128 bits";
    EXPECT_FALSE(normalize_ulid("01arz3ndektsv4rrffq69g5fau")) << "u is not in the alphabet";
}

TEST(Id, PrefixedIdsAreChecked) {
    SeededRandom random(2);
    const std::string id = make_id("ls", from_unix_micros(1'769'850'300'000'001), random);
    EXPECT_TRUE(is_id("ls", id));
    EXPECT_FALSE(is_id("rn", id));
    EXPECT_EQ(
        *normalize_id("ls", "LS_01ARZ3NDEKTSV4RRFFQ69G5FAV"), "ls_01arz3ndektsv4rrffq69g5fav"
    );
    EXPECT_FALSE(normalize_id("ls", std::string(10'000, 'a')));
}

TEST(Slug, StaysShortAndIsASubjectToken) {
    SeededRandom random(3);
    for (int i = 0; i < 1000; ++i) {
        const std::string slug = make_slug(random, i % 4);
        EXPECT_LE(slug.size(), 41U);
        EXPECT_TRUE(is_subject_token(slug));
    }
}

TEST(Text, EncodingsRoundTripAndRefuseGarbage) {
    const std::string bytes("\x00\xff\x10 Berth", 9);
    EXPECT_EQ(*decode_base64url(base64url(bytes)), bytes);
    EXPECT_EQ(*decode_base32(base32(bytes)), bytes);
    EXPECT_EQ(base64url("\xfb\xff"), "-_8");
    EXPECT_FALSE(decode_base64url("a"));
    EXPECT_FALSE(decode_base64url("ab="));
    EXPECT_EQ(hex("\x01\xab"), "01ab");
}

TEST(Text, Utf8IsCheckedStrictly) {
    EXPECT_TRUE(is_utf8("grüße 🦦"));
    for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"})
        EXPECT_FALSE(is_utf8(bad));
}

TEST(Text, IsClippedBetweenCharacters) {
    const std::string text = "a\u00e4\u20ac\U0001F600b";  // of 1, 2, 3, 4 and 1 bytes
    for (const auto& [most, left] : std::initializer_list<std::pair<std::size_t, std::size_t>>{
             {0, 0},
             {1, 1},
             {2, 1},
             {3, 3},
             {5, 3},
             {6, 6},
             {7, 6},
             {9, 6},
             {10, 10},
             {11, 11},
             {99, 11}})
        EXPECT_EQ(clipped(text, most), text.substr(0, left)) << most;
    EXPECT_EQ(clipped("\u20ac", 2), "");
    EXPECT_EQ(clipped("\xE4\xF6\xFC", 2), "\xE4\xF6") << "Latin-1";
    const std::string garbage(9, '\x80');
    EXPECT_EQ(clipped(garbage, 5), garbage.substr(0, 5));
}

TEST(Backoff, DoublesToItsLongestAndHalfOfItIsAtRandom) {
    SeededRandom random(7);
    milliseconds base{500};
    for (int failures = 0; failures < 40; ++failures) {
        std::set<milliseconds> seen;
        for (int i = 0; i < 50; ++i) {
            const milliseconds wait =
                backoff(failures, milliseconds{500}, milliseconds{20'000}, random);
            EXPECT_GE(wait, base / 2) << failures;
            EXPECT_LE(wait, base) << failures;
            seen.insert(wait);
        }
        EXPECT_GT(seen.size(), 25U) << "no two that failed together come back together";
        EXPECT_GT(*seen.rbegin() - *seen.begin(), base / 4);
        base = std::min(base * 2, milliseconds{20'000});
    }
}

TEST(Error, KeepsItsClassAcrossTheBus) {
    for (int i = 0; i <= static_cast<int>(Fault::kCanceled); ++i) {
        EXPECT_EQ(fault_from_string(to_string(static_cast<Fault>(i))), static_cast<Fault>(i));
    }
    EXPECT_EQ(http_status(Fault::kLimit), 429);
}

TEST(Secret, ComparesAndMovesWithoutLeavingACopy) {
    Secret first(std::string("token"));
    const Secret second(std::move(first));
    EXPECT_EQ(second.reveal(), "token");
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): the promise under test
    EXPECT_TRUE(equal_constant_time("abc", "abc"));
    EXPECT_FALSE(equal_constant_time("abc", "abd"));
}

TEST(File, AtomicWriteReplacesAndKeepsTheMode) {
    const auto folder = std::filesystem::temp_directory_path() /
                        ("berth-core-" + std::to_string(Random::system().next()));
    std::filesystem::create_directories(folder);
    ASSERT_TRUE(write_file_atomic(folder / "a", "one", 0600));
    ASSERT_TRUE(write_file_atomic(folder / "a", "two", 0600));
    EXPECT_EQ(*read_file(folder / "a"), "two");
    EXPECT_EQ(std::filesystem::status(folder / "a").permissions(), std::filesystem::perms{0600});
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1)
        << "no temporary is left";
    EXPECT_EQ(read_file(folder / "b").error().fault, Fault::kNotFound);
    EXPECT_EQ(read_file(folder / "a", 2).error().code, "too_large");
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth
