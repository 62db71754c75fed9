// SPDX-License-Identifier: Apache-2.0
// The criteria of a rule, cheapest first; all of them have to hold.
#include "policy/match.hpp"

#include <algorithm>
#include <functional>

#include "policy/arguments.hpp"
#include "policy/glob.hpp"

namespace berth::policy::detail {
namespace {

bool any_glob(const std::vector<std::string>& patterns, std::string_view text) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
        return glob_matches(pattern, text);
    });
}

bool any_path_glob(const std::vector<std::string>& patterns, std::string_view path) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
        return path_glob_matches(pattern, path);
    });
}

bool program_matches(const Program& program, std::string_view path, std::string_view name) {
    switch (program.kind) {
        case Program::Kind::kPath: return program.text == path;
        case Program::Kind::kName: return program.text == name;
        case Program::Kind::kGlob: break;
    }
    return path_glob_matches(program.text, path);
}

bool any_program(const std::vector<Program>& programs, std::string_view path) {
    const std::string_view name = basename(path);
    return std::any_of(programs.begin(), programs.end(), [&](const Program& program) {
        return program_matches(program, path, name);
    });
}

std::string list(const std::vector<std::string>& items) {
    std::string out;
    for (const auto& item : items) out += (out.empty() ? "" : ", ") + item;
    return out;
}

std::string programs(const std::vector<Program>& items) {
    std::string out;
    for (const auto& item : items) out += (out.empty() ? "" : ", ") + item.text;
    return out;
}

/// Says `text()` to who asks; always false, so that a criterion ends with it.
template <typename Text>
bool no(std::string* why, Text text) {
    if (why != nullptr) *why = text();
    return false;
}

/// Where a run cannot write.
bool is_of_system(std::string_view path) {
    return path.starts_with("/usr/") || path.starts_with("/bin/") || path.starts_with("/opt/");
}

/// Where the script stands among the arguments. The kernel puts it behind the interpreter and its
/// one option, by a link's name or its own.
ScriptWord script_in(const Plan& plan) {
    if (plan.script.path.empty()) return {};
    ScriptWord word = script_word(plan.executable.path, plan.argv);
    const auto named = [&](std::size_t at) {
        return plan.argv.size() > at && basename(plan.argv[at]) == basename(plan.script.path);
    };
    const bool follows = plan.argv.size() > 1 &&
                         (plan.argv[1].starts_with('-') || basename(plan.executable.path) == "env");
    if (named(1) || (follows && named(2))) {
        word.at = named(1) ? 1 : 2;
        word.from = 0;
    }
    return word;
}

std::int64_t floor_div(std::int64_t value, std::int64_t by) {
    return value / by - (value % by < 0 ? 1 : 0);
}

void append_part(std::string& out, std::string_view part) {
    if (part.empty() || part == ".") return;
    if (part == "..") {
        out.resize(out.empty() ? 0 : out.rfind('/'));
        return;
    }
    out += '/';
    out += part;
}

void append_path(std::string& out, std::string_view path) {
    while (!path.empty()) {
        const auto slash = path.find('/');
        append_part(out, path.substr(0, slash));
        path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    }
}

}  // namespace

bool lies_in(
    std::string_view path, std::string_view folder, const std::vector<std::string>& trees
) {
    std::string whole;
    if (path.empty() || path[0] != '/') append_path(whole, folder);
    append_path(whole, path);
    if (whole.empty()) whole = "/";
    return std::any_of(trees.begin(), trees.end(), [&](const std::string& tree) {
        return tree == "/" || path_glob_matches(tree, whole) ||
               path_glob_matches(tree + "/**", whole);
    });
}

bool time_matches(const Times& times, WallTime now) {
    if (!times.set) return true;
    constexpr std::int64_t kDay = 24 * 60;
    const std::int64_t minutes =
        floor_div(to_unix_micros(now), 60'000'000) + static_cast<std::int64_t>(times.offset);
    const std::int64_t day = floor_div(minutes, kDay);
    const std::int64_t minute = minutes - day * kDay;
    const auto on = [&](std::int64_t which) {
        // The epoch's first day was a Thursday.
        const std::int64_t weekday = (which + 3) - floor_div(which + 3, 7) * 7;
        return times.days == 0 || (times.days & (1U << static_cast<unsigned>(weekday))) != 0;
    };
    if (times.hours.empty()) return on(day);
    return std::any_of(times.hours.begin(), times.hours.end(), [&](const Hours& hours) {
        if (hours.from < hours.to) return on(day) && minute >= hours.from && minute < hours.to;
        // Over midnight: what is after it belongs to the day on which it began.
        return (minute >= hours.from && on(day)) || (minute < hours.to && on(day - 1));
    });
}

