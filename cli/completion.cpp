// SPDX-License-Identifier: Apache-2.0
// The shells' scripts know nothing: they ask `berth __complete`, which is never out of date.
#include "cli/completion.hpp"

#include <algorithm>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"

namespace berth::cli {
namespace {

// A person holds Tab: rather nothing than a pause.
constexpr milliseconds kCompletionPatience{1'500};

constexpr std::string_view kBash = R"SH(# bash completion of berth: source <(berth completion bash)
_berth() {
    local line current="${COMP_WORDS[COMP_CWORD]}" kind=""
    [ "$current" = "=" ] && current=""
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
            :files) kind=files ;;
            :commands) kind=commands ;;
            *)
                line="${line%%$'\t'*}"
                [ "${line#"$current"}" != "$line" ] || [ -z "$current" ] && COMPREPLY+=("$line")
                ;;
        esac
    done < <(berth __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [ -n "$kind" ]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
            compgen -f -- "$current"
            [ "$kind" = commands ] && compgen -c -- "$current"
        )
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _berth berth
)SH";

constexpr std::string_view kZsh = R"SH(#compdef berth
# zsh completion of berth: source <(berth completion zsh)
_berth() {
    local line kind=""
    local -a found
    while IFS= read -r line; do
        case "$line" in
            :files) kind=files ;;
            :commands) kind=commands ;;
            *) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done < <(berth __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe 'berth' found
    case "$kind" in
        files) _files ;;
        commands) _alternative 'commands:command:_command_names -e' 'files:file:_files' ;;
    esac
}
compdef _berth berth
)SH";

constexpr std::string_view kFish = R"SH(# fish completion of berth: berth completion fish | source
function __berth_complete
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    for line in (berth __complete -- $words 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :commands
                complete -C (commandline -ct)
                __fish_complete_path (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c berth -f -a '(__berth_complete)'
)SH";

const Command* command_named(std::string_view name) {
    for (const Command& command : commands()) {
        if (command.name == name && !command.hidden) return &command;
    }
    return nullptr;
}

const Flag* flag_named(const Command& command, std::string_view word) {
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list) {
            const bool by_letter =
                word.size() == 2 && flag.letter != '\0' && word[1] == flag.letter;
            if (by_letter || (word.starts_with("--") && word.substr(2) == flag.name)) return &flag;
        }
    }
    return nullptr;
}

Place place_of(std::string_view value) {
    if (value == "file" || value == "dir") return Place::kFile;
    if (value == "lease") return Place::kLease;
    if (value == "run") return Place::kRun;
    if (value == "profile" || value == "profile|machine" || value == "profile|machine|halt")
        return Place::kProfile;
    return Place::kNothing;
}

std::vector<Candidate> choices(std::string_view alternatives) {
    std::vector<Candidate> out;
    while (!alternatives.empty()) {
        const auto end = std::min(alternatives.find('|'), alternatives.size());
        out.push_back({std::string(alternatives.substr(0, end)), ""});
        alternatives.remove_prefix(std::min(end + 1, alternatives.size()));
    }
    return out;
}

std::vector<Candidate> command_names() {
    std::vector<Candidate> out;
    for (const Command& command : commands()) {
        if (!command.hidden)
            out.push_back({std::string(command.name), std::string(command.summary)});
    }
    return out;
}

// The `index`th word of an operands text, without brackets: "lease" of "[<lease>]".
std::string operand_word(std::string_view operands, std::size_t index) {
    std::vector<std::string> words;
    std::string now;
    for (const char c : std::string(operands) + " ") {
        if (c != ' ') {
            if (c != '[' && c != ']' && c != '<' && c != '>') now += c;
        } else if (!now.empty()) {
            words.push_back(std::move(now));
            now.clear();
        }
    }
    if (words.empty()) return {};
    const bool repeats = words.back().ends_with("...");
    if (index >= words.size()) return repeats ? words.back() : "";
    return words[index];
}

std::vector<Candidate> operand_candidates(
    const Command& command, std::size_t index, bool dashed, Place& place
) {
    if (dashed && command.takes_command()) {
        place = Place::kCommandLine;
        return {};
    }
    std::string_view operands = command.operands;
    if (operands.starts_with("[-- ")) operands.remove_prefix(1);
    if (operands.starts_with("-- ")) {
        if (index == 0) return {{"--", "the command follows"}};
        operands.remove_prefix(3);
    }
    const std::string word = operand_word(operands, index);
    if (word == "command...") place = Place::kCommandLine;
    if (word == "command") return command_names();
    if (place == Place::kNothing) place = place_of(word);
    if (place == Place::kNothing && word.find('|') != std::string::npos) return choices(word);
    return {};
}

