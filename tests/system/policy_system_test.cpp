// SPDX-License-Identifier: Apache-2.0
// `berth policy` against a whole suite: versions are applied, shown, compared and taken back, and a
// wrong file changes nothing.
#include <fstream>

#include "core/fd.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

class PolicySystem : public SystemTest {
protected:
    static Said policy(std::vector<std::string> words) {
        words.insert(words.begin(), "policy");
        return suite().berth(words);
    }
    static std::string file(const std::string& name, const std::string& text) {
        const auto path = suite().folder() / name;
        EXPECT_TRUE(write_file_atomic(path, text));
        return path.string();
    }
};

const char* const kFirst = "version: 1\ndefault: allow\n";
const char* const kSecond =
    "version: 1\ndefault: allow\nrules:\n  - {id: force, action: ask, match: {executable: git, "
    "flags: [-f]}}\n";

TEST_F(PolicySystem, VersionsComeAndGo) {
    EXPECT_EQ(policy({"show"}).err, "berth: the org has no policy: nothing is guarded\n");
    EXPECT_EQ(policy({"test", "@current", "--", "ls"}).exit_code, 1);

    const std::string first = file("first.yaml", kFirst);
    const std::string second = file("second.yaml", kSecond);
    const Said applied = policy({"apply", first, "--comment", "to begin with"});
    ASSERT_EQ(applied.exit_code, 0) << applied.err << suite().logs();
    EXPECT_EQ(applied.out, "policy version 1 is in force\n");
    EXPECT_EQ(policy({"show"}).out, kFirst);

    // What applying would change, the change, and both versions side by side.
    const Said change = policy({"diff", second});
    EXPECT_EQ(change.out.substr(0, 8), "--- @1\n+") << change.err;
    EXPECT_NE(change.out.find("\n+rules:\n"), std::string::npos) << change.out;
    EXPECT_EQ(
        policy({"apply", second, "--expect-version", "1"}).out, "policy version 2 is in force\n"
    );
    EXPECT_EQ(
        policy({"diff", "@1", "@2"}).out,
        policy({"diff", first, "@2"}).out.replace(4, first.size(), "@1")
    );
    EXPECT_EQ(policy({"show", "@1"}).out, kFirst);

    // Who comes late is told, and a wrong file changes nothing.
    EXPECT_EQ(policy({"apply", first, "--expect-version", "1"}).exit_code, 1);
    const std::string bad = file("bad.yaml", "version: 1\ndefault: alow\n");
    const Said refused = policy({"apply", bad});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find(bad + ":2:10: 'default' must be one of"), std::string::npos)
        << refused.err;
    const auto straight = suite().api(
        "PUT", "/v1/policy", R"({"text":"version: 1\ndefault: alow\n","name":"x.yaml"})"
    );
    EXPECT_EQ(straight.status, 400) << straight.body;
    EXPECT_NE(straight.body.find("x.yaml:2:10"), std::string::npos) << straight.body;
    EXPECT_EQ(policy({"show"}).out, kSecond);

    const Said asked =
        policy({"test", "@current", "--exec", "/usr/bin/git", "--", "git", "push", "-f"});
    EXPECT_NE(asked.out.find("ask: force"), std::string::npos) << asked.out << asked.err;

    EXPECT_EQ(
        policy({"rollback", "1"}).out, "policy version 3 is in force, with the text of version 1\n"
    );
    EXPECT_EQ(policy({"show"}).out, kFirst);
    const Said history = policy({"history"});
    EXPECT_NE(history.out.find("back to 1"), std::string::npos) << history.out;
    EXPECT_NE(history.out.find("to begin with"), std::string::npos) << history.out;
    EXPECT_EQ(policy({"rollback", "9"}).exit_code, 1);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) { return berth::testing::SystemTest::run_all(argc, argv, {}); }
