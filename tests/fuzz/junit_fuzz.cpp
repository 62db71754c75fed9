// SPDX-License-Identifier: Apache-2.0
// Test reports from a machine that belongs to somebody else: any bytes are a report or an error.
#include "cli/junit.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto report = berth::cli::parse_junit(berth::fuzz::text_of(data, size));
    if (!report) return 0;
    const auto& totals = report->totals;
    FUZZ_CHECK(totals.failed + totals.errors + totals.skipped <= totals.tests);
    FUZZ_CHECK(report->failed.size() == totals.failed + totals.errors);
    for (const auto& failed : report->failed) {
        FUZZ_CHECK(failed.text.size() <= berth::cli::kMaxCaseText);
        FUZZ_CHECK(berth::is_utf8(failed.text));
    }
    return 0;
}
