// SPDX-License-Identifier: Apache-2.0
// What a policy decides: every criterion in both directions, the built-in refusals, and the
// compiled form alike.
#include "policy/policy.hpp"

#include <gtest/gtest.h>

#include "core/random.hpp"
#include "policy/test_plans.hpp"

namespace berth::policy {
namespace {

using std::chrono::hours;

std::shared_ptr<const Policy> must(const std::string& text) {
    auto policy = Policy::parse(text, "p.yaml");
    EXPECT_TRUE(policy) << policy.error().message;
    return policy ? *policy : Policy::allow_all();
}

const WallTime kNow = *parse_rfc3339("2026-03-06T10:00:00Z");  // a Friday

/// Every question is asked three ways; they must agree.
Verdict ask(
    const std::shared_ptr<const Policy>& policy,
    const Plan& plan,
    const Origin& origin = origin_of(),
    WallTime now = kNow
) {
    const Verdict verdict = policy->decide(plan, origin, now);
    std::vector<Step> steps;
    const Verdict explained = policy->explain(plan, origin, now, steps);
    EXPECT_EQ(verdict.rule, explained.rule);
    EXPECT_EQ(verdict.action, explained.action);
    EXPECT_FALSE(steps.empty());
    EXPECT_TRUE(steps.empty() || steps.back().matched);
    const auto loaded = Policy::load(policy->compiled());
    EXPECT_TRUE(loaded);
    const Verdict again = (*loaded)->decide(plan, origin, now);
    EXPECT_EQ(again.rule, verdict.rule);
    EXPECT_EQ(again.action, verdict.action);
    EXPECT_EQ(again.reason, verdict.reason);
    EXPECT_EQ(again.ask.timeout, verdict.ask.timeout);
    EXPECT_EQ(again.ask.approvers, verdict.ask.approvers);
    return verdict;
}

/// A file of one rule "r" with this match; everything else is the default's.
std::shared_ptr<const Policy> one(const std::string& match, const std::string& action = "deny") {
    const std::string other = action == "allow" ? "deny" : "allow";
    return must(
        "version: 1\ndefault: " + other + "\nrules:\n  - id: r\n    action: " + action +
        "\n    match: " + match + "\n"
    );
}

bool hits(
    const std::shared_ptr<const Policy>& policy,
    const Plan& plan,
    const Origin& origin = origin_of(),
    WallTime now = kNow
) {
    return ask(policy, plan, origin, now).rule == "r";
}

bool runs(const std::shared_ptr<const Policy>& policy, std::vector<std::string> argv) {
    return hits(policy, plan_of(std::move(argv)));
}

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

TEST(DecideTest, LevelsAreRequired) {
    const auto policy = must(R"(version: 1
default: allow
require: shim
profiles: {cloud: {require: enforce}}
rules: [{id: deep, action: allow, require: enforce, match: {executable: psql}}]
)");
    Origin origin = origin_of();
    origin.level = Level::kShim;
    EXPECT_EQ(ask(policy, plan_of({"ls"}), origin).action, Action::kAllow);
    EXPECT_EQ(policy->required(origin).level, Level::kShim);
    EXPECT_EQ(ask(policy, plan_of({"psql"}), origin).rule, "level");
    EXPECT_EQ(ask(policy, plan_of({"psql"}), origin).action, Action::kDeny);
    origin.level = Level::kObserve;
    const Verdict denied = ask(policy, plan_of({"ls"}), origin);
    EXPECT_EQ(denied.rule, "level");
    EXPECT_EQ(
        denied.reason,
        "this machine guards at level observe, and the policy requires enforce by rule deep"
    );
    origin.level = Level::kShim;
    origin.profile = "cloud";
    EXPECT_EQ(policy->required(origin).level, Level::kEnforce);
    EXPECT_EQ(ask(policy, plan_of({"ls"}), origin).action, Action::kDeny);
    origin.level = Level::kEnforce;
    EXPECT_EQ(ask(policy, plan_of({"psql"}), origin).rule, "deep");
}

TEST(DecideTest, ALevelThatRefusesNothingIsTooLowForARuleThatRequiresMore) {
    const auto policy = must(R"(version: 1
default: allow
require: observe
rules:
  - {id: need, action: allow, require: enforce, match: {executable: psql, profile: "cloud*"}}
  - {id: agents, action: deny, require: shim, match: {agent: "*"}}
)");
    Origin origin = origin_of();
    origin.level = Level::kObserve;
    EXPECT_EQ(policy->required(origin).level, Level::kObserve) << "neither rule speaks of it";
    EXPECT_EQ(ask(policy, plan_of({"ls"}), origin).rule, "default");
    for (const Level level : {Level::kNone, Level::kObserve}) {
        origin.level = level;
        origin.agent = "fixer";
        EXPECT_EQ(policy->required(origin).level, Level::kShim);
        EXPECT_EQ(policy->required(origin).rule, "agents");
        origin.profile = "cloud-a";
        EXPECT_EQ(policy->required(origin).level, Level::kEnforce);
        EXPECT_EQ(policy->required(origin).rule, "need");
        // Not only the rule's command: nothing would stop that one.
        const Verdict denied = ask(policy, plan_of({"ls"}), origin);
        EXPECT_EQ(denied.rule, "level");
        EXPECT_EQ(
            denied.reason,
            "this machine guards at level " + std::string(to_string(level)) +
                ", and the policy requires enforce by rule need"
        );
        origin = origin_of();
    }
    // What can refuse refuses the rule's commands and no others.
    origin.level = Level::kShim;
    origin.profile = "cloud-a";
    EXPECT_EQ(policy->required(origin).level, Level::kObserve);
    EXPECT_EQ(ask(policy, plan_of({"ls"}), origin).rule, "default");
    EXPECT_EQ(ask(policy, plan_of({"psql"}), origin).rule, "level");
}

TEST(DecideTest, AnAskCarriesItsTerms) {
    const auto policy = must(R"(version: 1
default: ask
timeout: 10m
on_deadline: wait
approvers: leads
groups: {leads: [anna, tom], oncall: [eve]}
rules:
  - id: a
    action: ask
    match: {executable: git}
    ask: {timeout: 90s, on_deadline: escalate, approvers: [oncall, "user:zoe"], escalate_to: [leads], quorum: 2}
)");
    const Verdict a = ask(policy, plan_of({"git"}));
    EXPECT_EQ(a.ask.timeout, seconds{90});
    EXPECT_EQ(a.ask.outcome, DeadlineOutcome::kEscalate);
    EXPECT_EQ(a.ask.approvers, (std::vector<std::string>{"oncall", "user:zoe"}));
    EXPECT_EQ(a.ask.escalate_to, std::vector<std::string>{"leads"});
    EXPECT_EQ(a.ask.quorum, 2U);
    const Verdict general = ask(policy, plan_of({"ls"}));
    EXPECT_EQ(general.ask.timeout, std::chrono::minutes{10});
    EXPECT_EQ(general.ask.outcome, DeadlineOutcome::kWait);
    EXPECT_EQ(general.ask.approvers, std::vector<std::string>{"leads"});
    EXPECT_EQ(general.ask.quorum, 1U);
    EXPECT_EQ(policy->group("leads"), (std::vector<std::string>{"anna", "tom"}));
    EXPECT_EQ(policy->group("none"), std::nullopt);
}

TEST(DecideTest, AnExplanationSaysWhy) {
    const auto policy = must(
        "version: 1\ndefault: deny\nrules:\n  - {id: a, action: deny, match: {executable: rm}}\n  "
        "- {id: b, action: allow, match: {executable: git}}\n"
    );
    std::vector<Step> steps;
    EXPECT_EQ(policy->explain(plan_of({"git"}), origin_of(), kNow, steps).rule, "b");
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].where, "p.yaml:4:5");
    EXPECT_EQ(steps[0].why, "the executable is /usr/bin/git, not rm");
    EXPECT_FALSE(steps[0].matched);
    EXPECT_TRUE(steps[1].matched);
    steps.clear();
    EXPECT_EQ(policy->explain(plan_of({"ls"}), origin_of(), kNow, steps).rule, "default");
    EXPECT_EQ(steps.back().rule, "default");
}

