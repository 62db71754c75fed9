// SPDX-License-Identifier: Apache-2.0
// Proves that Json reads what RFC 8259 allows, refuses what it does not, and writes what it read.
#include "core/json.hpp"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(Json, RoundTripKeepsOrderAndExactIntegers) {
    const std::string text =
        R"({"z":1,"a":[true,false,null,-9223372036854775808,1.5,"\"\\\n\u0001é😀"],"o":{}})";
    const auto value = Json::parse(text);
    ASSERT_TRUE(value) << value.error().describe();
    EXPECT_EQ(value->dump(), text);
    EXPECT_EQ(Json::parse(value->dump()).value(), *value);
}

TEST(Json, EscapesBecomeUtf8) {
    const auto value = Json::parse(R"(["\u00e9\ud83d\ude00\/\b\f"])");
    ASSERT_TRUE(value);
    EXPECT_EQ(*(*value->as_array())[0].as_string(), "é😀/\b\f");
}

TEST(Json, RefusesWhatIsNotJson) {
    for (const char* text :
         {"",
          " ",
          "{",
          "[1,]",
          "{\"a\":1,}",
          "{\"a\":1,\"a\":2}",
          "01",
          "1.",
          "-",
          "+1",
          ".5",
          "1e",
          "nul",
          "\"",
          "\"\\x\"",
          "\"\\u12\"",
          "\"\\u12g4\"",
          "\"\\ud800\"",
          "\"\\udc00\"",
          "\"\\ud800\\u0041\"",
          "\"\n\"",
          "1 2",
          "{a:1}",
          "{\"a\" 1}",
          "[1 2]",
          "'a'",
          "NaN",
          "1e999",
          "\"\xff\"",
          "\"\xed\xa0\x80\""}) {
        const auto value = Json::parse(text);
        EXPECT_EQ(value ? "" : value.error().code, "bad_json") << text;
    }
}

TEST(Json, LimitsHold) {
    const std::string deep = std::string(64, '[') + std::string(64, ']');
    EXPECT_TRUE(Json::parse(deep));
    EXPECT_FALSE(Json::parse("[" + deep + "]"));
    EXPECT_FALSE(Json::parse(std::string(1000000, '[')));
    EXPECT_FALSE(Json::parse("[1,2,3]", {3, 64}));
}

TEST(Json, MembersAreReadByType) {
    Json value;
    value.set("n", 7).set("s", "x").set("b", true).set("n", 8);
    EXPECT_EQ(value.dump(), R"({"n":8,"s":"x","b":true})");
    EXPECT_EQ(value.int_or("n", 0), 8);
    EXPECT_EQ(value.int_or("s", -1), -1);
    EXPECT_EQ(value.string_or("s", ""), "x");
    EXPECT_TRUE(value.bool_or("b", false));
    EXPECT_EQ(value.find("none"), nullptr);
    EXPECT_EQ(Json(1).find("n"), nullptr);
    EXPECT_EQ(Json::array().push(1).push("a").dump(), R"([1,"a"])");
}

}  // namespace
}  // namespace berth
