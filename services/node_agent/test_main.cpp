// SPDX-License-Identifier: Apache-2.0
// main() of the tests that make sandboxes, which refuse root.
#include <gtest/gtest.h>

#include "node_agent/test_machine.hpp"

int main(int argc, char** argv) {
    berth::node::testing::become_unprivileged(argv);
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
