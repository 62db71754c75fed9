// SPDX-License-Identifier: Apache-2.0
// Reads a command line by the table.
#include "cli/args.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace berth::cli {
namespace {

const Command* find_command(std::string_view name) {
    for (const Command& command : commands()) {
        if (command.name == name) return &command;
    }
    return nullptr;
}

const Flag* find_flag(const Command& command, std::string_view name, char letter) {
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list) {
            if (name.empty() ? (letter != '\0' && flag.letter == letter) : flag.name == name)
                return &flag;
        }
    }
    return nullptr;
}

Error usage(const Command* command, const std::string& what) {
    const std::string help =
        command == nullptr ? "berth help" : fmt::format("berth help {}", command->name);
    return invalid("usage", fmt::format("{}; see '{}'", what, help));
}

Error unknown_flag(const Command& command, std::string_view word) {
    std::vector<std::string_view> known;
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list) known.push_back(flag.name);
    }
    const std::string near = nearest(word.substr(word.find_first_not_of('-')), known);
    return usage(
        &command,
        fmt::format(
            "berth {} has no flag '{}'{}",
            command.name,
            word,
            near.empty() ? "" : fmt::format("; did you mean '--{}'?", near)
        )
    );
}

struct Parser {
    const std::vector<std::string>& words;
    Arguments out;
    std::size_t at = 0;

    Result<void> take_flag(const std::string& word) {
        const bool is_long = word.starts_with("--");
        const auto equals = is_long ? word.find('=') : std::string::npos;
        const std::string name =
            is_long ? word.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
        const Flag* flag = find_flag(*out.command, name, is_long ? '\0' : word[1]);
        if (flag == nullptr || (!is_long && word.size() > 2)) {
            return unknown_flag(*out.command, is_long ? "--" + name : word);
        }
        std::string value;
        if (!flag->value.empty()) {
            if (equals != std::string::npos) {
                value = word.substr(equals + 1);
            } else if (at < words.size()) {
                value = words[at++];
            } else {
                return usage(
                    out.command, fmt::format("'{}' needs a value ({})", word, flag->value)
                );
            }
        } else if (equals != std::string::npos) {
            return usage(out.command, fmt::format("'--{}' takes no value", name));
        }
        auto& values = out.flags[std::string(flag->name)];
        if (!values.empty() && !flag->repeated && !flag->value.empty()) {
            return usage(out.command, fmt::format("'--{}' is given twice", flag->name));
        }
        values.push_back(std::move(value));
        if (flag->name == "help") out.help = true;
        return {};
    }

    Result<void> take_all() {
        while (at < words.size()) {
            const std::string& word = words[at++];
            if (word == "--") {
                out.dashed = out.operands.empty();
                out.operands.insert(
                    out.operands.end(), words.begin() + static_cast<std::ptrdiff_t>(at), words.end()
                );
                return {};
            }
            if (word.size() > 1 && word[0] == '-') {
                BERTH_TRY(take_flag(word));
                continue;
            }
            out.operands.push_back(word);
            if (out.command->takes_command()) {
                out.operands.insert(
                    out.operands.end(), words.begin() + static_cast<std::ptrdiff_t>(at), words.end()
                );
                return {};
            }
        }
        return {};
    }
};

}  // namespace

std::string Arguments::get(std::string_view flag, std::string_view fallback) const {
    const auto place = flags.find(flag);
    return place == flags.end() ? std::string(fallback) : place->second.back();
}

std::vector<std::string> Arguments::all(std::string_view flag) const {
    const auto place = flags.find(flag);
    return place == flags.end() ? std::vector<std::string>{} : place->second;
}

std::string nearest(std::string_view word, const std::vector<std::string_view>& known) {
    std::string best;
    // Farther is no likely slip.
    std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (const std::string_view other : known) {
        // Three rows of the edit distance: two neighbours exchanged, the commonest slip of all,
        // count as one change, and that looks back two rows.
        std::vector<std::size_t> older(other.size() + 1);
        std::vector<std::size_t> last(other.size() + 1);
        std::vector<std::size_t> row(other.size() + 1);
        std::iota(row.begin(), row.end(), 0U);
        for (std::size_t i = 1; i <= word.size(); ++i) {
            std::swap(older, last);
            std::swap(last, row);
            row[0] = i;
            for (std::size_t j = 1; j <= other.size(); ++j) {
                const bool same = word[i - 1] == other[j - 1];
                row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0U : 1U)});
                if (i > 1 && j > 1 && word[i - 1] == other[j - 2] && word[i - 2] == other[j - 1])
                    row[j] = std::min(row[j], older[j - 2] + 1);
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = other;
        }
    }
    return best;
}

Result<Arguments> parse_arguments(const std::vector<std::string>& words) {
    Parser parser{words, {}, 0};
    if (words.empty()) return usage(nullptr, "no command given");
    std::string name = words[0];
    if (name == "--help" || name == "-h") name = "help";
    if (name == "--version" || name == "-V") name = "version";
    parser.out.command = find_command(name);
    if (parser.out.command == nullptr) {
        std::vector<std::string_view> known;
        for (const Command& command : commands()) {
            if (!command.hidden) known.push_back(command.name);
        }
        const std::string near = nearest(name, known);
        const std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
        return usage(nullptr, fmt::format("berth has no command '{}'{}", name, hint));
    }
    parser.at = 1;
    BERTH_TRY(parser.take_all());
    const Command& command = *parser.out.command;
    if (parser.out.help) return std::move(parser.out);
    if (parser.out.operands.size() < command.least) {
        return usage(&command, fmt::format("berth {} needs {}", command.name, command.operands));
    }
    if (parser.out.operands.size() > command.most) {
        return usage(
            &command,
            fmt::format(
                "berth {} does not take '{}'", command.name, parser.out.operands[command.most]
            )
        );
    }
    return std::move(parser.out);
}

}  // namespace berth::cli
