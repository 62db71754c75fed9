// SPDX-License-Identifier: Apache-2.0
// What may stand where the cursor is: from the table of commands, and live names from the gateway.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::cli {

struct Candidate {
    std::string word;
    std::string help;

    bool operator==(const Candidate&) const = default;
};

/// What a place on the command line takes.
enum class Place { kNothing, kFile, kCommandLine, kLease, kRun, kProfile };

/// The candidates of the table for the last of `words` ("berth" left out; it may be empty), or in
/// `place` what else is wanted there. The shell drops those that do not begin with what is typed.
std::vector<Candidate> complete(std::vector<std::string> words, Place& place);

/// The script that a shell reads; empty for a shell that is not known.
std::string completion_script(std::string_view shell);

}  // namespace berth::cli
