// SPDX-License-Identifier: Apache-2.0
// A long text with code in it, and whether all of it stands on a platform after it was cut.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "chat/platform.hpp"

namespace berth::testing {

/// Words, a fence of many lines with what every markup takes for its own, words.
class LongText {
public:
    explicit LongText(std::size_t lines) {
        markdown_ = "before the code\n\n```cpp\n";
        for (std::size_t i = 0; i < lines; ++i) {
            lines_.push_back("line " + std::to_string(i) + ": a<b && *c_d* > ~e~ @f;");
            markdown_ += lines_.back() + "\n";
        }
        markdown_ += "```\n\nafter the code";
    }
    /// As libs/chat sends it to a platform like that.
    std::vector<std::string> pieces(const chat::Traits& traits) const {
        return chat::split_markdown(
            markdown_,
            traits.max_text,
            traits.counts_utf16 ? chat::Unit::kUtf16 : chat::Unit::kCodePoints
        );
    }
    /// `shown`: what people read, message by message. Every line once and in order, nothing else;
    /// `fenced`: people are shown fences, each message closes those that it opens.
    void expect_whole(const std::vector<std::string>& shown, bool fenced) const {
        ASSERT_GT(shown.size(), 1U);
        std::vector<std::string> all;
        for (const std::string& message : shown) {
            std::size_t fences = 0;
            std::istringstream text(message);
            for (std::string line; std::getline(text, line);) {
                const bool fence = line.rfind("```", 0) == 0;
                fences += fence ? 1 : 0;
                if (!fence && !line.empty()) all.push_back(line);
            }
            if (fenced) {
                EXPECT_TRUE(fences > 0 && fences % 2 == 0)
                    << "closed, and opened again: " << message;
            }
        }
        std::vector<std::string> wanted{"before the code"};
        wanted.insert(wanted.end(), lines_.begin(), lines_.end());
        wanted.push_back("after the code");
        EXPECT_EQ(all, wanted);
    }

private:
    std::string markdown_;
    std::vector<std::string> lines_;
};

}  // namespace berth::testing
