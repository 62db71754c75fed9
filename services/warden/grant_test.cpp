// SPDX-License-Identifier: Apache-2.0
// What may be remembered, and that it allows nothing beyond what was shown.
#include "warden/grant.hpp"

#include <gtest/gtest.h>

#include "service/proto_time.hpp"
#include "warden/test_time.hpp"

namespace berth::warden {
namespace {

using std::chrono::minutes;

v1::Approval approval(const std::string& executable, const std::vector<std::string>& argv) {
    v1::Approval out;
    out.set_id("ap_1");
    out.set_org("acme");
    out.mutable_origin()->set_org("acme");
    out.mutable_origin()->set_user("olga");
    out.mutable_origin()->set_lease("ls_1");
    out.mutable_plan()->mutable_executable()->set_path(executable);
    out.mutable_plan()->mutable_executable()->set_sha256("aa");
    for (const auto& argument : argv) out.mutable_plan()->add_argv(argument);
    out.mutable_plan()->set_digest("sha256:1");
    return out;
}

v1::Decide decide(v1::GrantScope scope, const std::vector<std::string>& pattern = {}) {
    v1::Decide out;
    out.mutable_actor()->set_user("anna");
    out.set_scope(scope);
    out.set_times(2);
    *out.mutable_until() = service::to_timestamp(kNow + minutes{5});
    for (const auto& argument : pattern) out.add_argv_pattern(argument);
    return out;
}

std::string code_of(const v1::Decide& decide, const v1::Approval& body) {
    const auto made = grant_of(decide, body, "gr_1", kNow);
    return made ? "ok" : made.error().code;
}

v1::Grant grant(const v1::Decide& decide, const v1::Approval& body) {
    auto made = grant_of(decide, body, "gr_1", kNow);
    EXPECT_TRUE(made && *made);
    return made && *made ? **made : v1::Grant();
}

TEST(Grant, OnceStoresNothing) {
    const auto made = grant_of(
        decide(v1::GRANT_SCOPE_ONCE), approval("/usr/bin/git", {"git", "push"}), "gr_1", kNow
    );
    ASSERT_TRUE(made);
    EXPECT_FALSE(*made);
}

TEST(Grant, NeverRemembersABareInterpreterOrWrapper) {
    for (const char* name : {"bash", "sh", "python3", "perl", "env", "xargs", "sudo"}) {
        const std::string path = "/usr/bin/" + std::string(name);
        EXPECT_EQ(
            code_of(decide(v1::GRANT_SCOPE_SESSION), approval(path, {name})), "grant_too_wide"
        ) << name;
        EXPECT_EQ(
            code_of(decide(v1::GRANT_SCOPE_SESSION, {name, "*"}), approval(path, {name, "x"})),
            "grant_too_wide"
        ) << name;
    }
    for (const char* name : {"env", "xargs", "sudo"})
        EXPECT_EQ(
            code_of(
                decide(v1::GRANT_SCOPE_SESSION),
                approval("/usr/bin/" + std::string(name), {name, "x"})
            ),
            "ok"
        ) << "the exact command names what it runs";
}

TEST(Grant, NeverRemembersAnInterpreterThatExecutesWhatItReads) {
    const auto too_wide = [](const v1::Approval& body) {
        return code_of(decide(v1::GRANT_SCOPE_SESSION), body) == "grant_too_wide";
    };
    const auto with_script = [](v1::Approval body) {
        body.mutable_plan()->mutable_script()->set_path("/workspace/x.sh");
        body.mutable_plan()->mutable_script()->set_sha256("bb");
        return body;
    };
    for (const auto& argv : std::vector<std::vector<std::string>>{
             {"python3", "-"}, {"bash", "-s"}, {"bash", "-s", "x.sh"}, {"sh", "-i"}}) {
        const v1::Approval body = approval("/usr/bin/" + argv[0], argv);
        EXPECT_TRUE(too_wide(body)) << argv[1];
        EXPECT_TRUE(too_wide(with_script(body))) << argv[1] << ": no word of it is a script";
    }
    const v1::Approval script = approval("/usr/bin/bash", {"bash", "-e", "x.sh"});
    EXPECT_TRUE(too_wide(script)) << "what is in it is not known";
    EXPECT_FALSE(too_wide(with_script(script)));
    const auto told = approval("/usr/bin/bash", {"bash", "-c", "make"});
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_SESSION), told), "ok");
}

TEST(Grant, APatternMustBeOfTheCommandOnTheCard) {
    const v1::Approval push = approval("/usr/bin/git", {"git", "push", "origin"});
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_SESSION, {"git", "push", "*"}), push), "ok");
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_SESSION, {"git", "*"}), push), "pattern_mismatch");
    EXPECT_EQ(
        code_of(decide(v1::GRANT_SCOPE_SESSION, {"git", "pull", "*"}), push), "pattern_mismatch"
    );
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_ONCE, {"git", "push", "*"}), push), "bad_pattern");
    v1::Approval unhashed = push;
    unhashed.mutable_plan()->mutable_executable()->clear_sha256();
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_SESSION, {"git", "push", "*"}), unhashed), "no_hash");
}

