// SPDX-License-Identifier: Apache-2.0
// Longest common subsequence of lines; texts too different for its table are shown as one change.
#include "cli/text_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace berth::cli {
namespace {

constexpr std::size_t kContext = 3;
// Two files of 3,000 changed lines; more is another file.
constexpr std::size_t kMostCells = 9'000'000;

using Lines = std::vector<std::string_view>;

struct Edit {
    char kind;  // ' ', '-' or '+'
    std::string_view line;
};

Lines lines_of(std::string_view text) {
    Lines out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        out.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

void middle(
    const Lines& a, const Lines& b, std::size_t head, std::size_t tail, std::vector<Edit>& out
) {
    const std::size_t rows = a.size() - head - tail;
    const std::size_t columns = b.size() - head - tail;
    std::size_t i = 0;
    std::size_t j = 0;
    if (rows > 0 && columns > 0 && rows <= kMostCells / columns) {
        // common[i][j]: lines in common from row i and column j on
        std::vector<std::uint32_t> common((rows + 1) * (columns + 1), 0);
        const auto at = [&](std::size_t r, std::size_t c) -> std::uint32_t& {
            return common[r * (columns + 1) + c];
        };
        for (std::size_t r = rows; r-- > 0;) {
            for (std::size_t c = columns; c-- > 0;)
                at(r, c) = a[head + r] == b[head + c] ? at(r + 1, c + 1) + 1
                                                      : std::max(at(r + 1, c), at(r, c + 1));
        }
        while (i < rows && j < columns) {
            if (a[head + i] == b[head + j]) {
                out.push_back({' ', a[head + i++]});
                ++j;
            } else if (at(i + 1, j) >= at(i, j + 1)) {
                out.push_back({'-', a[head + i++]});
            } else {
                out.push_back({'+', b[head + j++]});
            }
        }
    }
    for (; i < rows; ++i) out.push_back({'-', a[head + i]});
    for (; j < columns; ++j) out.push_back({'+', b[head + j]});
}

std::vector<Edit> edits_of(const Lines& a, const Lines& b) {
    const std::size_t least = std::min(a.size(), b.size());
    std::size_t head = 0;
    while (head < least && a[head] == b[head]) ++head;
    std::size_t tail = 0;
    while (tail < least - head && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) ++tail;
    std::vector<Edit> out;
    for (std::size_t i = 0; i < head; ++i) out.push_back({' ', a[i]});
    middle(a, b, head, tail, out);
    for (std::size_t i = a.size() - tail; i < a.size(); ++i) out.push_back({' ', a[i]});
    return out;
}

/// "12,3", or the line before where there are none.
std::string range(std::size_t first, std::size_t count) {
    return fmt::format("{},{}", count == 0 ? first : first + 1, count);
}

}  // namespace

std::string unified_diff(
    std::string_view before,
    std::string_view after,
    std::string_view before_name,
    std::string_view after_name
) {
    if (before == after) return {};
    const auto edits = edits_of(lines_of(before), lines_of(after));
    std::string out = fmt::format("--- {}\n+++ {}\n", before_name, after_name);
    std::size_t old_line = 0;
    std::size_t new_line = 0;
    for (std::size_t at = 0; at < edits.size();) {
        // The next change, and how far the hunk around it goes.
        std::size_t change = at;
        while (change < edits.size() && edits[change].kind == ' ') ++change;
        if (change == edits.size()) break;
        const std::size_t begin = std::max(at, change - std::min(change, kContext));
        std::size_t end = change;
        for (std::size_t i = change; i < edits.size() && i <= end + 2 * kContext; ++i) {
            if (edits[i].kind != ' ') end = i;
        }
        end = std::min(end + kContext + 1, edits.size());
        old_line += begin - at;
        new_line += begin - at;
        std::string body;
        std::size_t removed = 0;
        std::size_t added = 0;
        for (std::size_t i = begin; i < end; ++i) {
            body += fmt::format("{}{}\n", edits[i].kind, edits[i].line);
            removed += edits[i].kind != '+' ? 1 : 0;
            added += edits[i].kind != '-' ? 1 : 0;
        }
        out += fmt::format(
            "@@ -{} +{} @@\n{}", range(old_line, removed), range(new_line, added), body
        );
        old_line += removed;
        new_line += added;
        at = end;
    }
    return out;
}

}  // namespace berth::cli
