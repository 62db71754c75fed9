// SPDX-License-Identifier: Apache-2.0
// A policy as bytes: how it reaches programs that cannot read YAML.
#include <cstring>
#include <type_traits>

#include "policy/policy.hpp"
#include "policy/rule.hpp"

namespace berth::policy {
namespace {

// Changes with every change of what follows it.
constexpr std::string_view kHead = "berth-policy-1\n";
// A compiled policy is little larger than its text.
constexpr std::size_t kMostBytes = 8 * kMaxPolicyBytes;

class Writer {
public:
    static constexpr bool kReads = false;
    explicit Writer(std::string& out) : out_(out) {}
    bool ok() const { return true; }
    void number(std::int64_t& value) {
        char bytes[sizeof value];
        std::memcpy(bytes, &value, sizeof value);
        out_.append(bytes, sizeof bytes);
    }
    void text(std::string& value) {
        auto size = static_cast<std::int64_t>(value.size());
        number(size);
        out_ += value;
    }

private:
    std::string& out_;
};

class Reader {
public:
    static constexpr bool kReads = true;
    explicit Reader(std::string_view bytes) : rest_(bytes) {}
    bool ok() const { return ok_; }
    bool at_end() const { return rest_.empty(); }
    void number(std::int64_t& value) {
        if (!take(sizeof value)) return;
        std::memcpy(&value, piece_.data(), sizeof value);
    }
    void text(std::string& value) {
        std::int64_t size = 0;
        number(size);
        if (size < 0 || !take(static_cast<std::size_t>(size))) {
            ok_ = false;
            return;
        }
        value = piece_;
    }

private:
    bool take(std::size_t size) {
        ok_ = ok_ && size <= rest_.size();
        if (!ok_) return false;
        piece_ = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
    }
    std::string_view rest_;
    std::string_view piece_;
    bool ok_ = true;
};

// One description of the layout, walked by the writer and by the reader.
template <typename A>
void walk(A& a, std::string& value) {
    a.text(value);
}

template <typename A, typename T>
requires std::is_integral_v<T> || std::is_enum_v<T>
void walk(A& a, T& value) {
    auto wide = static_cast<std::int64_t>(value);
    a.number(wide);
    value = static_cast<T>(wide);
}

template <typename A>
void walk(A& a, detail::Regex& value) {
    std::string text = value.text();
    a.text(text);
    if constexpr (A::kReads) value = detail::Regex(std::move(text));
}

template <typename A, typename T>
void walk(A& a, std::optional<T>& value);
template <typename A, typename T>
void walk(A& a, std::vector<T>& values);
template <typename A, typename T>
void walk(A& a, std::map<std::string, T>& values);

template <typename A>
void walk(A& a, detail::Pattern& value) {
    walk(a, value.kind);
    walk(a, value.text);
    if (value.kind == detail::Pattern::Kind::kRegex) walk(a, value.regex);
}
template <typename A>
void walk(A& a, detail::Program& value) {
    walk(a, value.kind);
    walk(a, value.text);
}
template <typename A>
void walk(A& a, detail::Hours& value) {
    walk(a, value.from);
    walk(a, value.to);
}
template <typename A>
void walk(A& a, detail::Match& value) {
    walk(a, value.executable);
    walk(a, value.has_argv);
    walk(a, value.argv);
    walk(a, value.subcommand);
    walk(a, value.flags);
    walk(a, value.options_with_value);
    walk(a, value.options_without_value);
    walk(a, value.cwd);
    walk(a, value.user);
    walk(a, value.org);
    walk(a, value.profile);
    walk(a, value.has_agent);
    walk(a, value.agent);
    walk(a, value.env);
    walk(a, value.time.hours);
    walk(a, value.time.days);
    walk(a, value.time.offset);
    walk(a, value.time.set);
    walk(a, value.paths.inside);
    walk(a, value.paths.outside);
}
template <typename A>
void walk(A& a, detail::AskPart& value) {
    walk(a, value.timeout_ms);
    walk(a, value.outcome);
    walk(a, value.approvers);
    walk(a, value.escalate_to);
    walk(a, value.quorum);
}
template <typename A>
void walk(A& a, detail::Rule& value) {
    walk(a, value.id);
    walk(a, value.where);
    walk(a, value.action);
    walk(a, value.reason);
    walk(a, value.match);
    walk(a, value.ask);
    walk(a, value.require);
    walk(a, value.execution_timeout_ms);
    walk(a, value.allow_unusual);
}
template <typename A>
void walk(A& a, AskTerms& value) {
    auto timeout = static_cast<std::int64_t>(value.timeout.count());
    walk(a, timeout);
    value.timeout = milliseconds{timeout};
    walk(a, value.outcome);
    walk(a, value.approvers);
    walk(a, value.escalate_to);
    walk(a, value.quorum);
}
template <typename A>
void walk(A& a, detail::Rules& value) {
    walk(a, value.fallback);
    walk(a, value.require);
    walk(a, value.profiles);
    walk(a, value.ask);
    walk(a, value.groups);
    walk(a, value.drop);
    walk(a, value.keep);
    walk(a, value.deny_dangerous);
    walk(a, value.rules);
}

template <typename A, typename T>
void walk(A& a, std::optional<T>& value) {
    bool has = value.has_value();
    walk(a, has);
    if (!has) return;
    if (!value) value.emplace();
    walk(a, *value);
}

template <typename A, typename T>
void walk(A& a, std::vector<T>& values) {
    auto count = static_cast<std::int64_t>(values.size());
    a.number(count);
    for (std::int64_t i = 0; i < count && a.ok(); ++i) {  // grows only as far as there are bytes
        if constexpr (A::kReads) values.emplace_back();
        walk(a, values[static_cast<std::size_t>(i)]);
    }
}

template <typename A, typename T>
void walk(A& a, std::map<std::string, T>& values) {
    auto count = static_cast<std::int64_t>(values.size());
    a.number(count);
    if constexpr (A::kReads) {
        for (std::int64_t i = 0; i < count && a.ok(); ++i) {
            std::string key;
            a.text(key);
            walk(a, values[key]);
        }
    } else {
        for (auto& [key, value] : values) {
            std::string name = key;
            a.text(name);
            walk(a, value);
        }
    }
}

template <typename E>
bool within(E value, E last) {
    return static_cast<std::int64_t>(value) >= 0 &&
           static_cast<std::int64_t>(value) <= static_cast<std::int64_t>(last);
}

/// Numbers that mean something; everything else of the data is text.
bool is_sound(const detail::Rules& rules) {
    if (!within(rules.fallback, Action::kAsk) || !within(rules.require, Level::kEnforce))
        return false;
    if (!within(rules.ask.outcome, DeadlineOutcome::kEscalate)) return false;
    for (const auto& [name, level] : rules.profiles) {
        if (!within(level, Level::kEnforce)) return false;
    }
    for (const auto& rule : rules.rules) {
        if (!within(rule.action, Action::kAsk) || !within(rule.require, Level::kEnforce))
            return false;
        if (rule.ask.outcome && !within(*rule.ask.outcome, DeadlineOutcome::kEscalate))
            return false;
        if (rule.match.subcommand.size() > detail::kMaxSubcommand) return false;
        for (const auto& program : rule.match.executable) {
            if (!within(program.kind, detail::Program::Kind::kGlob)) return false;
        }
        for (const auto& pattern : rule.match.argv) {
            if (!within(pattern.kind, detail::Pattern::Kind::kRest)) return false;
        }
    }
    return rules.rules.size() <= kMaxRules;
}

}  // namespace

std::string Policy::compiled() const {
    std::string out(kHead);
    Writer writer(out);
    detail::Rules copy = state_->data;  // the walk is one for both ways, so it takes no const
    walk(writer, copy);
    return out;
}

Result<std::shared_ptr<const Policy>> Policy::load(std::string_view bytes) {
    const Error bad = invalid("bad_policy", "these bytes are no compiled policy of this version");
    if (bytes.substr(0, kHead.size()) != kHead || bytes.size() > kMostBytes) return bad;
    Reader reader(bytes.substr(kHead.size()));
    detail::Rules data;
    walk(reader, data);
    if (!reader.ok() || !reader.at_end() || !is_sound(data)) return bad;
    return State::make(std::move(data));
}

}  // namespace berth::policy
