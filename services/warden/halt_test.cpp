// SPDX-License-Identifier: Apache-2.0
// Scopes, answers, and the two people a halt needs.
#include "warden/halt.hpp"

#include <gtest/gtest.h>

#include "warden/test_time.hpp"

namespace berth::warden {
namespace {

v1::Halt halt(v1::HaltScope scope, const std::string& target = {}) {
    v1::Halt out;
    out.set_id("hl_1");
    out.set_org("acme");
    out.set_scope(scope);
    out.set_target(target);
    out.set_pressed_by("anna");
    out.set_revision(1);
    return out;
}

v1::HaltAnswer answer(const std::string& machine, const std::string& error = {}) {
    v1::HaltAnswer out;
    out.set_machine(machine);
    out.set_mechanism("cgroup2");
    out.set_frozen(1);
    out.set_killed(1);
    out.set_error(error);
    return out;
}

TEST(Halt, CoversItsScopeAndNothingElse) {
    v1::Origin origin;
    origin.set_org("acme");
    origin.set_user("olga");
    origin.set_agent("ag_1");
    origin.set_machine("m_1");
    const std::vector<std::pair<v1::HaltScope, std::string>> own{
        {v1::HALT_SCOPE_ORG, ""},
        {v1::HALT_SCOPE_OWNER, "olga"},
        {v1::HALT_SCOPE_AGENT, "ag_1"},
        {v1::HALT_SCOPE_MACHINE, "m_1"}};
    for (const auto& [scope, target] : own) {
        EXPECT_TRUE(covers(halt(scope, target), origin)) << scope_name(scope);
        if (scope != v1::HALT_SCOPE_ORG) {
            EXPECT_FALSE(covers(halt(scope, "other"), origin));
        }
        v1::Origin foreign = origin;
        foreign.set_org("globex");
        EXPECT_FALSE(covers(halt(scope, target), foreign));
    }
    EXPECT_TRUE(concerns_machine(halt(v1::HALT_SCOPE_OWNER, "olga"), "m_9"));
    EXPECT_FALSE(concerns_machine(halt(v1::HALT_SCOPE_MACHINE, "m_1"), "m_9"));
}

TEST(Halt, NamesWhatItMustName) {
    const auto code = [](v1::HaltScope scope, const std::string& target) {
        v1::PressHalt press;
        press.set_scope(scope);
        press.set_target(target);
        const auto checked = check_press(press);
        return checked ? std::string("ok") : checked.error().code;
    };
    EXPECT_EQ(code(v1::HALT_SCOPE_ORG, ""), "ok");
    EXPECT_EQ(code(v1::HALT_SCOPE_ORG, "x"), "bad_target");
    EXPECT_EQ(code(v1::HALT_SCOPE_OWNER, ""), "bad_target");
    EXPECT_EQ(code(v1::HALT_SCOPE_MACHINE, "m 1"), "bad_target");
    EXPECT_EQ(code(v1::HALT_SCOPE_UNSPECIFIED, ""), "bad_scope");
}

TEST(Halt, WaitsForWhoHasNotConfirmed) {
    v1::Halt body = halt(v1::HALT_SCOPE_ORG);
    const std::set<std::string> asked{"m_1", "m_2", "m_3"};
    EXPECT_TRUE(confirm(body, answer("m_2")));
    EXPECT_FALSE(confirm(body, answer("m_2"))) << "told twice, counted once";
    EXPECT_TRUE(confirm(body, answer("m_3", "cannot freeze")));
    EXPECT_EQ(waiting_for(body, asked), (std::vector<std::string>{"m_1", "m_3"}));
    EXPECT_TRUE(confirm(body, answer("m_3")));
    EXPECT_EQ(waiting_for(body, asked), std::vector<std::string>{"m_1"});
    EXPECT_EQ(body.answers_size(), 2);
}

TEST(Halt, IsResumedByAnotherPersonOnce) {
    v1::Halt body = halt(v1::HALT_SCOPE_ORG);
    const auto own = resume(body, "anna", kNow);
    ASSERT_FALSE(own);
    EXPECT_EQ(own.error().code, "same_person");
    EXPECT_TRUE(in_force(body));
    EXPECT_TRUE(resume(body, "bert", kNow));
    EXPECT_FALSE(in_force(body));
    const auto again = resume(body, "carl", kNow);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, "already_resumed");
    EXPECT_EQ(body.resumed_by(), "bert");
}

}  // namespace
}  // namespace berth::warden
