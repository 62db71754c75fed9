// SPDX-License-Identifier: Apache-2.0
// The policy file: from YAML to a policy, or to every mistake with its place.
#include <algorithm>
#include <set>

#include "config/config.hpp"
#include "policy/match_reader.hpp"
#include "policy/policy.hpp"
#include "policy/policy_reader.hpp"
#include "policy/rule.hpp"
#include "policy/unicode.hpp"

namespace berth::policy {
namespace {

using config::Node;
using detail::Problems;
using detail::Rule;
using detail::Rules;
using detail::Section;

constexpr milliseconds kDefaultTimeout =
    std::chrono::minutes{15};  // a person at lunch misses it, a person at work does not
constexpr std::chrono::hours kMostExecution{366 * 24};  // more is a mistyped unit
constexpr std::int64_t kMostQuorum = 20;
constexpr std::size_t kMaxId = 64;
constexpr std::string_view kUser = "user:";  // one person among the approvers
// What built-in refusals are called; no rule may pass for one.
constexpr std::string_view kReserved[] = {
    "default", "level", "environment", "loader", "memfd", "deleted", "halted", "grant", "plan"};

bool is_id(std::string_view text) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return !text.empty() && text.size() <= kMaxId && std::all_of(text.begin(), text.end(), fits);
}

/// What no message and no database takes, though a comment may hold it: where it is.
std::optional<std::pair<std::size_t, const char*>> no_text(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const auto one = detail::character_at(text, at);
        if (!one.valid) return std::pair(at, "the file is not UTF-8");
        if (one.point == 0) return std::pair(at, "the file holds a NUL byte");
        at += one.bytes;
    }
    return std::nullopt;
}

class FileReader {
public:
    Result<Rules> read(const Node& root) {
        Section file(
            root,
            problems_,
            {"version",
             "default",
             "require",
             "profiles",
             "timeout",
             "on_deadline",
             "approvers",
             "escalate_to",
             "quorum",
             "groups",
             "environment",
             "rules"}
        );
        if (root.is_map()) read_file(file);
        if (problems_.none()) return std::move(rules_);
        return invalid("bad_policy", problems_.text());
    }

private:
    void read_file(Section& file) {
        if (!file.find("version")) {
            problems_.add(file.node().place(), "'version: 1' is missing");
        } else {
            file.number("version", 1, 1);
        }
        if (!file.find("default"))
            problems_.add(
                file.node().place(),
                "'default' is missing: allow, deny or ask, for what no rule matches"
            );
        rules_.fallback = action(file, "default");
        rules_.require = level(file);
        read_groups(file);
        read_profiles(file);
        const detail::AskPart part = read_ask(file);
        rules_.ask.timeout = milliseconds{part.timeout_ms.value_or(kDefaultTimeout.count())};
        rules_.ask.outcome = part.outcome.value_or(DeadlineOutcome::kDeny);
        rules_.ask.approvers = part.approvers.value_or(std::vector<std::string>());
        rules_.ask.escalate_to = part.escalate_to.value_or(std::vector<std::string>());
        rules_.ask.quorum = part.quorum.value_or(1);
        check_escalation(file, rules_.ask.outcome, !rules_.ask.escalate_to.empty());
        check_quorum(file, rules_.ask);
        read_environment(file);
        read_rules(file);
    }

    Action action(Section& section, std::string_view key) {
        constexpr Action kActions[] = {Action::kAllow, Action::kDeny, Action::kAsk};
        const int chosen = section.choice(key, {"allow", "deny", "ask"});
        return chosen < 0 ? Action::kDeny : kActions[chosen];
    }

    Level level(Section& section) {
        const int chosen = section.choice("require", {"none", "observe", "shim", "enforce"});
        return chosen < 0 ? Level::kNone : static_cast<Level>(chosen);
    }

