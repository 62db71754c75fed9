// SPDX-License-Identifier: Apache-2.0
// The immutable description of an execution: what is judged, shown, approved and executed is this
// one object, known by its digest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

/// Needs no protobuf, no bus and no database: the static supervisor of a run judges with it, too.
/// Thread rules: values; free functions are pure.
namespace berth::policy {

/// A file as the kernel knew it when the plan was made.
struct File {
    std::string path;  ///< as resolved inside the sandbox; any bytes
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::string
        sha256;  ///< 64 hex digits; empty where it was not read (then nothing may depend on it)
    bool operator==(const File&) const = default;
};

/// One variable that differs from the environment that the run was started with.
struct EnvChange {
    std::string name;
    std::string value;
    bool removed = false;
    bool operator==(const EnvChange&) const = default;
};

struct Plan {
    File executable;
    std::vector<std::string> argv;  ///< any bytes without NUL
    std::string cwd;                ///< resolved by the kernel
    std::vector<EnvChange> env;     ///< sorted by name
    File script;                    ///< path empty: no script file
    std::string parent;             ///< executable that asked; for people, not part of the digest
    std::string replaces;  ///< digest of the plan this one was edited from; not part of the digest
    /// Paths of what is executed besides `script`, for the rules on the machine: nobody can be
    /// asked about such a plan, and it is not part of the digest.
    std::vector<std::string> more_scripts;
    bool operator==(const Plan&) const = default;
};

/// Of arguments and environment, with the addresses of each; a plan of more is refused by whoever
/// makes it.
inline constexpr std::size_t kMaxPlanBytes = 2U << 20U;

/// Every field in a fixed order, each with its length before it, so that no two plans share a form.
/// Begins with "berth-plan-1\n".
std::string canonical(const Plan& plan);
/// "sha256:<64 hex>" of canonical().
std::string digest(const Plan& plan);

/// The arguments as one line for people: quoted as a POSIX shell reads it, every control character,
/// bidirectional mark, zero-width or other invisible character and every byte that is not UTF-8
/// written as an escape ($'\x1b', $'\u202e'), so that what is shown cannot pretend. Cut in the
/// middle to `most` bytes with the number of bytes left out named.
std::string show_argv(const std::vector<std::string>& argv, std::size_t most = 2'000);
/// One string by the same rules, without quotes where none are needed.
std::string show_text(std::string_view text, std::size_t most = 300);
/// The same without quotes where nothing had to be escaped.
std::string show_plain(std::string_view text, std::size_t most = 300);

/// Values that look like secrets (of known token forms, or whose name says so: TOKEN, SECRET,
/// PASSWORD, KEY, …; `--password=x`, `Authorization: …`, URLs with a password) are replaced by
/// "***".
std::string mask(std::string_view shown);
/// argv masked, then shown.
std::string show_masked_argv(const std::vector<std::string>& argv, std::size_t most = 2'000);
/// True for the name of a variable whose value must not be shown.
bool is_secret_name(std::string_view name);

/// The card's text of a plan, for every surface alike: executable, arguments, folder, environment
/// changes, script and its hash; one fact a line.
std::string show_plan(const Plan& plan, std::size_t most = 3'000);

}  // namespace berth::policy
