// SPDX-License-Identifier: Apache-2.0
// Proves the shape of a log line: escaping, limits, formats and that threads never mix their lines.
#include "log/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <type_traits>
#include <vector>

#include "core/fd.hpp"
#include "core/secret.hpp"
#include "core/text.hpp"

namespace berth::log {
namespace {

static_assert(!std::is_constructible_v<Value, Secret>, "a secret must not be loggable");

class LogTest : public ::testing::Test {
protected:
    void SetUp() override {
        set_level(Level::kInfo);
        set_format(Format::kJson);
        set_service("", "");
        set_sink([this](Level, std::string_view line) { lines_.emplace_back(line); });
    }
    void TearDown() override {
        set_sink({});
        set_service("", "");
        set_format(Format::kAutomatic);
    }
    std::vector<std::string> lines_;
};

TEST_F(LogTest, JsonCarriesEveryKindOfField) {
    set_service("lease", "i1");
    info(
        "lease activated",
        {{"lease", std::string("ls_1")},
         {"count", 3},
         {"big", std::uint32_t{4000000000}},
         {"ratio", 0.5},
         {"ok", true},
         {"took", std::chrono::microseconds(1500)}}
    );
    ASSERT_EQ(lines_.size(), 1U);
    EXPECT_NE(
        lines_[0].find("\"level\":\"info\",\"service\":\"lease\",\"instance\":\"i1\",\"message\":"
                       "\"lease activated\","
                       "\"lease\":\"ls_1\",\"count\":3,\"big\":4000000000,\"ratio\":0.5,\"ok\":"
                       "true,\"took_ms\":1.5}"),
        std::string::npos
    ) << lines_[0];
}

TEST_F(LogTest, TextIsReadableAndQuotesWhatNeedsIt) {
    set_format(Format::kText);
    set_service("run", "i1");
    warning("slow", {{"run", "rn_1"}, {"why", "two words"}});
    ASSERT_EQ(lines_.size(), 1U);
    EXPECT_NE(lines_[0].find(" warning run: slow run=rn_1 why=\"two words\""), std::string::npos)
        << lines_[0];
}

TEST_F(LogTest, ValuesCannotForgeLinesOrDriveTheTerminal) {
    info(
        "x",
        {{"v", "a\nb\"\\\x1b[31m\x7f\xc2\x9b"}, {"bad", std::string("\xff\xc0\x80ok\xed\xa0\x80")}}
    );
    ASSERT_EQ(lines_.size(), 1U);
    EXPECT_EQ(lines_[0].find('\n'), std::string::npos);
    EXPECT_NE(lines_[0].find(R"("v":"a\nb\"\\\u001b[31m\u007f\u009b")"), std::string::npos)
        << lines_[0];
    EXPECT_TRUE(is_utf8(lines_[0]));
    EXPECT_NE(lines_[0].find("\xEF\xBF\xBDok"), std::string::npos);
}

TEST_F(LogTest, LongLinesAreCutAndSaySo) {
    for (const Format format : {Format::kJson, Format::kText}) {
        lines_.clear();
        set_format(format);
        info(std::string(5000, 'm'), {{"a", std::string(20000, '\x01')}, {"b", "never"}});
        ASSERT_EQ(lines_.size(), 1U);
        EXPECT_LT(lines_[0].size(), kMaxLine);
        EXPECT_GT(lines_[0].size(), kMaxLine / 2);
        EXPECT_NE(lines_[0].find("truncated"), std::string::npos);
        EXPECT_EQ(lines_[0].find("never"), std::string::npos);
    }
}

TEST_F(LogTest, LevelsFilterAndErrorsAreCounted) {
    const auto before = error_count();
    debug("hidden");
    EXPECT_TRUE(lines_.empty());
    set_level(Level::kError);
    warning("hidden");
    error("shown");
    EXPECT_EQ(lines_.size(), 1U);
    EXPECT_EQ(error_count(), before + 1);
    EXPECT_EQ(parse_level("warning").value(), Level::kWarning);
    EXPECT_FALSE(parse_level("warn"));
}

TEST_F(LogTest, EachLineIsOneWrite) {
    set_sink({});
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_DIRECT | O_CLOEXEC), 0);  // packet mode: one read returns one write
    const Fd reader(ends[0]);
    Fd writer(ends[1]);
    const Fd saved(::dup(STDERR_FILENO));
    ASSERT_GE(::dup2(writer.get(), STDERR_FILENO), 0);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([] {
            for (int i = 0; i < 5; ++i) info("line", {{"fill", std::string(500, 'x')}});
        });
    }
    for (auto& thread : threads) thread.join();
    ::dup2(saved.get(), STDERR_FILENO);
    writer.reset();
    int count = 0;
    std::string buffer(16384, '\0');
    for (;;) {
        const auto got = ::read(reader.get(), buffer.data(), buffer.size());
        if (got <= 0) break;
        ++count;
        const std::string_view line(buffer.data(), static_cast<std::size_t>(got));
        EXPECT_EQ(line.front(), '{');
        EXPECT_EQ(line.substr(line.size() - 2), "}\n");
        EXPECT_EQ(line.find('\n'), line.size() - 1);
    }
    EXPECT_EQ(count, 15);  // below the 16 packets a pipe holds with nobody reading yet
}

}  // namespace
}  // namespace berth::log
