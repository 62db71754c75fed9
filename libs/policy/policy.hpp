// SPDX-License-Identifier: Apache-2.0
// Maps a plan to allow, deny or ask. One reading of the policy file, for the service, the machine
// and the command line alike.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "policy/plan.hpp"
#include "policy/script.hpp"

/// parse() is in berth::policy_file (it needs YAML); everything else in berth::policy.
/// Thread rules: a Policy is immutable and may be shared; swapping is replacing a shared_ptr.
namespace berth::policy {

/// Bytes of a policy file at most, which travels as one message of the bus (1 MiB) with its
/// headers; and rules in it.
inline constexpr std::size_t kMaxPolicyBytes = 700U << 10U;
inline constexpr std::size_t kMaxRules = 10'000;
/// Nobody waits longer for a decision without saying `on_deadline: wait`.
inline constexpr std::chrono::hours kMaxAskTimeout{30 * 24};

enum class Action { kAllow, kDeny, kAsk };
std::string_view to_string(Action action);

/// How strictly a machine guards; ordered: each sees at least what those before it see.
enum class Level { kNone, kObserve, kShim, kEnforce };
std::string_view to_string(Level level);
std::optional<Level> level_of(std::string_view name);

enum class DeadlineOutcome { kDeny, kWait, kEscalate };

/// Who and what asks.
struct Origin {
    std::string org;
    std::string user;
    std::string profile;
    std::string agent;  ///< empty: a person's run
    std::string lease;
    std::string machine;
    std::string run;
    Level level = Level::kNone;  ///< active on the machine
};

/// What an "ask" wants of its decision.
struct AskTerms {
    milliseconds timeout{};
    DeadlineOutcome outcome = DeadlineOutcome::kDeny;
    std::vector<std::string>
        approvers;  ///< group names or users ("user:anna"); empty: every approver
    std::vector<std::string> escalate_to;  ///< in order
    unsigned quorum = 1;
};

struct Verdict {
    Action action = Action::kDeny;
    std::string rule;  ///< its id; "default" where none matched; "level", "environment", "loader",
                       ///< … where a built-in refusal decided
    std::string reason;                ///< one line for people
    AskTerms ask;                      ///< of kAsk
    milliseconds execution_timeout{};  ///< 0: the run's own
};

/// One step of an explanation: a rule that was looked at, and why it did not, or did, match.
struct Step {
    std::string rule;
    std::string where;  ///< "policy.yaml:12:3"
    bool matched = false;
    std::string why;
};

/// Names of variables as in name_matches(): what is not handed on, but for what is kept.
struct EnvironmentRules {
    std::vector<std::string> drop, keep;
};

/// The level a machine must have, and the rule that says so; none: the file or the profile.
struct Required {
    Level level = Level::kNone;
    std::string_view rule;  ///< the policy's own
};

class Policy {
public:
    /// Errors: code "bad_policy"; the message names every mistake, one a line, each as
    /// "name:line:column: what is wrong and what would be right".
    static Result<std::shared_ptr<const Policy>> parse(
        std::string_view text, std::string_view name
    );
    /// A policy as bytes, for a program that has no reader of YAML: load(policy->compiled()) judges
    /// alike. The bytes are for the same version of Berth on the other side; they are not a format
    /// to keep.
    std::string compiled() const;
    /// Errors: code "bad_policy" for anything that compiled() did not make.
    static Result<std::shared_ptr<const Policy>> load(std::string_view bytes);
    /// The policy that allows everything: of an org that has none.
    static std::shared_ptr<const Policy> allow_all();

    /// Pure; `now` is for rules with times. Below 50 µs with 1,000 rules.
    Verdict decide(const Plan& plan, const Origin& origin, WallTime now) const;
    /// decide() and how it came to it; the last step is what decided.
    Verdict explain(const Plan& plan, const Origin& origin, WallTime now, std::vector<Step>& steps)
        const;

    /// The level a machine must have for this origin (`require`); below it everything is denied.
    /// At a level that refuses nothing (none, observe) also that of each rule that may speak of the
    /// origin's commands: there is nobody who could refuse those alone.
    Required required(const Origin& origin) const;
    /// True for a variable that is not handed on where Berth builds an environment, and that an
    /// exec may not set anew: dangerous_variables() and the file's `environment.drop`, but not its
    /// `environment.allow`.
    bool drops(std::string_view variable) const;
    /// What drops() goes by, as patterns of name_matches(), for a process that has no policy.
    EnvironmentRules environment() const;
    /// Members of an approver group; nullopt: no such group.
    std::optional<std::vector<std::string>> group(std::string_view name) const;
    /// Executable names that rules speak of: what a shim has to stand for.
    std::vector<std::string> tools() const;
    std::size_t rules() const;

    ~Policy();
    Policy(const Policy&) = delete;
    Policy& operator=(const Policy&) = delete;

    struct State;  ///< of the lib's own files

private:
    Policy();
    std::unique_ptr<State> state_;
};

/// Names of variables that change what other programs do (LD_PRELOAD, GIT_SSH_COMMAND,
/// NODE_OPTIONS, BASH_ENV, PYTHONPATH, …): dropped where Berth builds the environment; an exec that
/// sets one anew is never allowed by default. Names may end in '*'.
const std::vector<std::string>& dangerous_variables();
bool is_dangerous_variable(std::string_view name);
/// A value that a tool gives to its own children in the ordinary course and that changes nothing of
/// what they execute, whatever the variable could do: git's own folder of programs, settings of
/// `git -c` that are only words and numbers.
bool is_ordinary_value(std::string_view name, std::string_view value);

/// The patterns of `names` that are no whole names end in '*'. Pure.
bool name_matches(const std::vector<std::string>& names, std::string_view name);

/// True for programs that run whatever they are told (shells, interpreters, env, xargs, sudo,
/// ld.so…): never remembered by "always allow" on their bare name.
bool is_wrapper(std::string_view executable);

/// "loader", "memfd", "deleted" where the executable's path says so; else empty.
std::string_view unusual(const Plan& plan);

/// True for shells and languages: programs that read a script and are nothing but it.
bool is_interpreter(std::string_view executable);

/// True for an interpreter that is told neither code nor a script whose content is known: it
/// executes what it reads.
bool reads_its_code(const Plan& plan);

/// The text of a policy to start from: "strict", "developer", "observe-only"; empty: no such.
std::string_view template_text(std::string_view name);

}  // namespace berth::policy