TEST(DecideTest, ToolsAreWhatRulesSpeakOf) {
    const auto policy = must(
        "version: 1\ndefault: deny\nrules:\n  - {id: a, action: deny, match: {executable: [rm, "
        "/usr/bin/git, \"/opt/**\"]}}\n  - {id: b, action: deny, match: {executable: rm}}\n"
    );
    EXPECT_EQ(policy->tools(), (std::vector<std::string>{"git", "rm"}));
}

TEST(DecideTest, TheIndexFindsWhatALinearWalkFinds) {
    // Many rules of few programs: decide() walks an index, explain() every rule; ask() compares the
    // two.
    std::string text = "version: 1\ndefault: deny\nrules:\n";
    const char* programs[] = {"git", "/usr/bin/git", "\"/usr/**\"", "rm", "[rm, git]", "\"g*\""};
    for (int i = 0; i < 300; ++i) {
        text += "  - {id: r" + std::to_string(i) +
                ", action: allow, match: {executable: " + programs[(i * 7) % 6] + ", argv: [\"" +
                std::to_string((i * 13) % 50) + "\"]}}\n";
    }
    const auto policy = must(text);
    int matched = 0;
    for (const char* path : {"/usr/bin/git", "/bin/rm", "/opt/git", "/usr/bin/ls", "/bin/ls"}) {
        for (int i = 0; i < 50; ++i)
            matched +=
                ask(policy, plan_of({"x", std::to_string(i)}, path)).rule == "default" ? 0 : 1;
    }
    EXPECT_GT(matched, 100);
}