    void read_groups(Section& file) {
        const auto node = file.find("groups");
        if (!node) return;
        if (!node->is_map()) {
            problems_.add(
                node->place(), "'groups' must be a map of names, each with a list of users"
            );
            return;
        }
        for (const auto& [name, members] : node->entries()) {
            if (!is_id(name))
                problems_.add(members.key_place(), "'" + name + "' is no name of a group");
            for (const auto& member : detail::texts_of(members, problems_, "a group")) {
                rules_.groups[name].push_back(detail::text_of(member));
                if (rules_.groups[name].back().empty())
                    problems_.add(member.place(), "a group must not hold an empty name");
            }
        }
    }

    void read_profiles(Section& file) {
        const auto node = file.find("profiles");
        if (!node) return;
        if (!node->is_map()) {
            problems_.add(
                node->place(), "'profiles' must be a map of names, each with {require: LEVEL}"
            );
            return;
        }
        for (const auto& [name, child] : node->entries()) {
            Section profile(child, problems_, {"require"});
            rules_.profiles[name] = level(profile);
        }
    }

    /// Group names, or "user:NAME".
    std::optional<std::vector<std::string>> people(Section& section, std::string_view key) {
        const auto node = section.find(key);
        if (!node) return std::nullopt;
        std::vector<std::string> out;
        for (const auto& item : detail::texts_of(*node, problems_, "'" + std::string(key) + "'")) {
            out.push_back(detail::text_of(item));
            const std::string& name = out.back();
            const bool user = name.starts_with(kUser) && name.size() > kUser.size();
            if (!user && rules_.groups.count(name) == 0)
                problems_.add(
                    item.place(),
                    "there is no group '" + name + "' in 'groups'; one person is written user:NAME"
                );
        }
        return out;
    }

    detail::AskPart read_ask(Section& section) {
        constexpr DeadlineOutcome kOutcomes[] = {
            DeadlineOutcome::kDeny, DeadlineOutcome::kWait, DeadlineOutcome::kEscalate};
        detail::AskPart out;
        out.timeout_ms = section.duration_ms("timeout", kMaxAskTimeout);
        const int chosen = section.choice("on_deadline", {"deny", "wait", "escalate"});
        if (chosen >= 0) out.outcome = kOutcomes[chosen];
        out.approvers = people(section, "approvers");
        out.escalate_to = people(section, "escalate_to");
        if (section.find("quorum"))
            out.quorum = static_cast<std::uint32_t>(section.number("quorum", 1, kMostQuorum));
        return out;
    }

    void check_escalation(Section& section, DeadlineOutcome outcome, bool has_groups) {
        if (outcome != DeadlineOutcome::kEscalate || has_groups) return;
        const auto node = section.find("on_deadline");
        problems_.add(
            node ? node->place() : section.node().place(), "on_deadline: escalate needs escalate_to"
        );
    }

    /// An ask that nobody could ever approve is a mistake.
    void check_quorum(Section& section, const AskTerms& terms) {
        if (terms.approvers.empty()) return;  // every approver of the org
        std::set<std::string> people;
        const auto add = [&](const std::vector<std::string>& names) {
            for (const auto& name : names) {
                const auto group = rules_.groups.find(name);
                if (group != rules_.groups.end())
                    people.insert(group->second.begin(), group->second.end());
                else
                    people.insert(name.substr(std::min(name.size(), kUser.size())));
            }
        };
        add(terms.approvers);
        if (terms.outcome == DeadlineOutcome::kEscalate) add(terms.escalate_to);
        if (people.size() >= terms.quorum) return;
        auto node = section.find("quorum");
        if (!node) node = section.find("approvers");
        problems_.add(
            node ? node->place() : section.node().place(),
            std::to_string(terms.quorum) + " people must approve, and only " +
                std::to_string(people.size()) + " may"
        );
    }

    void read_environment(Section& file) {
        const auto node = file.find("environment");
        if (!node) return;
        Section section(*node, problems_, {"drop", "allow", "dangerous"});
        rules_.drop = detail::read_variables(section, "drop", problems_);
        rules_.keep = detail::read_variables(section, "allow", problems_);
        rules_.deny_dangerous = section.choice("dangerous", {"ask", "deny"}) == 1;
    }

