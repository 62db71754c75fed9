// SPDX-License-Identifier: Apache-2.0
// What a verdict carries, the compiled form, programs that run others, and the templates.
#include <gtest/gtest.h>

#include "policy/policy.hpp"
#include "policy/test_asking.hpp"

namespace berth::policy {
namespace {

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
    // These start their other tools without an exec.
    EXPECT_EQ(rule({"busybox", "xargs", "-r", "id"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"find", ".", "-exec", "/bin/id", ";"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"busybox", "xargs", "rm", "-r"}, "/bin/busybox"), "no-rm");
    EXPECT_EQ(rule({"busybox", "echo", "id"}, "/bin/busybox"), "default");
    EXPECT_EQ(rule({"busybox", "nice", "id"}, "/bin/busybox"), "no-id");
    EXPECT_EQ(rule({"find", ".", "-name", "id"}, "/bin/busybox"), "default");
    EXPECT_EQ(rule({"less", "id"}, "/bin/busybox"), "default");
    EXPECT_EQ(rule({"xargs", "id"}, "/usr/bin/xargs"), "default") << "which executes it";
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

TEST(KnownTest, VariablesThatLoadCodeAreDangerous) {
    for (const char* name :
         {"ANSIBLE_LIBRARY",
          "AWKPATH",
          "BASH_FUNC_ls%%",
          "CARGO_BUILD_RUSTC_WRAPPER",
          "CLASSPATH",
          "ERL_FLAGS",
          "ERL_LIBS",
          "GEM_HOME",
          "GEM_PATH",
          "GOFLAGS",
          "GTK_MODULES",
          "HGRCPATH",
          "JULIA_LOAD_PATH",
          "LD_PRELOAD",
          "MAVEN_OPTS",
          "PYTEST_PLUGINS",
          "PYTHONPYCACHEPREFIX",
          "RUBYPATH",
          "TF_CLI_ARGS_apply",
          "VIMINIT",
          "npm_config_node_options",
          "npm_config_script_shell"})
        EXPECT_TRUE(is_dangerous_variable(name)) << name;
    // What tools set for their children in the ordinary course.
    for (const char* name :
         {"CARGO_TARGET_DIR",
          "CLASSPATHS",
          "EDITOR",
          "GIT_DIR",
          "GIT_EDITOR",
          "HOME",
          "MAKEFLAGS",
          "PATH",
          "npm_config_userconfig"})
        EXPECT_FALSE(is_dangerous_variable(name)) << name;
}

TEST(KnownTest, WhatGitGivesToItsOwnIsOrdinary) {
    const auto is_ordinary = [](std::string_view name, std::string_view value) {
        return is_ordinary_value(name, value);
    };
    EXPECT_TRUE(is_ordinary("GIT_EXEC_PATH", "/usr/lib/git-core"));
    for (const char* value : {"/workspace/git-core", "/usr/lib/git-core/../../../tmp", "", "."})
        EXPECT_FALSE(is_ordinary("GIT_EXEC_PATH", value)) << value;
    for (const char* value :
         {"'user.name'='Ada L.' 'user.email'='ada@example.org'",
          "'user.name=Ada'",
          "'User.Name'='it'\\''s'",
          "'advice.detachedhead'='false'",
          "'gc.auto'=",
          "'color.ui'"})
        EXPECT_TRUE(is_ordinary("GIT_CONFIG_PARAMETERS", value)) << value;
    for (const char* value :
         {"'core.sshcommand'='sh -c x'",
          "'user.name'='a' 'core.fsmonitor'='x'",
          "'alias.user.name'='!x'",
          "'user.name'='a''core.pager'='x'",
          "'user.name'='a",
          "user.name=a",
          "'user.names'='a'",
          "'core.sshcommand=user.name'"})
        EXPECT_FALSE(is_ordinary("GIT_CONFIG_PARAMETERS", value)) << value;
    EXPECT_FALSE(is_ordinary("LD_PRELOAD", "/usr/lib/git-core"));
    const auto developer = must(std::string(template_text("developer")));
    Plan plan = plan_of({"git", "maintenance", "run", "--auto"}, "/usr/lib/git-core/git");
    plan.env = {
        {"GIT_CONFIG_PARAMETERS", "'user.name'='Ada'", false},
        {"GIT_EXEC_PATH", "/usr/lib/git-core", false}};
    EXPECT_EQ(ask(developer, plan).action, Action::kAllow);
    plan.env[1].value = "/workspace";
    EXPECT_EQ(ask(developer, plan).action, Action::kAsk);
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
