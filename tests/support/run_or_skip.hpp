// SPDX-License-Identifier: Apache-2.0
// The main() of a test program that needs what not every host has.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace berth::testing {

/// Runs all tests; where `why_not` says why nothing can be shown here, it says so of `what` and
/// returns the code that CTest knows as skipped (SKIP_RETURN_CODE).
inline int run_or_skip(int argc, char** argv, const char* what, const std::string& why_not) {
    constexpr int kSkipped = 77;
    ::testing::InitGoogleTest(&argc, argv);
    if (why_not.empty()) return RUN_ALL_TESTS();
    std::fprintf(stderr, "%s SKIPPED, NOTHING WAS PROVEN: %s\n", what, why_not.c_str());
    return kSkipped;
}

}  // namespace berth::testing