TEST(Grant, MatchesOneUserOneProgramAndTheShownArguments) {
    const v1::Approval push = approval("/usr/bin/git", {"git", "push", "origin"});
    const v1::Grant made = grant(decide(v1::GRANT_SCOPE_SESSION, {"git", "push", "*"}), push);
    const v1::Origin& origin = push.origin();
    v1::Plan plan = push.plan();
    EXPECT_TRUE(matches(made, plan, origin, kNow));
    plan.set_argv(2, "fork");
    EXPECT_TRUE(matches(made, plan, origin, kNow));
    plan.add_argv("--force");
    EXPECT_FALSE(matches(made, plan, origin, kNow)) << "one more argument";
    plan = push.plan();
    plan.mutable_executable()->set_sha256("bb");
    EXPECT_FALSE(matches(made, plan, origin, kNow)) << "another file under the same name";
    plan = push.plan();
    plan.add_env()->set_name("LD_PRELOAD");
    EXPECT_FALSE(matches(made, plan, origin, kNow)) << "a variable that changes the program";
    v1::Origin other = origin;
    other.set_user("eve");
    EXPECT_FALSE(matches(made, push.plan(), other, kNow));
    other = origin;
    other.set_lease("ls_2");
    EXPECT_FALSE(matches(made, push.plan(), other, kNow)) << "another session";
    other = origin;
    other.set_org("globex");
    EXPECT_FALSE(matches(made, push.plan(), other, kNow));
}

TEST(Grant, AnExactOneMatchesItsDigestAlone) {
    const v1::Approval push = approval("/usr/bin/git", {"git", "push"});
    const v1::Grant made = grant(decide(v1::GRANT_SCOPE_UNTIL), push);
    EXPECT_TRUE(matches(made, push.plan(), push.origin(), kNow));
    v1::Plan other = push.plan();
    other.set_digest("sha256:2");
    EXPECT_FALSE(matches(made, other, push.origin(), kNow));
    EXPECT_FALSE(matches(made, push.plan(), push.origin(), kNow + minutes{5}))
        << "its time is over";
}

TEST(Grant, CountsItsUses) {
    const v1::Approval push = approval("/usr/bin/git", {"git", "push"});
    v1::Grant made = grant(decide(v1::GRANT_SCOPE_TIMES), push);
    EXPECT_FALSE(use(made, kNow));
    EXPECT_TRUE(use(made, kNow)) << "the last of two";
    EXPECT_FALSE(usable(made, kNow));
    EXPECT_FALSE(withdraw(made, "anna", kNow));
}

TEST(Grant, IsTakenBackOnce) {
    v1::Grant made =
        grant(decide(v1::GRANT_SCOPE_SESSION), approval("/usr/bin/git", {"git", "push"}));
    EXPECT_TRUE(withdraw(made, "anna", kNow));
    EXPECT_FALSE(withdraw(made, "bert", kNow));
    EXPECT_EQ(made.revoked_by(), "anna");
    EXPECT_FALSE(usable(made, kNow));
}

TEST(Grant, BoundsAreChecked) {
    const v1::Approval push = approval("/usr/bin/git", {"git", "push"});
    v1::Decide none = decide(v1::GRANT_SCOPE_TIMES);
    none.set_times(0);
    EXPECT_EQ(code_of(none, push), "bad_times");
    v1::Decide past = decide(v1::GRANT_SCOPE_UNTIL);
    *past.mutable_until() = service::to_timestamp(kNow);
    EXPECT_EQ(code_of(past, push), "bad_until");
    v1::Approval person = push;
    person.mutable_origin()->clear_lease();
    EXPECT_EQ(code_of(decide(v1::GRANT_SCOPE_SESSION), person), "bad_scope");
}

TEST(Grant, PatternsOfOneArgument) {
    EXPECT_TRUE(argument_matches("*", ""));
    EXPECT_TRUE(argument_matches("a*c*e", "abcde"));
    EXPECT_FALSE(argument_matches("a*c*e", "abcd"));
    EXPECT_TRUE(argument_matches("a?c", "abc"));
    EXPECT_FALSE(argument_matches("a?c", "ac"));
    EXPECT_TRUE(argument_matches("\\*", "*"));
    EXPECT_FALSE(argument_matches("\\*", "x"));
    EXPECT_FALSE(argument_matches("ab", "abc"));
    EXPECT_FALSE(argument_matches(std::string(40, '*') + "b", std::string(10'000, 'a')));
}

}  // namespace
}  // namespace berth::warden
