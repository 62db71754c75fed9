// SPDX-License-Identifier: Apache-2.0
// Proves that a command is judged, refused and edited however many arguments it has.
#include <gtest/gtest.h>

#include "node_agent/test_guarded_machine.hpp"

namespace berth::node::testing {
namespace {

constexpr const char* kFewRules = R"(version: 1
default: allow
timeout: 10m
rules:
  - {id: no-id, action: deny, reason: nobody asks who they are, match: {executable: id}}
  - {id: ask, action: ask, match: {executable: uname}}
)";

TEST(GuardArguments, ACommandMayHaveAsManyArgumentsAsCanBeRead) {
    GuardedMachine machine(kFewRules);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& allowed = machine.finish_guarded("a", "/bin/true $(seq 1 100000)");
    EXPECT_EQ(allowed.exit().code, 0) << allowed.err();
    Reader& beyond =
        machine.finish_guarded("b", "ulimit -s 65536; /bin/true $(seq 1 200000); echo $?");
    EXPECT_EQ(beyond.out(), "126\n");
    EXPECT_EQ(
        beyond.err(),
        "berth: denied by rule image: its arguments and environment are more than 2 MiB\n"
    );
    // However many they are, a refusal finds room for its reason.
    Reader& denied = machine.finish_guarded(
        "c", "/usr/bin/id; /usr/bin/id $(seq 1 17000); /usr/bin/id $(seq 1 100000); echo $?"
    );
    const std::string line = "berth: denied by rule no-id: nobody asks who they are\n";
    EXPECT_EQ(denied.out(), "126\n");
    EXPECT_EQ(denied.err(), line + line + line);
}

TEST(GuardArguments, ACommandOfManyArgumentsCanBeEdited) {
    GuardedMachine machine(kFewRules);
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.start_guarded("a", "uname -s $(yes . | head -n 17000); echo $?");
    const Held held = machine.held("a");
    claim(machine, "a", run, edit(held, {"uname", "-o"}));
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "GNU/Linux\n0\n") << run.err();
}

}  // namespace
}  // namespace berth::node::testing