bool speaks_of(const Match& match, const Origin& origin, std::string* why) {
    const auto differs =
        [&](const std::vector<std::string>& wanted, std::string_view name, const std::string& is) {
            if (wanted.empty() || any_glob(wanted, is)) return false;
            no(why, [&] {
                return "the " + std::string(name) + " is '" + is + "', not " + list(wanted);
            });
            return true;
        };
    if (differs(match.user, "user", origin.user)) return false;
    if (differs(match.org, "org", origin.org)) return false;
    if (differs(match.profile, "profile", origin.profile)) return false;
    if (match.has_agent) {
        const bool person = origin.agent.empty();
        const bool found =
            std::any_of(match.agent.begin(), match.agent.end(), [&](const auto& one) {
                return person ? one.empty() : !one.empty() && glob_matches(one, origin.agent);
            });
        if (!found) {
            return no(why, [&] {
                return person ? std::string("a person asks, not an agent")
                              : "the agent is '" + origin.agent + "', not " + list(match.agent);
            });
        }
    }
    return true;
}

Subject::Subject(const Plan& plan, const Origin& origin, WallTime now)
    : plan_(plan), origin_(origin), now_(now), script_(script_in(plan)) {
    find_applet(plan.executable.path, plan.argv, applet_, applet_first_);
}

std::vector<std::string_view> Subject::names() const {
    std::vector<std::string_view> out{basename(plan_.executable.path)};
    if (!plan_.script.path.empty()) out.push_back(basename(plan_.script.path));
    for (const auto& path : plan_.more_scripts) out.push_back(basename(path));
    for (const auto file : files_called()) out.push_back(basename(file));
    if (!applet_.empty()) out.push_back(applet_);
    for (const std::size_t at : applets_started()) out.push_back(basename(plan_.argv[at]));
    return out;
}

/// What is executed, as it was called.
std::vector<std::string_view> Subject::files_called() const {
    std::vector<std::string_view> out;
    const auto add = [&](const FileWord& word) {
        if (word.at > 0) out.push_back(std::string_view(plan_.argv[word.at]).substr(word.from));
    };
    add(script_);
    for (const FileWord& word : script_.others) add(word);
    return out;
}

std::uint32_t hash_of_word(std::string_view word) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>()(word)) | 1U;
}

std::uint32_t word_of(const Match& match) {
    // The last word is the rarest: "push origin" differs from "push backup" there.
    for (auto pattern = match.argv.rbegin(); pattern != match.argv.rend(); ++pattern) {
        if (pattern->kind == Pattern::Kind::kExact) return hash_of_word(pattern->text);
    }
    return match.subcommand.empty() ? 0 : hash_of_word(match.subcommand.back());
}

bool Subject::may_hold(std::uint32_t word) {
    if (word == 0) return true;
    if (!words_) {
        words_.emplace();
        for (const auto& one : plan_.argv) words_->set((hash_of_word(one) >> 1U) % words_->size());
    }
    return words_->test((word >> 1U) % words_->size());
}

/// Words that may be another tool of the same program, which it becomes without an exec
/// (`busybox xargs rm`).
std::vector<std::size_t> Subject::applets_started() const {
    static constexpr std::string_view kShowing[] = {"ed", "less", "more", "vi"};
    std::vector<std::size_t> out;
    if (applet_.empty() || !is_wrapper(applet_) || is_interpreter(applet_) ||
        std::find(std::begin(kShowing), std::end(kShowing), applet_) != std::end(kShowing))
        return out;
    for (std::size_t at = applet_first_; at < plan_.argv.size(); ++at) {
        const bool exec = plan_.argv[at - 1].starts_with("-exec") || plan_.argv[at - 1] == "-ok";
        if (applet_ != "find" || exec) out.push_back(at);
    }
    return out;
}

/// Of a program of many tools: by its name, and as if it were a file beside it.
bool Subject::is_applet(const Rule& rule, std::string_view name) const {
    if (any_program(rule.match.executable, name)) return true;
    return rule.action != Action::kAllow &&
           any_program(
               rule.match.executable, lexical_path(plan_.executable.path, "../" + std::string(name))
           );
}

/// Of its files one that is called so, or that another name than the script's own leads to.
bool Subject::executes_any(const std::vector<Program>& wanted) const {
    const auto called = files_called();
    const auto& more = plan_.more_scripts;
    return std::any_of(
               called.begin(),
               called.end(),
               [&](const auto file) { return any_program(wanted, lexical_path(plan_.cwd, file)); }
           ) ||
           std::any_of(more.begin(), more.end(), [&](const auto& path) {
               return any_program(wanted, path);
           });
}

