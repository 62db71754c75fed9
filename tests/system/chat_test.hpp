// SPDX-License-Identifier: Apache-2.0
// One deployment with a chat bridge shared by the tests of a program, and the words they use about
// it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/has.hpp"
#include "support/suite/chat_suite.hpp"

namespace berth::testing {

/// A number of the environment, for soaks.
inline std::uint64_t number_of(const char* name, std::uint64_t usual) {
    const char* const text = std::getenv(name);
    return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

/// `Deployment`: a ChatSuite, or what is made of one.
template <typename Deployment>
class ChatTest : public ::testing::Test {
public:
    static void SetUpTestSuite() {
        chat_ = std::make_unique<Deployment>();
        fake_ = &chat_->fake();
        suite_ = &chat_->suite();
    }
    static void TearDownTestSuite() {
        if (!chat_) return;
        chat_->stop();
        EXPECT_EQ(fake_->complaints(), "");
        chat_.reset();
    }

protected:
    /// The message of those that `look` shows which holds `words`.
    static Json wait_for_one(
        const std::string& words,
        const std::string& channel,
        const std::function<std::vector<Json>()>& look,
        milliseconds patience
    ) {
        const auto found = eventually_one(
            look, [&](const Json& one) { return has(one.dump(), words); }, patience
        );
        EXPECT_TRUE(found) << "nobody said " << words << "\n"
                           << fake_->look("channel/" + channel).dump() << suite_->logs();
        return found.value_or(Json());
    }

    static inline std::unique_ptr<Deployment> chat_;
    static inline FakeProcess* fake_ = nullptr;  ///< chat_'s, as suite_
    static inline Suite* suite_ = nullptr;
};

}  // namespace berth::testing
