// SPDX-License-Identifier: Apache-2.0
// `berth policy` without a server, as a person types it: what it prints and what it exits with.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/capture.hpp"
#include "cli/text_diff.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kCommandPatience{20'000};

class PolicyCommandTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "berth-policy-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = fs::canonical(name);
        file_ = (folder_ / "policy.yaml").string();
        write(
            file_,
            "version: 1\ndefault: allow\nrules:\n"
            "  - {id: reading, action: allow, match: {executable: cat}}\n"
            "  - {id: force, action: ask, reason: it rewrites history, match: {executable: git, "
            "subcommand: push, "
            "flags: [\"-f|--force\"]}}\n"
        );
    }
    void TearDown() override { fs::remove_all(folder_); }

    static void write(const std::string& path, std::string_view text) {
        ASSERT_TRUE(write_file_atomic(path, text));
    }

    Captured berth(std::vector<std::string> words) {
        process::SpawnSpec spec;
        spec.argv = {std::string(std::getenv("BERTH_BIN_DIR")) + "/berth", "policy"};
        spec.argv.insert(spec.argv.end(), words.begin(), words.end());
        spec.env = {
            "PATH=/usr/bin:/bin",
            "HOME=" + folder_.string(),
            "XDG_CONFIG_HOME=" + folder_.string()};
        spec.cwd = folder_;
        auto done = capture(std::move(spec), kCommandPatience);
        EXPECT_TRUE(done) << done.error().message;
        return done ? *done : Captured{-1, "", ""};
    }

    fs::path folder_;
    std::string file_;
};

TEST_F(PolicyCommandTest, TestTellsWhichRuleDecidesAndWhy) {
    const auto asked = berth(
        {"test", file_, "--exec", "/usr/bin/git", "--", "git", "-C", "x", "push", "-f", "origin"}
    );
    EXPECT_EQ(asked.code, 0) << asked.err;
    EXPECT_EQ(
        asked.out,
        "executable: /usr/bin/git\narguments: git -C x push -f origin\n=> " + file_ +
            ":5:5 force: 'every criterion holds'\nask: force (it rewrites history)\n"
            "    asks every approver, 1 of them, for 15m; then: deny\n"
    );
    const auto other =
        berth({"test", file_, "--exec", "/usr/bin/git", "--", "git", "push", "\x1b[2K"});
    EXPECT_NE(other.out.find("arguments: git push $'\\x1b[2K'\n"), std::string::npos) << other.out;
    EXPECT_NE(
        other.out.find("allow: default (no rule matches, and the default is allow)\n"),
        std::string::npos
    );
}

TEST_F(PolicyCommandTest, ExplainShowsEveryRuleThatWasLookedAt) {
    const auto said = berth({"explain", file_, "--exec", "/usr/bin/git", "--", "git", "pull"});
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_NE(
        said.out.find(":4:5 reading: 'the executable is /usr/bin/git, not cat'\n"),
        std::string::npos
    ) << said.out;
    EXPECT_NE(said.out.find(":5:5 force: "), std::string::npos);
    EXPECT_NE(said.out.find("=> default: "), std::string::npos);
    const auto json =
        berth({"explain", file_, "--json", "--exec", "/usr/bin/git", "--", "git", "pull"});
    EXPECT_NE(json.out.find("\"action\":\"allow\",\"rule\":\"default\""), std::string::npos)
        << json.out;
}

TEST_F(PolicyCommandTest, ExpectationsAreForScripts) {
    const std::vector<std::string> push = {"test", file_, "--exec", "/usr/bin/git", "--expect"};
    const auto with = [&](const char* expected) {
        auto words = push;
        for (const char* word : {expected, "--", "git", "push", "-f"}) words.emplace_back(word);
        return berth(words);
    };
    EXPECT_EQ(with("ask").code, 0);
    EXPECT_EQ(with("deny").code, 1);
    EXPECT_NE(with("deny").err.find("deny was expected, not ask"), std::string::npos);
    EXPECT_EQ(with("no").code, 2);
}

TEST_F(PolicyCommandTest, AScriptIsTakenFromTheArgumentsAsAMachineWould) {
    write(
        file_,
        "version: 1\ndefault: allow\nrules:\n"
        "  - {id: no-script, action: deny, match: {executable: deploy.sh}}\n"
        "  - {id: no-path, action: deny, match: {executable: /workspace/bin/tool}}\n"
    );
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"bash", "deploy.sh"},
             {"bash", "-x", "-", "bin/deploy.sh"},
             {"./deploy.sh"},
             {"python3", "../workspace/bin/tool"},
             {"bin/../bin/tool", "x"}}) {
        std::vector<std::string> words = {"test", file_, "--expect", "deny", "--"};
        words.insert(words.end(), argv.begin(), argv.end());
        const auto said = berth(words);
        EXPECT_EQ(said.code, 0) << said.out << said.err;
    }
    const auto shown = berth({"test", file_, "--cwd", "/workspace/bin", "--", "bash", "./tool"});
    EXPECT_NE(shown.out.find("script: /workspace/bin/tool\n"), std::string::npos) << shown.out;
    EXPECT_NE(shown.out.find("deny: no-path"), std::string::npos) << shown.out;
    const auto other = berth({"test", file_, "--script", "/workspace/x.sh", "--", "bash", "x"});
    EXPECT_NE(other.out.find("allow: default"), std::string::npos) << other.out;
    EXPECT_EQ(berth({"test", file_, "--exec", "x", "--", "bash"}).code, 2);
}

