// SPDX-License-Identifier: Apache-2.0
// The policy file: what is right is read, and every mistake is named with its line and column.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "core/fd.hpp"
#include "policy/policy.hpp"

namespace berth::policy {
namespace {

std::string errors_of(const std::string& text) {
    const auto policy = Policy::parse(text, "p.yaml");
    if (policy) return "";
    EXPECT_EQ(policy.error().code, "bad_policy");
    return policy.error().message;
}

const std::string kHead = "version: 1\ndefault: deny\n";

std::string rule(const std::string& match) {
    return kHead + "rules:\n  - id: r\n    action: ask\n    match:\n      " + match + "\n";
}

TEST(PolicyFileTest, TheSmallestFile) {
    const auto policy = Policy::parse(kHead, "p.yaml");
    ASSERT_TRUE(policy) << policy.error().message;
    EXPECT_EQ((*policy)->rules(), 0U);
}

struct Bad {
    const char* text;
    const char* error;
};

class BadFile : public testing::TestWithParam<Bad> {};

TEST_P(BadFile, IsRefusedWithItsPlace) { EXPECT_EQ(errors_of(GetParam().text), GetParam().error); }

INSTANTIATE_TEST_SUITE_P(
    Policy,
    BadFile,
    testing::Values(
        Bad{"",
            "p.yaml:1:1: 'version: 1' is missing\np.yaml:1:1: 'default' is missing: allow, deny or "
            "ask, for what "
            "no rule matches"},
        Bad{"version: 2\ndefault: deny\n",
            "p.yaml:1:10: 'version' must be a whole number from 1 to 1, not '2'"},
        Bad{"version: 1\ndefault: maybe\n",
            "p.yaml:2:10: 'default' must be one of allow, deny, ask, not 'maybe'"},
        Bad{"version: 1\ndefault: deny\nrulez: []\n",
            "p.yaml:3:1: unknown key 'rulez'; known keys are version, default, require, profiles, "
            "timeout, "
            "on_deadline, approvers, escalate_to, quorum, groups, environment, rules"},
        Bad{"version: 1\ndefault: deny\nrules:\n  - id: a\n    action: alow\n",
            "p.yaml:5:13: 'action' must be one of allow, deny, ask, not 'alow'"},
        Bad{"version: 1\ndefault: deny\nrules:\n  - id: a\n    action: allow\n    match: {argv: "
            "[{regex: \"(\"}]}\n",
            "p.yaml:6:28: bad regular expression '(': missing ): ("},
        Bad{"version: 1\ndefault: deny\nrules:\n  - id: a\n    action: allow\n    match: {cwd: "
            "\"/a[\"}\n",
            "p.yaml:6:18: bad pattern '/a[': a '[' without its ']'"},
        Bad{"version: 1\ndefault: deny\nrules: {}\n",
            "p.yaml:3:8: 'rules' must be a list of rules"},
        Bad{"- 1\n",
            "p.yaml:1:1: the file must be a map of version, default, require, profiles, timeout, "
            "on_deadline, "
            "approvers, escalate_to, quorum, groups, environment, rules, not a list"},
        Bad{"version: 1\ndefault: deny\ndefault: deny\n",
            "p.yaml:3:1: the key 'default' is given twice"},
        Bad{"version: [1\n", "p.yaml:2:1: end of sequence flow not found"},
        Bad{"version: 1\ndefault: ask\non_deadline: escalate\n",
            "p.yaml:3:14: on_deadline: escalate needs escalate_to"},
        Bad{"version: 1\ndefault: ask\napprovers: ops\n",
            "p.yaml:3:12: there is no group 'ops' in 'groups'; one person is written user:NAME"},
        Bad{"version: 1\ndefault: ask\ntimeout: soon\n",
            "p.yaml:3:10: 'timeout' must be a duration like 90s, 15m or 2h, above nothing and at "
            "most 720h, not "
            "'soon'"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - id: a\n    action: ask\n    ask: {timeout: "
            "721h}\n    execution_timeout: 8785h\n",
            "p.yaml:7:24: 'execution_timeout' must be a duration like 90s, 15m or 2h, above "
            "nothing and at most 8784h, not '8785h'\n"
            "p.yaml:6:20: 'timeout' must be a duration like 90s, 15m or 2h, above nothing and at "
            "most 720h, not '721h'"},
        Bad{"version: 1\ndefault: ask\ngroups: {g: [a, a]}\napprovers: [g, \"user:a\"]\nquorum: "
            "2\n",
            "p.yaml:5:9: 2 people must approve, and only 1 may"},
        Bad{"version: 1\ndefault: ask\ngroups: {g: [a], h: [b]}\napprovers: g\nescalate_to: h\n"
            "rules:\n  - id: r\n    action: ask\n    ask: {quorum: 2}\n",
            "p.yaml:9:19: 2 people must approve, and only 1 may"},
        Bad{"version: 1\ndefault: ask\ngroups: {g: [a]}\nquorum: 2\n"
            "rules:\n  - id: r\n    action: ask\n    ask: {approvers: g}\n",
            "p.yaml:8:22: 2 people must approve, and only 1 may"},
        Bad{"version: 1\ndefault: ask\ngroups: {g: [a], h: [b]}\napprovers: g\nescalate_to: h\n"
            "on_deadline: escalate\nquorum: 2\n"
            "rules:\n  - id: r\n    action: ask\n    ask: {on_deadline: deny}\n",
            "p.yaml:11:10: 2 people must approve, and only 1 may"},
        Bad{"version: 1\n# gr\xfc\xdf\ndefault: ask\n", "p.yaml:2:5: the file is not UTF-8"},
        Bad{"version: 1\ndefault: ask\nquorum: 0\n",
            "p.yaml:3:9: 'quorum' must be a whole number from 1 to 20, not '0'"},
        Bad{"version: 1\ndefault: ask\nrequire: all\n",
            "p.yaml:3:10: 'require' must be one of none, observe, shim, enforce, not 'all'"},
        Bad{"version: 1\ndefault: ask\nenvironment: {drop: [\"A*B\"]}\n",
            "p.yaml:3:21: 'drop' takes names of variables; '*' may stand at the end, as in LD_*, "
            "not 'A*B'"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - id: a\n    action: deny\n  - id: a\n    action: "
            "deny\n",
            "p.yaml:6:9: there is another rule 'a'"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - id: default\n    action: deny\n",
            "p.yaml:4:9: 'default' is what Berth's own decisions are called; choose another id"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - action: deny\n",
            "p.yaml:4:5: a rule needs an 'id'"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - id: a b\n    action: deny\n",
            "p.yaml:4:9: an id has letters, digits, '-', '_' and '.', 64 at most, not 'a b'"},
        Bad{"version: 1\ndefault: ask\nrules:\n  - id: a\n    action: deny\n    ask: {quorum: 2}\n",
            "p.yaml:6:5: 'ask' belongs to rules whose action is ask"}
    )
);

TEST(PolicyFileTest, BadMatchesAreRefused) {
    for (const auto& [match, error] : std::vector<std::pair<std::string, std::string>>{
             {"exe: git", "7:7: unknown key 'exe'"},
             {"executable: bin/git", "7:19: 'executable' takes a name"},
             {"executable: [git, {}]", "7:25: 'executable' must hold texts, not a map"},
             {"executable: []", "7:19: 'executable' must not be empty"},
             {"executable: ''", "7:19: bad pattern '': an empty pattern"},
             {"argv: push", "7:13: 'argv' must be a list"},
             {"argv: [{globb: x}]", "7:15: unknown key 'globb'"},
             {"argv: [{glob: x, regex: y}]", "7:14: a pattern of 'argv' has one of"},
             {"argv: [[x]]", "7:14: an argument is a text"},
             {"argv: [{regex: 'a{1000000}'}]", "7:22: bad regular expression 'a{1000000}': "},
             {"argv: [{regex: '(?P<n>a)\\1'}]", "7:22: bad regular expression"},
             {"subcommand: --force", "7:19: 'subcommand' takes words"},
             {"subcommand: a b c d e f g h i", "7:19: 'subcommand' takes from 1 to 8 words"},
             {"flags: force", "7:14: a flag is like --force"},
             {"flags: [-f|force]", "7:15: a flag is like --force"},
             {"options_with_value: [C]", "7:27: 'options_with_value' takes options"},
             {"executable: /usr/bin/../bin/rm", "7:19: '/usr/bin/../bin/rm' matches nothing"},
             {"executable: [ls, //usr/bin/rm]", "7:24: '//usr/bin/rm' matches nothing"},
             {"executable: '**/./rm'", "7:19: '**/./rm' matches nothing"},
             {"executable: /usr/bin/", "7:19: '/usr/bin/' matches nothing"},
             {"cwd: /workspace/../etc", "7:12: '/workspace/../etc' matches nothing"},
             {"paths: {inside: [/tmp, /a/..]}", "7:30: '/a/..' matches nothing"},
             {"cwd: work", "7:12: 'cwd' takes absolute paths"},
             {"time: {hours: '8-9'}", "7:21: hours are like"},
             {"time: {hours: '08:00-25:00'}", "7:21: hours are like"},
             {"time: {days: [monday]}", "7:21: days are mon"},
             {"time: {days: mon, timezone: Berlin}", "7:35: 'timezone' is UTC or an offset"},
             {"time: {}", "7:13: 'time' needs hours or days"},
             {"paths: {}", "7:14: 'paths' has one of inside and outside"},
             {"paths: {outside: work}", "7:24: 'outside' takes absolute paths"},
             {"user: ''", "7:13: bad pattern"}}) {
        const std::string found = errors_of(rule(match));
        EXPECT_EQ(found.substr(0, 7 + error.size()), "p.yaml:" + error) << match;
        EXPECT_EQ(found.find('\n'), std::string::npos) << found;
    }
}

TEST(PolicyFileTest, WhatCanBeApprovedAndWhatCanMatchIsRight) {
    for (const std::string text :
         {"groups: {g: [a], h: [b]}\napprovers: g\nescalate_to: h\non_deadline: escalate\nquorum: "
          "2\n",
          "groups: {g: [a, b]}\nquorum: 3\n",
          "groups: {g: [a, b]}\napprovers: [g, \"user:c\"]\nquorum: 3\n",
          "timeout: 720h\n"})
        EXPECT_EQ(errors_of(kHead + text), "") << text;
    for (const std::string match :
         {"cwd: [/, /workspace/, \"**\", \"/a/**/.b\", /a/..b]",
          "executable: [\"**/x\", \"/memfd:*\", ..x, \"/a/...\"]",
          "paths: {inside: [/, /workspace/]}"})
        EXPECT_EQ(errors_of(rule(match)), "") << match;
}

TEST(PolicyFileTest, ANulByteIsNoText) {
    EXPECT_EQ(
        errors_of("version: 1\ndefault: deny # " + std::string(1, '\0') + "\n"),
        "p.yaml:2:17: the file holds a NUL byte"
    );
}

TEST(PolicyFileTest, EveryMistakeIsNamedAtOnce) {
    const std::string found = errors_of(
        "version: 1\ndefault: no\nrules:\n  - id: a\n    action: x\n  - idd: b\n    action: y\n"
    );
    EXPECT_EQ(std::count(found.begin(), found.end(), '\n'), 4) << found;
    std::string many = kHead + "rules:\n";
    for (int i = 0; i < 200; ++i) many += "  - {id: r" + std::to_string(i) + ", action: nope}\n";
    EXPECT_NE(errors_of(many).find("… and 150 more"), std::string::npos);
}

TEST(PolicyFileTest, LimitsHold) {
    EXPECT_NE(errors_of(std::string(kMaxPolicyBytes + 1, ' ')), "");
    std::string many = kHead + "rules:\n";
    for (std::size_t i = 0; i <= kMaxRules; ++i)
        many += " - {id: r" + std::to_string(i) + ", action: deny}\n";
    EXPECT_NE(errors_of(many).find("more than 10000 rules"), std::string::npos);
    EXPECT_NE(errors_of(std::string(100'000, '[')), "");
}

TEST(PolicyFileTest, TemplatesAreRight) {
    for (const char* name : {"strict", "developer", "observe-only"}) {
        const auto policy = Policy::parse(template_text(name), std::string(name) + ".yaml");
        ASSERT_TRUE(policy) << policy.error().message;
    }
    EXPECT_EQ(template_text("other"), "");
}

/// The fenced blocks of a document that are YAML, each with its line.
std::vector<std::pair<std::size_t, std::string>> examples_of(const std::string& text) {
    std::vector<std::pair<std::size_t, std::string>> out;
    std::size_t line = 0;
    bool inside = false;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string one = text.substr(at, end - at);
        at = end + 1;
        ++line;
        if (one == "```yaml") {
            inside = true;
            out.emplace_back(line, "");
        } else if (one == "```") {
            inside = false;
        } else if (inside) {
            out.back().second += one + "\n";
        }
    }
    return out;
}

TEST(PolicyFileTest, TheDocumentsExamplesAreRight) {
    const auto text =
        read_file(std::filesystem::path(std::getenv("BERTH_SOURCE_DIR")) / "docs" / "policy.md");
    ASSERT_TRUE(text) << text.error().message;
    const auto examples = examples_of(*text);
    EXPECT_GE(examples.size(), 8U);
    for (const auto& [line, example] : examples) {
        // A part of a file is completed; one that begins with "- " is rules.
        std::string whole = example;
        if (whole.substr(0, 2) == "- ") whole = "rules:\n" + whole;
        if (whole.find("version:") == std::string::npos) whole = "version: 1\n" + whole;
        if (whole.find("default:") == std::string::npos) whole = "default: deny\n" + whole;
        if (whole.find("groups:") == std::string::npos)
            whole = "groups: {leads: [anna], oncall: [tom]}\n" + whole;
        const auto policy =
            Policy::parse(whole, "docs/policy.md, example of line " + std::to_string(line));
        EXPECT_TRUE(policy) << policy.error().message;
    }
}

}  // namespace
}  // namespace berth::policy