TEST(CompiledTest, BytesThatAreNoPolicyAreRefused) {
    const std::string bytes = must(std::string(template_text("developer")))->compiled();
    ASSERT_TRUE(Policy::load(bytes));
    EXPECT_FALSE(Policy::load(""));
    EXPECT_FALSE(Policy::load("berth-policy-1\n"));
    EXPECT_FALSE(Policy::load(bytes + "x"));
    for (std::size_t cut = 1; cut < bytes.size(); cut += 37)
        EXPECT_FALSE(Policy::load(bytes.substr(0, cut)));
}

TEST(PolicyTest, AProgramOfManyToolsIsTheToolItIsToldToBe) {
    const auto policy = must(
        "version: 1\ndefault: allow\nrules:\n"
        "  - {id: no-rm, action: deny, match: {executable: rm, flags: [-r]}}\n"
        "  - {id: no-id, action: deny, match: {executable: [id]}}\n"
    );
    const auto rule = [&](std::vector<std::string> argv, const std::string& executable) {
        return ask(policy, plan_of(std::move(argv), executable)).rule;
    };
    EXPECT_EQ(rule({"id"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"/bin/id", "-u"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"busybox", "id"}, "/usr/bin/busybox.static"), "no-id");
    EXPECT_EQ(rule({"busybox", "busybox", "id"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"toybox", "id"}, "/bin/toybox"), "no-id");
    EXPECT_EQ(rule({"coreutils", "--coreutils-prog=id"}, "/usr/bin/coreutils"), "no-id");
    EXPECT_EQ(rule({"other", "--coreutils-prog=id"}, "/usr/bin/coreutils"), "no-id");
    EXPECT_EQ(rule({"x", "--coreutils-prog-shebang=rm", "x", "-r"}, "/usr/bin/coreutils"), "no-rm");
    EXPECT_EQ(rule({"busybox", "rm", "-r", "x"}, "/bin/busybox"), "no-rm");
    EXPECT_EQ(rule({"rm", "-r", "x"}, "/bin/busybox"), "no-rm");
    EXPECT_EQ(rule({"rm", "x"}, "/bin/busybox"), "default");
    EXPECT_EQ(rule({"busybox", "--list"}, "/bin/busybox"), "default");
    EXPECT_EQ(rule({"id"}, "/usr/bin/git"), "default")
        << "others are not what they call themselves";
    const auto strict = must(
        "version: 1\ndefault: deny\nrules:\n"
        "  - {id: lists, action: allow, match: {executable: ls}}\n"
    );
    EXPECT_EQ(ask(strict, plan_of({"ls"}, "/bin/busybox")).action, Action::kAllow);
    EXPECT_EQ(ask(strict, plan_of({"-ls"}, "/bin/busybox")).action, Action::kAllow);
    EXPECT_EQ(ask(strict, plan_of({"ls"}, "/workspace/busybox")).action, Action::kDeny);
    EXPECT_EQ(ask(strict, plan_of({"busybox", "rm", "ls"}, "/bin/busybox")).action, Action::kDeny);
}

TEST(KnownTest, WrappersRunWhatTheyAreTold) {
    for (const char* name :
         {"/bin/sh",
          "bash",
          "/usr/bin/python3.11",
          "python3",
          "perl5.36.0",
          "node",
          "env",
          "xargs",
          "sudo",
          "/lib64/ld-linux-x86-64.so.2",
          "busybox",
          "find",
          "lua5.4"})
        EXPECT_TRUE(is_wrapper(name)) << name;
    for (const char* name : {"/usr/bin/git", "rm", "ls", "pythonic", "", "/", "1.2.3"})
        EXPECT_FALSE(is_wrapper(name)) << name;
}

