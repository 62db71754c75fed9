// SPDX-License-Identifier: Apache-2.0
// The decision: what is built in, then the first rule that matches, then the default.
#include "policy/policy.hpp"

#include <algorithm>
#include <array>

#include "policy/glob.hpp"
#include "policy/match.hpp"
#include "policy/rule.hpp"

namespace berth::policy {
namespace {

using detail::Program;
using detail::Rule;
using detail::Subject;

/// Walks the rules of several lists in the order of the file, each once.
class Walk {
public:
    void add(const std::vector<Entry>& list) {
        if (count_ < lists_.size()) lists_[count_++] = {list.data(), list.data() + list.size()};
    }
    /// The next rule, or nothing.
    const Entry* next() {
        const Entry* least = nullptr;
        for (std::size_t i = 0; i < count_; ++i) {
            const auto& [at, end] = lists_[i];
            if (at != end && (least == nullptr || at->rule < least->rule)) least = at;
        }
        for (std::size_t i = 0; i < count_ && least != nullptr; ++i) {
            auto& [at, end] = lists_[i];
            if (at != end && at->rule == least->rule) ++at;
        }
        return least;
    }

private:
    // Rules of any program, and one list for each of Subject::names().
    static constexpr std::size_t kLists = 5;
    std::array<std::pair<const Entry*, const Entry*>, kLists> lists_{};
    std::size_t count_ = 0;
};

Verdict refuse(std::string rule, std::string reason) {
    Verdict out;
    out.rule = std::move(rule);
    out.reason = std::move(reason);
    return out;
}

std::string below(Level active, const Required& wanted) {
    return "this machine guards at level " + std::string(to_string(active)) +
           ", and the policy requires " + std::string(to_string(wanted.level)) +
           (wanted.rule.empty() ? "" : " by rule ") + std::string(wanted.rule);
}

std::string why_unusual(std::string_view kind) {
    if (kind == "memfd") return "the program exists in memory only";
    if (kind == "deleted") return "the program's file has been deleted";
    return "the loader is started by itself, and would run a program that nobody judged";
}

void note(
    std::vector<Step>* steps, std::string rule, std::string where, bool matched, std::string why
) {
    if (steps != nullptr)
        steps->push_back({std::move(rule), std::move(where), matched, std::move(why)});
}

}  // namespace

namespace detail {
AskTerms terms_of(const AskTerms& general, const AskPart& own) {
    AskTerms out = general;
    if (own.timeout_ms) out.timeout = milliseconds{*own.timeout_ms};
    if (own.outcome) out.outcome = *own.outcome;
    if (own.approvers) out.approvers = *own.approvers;
    if (own.escalate_to) out.escalate_to = *own.escalate_to;
    if (own.quorum) out.quorum = *own.quorum;
    return out;
}
}  // namespace detail

/// One judgement, its parts by name.
struct Judge {
    const detail::Rules& rules;
    const Plan& plan;
    const Origin& origin;
    Subject& subject;
    std::vector<Step>* steps;
    std::string_view unusual;

    bool looks_at(const Rule& rule) {
        if (!unusual.empty() && !rule.allow_unusual) {
            note(steps, rule.id, rule.where, false, "it does not say allow_unusual");
            return false;
        }
        if (steps == nullptr) return subject.matches(rule);
        std::string why;
        const bool matched = subject.explain(rule, why);
        note(steps, rule.id, rule.where, matched, std::move(why));
        return matched;
    }

    Verdict of_rule(const Rule& rule) const {
        if (origin.level < rule.require)
            return refuse("level", below(origin.level, {rule.require, rule.id}));
        Verdict out;
        out.action = rule.action;
        out.rule = rule.id;
        out.reason = rule.reason.empty()
                         ? "rule " + rule.id + " says " + std::string(to_string(rule.action))
                         : rule.reason;
        if (rule.action == Action::kAsk) out.ask = detail::terms_of(rules.ask, rule.ask);
        out.execution_timeout = milliseconds{rule.execution_timeout_ms};
        return out;
    }

    Verdict of_none() const {
        if (!unusual.empty()) return refuse(std::string(unusual), why_unusual(unusual));
        Verdict out;
        out.action = rules.fallback;
        out.rule = "default";
        out.reason =
            "no rule matches, and the default is " + std::string(to_string(rules.fallback));
        if (out.action == Action::kAsk) out.ask = rules.ask;
        return out;
    }

    /// A variable that is set anew, may not be, and that `rule` does not name itself; "" where
    /// there is none.
    std::string_view dangerous(const Policy& policy, const Rule* rule) const {
        for (const auto& change : plan.env) {
            if (change.removed || !policy.drops(change.name)) continue;
            if (!name_matches(rules.drop, change.name) &&
                is_ordinary_value(change.name, change.value))
                continue;
            if (rule == nullptr || !name_matches(rule->match.env, change.name)) return change.name;
        }
        return {};
    }