std::vector<Candidate> flag_candidates(const Command& command) {
    std::vector<Candidate> out;
    for (const auto* list : {&command.flags, &common_flags()}) {
        for (const Flag& flag : *list)
            out.push_back({"--" + std::string(flag.name), std::string(flag.help)});
    }
    return out;
}

// bash splits "--lease=calm" into three words: what is after '=' is the flag's value.
std::vector<std::string> without_equals(const std::vector<std::string>& words) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const bool joins = words[i] == "=" && !out.empty() && out.back().starts_with("--");
        if (!joins) {
            const auto equals = words[i].starts_with("--") ? words[i].find('=') : std::string::npos;
            out.push_back(words[i].substr(0, equals));
            if (equals != std::string::npos) out.push_back(words[i].substr(equals + 1));
        } else if (i + 1 == words.size()) {
            out.emplace_back();
        }
    }
    return out;
}

std::vector<Candidate> live(const Context& context, Place place) {
    const auto token = context.token();
    if (!token) return {};
    Api api(context.server(), *token);
    api.set_patience(kCompletionPatience);
    std::vector<Candidate> out;
    if (place == Place::kLease) {
        const auto leases = api.leases(false, 1);
        if (!leases) return {};
        for (const auto& lease : leases->leases())
            out.push_back({lease.slug(), state_name(lease.state()) + ", " + lease.profile()});
    } else if (place == Place::kRun) {
        const auto runs = api.runs("", "", "20");
        if (!runs) return {};
        for (const auto& run : runs->runs())
            out.push_back({run.id(), state_name(run.state()) + ": " + command_line(run, 40)});
    } else if (place == Place::kProfile) {
        const auto profiles = api.ask<lease::v1::ProfilesReply>("GET", "/v1/profiles");
        if (!profiles) return {};
        for (const auto& profile : profiles->profiles())
            out.push_back({profile.name(), profile.driver()});
    }
    return out;
}

}  // namespace

std::vector<Candidate> complete(std::vector<std::string> words, Place& place) {
    place = Place::kNothing;
    if (words.empty()) words.emplace_back();
    words = without_equals(words);
    if (words.size() == 1) return command_names();
    const Command* command = command_named(words[0]);
    if (command == nullptr) return {};
    std::size_t operands = 0;
    bool dashed = false;
    for (std::size_t i = 1; i + 1 < words.size(); ++i) {
        const std::string& word = words[i];
        if (!dashed && word == "--") {
            dashed = true;
        } else if (!dashed && word.size() > 1 && word[0] == '-' && (operands == 0 || !command->takes_command())) {
            const Flag* flag = flag_named(*command, word);
            if (flag == nullptr || flag->value.empty()) continue;
            if (i + 2 == words.size()) {
                if (flag->value.find('|') != std::string_view::npos) return choices(flag->value);
                place = flag->name == "profile" ? Place::kProfile : place_of(flag->value);
                return {};
            }
            ++i;
        } else {
            ++operands;
        }
    }
    const bool in_flags = !dashed && (operands == 0 || !command->takes_command());
    if (in_flags && words.back().starts_with("-")) return flag_candidates(*command);
    return operand_candidates(*command, operands, dashed, place);
}

std::string completion_script(std::string_view shell) {
    if (shell == "bash") return std::string(kBash);
    if (shell == "zsh") return std::string(kZsh);
    if (shell == "fish") return std::string(kFish);
    return {};
}

int run_completion(Context& context, const Arguments& arguments) {
    const std::string script = completion_script(arguments.operands[0]);
    if (script.empty()) {
        return fail(
            context,
            invalid("usage", "the shell must be bash, zsh or fish; see 'berth help completion'")
        );
    }
    context.print_text(script);
    return 0;
}

int run_complete(Context& context, const Arguments& arguments) {
    Place place = Place::kNothing;
    auto candidates = complete(arguments.operands, place);
    if (place == Place::kLease || place == Place::kRun || place == Place::kProfile)
        candidates = live(context, place);
    std::string out;
    for (const auto& each : candidates) out += printable(each.word) + "\t" + each.help + "\n";
    if (place == Place::kFile) out += ":files\n";
    if (place == Place::kCommandLine) out += ":commands\n";
    context.print(out);
    return 0;
}

}  // namespace berth::cli