TEST(KnownTest, TheScriptIsTheFirstWordBehindTheOptions) {
    const auto at = [](std::vector<std::string> argv, const std::string& executable = "") {
        return script_word(executable.empty() ? "/usr/bin/" + argv[0] : executable, argv).at;
    };
    EXPECT_EQ(at({"bash", "x.sh"}), 1U);
    EXPECT_EQ(at({"bash", "-e", "x.sh"}), 2U);
    EXPECT_EQ(at({"bash", "-eo", "pipefail", "x.sh"}), 3U);
    EXPECT_EQ(at({"bash", "-ec", "rm x", "x.sh"}), 0U);
    EXPECT_EQ(at({"bash", "-s", "x.sh"}), 0U);
    EXPECT_EQ(at({"bash", "--", "x.sh"}), 2U);
    EXPECT_EQ(at({"bash", "--rcfile", "y", "x.sh"}), 3U);
    EXPECT_EQ(at({"python3", "-uW", "ignore", "x.py"}), 3U);
    EXPECT_EQ(at({"python3", "-c", "pass", "x.py"}), 0U);
    EXPECT_EQ(at({"python3", "-m", "x"}), 0U);
    EXPECT_EQ(at({"python3", "-"}), 0U);
    EXPECT_EQ(at({"perl", "-lne", "print", "x"}), 0U);
    EXPECT_EQ(at({"perl", "-w", "-I", "lib", "x.pl"}), 4U);
    EXPECT_EQ(at({"node", "-r", "./y.js", "x.js"}), 3U);
    EXPECT_EQ(at({"node", "--eval=1", "x.js"}), 0U);
    EXPECT_EQ(at({"gawk", "-f", "x.awk", "data"}), 2U);
    EXPECT_EQ(at({"sh", "-e", "x.sh"}, "/bin/busybox"), 2U);
    EXPECT_EQ(at({"busybox", "sh", "x.sh"}, "/bin/busybox"), 2U);
    EXPECT_EQ(at({"bash", "-e"}), 0U);
    EXPECT_EQ(at({"git", "x"}), 0U);
}

TEST(KnownTest, AnInterpreterThatReadsItsCodeIsKnown) {
    const auto reads = [](std::vector<std::string> argv, const std::string& executable = "") {
        return reads_its_code(plan_of(std::move(argv), executable));
    };
    EXPECT_TRUE(reads({"python3", "-"}));
    EXPECT_TRUE(reads({"bash", "-s"}));
    EXPECT_TRUE(reads({"sh", "-i"}));
    EXPECT_TRUE(reads({"bash", "/dev/stdin"}));
    EXPECT_TRUE(reads({"busybox", "sh"}, "/bin/busybox"));
    EXPECT_FALSE(reads({"bash", "-c", "ls"}));
    EXPECT_FALSE(reads({"python3", "-m", "pytest"}));
    EXPECT_FALSE(reads({"awk", "{print}", "x"}));
    EXPECT_FALSE(reads({"find", ".", "-delete"}));
    EXPECT_FALSE(reads({"busybox", "ls"}, "/bin/busybox"));
    Plan script = plan_of({"bash", "-e", "x.sh"});
    EXPECT_TRUE(reads_its_code(script));
    script.script = {"/workspace/x.sh", 1, 2, std::string(64, 'b')};
    EXPECT_FALSE(reads_its_code(script));
}

TEST(TemplateTest, StrictAsksAndDeveloperLetsWork) {
    const auto strict = must(std::string(template_text("strict")));
    const auto developer = must(std::string(template_text("developer")));
    const auto observe = must(std::string(template_text("observe-only")));
    const auto verdict = [&](const auto& policy, const Plan& plan) {
        return ask(policy, plan).action;
    };
    EXPECT_EQ(verdict(strict, plan_of({"ls"})), Action::kAllow);
    EXPECT_EQ(verdict(strict, plan_of({"["})), Action::kAllow);
    EXPECT_EQ(verdict(strict, plan_of({"git", "status"})), Action::kAllow);
    EXPECT_EQ(verdict(strict, plan_of({"git", "push"})), Action::kAsk);
    EXPECT_EQ(verdict(strict, plan_of({"sudo", "ls"})), Action::kDeny);
    EXPECT_EQ(verdict(strict, plan_of({"ls"}, "/workspace/ls")), Action::kAsk);
    EXPECT_EQ(verdict(strict, plan_of({"python3", "x.py"})), Action::kAsk);
    EXPECT_EQ(verdict(developer, plan_of({"cargo", "build"})), Action::kAllow);
    EXPECT_EQ(verdict(developer, plan_of({"cargo", "publish"})), Action::kAsk);
    EXPECT_EQ(verdict(developer, plan_of({"git", "push"})), Action::kAllow);
    EXPECT_EQ(
        verdict(developer, plan_of({"git", "-C", "x", "push", "-f", "origin"})), Action::kAsk
    );
    EXPECT_EQ(verdict(developer, plan_of({"git", "push", "origin", "+main"})), Action::kAsk);
    EXPECT_EQ(verdict(developer, plan_of({"rm", "-rf", "build"})), Action::kAllow);
    EXPECT_EQ(verdict(developer, plan_of({"rm", "-rf", "/etc"})), Action::kAsk);
    EXPECT_EQ(verdict(developer, plan_of({"kubectl", "delete", "pod", "x"})), Action::kAsk);
    EXPECT_EQ(verdict(developer, plan_of({"sudo"})), Action::kDeny);
    EXPECT_EQ(verdict(observe, plan_of({"sudo"})), Action::kAllow);
}

}  // namespace
}  // namespace berth::policy
