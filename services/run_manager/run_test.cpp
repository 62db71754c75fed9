// SPDX-License-Identifier: Apache-2.0
// Every message against every state of a run: twice, late, out of order.
#include "run_manager/run.hpp"

#include <gtest/gtest.h>

namespace berth::run {
namespace {

const WallTime kNow = from_unix_micros(1'800'000'000'000'000);

// Not "Run": every test inherits a function of that name.
using Record = Run;

Record in(RunState state) {
    Record run;
    run.id = "rn_1";
    run.state = state;
    return run;
}

v1::OutputFrame::End end_with(RunState state, int code) {
    v1::OutputFrame::End end;
    end.set_state(state);
    end.set_exit_code(code);
    end.set_origin("remote");
    return end;
}

TEST(Run, TheFirstEndStandsWhateverComesAfter) {
    for (int first = v1::RUN_STATE_SUCCEEDED; first <= v1::RUN_STATE_LOST; ++first) {
        for (int second = v1::RUN_STATE_SUCCEEDED; second <= v1::RUN_STATE_LOST; ++second) {
            Record run = in(v1::RUN_STATE_RUNNING);
            ASSERT_TRUE(ended(run, end_with(static_cast<RunState>(first), 37), 5, kNow));
            EXPECT_FALSE(ended(run, end_with(static_cast<RunState>(second), 0), 9, kNow));
            EXPECT_FALSE(lose(run, "late", kNow));
            EXPECT_EQ(cancel(run, kNow), CancelEffect::kNothing);
            EXPECT_EQ(run.state, static_cast<RunState>(first));
            EXPECT_EQ(run.exit_code, 37);
        }
    }
}

TEST(Run, AnEndThatOvertakesTheStartKeepsBothTimes) {
    Record run = in(v1::RUN_STATE_STARTING);
    ASSERT_TRUE(ended(run, end_with(v1::RUN_STATE_SUCCEEDED, 0), 0, kNow));
    ASSERT_TRUE(started(run, kNow - seconds{1}));
    EXPECT_EQ(run.state, v1::RUN_STATE_SUCCEEDED);
    EXPECT_FALSE(started(run, kNow)) << "told twice, counted once";
    EXPECT_EQ(run.started_at, kNow - seconds{1});
}

TEST(Run, AWithdrawnShareEndsWhatItLetOnAndNothingElse) {
    const auto guest = [](RunState state, std::int64_t revision) {
        Record run = in(state);
        run.share_revision = revision;
        return run;
    };
    Record run = guest(v1::RUN_STATE_RUNNING, 3);
    EXPECT_EQ(withdraw(run, 5, kNow), CancelEffect::kTellMachine);
    EXPECT_EQ(withdraw(run, 5, kNow), CancelEffect::kTellMachine) << "whatever grace he gave it";
    Record queued = guest(v1::RUN_STATE_QUEUED, 3);
    EXPECT_EQ(withdraw(queued, 5, kNow), CancelEffect::kEnded);
    EXPECT_EQ(queued.state, v1::RUN_STATE_CANCELED);
    EXPECT_NE(queued.reason.find("shared"), std::string::npos) << queued.reason;
    Record later = guest(v1::RUN_STATE_RUNNING, 6);
    EXPECT_EQ(withdraw(later, 5, kNow), CancelEffect::kNothing) << "let on by a later share";
    Record own = in(v1::RUN_STATE_RUNNING);
    EXPECT_EQ(withdraw(own, 5, kNow), CancelEffect::kNothing) << "let on by no share";
    Record over = guest(v1::RUN_STATE_SUCCEEDED, 3);
    EXPECT_EQ(withdraw(over, 5, kNow), CancelEffect::kNothing);
}

TEST(Run, AnEndMustBeAnEnd) {
    Record run = in(v1::RUN_STATE_RUNNING);
    EXPECT_FALSE(ended(run, end_with(v1::RUN_STATE_RUNNING, 0), 0, kNow));
    EXPECT_TRUE(run.live());
}

TEST(Run, ACancelEndsWhatWaitsAndTellsTheMachineOfWhatRuns) {
    Record queued = in(v1::RUN_STATE_QUEUED);
    EXPECT_EQ(cancel(queued, kNow), CancelEffect::kEnded);
    EXPECT_EQ(queued.state, v1::RUN_STATE_CANCELED);
    Record running = in(v1::RUN_STATE_RUNNING);
    EXPECT_EQ(cancel(running, kNow), CancelEffect::kTellMachine);
    EXPECT_TRUE(running.live()) << "it ends when the machine says so";
}

TEST(Run, IsHeldAndGoesOnWhereItWas) {
    for (int state = v1::RUN_STATE_QUEUED; state <= v1::RUN_STATE_LOST; ++state) {
        Record run = in(static_cast<RunState>(state));
        const bool going = state == v1::RUN_STATE_STARTING || state == v1::RUN_STATE_RUNNING;
        if (state == v1::RUN_STATE_RUNNING) run.started_at = kNow;
        const RunState before = run.state;
        EXPECT_EQ(held(run), going) << state;
        EXPECT_EQ(run.state, going ? v1::RUN_STATE_HELD : before);
        if (!going) continue;
        EXPECT_FALSE(held(run)) << "told twice, counted once";
        EXPECT_TRUE(run.live() && run.placed());
        EXPECT_EQ(cancel(run, kNow), CancelEffect::kTellMachine);
        EXPECT_TRUE(continued(run));
        EXPECT_EQ(run.state, before);
        EXPECT_FALSE(continued(run));
    }
    Record held_first = in(v1::RUN_STATE_STARTING);
    ASSERT_TRUE(held(held_first));
    ASSERT_TRUE(started(held_first, kNow));
    EXPECT_EQ(held_first.state, v1::RUN_STATE_HELD) << "the start that comes late ends no hold";
    ASSERT_TRUE(continued(held_first));
    EXPECT_EQ(held_first.state, v1::RUN_STATE_RUNNING);
    Record ends = in(v1::RUN_STATE_HELD);
    ASSERT_TRUE(ended(ends, end_with(v1::RUN_STATE_FAILED, 126), 0, kNow));
    EXPECT_FALSE(continued(ends));
}

TEST(Run, IsPlacedOnce) {
    Record run = in(v1::RUN_STATE_QUEUED);
    EXPECT_TRUE(place(run));
    EXPECT_FALSE(place(run));
}

TEST(Run, CommandsThatCannotBeExecutedAreRefusedByField) {
    const auto field_of = [](auto change) {
        v1::Start start;
        start.add_argv("true");
        change(start);
        const auto checked = check_start(start);
        return checked ? std::string("ok") : checked.error().field;
    };
    EXPECT_EQ(field_of([](v1::Start&) {}), "ok");
    EXPECT_EQ(field_of([](v1::Start& s) { s.clear_argv(); }), "argv");
    EXPECT_EQ(field_of([](v1::Start& s) { s.set_argv(0, ""); }), "argv");
    EXPECT_EQ(field_of([](v1::Start& s) { s.add_argv(std::string("a\0b", 3)); }), "argv");
    EXPECT_EQ(field_of([](v1::Start& s) { s.add_argv(std::string(600'000, 'x')); }), "argv");
    EXPECT_EQ(field_of([](v1::Start& s) { (*s.mutable_env())["A=B"] = "x"; }), "env");
    for (const char* cwd : {"/etc", "..", "../x", "a/../../b", "a/.."}) {
        EXPECT_EQ(field_of([cwd](v1::Start& s) { s.set_cwd(cwd); }), "cwd") << cwd;
    }
    EXPECT_EQ(field_of([](v1::Start& s) { s.set_cwd("a/b..c"); }), "ok");
    EXPECT_EQ(field_of([](v1::Start& s) { s.mutable_timeout()->set_seconds(-1); }), "timeout");
}

TEST(Run, OnlyAllowedVariablesPass) {
    const std::vector<std::string> allow{"LANG", "LC_*"};
    EXPECT_TRUE(env_allowed(allow, "LANG"));
    EXPECT_TRUE(env_allowed(allow, "LC_ALL"));
    EXPECT_FALSE(env_allowed(allow, "LANGUAGE"));
    EXPECT_FALSE(env_allowed(allow, "LD_PRELOAD"));
}

TEST(Run, ARequiredVariableThatIsCutSaysWhatHelps) {
    v1::Start start;
    for (const char* name : {"LANG", "TERM", "OTHER"}) (*start.mutable_env())[name] = "x";
    const auto names = [&] {
        std::string out;
        const auto environment = allowed_environment(start, "small", {"LANG"});
        if (!environment) return environment.error().message;
        for (const auto& [name, value] : *environment) out += name + " ";
        return out;
    };
    start.set_tty(true);
    EXPECT_EQ(names(), "LANG ") << "the machine knows its own terminals best";
    start.add_env_required("TERM");
    EXPECT_EQ(names(), "LANG TERM ") << "a run with a terminal has one in any case";
    start.set_tty(false);
    EXPECT_NE(names().find("profile small of this lease lets no variable TERM"), std::string::npos);
    EXPECT_NE(names().find("release the lease"), std::string::npos) << "its list is the old one";
}

TEST(Run, StateNamesRoundTrip) {
    for (int state = v1::RUN_STATE_QUEUED; state <= v1::RUN_STATE_LOST; ++state) {
        EXPECT_EQ(
            run_state(state_name(static_cast<RunState>(state))), static_cast<RunState>(state)
        );
    }
}

}  // namespace
}  // namespace berth::run