    void read_rules(Section& file) {
        const auto node = file.find("rules");
        if (!node) return;
        if (!node->is_list()) {
            problems_.add(node->place(), "'rules' must be a list of rules");
            return;
        }
        const auto items = node->items();
        if (items.size() > kMaxRules) {
            problems_.add(node->place(), "more than " + std::to_string(kMaxRules) + " rules");
            return;
        }
        for (const auto& item : items) read_rule(item);
    }

    void read_id(Section& section, Rule& rule) {
        rule.id = section.text("id");
        const auto node = section.find("id");
        if (!node) {
            problems_.add(section.node().place(), "a rule needs an 'id'");
        } else if (!rule.id.empty() && !is_id(rule.id)) {
            problems_.add(
                node->place(),
                "an id has letters, digits, '-', '_' and '.', 64 at most, not '" + rule.id + "'"
            );
        } else if (std::find(std::begin(kReserved), std::end(kReserved), rule.id) != std::end(kReserved)) {
            problems_.add(
                node->place(),
                "'" + rule.id + "' is what Berth's own decisions are called; choose another id"
            );
        } else if (!rule.id.empty() && !ids_.insert(rule.id).second) {
            problems_.add(node->place(), "there is another rule '" + rule.id + "'");
        }
    }

    void read_rule(const Node& node) {
        Rule rule;
        rule.where = node.place();
        Section section(
            node,
            problems_,
            {"id",
             "action",
             "reason",
             "match",
             "ask",
             "require",
             "execution_timeout",
             "allow_unusual"}
        );
        if (!node.is_map()) return;
        read_id(section, rule);
        if (!section.find("action"))
            problems_.add(node.place(), "a rule needs an 'action': allow, deny or ask");
        rule.action = action(section, "action");
        rule.reason = section.text("reason");
        if (rule.reason.find_first_of("\n\r") != std::string::npos)
            problems_.add(section.find("reason")->place(), "'reason' is one line");
        if (const auto match = section.find("match"))
            rule.match = detail::read_match(*match, problems_);
        rule.require = level(section);
        rule.execution_timeout_ms =
            section.duration_ms("execution_timeout", kMostExecution).value_or(0);
        rule.allow_unusual = section.boolean("allow_unusual");
        read_rule_ask(section, rule);
        rules_.rules.push_back(std::move(rule));
    }

    void read_rule_ask(Section& section, Rule& rule) {
        const auto node = section.find("ask");
        if (!node) return;
        Section ask(
            *node, problems_, {"timeout", "on_deadline", "approvers", "escalate_to", "quorum"}
        );
        if (rule.action != Action::kAsk)
            problems_.add(node->key_place(), "'ask' belongs to rules whose action is ask");
        rule.ask = read_ask(ask);
        const AskTerms terms = detail::terms_of(rules_.ask, rule.ask);
        check_escalation(ask, terms.outcome, !terms.escalate_to.empty());
        const bool differs = ask.find("quorum") || ask.find("approvers") ||
                             ask.find("escalate_to") || ask.find("on_deadline");
        if (differs) check_quorum(ask, terms);  // else it is the file's mistake
    }

    Problems problems_;
    Rules rules_;
    std::set<std::string> ids_;
};

}  // namespace

Result<std::shared_ptr<const Policy>> Policy::parse(std::string_view text, std::string_view name) {
    const auto bad = [&](std::size_t at, const char* what) {
        const std::string_view before = text.substr(0, at);
        const auto line = std::count(before.begin(), before.end(), '\n') + 1;
        const auto column = at - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
        return invalid(
            "bad_policy",
            std::string(name) + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " +
                what
        );
    };
    if (text.size() > kMaxPolicyBytes) return bad(0, "the file is larger than 700 KiB");
    if (const auto found = no_text(text)) return bad(found->first, found->second);
    const auto document = config::Document::parse(text, name);
    if (!document) return invalid("bad_policy", document.error().message);
    BERTH_ASSIGN(Rules rules, FileReader().read(document->root()));
    return State::make(std::move(rules));
}

}  // namespace berth::policy