TEST_F(PolicyCommandTest, CircumstancesAreGiven) {
    write(
        file_,
        "version: 1\ndefault: deny\nrequire: shim\nrules:\n"
        "  - {id: night, action: allow, match: {user: anna, agent: fixer, cwd: /workspace/app, "
        "time: {hours: \"22:00-06:00\"}}}\n"
    );
    std::vector<std::string> words = {
        "test",
        file_,
        "--exec",
        "/bin/ls",
        "--user",
        "anna",
        "--agent",
        "fixer",
        "--cwd",
        "/workspace/app",
        "--at",
        "2026-01-31T23:00:00Z",
        "--expect",
        "allow",
        "--",
        "ls"};
    EXPECT_EQ(berth(words).code, 0);
    words[11] = "2026-01-31T12:00:00Z";
    EXPECT_EQ(berth(words).code, 1);
    EXPECT_EQ(
        berth({"test",
               file_,
               "--exec",
               "/bin/ls",
               "--level",
               "observe",
               "--expect",
               "deny",
               "--",
               "ls"})
            .code,
        0
    );
    const auto env =
        berth({"test", file_, "--exec", "/bin/ls", "--env", "LD_PRELOAD=x", "--", "ls"});
    EXPECT_EQ(env.code, 0) << env.err;
}

TEST_F(PolicyCommandTest, LintNamesEveryMistake) {
    EXPECT_EQ(berth({"lint", file_}).out, file_ + ": right, 2 rules\n");
    const std::string bad = (folder_ / "bad.yaml").string();
    write(bad, "version: 1\ndefault: alow\nrulez: []\n");
    const auto said = berth({"lint", file_, bad});
    EXPECT_EQ(said.code, 1);
    EXPECT_NE(
        said.err.find(bad + ":2:10: 'default' must be one of allow, deny, ask, not 'alow'"),
        std::string::npos
    ) << said.err;
    EXPECT_NE(said.err.find(bad + ":3:1: unknown key 'rulez'"), std::string::npos) << said.err;
    EXPECT_EQ(berth({"lint"}).code, 2);
    EXPECT_EQ(berth({"lint", "/nowhere"}).code, 1);
}

TEST_F(PolicyCommandTest, InitGivesATemplateThatLintTakes) {
    for (const char* name : {"strict", "developer", "observe-only"}) {
        const std::string made = (folder_ / (std::string(name) + ".yaml")).string();
        EXPECT_EQ(berth({"init", "--template", name, made}).code, 0);
        EXPECT_EQ(berth({"lint", made}).code, 0);
        EXPECT_EQ(berth({"init", "--template", name, made}).code, 1);  // it is there
        EXPECT_EQ(berth({"init", "--template", name}).out, *read_file(made));
    }
    EXPECT_EQ(berth({"init", "--template", "x"}).code, 2);
}

TEST_F(PolicyCommandTest, DiffShowsChanges) {
    const std::string other = (folder_ / "other.yaml").string();
    write(other, *read_file(file_) + "  - {id: last, action: deny}\n");
    const auto said = berth({"diff", file_, other});
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_NE(said.out.find("\n+  - {id: last, action: deny}\n"), std::string::npos) << said.out;
    EXPECT_EQ(berth({"diff", file_, file_}).out, "");
}

TEST_F(PolicyCommandTest, WrongUsageIsTold) {
    EXPECT_EQ(berth({"jump"}).code, 2);
    EXPECT_EQ(berth({"test", file_}).code, 2);
    EXPECT_EQ(berth({"rollback", "x"}).code, 2);
    EXPECT_EQ(berth({"show", "1", "2"}).code, 2);
    EXPECT_EQ(berth({"apply", "/nowhere"}).code, 1);
}

TEST(TextDiffTest, IsWhatDiffPrints) {
    EXPECT_EQ(unified_diff("a\nb\n", "a\nb\n", "x", "y"), "");
    EXPECT_EQ(
        unified_diff("a\nb\nc\n", "a\nB\nc\n", "x", "y"),
        "--- x\n+++ y\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
    );
    EXPECT_EQ(unified_diff("", "a\n", "x", "y"), "--- x\n+++ y\n@@ -0,0 +1,1 @@\n+a\n");
    std::string before;
    for (int i = 1; i <= 40; ++i) before += std::to_string(i) + "\n";
    std::string after = before;
    after.replace(after.find("\n5\n"), 3, "\nfive\n");
    after.replace(after.find("\n30\n"), 4, "\n");
    EXPECT_EQ(
        unified_diff(before, after, "x", "y"),
        "--- x\n+++ y\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@@ -27,7 +27,6 @@\n "
        "27\n 28\n 29\n-30\n 31\n 32\n 33\n"
    );
}

}  // namespace
}  // namespace berth::cli