    Verdict with_environment(const Policy& policy, const Rule* rule, Verdict verdict) const {
        if (verdict.action == Action::kDeny) return verdict;
        const auto name = dangerous(policy, rule);
        if (name.empty()) return verdict;
        const std::string reason =
            "it sets " + show_text(name) + ", which changes what other programs do";
        if (rules.deny_dangerous) return refuse("environment", reason);
        if (verdict.action == Action::kAsk) return verdict;
        verdict.action = Action::kAsk;
        verdict.rule = "environment";
        verdict.reason = reason;
        verdict.ask = rules.ask;
        return verdict;
    }
};

static Verdict judge(
    const Policy& policy,
    const Policy::State& state,
    const Plan& plan,
    const Origin& origin,
    WallTime now,
    std::vector<Step>* steps
) {
    const Required wanted = policy.required(origin);
    if (origin.level < wanted.level) {
        note(steps, "level", "", true, below(origin.level, wanted));
        return refuse("level", below(origin.level, wanted));
    }
    Subject subject(plan, origin, now);
    Judge one{state.data, plan, origin, subject, steps, policy::unusual(plan)};
    const Rule* decided = nullptr;
    if (steps != nullptr) {
        for (const auto& rule : state.data.rules) {
            if (!one.looks_at(rule)) continue;
            decided = &rule;
            break;
        }
    } else {
        Walk walk;
        walk.add(state.general);
        for (const auto name : subject.names()) {
            const auto found = state.by_name.find(name);
            if (found != state.by_name.end()) walk.add(found->second);
        }
        for (const Entry* at = walk.next(); at != nullptr; at = walk.next()) {
            if (!subject.may_hold(at->word)) continue;
            const Rule& rule = state.data.rules[at->rule];
            if (!one.looks_at(rule)) continue;
            decided = &rule;
            break;
        }
    }
    Verdict verdict = one.with_environment(
        policy, decided, decided != nullptr ? one.of_rule(*decided) : one.of_none()
    );
    if (decided == nullptr || verdict.rule != decided->id)
        note(steps, verdict.rule, "", true, verdict.reason);
    return verdict;
}

Policy::Policy() : state_(std::make_unique<State>()) {}
Policy::~Policy() = default;

std::shared_ptr<const Policy> Policy::State::make(detail::Rules data) {
    std::shared_ptr<Policy> out(new Policy());
    auto& state = *out->state_;
    state.data = std::move(data);
    for (std::uint32_t index = 0; index < state.data.rules.size(); ++index) {
        const auto& match = state.data.rules[index].match;
        if (state.data.rules[index].require > Level::kNone) state.requiring.push_back(index);
        const Entry entry{index, detail::word_of(match)};
        const auto& wanted = match.executable;
        const bool any =
            wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [](const Program& one) {
                return one.kind == Program::Kind::kGlob;
            });
        if (any) {
            state.general.push_back(entry);
            continue;
        }
        for (const auto& one : wanted) {
            auto& list = state.by_name[std::string(basename(one.text))];
            if (list.empty() || list.back().rule != index) list.push_back(entry);
        }
    }
    return out;
}

std::shared_ptr<const Policy> Policy::allow_all() { return State::make({}); }

Verdict Policy::decide(const Plan& plan, const Origin& origin, WallTime now) const {
    return judge(*this, *state_, plan, origin, now, nullptr);
}

Verdict Policy::explain(
    const Plan& plan, const Origin& origin, WallTime now, std::vector<Step>& steps
) const {
    return judge(*this, *state_, plan, origin, now, &steps);
}

Required Policy::required(const Origin& origin) const {
    Required out{state_->data.require, {}};
    const auto found = state_->data.profiles.find(origin.profile);
    if (found != state_->data.profiles.end()) out.level = std::max(out.level, found->second);
    if (origin.level >= Level::kShim) return out;
    for (const std::uint32_t index : state_->requiring) {
        const Rule& rule = state_->data.rules[index];
        if (rule.require > out.level && detail::speaks_of(rule.match, origin, nullptr))
            out = {rule.require, rule.id};
    }
    return out;
}

bool Policy::drops(std::string_view variable) const {
    if (name_matches(state_->data.keep, variable)) return false;
    return is_dangerous_variable(variable) || name_matches(state_->data.drop, variable);
}

EnvironmentRules Policy::environment() const {
    EnvironmentRules rules{dangerous_variables(), state_->data.keep};
    rules.drop.insert(rules.drop.end(), state_->data.drop.begin(), state_->data.drop.end());
    return rules;
}

std::optional<std::vector<std::string>> Policy::group(std::string_view name) const {
    const auto found = state_->data.groups.find(std::string(name));
    if (found == state_->data.groups.end()) return std::nullopt;
    return found->second;
}

std::vector<std::string> Policy::tools() const {
    std::vector<std::string> out;
    for (const auto& rule : state_->data.rules) {
        for (const auto& program : rule.match.executable) {
            if (program.kind != Program::Kind::kGlob) out.emplace_back(basename(program.text));
        }
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

std::size_t Policy::rules() const { return state_->data.rules.size(); }

}  // namespace berth::policy
