// SPDX-License-Identifier: Apache-2.0
// Proves what a shim finds and is told, where that is no matter of the policy.
#include <gtest/gtest.h>

#include "node_agent/test_guarded_machine.hpp"

namespace berth::node::testing {
namespace {

TEST(GuardShim, AShimFindsItsToolByARelativePath) {
    GuardedMachine machine(
        R"(version: 1
default: deny
rules:
  - {id: mine, action: allow, match: {executable: "/workspace/bin/deploy"}}
  - {id: none, action: deny, match: {executable: other}}
)",
        "shim"
    );
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded(
        "a",
        "mkdir bin sub; printf '#!/bin/sh\necho deployed\n' > bin/deploy; chmod 755 bin/deploy;"
        "cp bin/deploy bin/other; PATH=$PATH:bin deploy; cd sub; PATH=$PATH:../bin deploy;"
        "cd ../bin; PATH=$PATH: deploy; cd /; PATH=$PATH:workspace/bin deploy;"
        "PATH=$PATH:workspace/bin other; echo $?"
    );
    EXPECT_EQ(run.out(), "deployed\ndeployed\ndeployed\ndeployed\n126\n") << run.err();
    EXPECT_NE(run.err().find("denied by rule none"), std::string::npos) << run.err();
}

TEST(GuardShim, AShimThatSaysNothingOfUseIsToldSo) {
    GuardedMachine machine("version: 1\ndefault: allow\n", "shim");
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish_guarded("a", R"py(/usr/bin/python3 -c "
import socket
guard = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
guard.connect('/.berth/guard/sock')
guard.send(b'hello')
print(guard.recv(1000).decode(), end='')")py");
    EXPECT_EQ(run.out(), "Dberth: denied: the shim did not say which program it is to become\n")
        << run.err();
}

}  // namespace
}  // namespace berth::node::testing
