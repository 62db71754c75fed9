// SPDX-License-Identifier: Apache-2.0
// behaviours: what a run's reports and artifacts are worth when not all of them can be had.
#include <fstream>

#include "cli_system.hpp"

namespace berth::testing {
namespace {

// Reports of one passed, one failed test, and one that was cut off.
constexpr const char* kPassed = "echo '<testsuite><testcase name=\"a\"/></testsuite>' > ";
constexpr const char* kFailed =
    "echo '<testsuite><testcase name=\"b\"><failure/></testcase></testsuite>' > ";
constexpr const char* kCut = "echo '<testsuite><testcase name=\"c\"' > ";

class CliResults : public CliSystem {
protected:
    void SetUp() override { lease_ = acquire(); }
    void TearDown() override { release(lease_); }

    // `script` in an empty workspace, whose reports are in r and artifacts in out.
    Said judged(const std::string& script, std::vector<std::string> more = {}) const {
        more.insert(
            more.end(),
            {"--no-sync",
             "--lease",
             lease_,
             "--junit",
             "r/*.xml",
             "--artifact",
             "out/**",
             "--fail-on-test-failures"}
        );
        return with(
            {{"XDG_STATE_HOME", (suite().folder() / "judged").string()}},
            run_sh("chmod -fR u+rwx r out; rm -rf r out; mkdir r out; " + script, more)
        );
    }

    std::string lease_;
};

TEST_F(CliResults, AnUnreadableArtifactCostsNeitherReportsNorOtherArtifacts) {
    const std::string unreadable = "echo x > out/a; chmod 000 out/a; echo y > out/b; ";
    const Said failed = judged(unreadable + kFailed + "r/a.xml", {"--json"});
    EXPECT_EQ(failed.exit_code, 1) << failed.err;
    EXPECT_NE(failed.err.find("cannot be read"), std::string::npos) << failed.err;
    const Json said = json_of(failed.out);
    ASSERT_NE(said.find("exit"), nullptr) << failed.out;
    const Json* error = said.find("exit")->find("error");
    ASSERT_NE(error, nullptr) << failed.out;
    EXPECT_EQ(error->string_or("code", ""), "tests_failed");
    const Json* results = said.find("results");
    ASSERT_NE(results, nullptr) << failed.out;
    EXPECT_EQ(results->find("artifacts")->dump(), R"(["out/b"])");
    EXPECT_TRUE(results->bool_or("reports_complete", false));

    const Said passed = judged(unreadable + kPassed + "r/a.xml");
    EXPECT_EQ(passed.exit_code, 0) << "every report is there and well: " << passed.err;
    EXPECT_NE(passed.err.find("1 test: 1 passed"), std::string::npos) << passed.err;
}

TEST_F(CliResults, WhatReportsDoNotSayIsNoSuccess) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {kPassed + std::string("r/a.xml; ") + kFailed + "r/b.xml; chmod 000 r/b.xml",
         "not every report"},
        {kPassed + std::string("r/a.xml; chmod 000 r"), "not every report"},
        {kPassed + std::string("r/a.xml; ") + kCut + "r/b.xml", "not counted: r/b.xml"},
        {kCut + std::string("r/b.xml"), "not counted: r/b.xml"},
        {kPassed + std::string("r/a.xml; ") + kFailed + "out/b.xml; ln -s ../out/b.xml r/b.xml",
         "not counted: r/b.xml: it is no regular file"},
        {"true", "wrote no report"},
        {kPassed + std::string("r/a.xml; touch -d '1 hour ago' r/a.xml"), "older than the run"},
    };
    for (const auto& [script, told] : cases) {
        const Said said = judged(script);
        EXPECT_EQ(said.exit_code, 1) << script << "\n" << said.err;
        EXPECT_NE(said.err.find(told), std::string::npos) << script << "\n" << said.err;
    }
    EXPECT_EQ(judged(kCut + std::string("r/b.xml; exit 7")).exit_code, 7)
        << "a code of the command's own stays";
    EXPECT_EQ(judged(kPassed + std::string("r/a.xml")).exit_code, 0);
}

}  // namespace
}  // namespace berth::testing
