// SPDX-License-Identifier: Apache-2.0
// Reads what a rule matches, and refuses patterns that could never mean what was written.
#include "policy/match_reader.hpp"

#include <algorithm>
#include <array>

#include "core/text.hpp"
#include "policy/glob.hpp"

namespace berth::policy::detail {
namespace {

using config::Node;

// Patterns longer than a path can be are mistakes.
constexpr std::size_t kMaxPattern = 4'096;

bool check_glob(const Node& node, const std::string& text, Problems& problems) {
    std::string problem = glob_problem(text);
    if (text.size() > kMaxPattern) problem = "a pattern of more than 4096 bytes";
    if (problem.empty()) return true;
    problems.add(node.place(), "bad pattern '" + clipped(text, 60) + "': " + problem);
    return false;
}

/// A list of wildcard patterns.
std::vector<std::string> globs(Section& section, std::string_view key, Problems& problems) {
    std::vector<std::string> out;
    const auto node = section.find(key);
    if (!node) return out;
    for (const auto& item : texts_of(*node, problems, "'" + std::string(key) + "'")) {
        out.push_back(text_of(item));
        check_glob(item, out.back(), problems);
    }
    return out;
}

/// The kernel's paths have no empty part, no "." and no "..".
void check_parts(const Node& node, std::string_view path, Problems& problems) {
    std::size_t at = path.starts_with('/') ? 1 : 0;
    for (bool more = path.size() > at; more;) {
        const auto slash = path.find('/', at);
        more = slash != std::string_view::npos;
        const std::string_view part = path.substr(at, more ? slash - at : slash);
        at = slash + 1;
        if (!part.empty() && part != "." && part != "..") continue;
        problems.add(
            node.place(),
            "'" + clipped(path, 60) +
                "' matches nothing: write the path as the kernel has it, without '//', '.' and '..'"
        );
        return;
    }
}

std::string without_end(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

/// A list of patterns of absolute paths.
std::vector<std::string> paths(Section& section, std::string_view key, Problems& problems) {
    auto out = globs(section, key, problems);
    const auto node = section.find(key);
    if (!node) return out;
    for (const auto& item : texts_of(*node, problems, key)) {
        const std::string text = text_of(item);
        if (!text.empty() && text[0] != '/' && text.substr(0, 2) != "**")
            problems.add(
                item.place(),
                "'" + std::string(key) +
                    "' takes absolute paths like /workspace or /home/*/src, not '" + text + "'"
            );
        else
            check_parts(item, without_end(text), problems);
    }
    for (auto& path : out) path = without_end(path);
    return out;
}

Program read_program(const Node& node, Problems& problems) {
    Program out;
    out.text = text_of(node);
    check_glob(node, out.text, problems);
    const bool path = out.text.find('/') != std::string::npos;
    if (is_glob(out.text)) {
        out.kind = Program::Kind::kGlob;
        // A name with wildcards is one of any folder.
        if (!path) out.text = "**/" + out.text;
    } else {
        out.kind = path ? Program::Kind::kPath : Program::Kind::kName;
    }
    if (path && out.text[0] != '/' && out.text.substr(0, 2) != "**")
        problems.add(
            node.place(),
            "'executable' takes a name like git, an absolute path or a pattern like /opt/**, not "
            "'" +
                out.text + "'"
        );
    else if (path)
        check_parts(node, out.text, problems);
    return out;
}

Pattern read_pattern_map(const Node& node, Problems& problems) {
    Pattern out;
    Section section(node, problems, {"exact", "glob", "regex"});
    const auto entries = node.entries();
    if (entries.size() != 1) {
        problems.add(node.place(), "a pattern of 'argv' has one of exact, glob and regex");
        return out;
    }
    const auto& [key, value] = entries.front();
    out.text = text_of(value);
    if (!value.is_scalar()) {
        problems.add(value.place(), "'" + key + "' must be a text");
    } else if (key == "glob") {
        out.kind = Pattern::Kind::kGlob;
        check_glob(value, out.text, problems);
    } else if (key == "regex") {
        out.kind = Pattern::Kind::kRegex;
        out.regex = Regex(out.text);
        const std::string problem = out.regex.problem();
        if (!problem.empty())
            problems.add(
                value.place(), "bad regular expression '" + clipped(out.text, 60) + "': " + problem
            );
    }
    return out;
}

void read_argv(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("argv");
    if (!node) return;
    match.has_argv = true;
    if (!node->is_list()) {
        problems.add(
            node->place(),
            "'argv' must be a list of arguments after the program's name, like [push, \"...\"]"
        );
        return;
    }
    for (const auto& item : node->items()) {
        Pattern pattern;
        if (item.is_map()) {
            pattern = read_pattern_map(item, problems);
        } else if (item.is_scalar()) {
            pattern.text = text_of(item);
            if (pattern.text == "...") pattern.kind = Pattern::Kind::kRest;
        } else {
            problems.add(item.place(), "an argument is a text, {glob: …}, {regex: …} or \"...\"");
        }
        match.argv.push_back(std::move(pattern));
    }
}

void read_subcommand(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("subcommand");
    if (!node) return;
    for (const auto& item : texts_of(*node, problems, "'subcommand'")) {
        const std::string text = text_of(item);
        for (const auto word : split(text, ' ')) {
            if (!word.empty()) match.subcommand.emplace_back(word);
            if (!word.empty() && word[0] == '-')
                problems.add(item.place(), "'subcommand' takes words; options belong to 'flags'");
        }
    }
    if (match.subcommand.empty() || match.subcommand.size() > kMaxSubcommand)
        problems.add(node->place(), "'subcommand' takes from 1 to 8 words");
}

bool is_flag(std::string_view text) {
    return text.size() > 1 && text[0] == '-' && text != "--" &&
           text.find_first_of("= ") == std::string_view::npos;
}

/// "-f|--force" -> its spellings.
void read_flags(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("flags");
    if (!node) return;
    for (const auto& item : texts_of(*node, problems, "'flags'")) {
        std::vector<std::string> spellings;
        const std::string text = text_of(item);
        for (const auto spelling : split(text, '|')) {
            spellings.emplace_back(spelling);
            if (!is_flag(spelling))
                problems.add(
                    item.place(),
                    "a flag is like --force, or its spellings like \"-f|--force\", not '" + text +
                        "'"
                );
        }
        match.flags.push_back(std::move(spellings));
    }
}

std::vector<std::string> read_options(Section& section, std::string_view key, Problems& problems) {
    std::vector<std::string> out = section.list(key);
    for (const auto& option : out) {
        if (!is_flag(option))
            problems.add(
                section.find(key)->place(),
                "'" + std::string(key) + "' takes options like -C or --git-dir, not '" + option +
                    "'"
            );
    }
    return out;
}

/// "HH:MM", 24:00 among them; -1 for anything else.
int minutes_of(std::string_view text) {
    const auto digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9'; };
    if (text.size() != 5 || text[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4))
        return -1;
    const int hours = (text[0] - '0') * 10 + text[1] - '0';
    const int minutes = (text[3] - '0') * 10 + text[4] - '0';
    const int all = hours * 60 + minutes;
    return minutes < 60 && all <= 24 * 60 ? all : -1;
}

void read_hours(Section& section, Times& times, Problems& problems) {
    const auto node = section.find("hours");
    if (!node) return;
    for (const auto& item : texts_of(*node, problems, "'hours'")) {
        const std::string text = text_of(item);
        Hours hours{-1, -1};
        if (text.size() == 11 && text[5] == '-') {
            hours.from = minutes_of(std::string_view(text).substr(0, 5));
            hours.to = minutes_of(std::string_view(text).substr(6));
        }
        if (hours.from < 0 || hours.to < 0 || hours.from == hours.to)
            problems.add(
                item.place(),
                "hours are like \"08:00-18:30\" or \"22:00-06:00\", not '" + text + "'"
            );
        times.hours.push_back(hours);
    }
}

void read_days(Section& section, Times& times, Problems& problems) {
    static constexpr std::array<std::string_view, 7> kDays = {
        "mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    const auto node = section.find("days");
    if (!node) return;
    for (const auto& item : texts_of(*node, problems, "'days'")) {
        const auto* found = std::find(kDays.begin(), kDays.end(), text_of(item));
        if (found == kDays.end()) {
            problems.add(
                item.place(),
                "days are mon, tue, wed, thu, fri, sat and sun, not '" + text_of(item) + "'"
            );
        } else {
            times.days |= 1U << static_cast<unsigned>(found - kDays.begin());
        }
    }
}

void read_timezone(Section& section, Times& times, Problems& problems) {
    const auto node = section.find("timezone");
    if (!node) return;
    const std::string text = text_of(*node);
    if (text == "UTC") return;
    const int minutes = text.size() == 6 ? minutes_of(std::string_view(text).substr(1)) : -1;
    if (minutes < 0 || minutes > 14 * 60 || (text[0] != '+' && text[0] != '-')) {
        problems.add(
            node->place(),
            "'timezone' is UTC or an offset from it like \"+02:00\", not '" + text + "'"
        );
        return;
    }
    times.offset = text[0] == '-' ? -minutes : minutes;
}

void read_time(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("time");
    if (!node) return;
    Section time(*node, problems, {"hours", "days", "timezone"});
    match.time.set = true;
    read_hours(time, match.time, problems);
    read_days(time, match.time, problems);
    read_timezone(time, match.time, problems);
    if (!time.find("hours") && !time.find("days"))
        problems.add(node->place(), "'time' needs hours or days");
}

void read_paths(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("paths");
    if (!node) return;
    Section section_of_paths(*node, problems, {"inside", "outside"});
    match.paths.inside = paths(section_of_paths, "inside", problems);
    match.paths.outside = paths(section_of_paths, "outside", problems);
    if (match.paths.inside.empty() == match.paths.outside.empty())
        problems.add(node->place(), "'paths' has one of inside and outside");
}

void read_agent(Section& section, Match& match, Problems& problems) {
    const auto node = section.find("agent");
    if (!node) return;
    match.has_agent = true;
    for (const auto& item : texts_of(*node, problems, "'agent'")) {
        match.agent.push_back(text_of(item));
        if (!match.agent.back().empty()) check_glob(item, match.agent.back(), problems);
    }
}

}  // namespace

std::vector<std::string> read_variables(
    Section& section, std::string_view key, Problems& problems
) {
    std::vector<std::string> out = section.list(key);
    for (const auto& name : out) {
        const auto star = name.find('*');
        if (name.find('=') != std::string::npos ||
            (star != std::string::npos && star + 1 != name.size()))
            problems.add(
                section.find(key)->place(),
                "'" + std::string(key) +
                    "' takes names of variables; '*' may stand at the end, as in LD_*, not '" +
                    name + "'"
            );
    }
    return out;
}

Match read_match(const Node& node, Problems& problems) {
    Match match;
    Section section(
        node,
        problems,
        {"executable",
         "argv",
         "subcommand",
         "flags",
         "options_with_value",
         "options_without_value",
         "cwd",
         "user",
         "org",
         "profile",
         "agent",
         "time",
         "env",
         "paths"}
    );
    if (const auto executable = section.find("executable")) {
        for (const auto& item : texts_of(*executable, problems, "'executable'"))
            match.executable.push_back(read_program(item, problems));
    }
    read_argv(section, match, problems);
    read_subcommand(section, match, problems);
    read_flags(section, match, problems);
    match.options_with_value = read_options(section, "options_with_value", problems);
    match.options_without_value = read_options(section, "options_without_value", problems);
    match.cwd = paths(section, "cwd", problems);
    match.user = globs(section, "user", problems);
    match.org = globs(section, "org", problems);
    match.profile = globs(section, "profile", problems);
    read_agent(section, match, problems);
    read_time(section, match, problems);
    match.env = read_variables(section, "env", problems);
    read_paths(section, match, problems);
    return match;
}

}  // namespace berth::policy::detail
