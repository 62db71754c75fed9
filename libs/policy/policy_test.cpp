// SPDX-License-Identifier: Apache-2.0
// Which rule a command meets: every criterion in both directions.
#include "policy/policy.hpp"

#include <gtest/gtest.h>

#include "policy/test_asking.hpp"

namespace berth::policy {
namespace {

TEST(DecideTest, NoPolicyAllowsEverything) {
    Origin bare;
    EXPECT_EQ(
        Policy::allow_all()->decide(plan_of({"rm", "-rf", "/"}), bare, kNow).action, Action::kAllow
    );
    EXPECT_EQ(Policy::allow_all()->required(bare).level, Level::kNone);
}

TEST(DecideTest, TheFirstMatchingRuleWins) {
    const auto policy = must(R"(version: 1
default: ask
timeout: 5m
rules:
  - {id: a, action: deny, reason: no pushing, match: {executable: git, subcommand: push}}
  - {id: b, action: allow, match: {executable: git}, execution_timeout: 10s}
  - {id: c, action: deny, match: {executable: git}}
)");
    EXPECT_EQ(ask(policy, plan_of({"git", "push"})).rule, "a");
    EXPECT_EQ(ask(policy, plan_of({"git", "push"})).reason, "no pushing");
    EXPECT_EQ(ask(policy, plan_of({"git", "pull"})).rule, "b");
    EXPECT_EQ(ask(policy, plan_of({"git", "pull"})).execution_timeout, seconds{10});
    const Verdict other = ask(policy, plan_of({"ls"}));
    EXPECT_EQ(other.rule, "default");
    EXPECT_EQ(other.action, Action::kAsk);
    EXPECT_EQ(other.ask.timeout, std::chrono::minutes{5});
    EXPECT_EQ(other.reason, "no rule matches, and the default is ask");
}

TEST(DecideTest, TheExecutableIsWhatTheKernelLoaded) {
    const auto name = one("{executable: git}");
    EXPECT_TRUE(hits(name, plan_of({"x"}, "/usr/bin/git")));
    EXPECT_TRUE(hits(name, plan_of({"x"}, "/opt/git")));
    EXPECT_FALSE(hits(name, plan_of({"git"}, "/tmp/other")));  // argv[0] says nothing
    EXPECT_FALSE(hits(name, plan_of({"git"}, "/usr/bin/git2")));
    const auto path = one("{executable: /usr/bin/git}");
    EXPECT_TRUE(hits(path, plan_of({"git"}, "/usr/bin/git")));
    EXPECT_FALSE(hits(path, plan_of({"git"}, "/opt/git")));
    const auto glob = one("{executable: [\"/opt/**\", \"mkfs*\"]}");
    EXPECT_TRUE(hits(glob, plan_of({"a"}, "/opt/x/y")));
    EXPECT_TRUE(hits(glob, plan_of({"a"}, "/usr/sbin/mkfs.ext4")));
    EXPECT_FALSE(hits(glob, plan_of({"a"}, "/usr/opt/x")));
}

TEST(DecideTest, ARuleIsFoundByEveryNameOfAProgram) {
    // Of the executable, its script, the script as it was called, and the tool of many.
    Plan plan = plan_of({"sh", "/workspace/link"}, "/bin/busybox");
    plan.script.path = "/workspace/real";
    for (const char* name : {"busybox", "real", "link", "sh"}) {
        std::string rules = "version: 1\ndefault: allow\nrules:\n";
        for (const char* other : {"busybox", "real", "link", "sh"})
            rules += std::string("  - {id: ") + other +
                     ", action: " + (std::string(other) == name ? "deny" : "allow") +
                     ", match: {executable: " + other +
                     ", user: " + (std::string(other) == name ? "anna" : "nobody") + "}}\n";
        rules += "  - {id: any, action: allow, match: {user: nobody}}\n";
        EXPECT_EQ(ask(must(rules), plan).rule, name);
    }
}

TEST(DecideTest, ScriptsAreKnownByTheirFile) {
    Plan npm = plan_of({"node", "/usr/bin/npm", "publish"}, "/usr/bin/node");
    npm.script.path = "/usr/lib/node_modules/npm/bin/npm";
    EXPECT_TRUE(hits(one("{executable: npm, subcommand: publish}"), npm));
    EXPECT_FALSE(hits(one("{executable: npm, subcommand: install}"), npm));
    EXPECT_TRUE(hits(one("{executable: node}"), npm));
    EXPECT_TRUE(hits(one("{executable: npm, argv: [publish]}", "allow"), npm));
    npm.script.path = "/usr/lib/node_modules/npm/bin/npm-cli.js";
    npm.argv[1] = "/usr/bin/npm";
    EXPECT_TRUE(hits(one("{executable: npm, subcommand: publish}"), npm));
    EXPECT_FALSE(hits(one("{executable: npm, subcommand: publish}", "allow"), npm)
    );  // as it was called only
    npm.executable.path = "/tmp/node";
    EXPECT_FALSE(hits(one("{executable: npm-cli.js}", "allow"), npm));
    EXPECT_TRUE(hits(one("{executable: npm-cli.js}", "deny"), npm));
}

TEST(DecideTest, NoLaterWordHidesTheArgumentsOfAScript) {
    Plan npm = plan_of({"node", "/usr/bin/npm", "publish", "--tag", "npm-cli.js"}, "/usr/bin/node");
    npm.script.path = "/usr/lib/node_modules/npm/bin/npm-cli.js";
    EXPECT_TRUE(hits(one("{executable: npm, subcommand: publish}"), npm));
    npm.argv = {"node", "/usr/bin/npm", "install", "x"};
    EXPECT_FALSE(hits(one("{executable: npm, subcommand: publish}"), npm));
    EXPECT_TRUE(hits(one("{executable: npm, subcommand: install}"), npm));
}

TEST(DecideTest, WhatIsExecutedBesidesAScriptIsKnownByItsFile) {
    Plan plan = plan_of({"awk", "-f", "/dev/null", "-f", "one", "-f", "link"});
    plan.script.path = "/workspace/one";
    plan.more_scripts = {"/workspace/two"};
    for (const char* name : {"one", "two", "link", "/workspace/two", "/work*/tw*"}) {
        EXPECT_TRUE(hits(one(std::string("{executable: \"") + name + "\"}"), plan)) << name;
        EXPECT_FALSE(hits(one(std::string("{executable: \"") + name + "\"}", "allow"), plan))
            << name;
    }
    EXPECT_FALSE(hits(one("{executable: three}"), plan));
}

TEST(DecideTest, AScriptIsAllowedWithAnInterpreterAndNothingElse) {
    const auto allows = one("{executable: deploy.sh}", "allow");
    const auto asks = one("{executable: deploy.sh}");
    const auto check = [&](std::vector<std::string> argv, const std::string& executable, bool good
                       ) {
        Plan plan = plan_of(argv, executable);
        plan.script.path = "/workspace/deploy.sh";
        EXPECT_EQ(hits(allows, plan), good) << argv[1];
        EXPECT_TRUE(hits(asks, plan)) << argv[1];
    };
    check({"bash", "deploy.sh", "/"}, "/usr/bin/bash", true);
    check({"bash", "-eu", "deploy.sh"}, "/usr/bin/bash", true);
    check({"python3", "-u", "deploy.sh"}, "/usr/bin/python3.11", true);
    check({"awk", "-f", "deploy.sh"}, "/usr/bin/mawk", true);
    check({"env", "python3", "./deploy.sh"}, "/usr/bin/env", true);
    check({"sh", "deploy.sh"}, "/bin/busybox", true);
    check({"bash", "--rcfile", "other", "-i", "deploy.sh"}, "/usr/bin/bash", false);
    check({"node", "--require=./other.js", "deploy.sh"}, "/usr/bin/node", false);
    check({"perl", "-Mother", "deploy.sh"}, "/usr/bin/perl", false);
    check({"find", "deploy.sh", "/", "-delete"}, "/usr/bin/find", false);
    check({"xargs", "deploy.sh"}, "/usr/bin/xargs", false);
    check({"busybox", "rm", "deploy.sh"}, "/bin/busybox", false);
    check({"bash", "deploy.sh"}, "/workspace/bash", false);
}

TEST(DecideTest, ArgvPatternsAreTypedAndWhole) {
    const auto exact = one("{executable: git, argv: [push, origin]}");
    EXPECT_TRUE(runs(exact, {"git", "push", "origin"}));
    EXPECT_FALSE(runs(exact, {"git", "push", "origin", "main"}));
    EXPECT_FALSE(runs(exact, {"git", "push origin"}));
    EXPECT_FALSE(runs(exact, {"git", "push"}));
    const auto rest = one("{executable: git, argv: [push, \"...\"]}");
    EXPECT_TRUE(runs(rest, {"git", "push"}));
    EXPECT_TRUE(runs(rest, {"git", "push", "a", "b"}));
    EXPECT_FALSE(runs(rest, {"git", "pushed"}));
    const auto inside = one("{argv: [\"...\", {glob: \"*.env\"}, \"...\", last]}");
    EXPECT_TRUE(runs(inside, {"cat", "a", "x/.env", "last"}));
    EXPECT_TRUE(runs(inside, {"cat", ".env", "last", "b", "last"}));
    EXPECT_FALSE(runs(inside, {"cat", ".env", "last", "b"}));
    const auto regex = one("{argv: [{regex: \"a+\"}]}");
    EXPECT_TRUE(runs(regex, {"x", "aaa"}));
    EXPECT_FALSE(runs(regex, {"x", "aaab"}));  // the whole argument
    const auto any = one("{argv: [{regex: \".*evil.*\"}]}");
    EXPECT_TRUE(runs(any, {"x", "a\nevil"}));
    EXPECT_TRUE(runs(any, {"x", "\xff\xfe evil"}));  // no odd byte slips past
    EXPECT_TRUE(runs(one("{argv: []}"), {"x"}));
    EXPECT_FALSE(runs(one("{argv: []}"), {"x", "y"}));
}

const char* const kPush =
    "{executable: git, subcommand: push, flags: [\"-f|--force\"], options_with_value: [\"-C\", "
    "\"-c\", \"--git-dir\"]}";

TEST(DecideTest, FlagsAreFoundWhereverTheyStand) {
    const auto policy = one(kPush);
    for (const auto& argv : std::vector<std::vector<std::string>>{
             {"git", "push", "--force"},
             {"git", "push", "--repo", "--", "--force", "origin", "main"},
             {"git", "--exec-path", "--", "push", "-f"},
             {"git", "-C", "--", "push", "-f"},
             {"git", "-C", "x", "push", "-f", "origin"},
             {"git", "-Cx", "push", "-f"},
             {"git", "--git-dir", "push", "push", "origin", "-f"},
             {"git", "--git-dir=x", "push", "origin", "--force"},
             {"git", "push", "-uf", "origin"},
             {"git", "push", "--forc"},
             {"git", "--no-pager", "push", "--force=x"},
             {"git", "-f", "push"}})
        EXPECT_TRUE(runs(policy, argv)) << show_argv(argv);
    for (const auto& argv : std::vector<std::vector<std::string>>{
             {"git", "push"},
             {"git", "push", "origin", "--", "--force"},
             {"git", "commit", "-m", "push --force"},
             {"git", "commit", "-m", "push", "-f"},
             {"git", "-C", "push", "status", "-f"},
             {"git", "push --force"},
             {"git", "push", "--forceful"},
             {"git", "push", "force"},
             {"git"},
             {"git", "push", "-Cf"}})
        EXPECT_FALSE(runs(policy, argv)) << show_argv(argv);
}

TEST(DecideTest, DoubtIsOnTheSafeSide) {
    // Is "x" the value of an option that the rule does not know, or the subcommand?
    const std::vector<std::string> doubtful = {"git", "--unknown", "x", "push"};
    EXPECT_TRUE(runs(one("{executable: git, subcommand: push}", "deny"), doubtful));
    EXPECT_TRUE(runs(one("{executable: git, subcommand: x}", "ask"), doubtful));
    EXPECT_FALSE(runs(one("{executable: git, subcommand: push}", "allow"), doubtful));
    EXPECT_FALSE(runs(one("{executable: git, subcommand: x}", "allow"), doubtful));
    EXPECT_TRUE(runs(
        one("{executable: git, subcommand: x, options_without_value: [--unknown]}", "allow"),
        doubtful
    ));
    EXPECT_TRUE(runs(
        one("{executable: git, subcommand: push, options_with_value: [--unknown]}", "allow"),
        doubtful
    ));
    EXPECT_FALSE(runs(
        one("{executable: git, subcommand: push, options_without_value: [--unknown]}", "deny"),
        doubtful
    ));
    // A shortened or clustered flag counts against, never for.
    EXPECT_FALSE(runs(
        one("{executable: git, flags: [--force-with-lease]}", "allow"), {"git", "push", "--force"}
    ));
    EXPECT_TRUE(runs(
        one("{executable: git, flags: [--force-with-lease]}", "deny"), {"git", "push", "--force"}
    ));
    EXPECT_FALSE(runs(one("{executable: git, flags: [-n]}", "allow"), {"git", "clean", "-fn"}));
}

TEST(DecideTest, SubcommandsOfSeveralWords) {
    const auto policy = one("{executable: git, subcommand: remote add}");
    EXPECT_TRUE(runs(policy, {"git", "remote", "-v", "add", "x"}));
    EXPECT_TRUE(runs(policy, {"git", "--", "remote", "add"}));
    EXPECT_FALSE(runs(policy, {"git", "remote"}));
    EXPECT_FALSE(runs(policy, {"git", "remote", "remove", "add"}));
    EXPECT_FALSE(runs(policy, {"git", "add", "remote"}));
    EXPECT_TRUE(runs(
        one("{executable: kubectl, subcommand: [delete, pod]}"), {"kubectl", "delete", "pod", "x"}
    ));
}

TEST(DecideTest, WhoAsks) {
    Origin origin = origin_of();
    const Plan plan = plan_of({"ls"});
    EXPECT_TRUE(hits(one("{user: anna}"), plan));
    EXPECT_FALSE(hits(one("{user: [tom, \"b*\"]}"), plan));
    EXPECT_TRUE(hits(one("{user: \"a*\", org: acme, profile: [small, big]}"), plan));
    EXPECT_FALSE(hits(one("{org: other}"), plan));
    EXPECT_FALSE(hits(one("{profile: big}"), plan));
    EXPECT_TRUE(hits(one("{agent: \"\"}"), plan));
    EXPECT_FALSE(hits(one("{agent: \"*\"}"), plan));
    origin.agent = "fixer";
    EXPECT_FALSE(hits(one("{agent: \"\"}"), plan, origin));
    EXPECT_TRUE(hits(one("{agent: \"*\"}"), plan, origin));
    EXPECT_TRUE(hits(one("{agent: [fixer]}"), plan, origin));
    EXPECT_FALSE(hits(one("{agent: [other]}"), plan, origin));
}

TEST(DecideTest, Folders) {
    EXPECT_TRUE(runs(one("{cwd: \"/workspace/**\"}"), {"ls"}));
    EXPECT_TRUE(runs(one("{cwd: /workspace/app/}"), {"ls"}));
    EXPECT_FALSE(runs(one("{cwd: /workspace}"), {"ls"}));
    EXPECT_FALSE(runs(one("{cwd: [\"/etc/**\", \"/work*\"]}"), {"ls"}));
}

TEST(DecideTest, Times) {
    const auto at = [](const char* match, const char* when) {
        return hits(one(match), plan_of({"ls"}), origin_of(), *parse_rfc3339(when));
    };
    const char* day = "{time: {hours: \"08:00-18:30\", days: [mon, fri]}}";
    EXPECT_TRUE(at(day, "2026-03-06T08:00:00Z"));
    EXPECT_FALSE(at(day, "2026-03-06T07:59:59Z"));
    EXPECT_FALSE(at(day, "2026-03-06T18:30:00Z"));
    EXPECT_FALSE(at(day, "2026-03-07T10:00:00Z"));
    const char* night = "{time: {hours: \"22:00-06:00\", days: fri}}";
    EXPECT_TRUE(at(night, "2026-03-06T23:00:00Z"));
    EXPECT_TRUE(at(night, "2026-03-07T05:59:00Z"));  // Friday's night
    EXPECT_FALSE(at(night, "2026-03-06T05:00:00Z"));
    EXPECT_FALSE(at(night, "2026-03-07T23:00:00Z"));
    const char* zone = "{time: {hours: [\"00:00-01:00\", \"12:00-24:00\"], timezone: \"+05:30\"}}";
    EXPECT_TRUE(at(zone, "2026-03-06T18:45:00Z"));
    EXPECT_FALSE(at(zone, "2026-03-06T19:45:00Z"));
    EXPECT_TRUE(at("{time: {days: [sat], timezone: \"+02:00\"}}", "2026-03-06T22:30:00Z"));
    EXPECT_TRUE(at("{time: {days: [wed]}}", "1969-12-31T12:00:00Z"));
}

TEST(DecideTest, PathsOfArguments) {
    const auto outside = one("{executable: rm, paths: {outside: [/workspace, \"/home/*/tmp\"]}}");
    for (const auto& argv : std::vector<std::vector<std::string>>{
             {"rm", "/etc/passwd"},
             {"rm", "../../etc/passwd"},
             {"rm", "a", "/workspace/../etc"},
             {"rm", "--target=/etc"},
             {"rm", "-t/etc"},
             {"rm", "-C../.."},
             {"rm", "-vC../.."},
             {"rm", "-o../../x/y"},
             {"rm", "-ox/../../../y"},
             {"rm", "-C", "--", "-t/etc"},
             {"rm", "/workspaces/x"},
             {"rm", "/"},
             {"rm", "--", "-x/../../../y"},
             {"rm", "of=/dev/sda"},
             {"rm", "/home/x/tmpfile"}})
        EXPECT_TRUE(runs(outside, argv)) << show_argv(argv);
    for (const auto& argv : std::vector<std::vector<std::string>>{
             {"rm", "a"},
             {"rm", "-rf", "./x/../y"},
             {"rm", "/workspace"},
             {"rm", "/workspace/b"},
             {"rm", ".."},
             {"rm", "/home/x/tmp/y"},
             {"rm"},
             {"rm", "-rf"}})
        EXPECT_FALSE(runs(outside, argv)) << show_argv(argv);
    const auto inside = one("{executable: rm, paths: {inside: /workspace}}", "allow");
    EXPECT_TRUE(runs(inside, {"rm", "-rf", "a", "/workspace/b"}));
    EXPECT_TRUE(runs(inside, {"rm", "-o../x/y", "-C.."}));
    EXPECT_FALSE(runs(inside, {"rm", "-C../.."}));
    EXPECT_FALSE(runs(inside, {"rm", "a", "/etc/x"}));
    EXPECT_FALSE(runs(inside, {"rm", "a", "-t/etc/x"}));
    EXPECT_TRUE(runs(one("{paths: {inside: /}}", "allow"), {"rm", "/etc"}));
}

// "-cfpwn.tar" writes pwn.tar into the folder, wherever that is.
TEST(DecideTest, WhatFollowsAnOptionsLettersMayBeAPathOfTheFolder) {
    const auto judged = [](const auto& policy, std::vector<std::string> argv, const char* cwd) {
        Plan plan = plan_of(std::move(argv));
        plan.cwd = cwd;
        return hits(policy, plan);
    };
    const std::string match =
        "{executable: tar, options_without_value: [-v, -z], paths: {KIND: [/workspace]}}";
    const auto of = [&](const std::string& kind, const char* action) {
        std::string text = match;
        return one(text.replace(text.find("KIND"), 4, kind), action);
    };
    const auto inside = of("inside", "allow");
    for (const std::string word : {"-cfpwn.tar", "-fpwn.tar", "-vfp", "-cf"})
        EXPECT_FALSE(judged(inside, {"tar", word}, "/home/x")) << word;
    for (const std::string word : {"-cfpwn.tar", "-la", "-f..", "-C../app"})
        EXPECT_TRUE(judged(inside, {"tar", word}, "/workspace/app")) << word;
    EXPECT_FALSE(judged(inside, {"tar", "-cf../../x"}, "/workspace/app"));
    // Options that are known to stand alone have nothing behind them.
    for (const std::string word : {"-c", "-vz", "-vzc", "--create"})
        EXPECT_TRUE(judged(inside, {"tar", word, "/workspace/x"}, "/home/x")) << word;
    const auto outside = of("outside", "ask");
    EXPECT_TRUE(judged(outside, {"tar", "-cfpwn.tar"}, "/home/x"));
    EXPECT_FALSE(judged(outside, {"tar", "-vz", "/workspace/x"}, "/home/x"));
    EXPECT_FALSE(judged(outside, {"tar", "-cfpwn.tar"}, "/workspace"));
    // Where it would let something pass, what only may be a path is none.
    EXPECT_TRUE(judged(of("inside", "deny"), {"tar", "-cf", "/workspace/x"}, "/home/x"));
    EXPECT_FALSE(judged(of("outside", "allow"), {"tar", "-cf", "/workspace/x"}, "/home/x"));
}

TEST(DecideTest, DangerousVariablesAreNeverAllowed) {
    Plan plan = plan_of({"git", "status"});
    plan.env = {{"LD_PRELOAD", "/tmp/x.so", false}};
    const std::string rule =
        "rules: [{id: a, action: allow, match: {executable: git}}, {id: d, action: deny, match: "
        "{executable: ls}}]\n";
    const auto developer = must("version: 1\ndefault: allow\ntimeout: 3m\n" + rule);
    const Verdict asked = ask(developer, plan);
    EXPECT_EQ(asked.action, Action::kAsk);
    EXPECT_EQ(asked.rule, "environment");
    EXPECT_EQ(asked.reason, "it sets LD_PRELOAD, which changes what other programs do");
    EXPECT_EQ(asked.ask.timeout, std::chrono::minutes{3});
    const auto strict = must("version: 1\ndefault: ask\nenvironment: {dangerous: deny}\n" + rule);
    EXPECT_EQ(ask(strict, plan).action, Action::kDeny);
    EXPECT_EQ(ask(strict, plan).rule, "environment");
    plan.env[0].removed = true;
    EXPECT_EQ(ask(strict, plan).action, Action::kAllow);
    for (const char* name :
         {"GIT_SSH_COMMAND",
          "NODE_OPTIONS",
          "BASH_ENV",
          "PYTHONPATH",
          "LD_AUDIT",
          "BASH_FUNC_ls%%"}) {
        plan.env = {{"A", "x", false}, {name, "x", false}};
        EXPECT_EQ(ask(developer, plan).rule, "environment") << name;
        EXPECT_EQ(ask(strict, plan).action, Action::kDeny) << name;
    }
    plan.executable.path = "/bin/ls";
    EXPECT_EQ(ask(developer, plan).rule, "d");  // a refusal stays
}

TEST(DecideTest, AVariableIsAllowedByItsNameOnly) {
    Plan plan = plan_of({"python3"});
    plan.env = {{"PYTHONPATH", "src", false}};
    const std::string rule =
        "rules: [{id: a, action: allow, match: {executable: python3, env: [PYTHONPATH]}}]\n";
    const auto policy = must("version: 1\ndefault: deny\nenvironment: {dangerous: deny}\n" + rule);
    EXPECT_EQ(ask(policy, plan).rule, "a");
    plan.env.push_back({"LD_PRELOAD", "x", false});
    EXPECT_EQ(ask(policy, plan).rule, "environment");
    const auto file =
        must("version: 1\ndefault: allow\nenvironment: {drop: [MY_*], allow: [PYTHONPATH]}\n");
    EXPECT_FALSE(file->drops("PYTHONPATH"));
    EXPECT_TRUE(file->drops("MY_HOOK"));
    EXPECT_TRUE(file->drops("LD_PRELOAD"));
    EXPECT_FALSE(file->drops("PATH"));
    const EnvironmentRules rules = file->environment();
    EXPECT_TRUE(name_matches(rules.drop, "MY_HOOK") && name_matches(rules.drop, "LD_PRELOAD"));
    EXPECT_EQ(rules.keep, std::vector<std::string>{"PYTHONPATH"});
    plan.env = {{"MY_HOOK", "x", false}};
    EXPECT_EQ(ask(file, plan).rule, "environment");
    plan.env = {{"PYTHONPATH", "x", false}};
    EXPECT_EQ(ask(file, plan).action, Action::kAllow);
    EXPECT_TRUE(hits(one("{env: [\"FOO*\"]}"), [] {
        Plan p = plan_of({"x"});
        p.env = {{"FOOD", "1", false}};
        return p;
    }()));
}

TEST(DecideTest, UnusualExecutablesNeedARuleOfTheirOwn) {
    const auto usual = must("version: 1\ndefault: allow\nrules: [{id: a, action: allow}]\n");
    const auto allowing = must(
        "version: 1\ndefault: deny\nrules: [{id: a, action: allow, allow_unusual: true, match: "
        "{user: anna}}]\n"
    );
    for (const auto& [path, rule] : std::vector<std::pair<std::string, std::string>>{
             {"/lib64/ld-linux-x86-64.so.2", "loader"},
             {"/usr/lib/x86_64-linux-gnu/ld-2.31.so", "loader"},
             {"/lib/ld-musl-x86_64.so.1", "loader"},
             {"/usr/bin/ld.so", "loader"},
             {"/memfd:x (deleted)", "memfd"},
             {"/workspace/x (deleted)", "deleted"}}) {
        const Plan plan = plan_of({"x"}, path);
        EXPECT_EQ(ask(usual, plan).action, Action::kDeny) << path;
        EXPECT_EQ(ask(usual, plan).rule, rule) << path;
        EXPECT_EQ(ask(allowing, plan).rule, "a") << path;
    }
    for (const char* path :
         {"/usr/bin/ld", "/usr/bin/ld.gold", "/usr/bin/ldd", "/workspace/deleted"})
        EXPECT_EQ(ask(usual, plan_of({"x"}, path)).rule, "a") << path;
}

}  // namespace
}  // namespace berth::policy
