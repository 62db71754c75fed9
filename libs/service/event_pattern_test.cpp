// SPDX-License-Identifier: Apache-2.0
// Patterns of events: those that match some, and those that never could.
#include "service/event_pattern.hpp"

#include <gtest/gtest.h>

namespace berth::service {
namespace {

TEST(EventPatterns, ThatMatchSomeEventAreTaken) {
    for (const char* pattern :
         {"berth.evt.default.>",
          "berth.evt.default.run.>",
          "berth.evt.default.*.>",
          "berth.evt.default.run.run.started.>",
          "berth.evt.default.run.run.started.rn_1",
          "berth.evt.default.*.*.*.*",
          "berth.evt.default.run.run.*.rn_1"})
        EXPECT_TRUE(check_event_pattern(pattern, "default", "subject")) << pattern;
}

TEST(EventPatterns, ThatNoEventCouldMatchAreRefused) {
    for (const char* pattern :
         {"",
          "berth",
          "berth.evt.default",
          "berth.evt.default.",
          "berth.evt.other.>",
          "berth.evt.*.>",
          "berth.evt.default.run",
          "berth.evt.default.run.run.*",
          "berth.evt.default.run.run.started.rn_1.x",
          "berth.evt.default.run.run.started.rn_1.>",
          "berth.evt.default.>.run",
          "berth.evt.default.run*.>",
          "berth.evt.default..>",
          "berth.evt.default.Run.>"}) {
        const auto checked = check_event_pattern(pattern, "default", "subject");
        ASSERT_FALSE(checked) << pattern;
        EXPECT_EQ(checked.error().code, "bad_subject") << pattern;
        EXPECT_EQ(checked.error().field, "subject");
    }
    const auto shorter = check_event_pattern("berth.evt.default.run", "default", "subject");
    EXPECT_NE(shorter.error().message.find("berth.evt.default.run.>"), std::string::npos)
        << shorter.error().message;
}

}  // namespace
}  // namespace berth::service