bool Subject::check_program(const Rule& rule, std::size_t& first, std::string* why) const {
    const auto& wanted = rule.match.executable;
    first = 1;
    if (wanted.empty() || any_program(wanted, plan_.executable.path)) return true;
    if (!applet_.empty() && is_applet(rule, applet_)) {
        first = applet_first_;
        if (rule.action != Action::kAllow || is_of_system(plan_.executable.path)) return true;
    }
    if (rule.action != Action::kAllow) {
        for (const std::size_t at : applets_started()) {
            if (!is_applet(rule, basename(plan_.argv[at]))) continue;
            first = at + 1;
            return true;
        }
    }
    if (!plan_.script.path.empty()) {
        const bool allows = rule.action == Action::kAllow;
        if (any_program(wanted, plan_.script.path) || (!allows && executes_any(wanted))) {
            first = script_.at + 1;
            // Only an interpreter of the system is believed, and one that is told nothing else.
            if (!allows || (script_.alone && is_of_system(plan_.executable.path))) return true;
            return no(why, [&] {
                return "the script is " + plan_.script.path + ", but " + plan_.executable.path +
                       " is none of the system's interpreters, or is told more than the script";
            });
        }
    }
    return no(why, [&] {
        return "the executable is " + plan_.executable.path + ", not " + programs(wanted);
    });
}

bool Subject::check_origin(const Match& match, std::string* why) const {
    if (!speaks_of(match, origin_, why)) return false;
    if (!match.cwd.empty() && !any_path_glob(match.cwd, plan_.cwd))
        return no(why, [&] { return "the folder is " + plan_.cwd + ", not " + list(match.cwd); });
    if (!time_matches(match.time, now_)) return no(why, [] { return "it is another time"; });
    if (match.env.empty()) return true;
    const bool sets = std::any_of(plan_.env.begin(), plan_.env.end(), [&](const EnvChange& change) {
        return !change.removed && name_matches(match.env, change.name);
    });
    return sets || no(why, [&] { return "it sets none of " + list(match.env); });
}

bool Subject::check_arguments(const Rule& rule, std::size_t first, std::string* why) {
    const Match& match = rule.match;
    const bool doubt = rule.action != Action::kAllow;
    if (!match.subcommand.empty() && !subcommand_matches(match, plan_.argv, first, doubt))
        return no(why, [&] { return "the subcommand is not '" + list(match.subcommand) + "'"; });
    for (const auto& spellings : match.flags) {
        if (!flag_given(match, spellings, plan_.argv, first, doubt))
            return no(why, [&] { return "the flag " + list(spellings) + " is not given"; });
    }
    if (match.has_argv && !patterns_match(match.argv, plan_.argv, first, doubt))
        return no(why, [] { return "the arguments do not fit argv"; });
    return true;
}

bool Subject::check_paths(const Rule& rule, std::size_t first, std::string* why) const {
    const Paths& wanted = rule.match.paths;
    if (wanted.inside.empty() && wanted.outside.empty()) return true;
    // What only may be a path counts where that makes the rule let less pass.
    const bool allows = rule.action == Action::kAllow;
    const bool doubt = allows == wanted.outside.empty();
    bool after_dashes = false;
    bool met_outside = wanted.outside.empty();
    for (std::size_t i = first; i < plan_.argv.size(); ++i) {
        if (plan_.argv[i] == "--") {
            // Behind an option it may be that one's value.
            after_dashes = after_dashes || i == first || !plan_.argv[i - 1].starts_with('-');
            continue;
        }
        for (const auto path : paths_of(rule.match, plan_.argv[i], after_dashes, doubt)) {
            if (!wanted.inside.empty() && !lies_in(path, plan_.cwd, wanted.inside)) {
                return no(why, [&] {
                    return "'" + std::string(path) + "' lies outside of " + list(wanted.inside);
                });
            }
            met_outside = met_outside || !lies_in(path, plan_.cwd, wanted.outside);
        }
    }
    return met_outside ||
           no(why, [&] { return "no argument lies outside of " + list(wanted.outside); });
}

bool Subject::check(const Rule& rule, std::string* why) {
    std::size_t first = 1;
    if (!check_program(rule, first, why) || !check_origin(rule.match, why) ||
        !check_arguments(rule, first, why) || !check_paths(rule, first, why))
        return false;
    if (why != nullptr) *why = "every criterion holds";
    return true;
}

}  // namespace berth::policy::detail
