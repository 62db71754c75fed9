// SPDX-License-Identifier: Apache-2.0
// Wildcards by backtracking to the last star only, so that no pattern takes exponential time.
#include "policy/glob.hpp"

namespace berth::policy {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

/// Index after the set that begins at pattern[at] == '['; kNowhere where it does not end.
std::size_t end_of_set(std::string_view pattern, std::size_t at) {
    std::size_t i = at + 1;
    if (i < pattern.size() && pattern[i] == '!') ++i;
    if (i < pattern.size() && pattern[i] == ']') ++i;  // a ']' that comes first is one of the set
    while (i < pattern.size() && pattern[i] != ']') ++i;
    return i < pattern.size() ? i + 1 : kNowhere;
}

bool in_set(std::string_view set, char c) {  // without its brackets
    const auto value = static_cast<unsigned char>(c);
    const bool negated = !set.empty() && set[0] == '!';
    if (negated) set.remove_prefix(1);
    bool found = false;
    for (std::size_t i = 0; i < set.size(); ++i) {
        const auto low = static_cast<unsigned char>(set[i]);
        if (i + 2 < set.size() && set[i + 1] == '-') {
            found = found || (low <= value && value <= static_cast<unsigned char>(set[i + 2]));
            i += 2;
        } else {
            found = found || low == value;
        }
    }
    return found != negated;
}

/// One unit of the pattern against one byte; sets `next` to the unit after it.
bool unit_matches(std::string_view pattern, std::size_t at, char c, bool path, std::size_t& next) {
    const char unit = pattern[at];
    if (unit == '?') {
        next = at + 1;
        return !path || c != '/';
    }
    if (unit == '[') {
        const std::size_t end = end_of_set(pattern, at);
        if (end != kNowhere) {
            next = end;
            return (!path || c != '/') && in_set(pattern.substr(at + 1, end - at - 2), c);
        }
    }
    if (unit == '\\' && at + 1 < pattern.size()) {
        next = at + 2;
        return pattern[at + 1] == c;
    }
    next = at + 1;
    return unit == c;
}

/// Where to go on after a mismatch: the star takes one byte more.
struct Star {
    std::size_t pattern = kNowhere;
    std::size_t text = 0;
};

bool match(std::string_view pattern, std::string_view text, bool path) {
    std::size_t p = 0;
    std::size_t t = 0;
    Star one;   // '*': in a path it stops at '/'
    Star deep;  // '**'
    const auto back = [&](Star& star) {
        if (star.pattern == kNowhere || star.text >= text.size()) return false;
        if (&star == &one && path && text[star.text] == '/') return false;
        p = star.pattern;
        t = ++star.text;
        return true;
    };
    while (true) {
        if (p < pattern.size() && pattern[p] == '*') {
            std::size_t stars = p;
            while (stars < pattern.size() && pattern[stars] == '*') ++stars;
            const bool crosses = path && stars - p > 1;
            p = stars;
            (crosses ? deep : one) = {p, t};
            if (crosses) one = {};
            continue;
        }
        std::size_t next = 0;
        if (t < text.size() && p < pattern.size() &&
            unit_matches(pattern, p, text[t], path, next)) {
            p = next;
            ++t;
            continue;
        }
        if (t == text.size() && p == pattern.size()) return true;
        if (back(one)) continue;
        one = {};
        if (!back(deep)) return false;
    }
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
    return match(pattern, text, false);
}

bool path_glob_matches(std::string_view pattern, std::string_view path) {
    constexpr std::string_view kBelow = "/**";
    if (match(pattern, path, true)) return true;
    return pattern.size() > kBelow.size() &&
           pattern.substr(pattern.size() - kBelow.size()) == kBelow &&
           match(pattern.substr(0, pattern.size() - kBelow.size()), path, true);
}

bool is_glob(std::string_view pattern) {
    return pattern.find_first_of("*?[\\") != std::string_view::npos;
}

std::string glob_problem(std::string_view pattern) {
    if (pattern.empty()) return "an empty pattern";
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\') {
            if (++i == pattern.size()) return "a '\\' at the end";
        } else if (pattern[i] == '[') {
            const std::size_t end = end_of_set(pattern, i);
            if (end == kNowhere) return "a '[' without its ']'";
            i = end - 1;
        }
    }
    return {};
}

}  // namespace berth::policy
