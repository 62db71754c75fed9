// SPDX-License-Identifier: Apache-2.0
// JUnit XML: the one format in which nearly every test runner can tell what failed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace berth::cli {

struct TestTotals {
    std::uint64_t tests = 0;
    std::uint64_t failed = 0;
    std::uint64_t errors = 0;
    std::uint64_t skipped = 0;
    double seconds = 0;  ///< of all cases, as they say themselves

    std::uint64_t passed() const { return tests - failed - errors - skipped; }
};

/// A case that did not pass.
struct FailedCase {
    std::string suite;
    std::string name;
    std::string file;     ///< where the runner says so, with ":line"; else empty
    std::string kind;     ///< "failure" or "error"
    std::string message;  ///< the attribute, else the first line of the text
    std::string text;     ///< at most kMaxCaseText bytes of the element's text
};

inline constexpr std::size_t kMaxCaseText = 4'096;

struct TestReport {
    TestTotals totals;
    std::vector<FailedCase> failed;
};

/// Counts the test cases themselves: the sums that suites claim differ between runners. A document
/// type is refused, so no entity of its own can grow; nesting is limited. Error "bad_junit" names
/// the byte.
Result<TestReport> parse_junit(std::string_view xml);

}  // namespace berth::cli
