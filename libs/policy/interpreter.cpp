// SPDX-License-Identifier: Apache-2.0
// Which programs read a script, and which of their words it is.
#include <algorithm>
#include <iterator>

#include "policy/policy.hpp"
#include "policy/rule.hpp"

namespace berth::policy {
namespace {

/// How the programs of one language read their options. Letters may stand together in one word.
struct Language {
    std::string_view names;      ///< each between spaces, as are the long options below
    std::string_view code{};     ///< letters that tell the code
    std::string_view read{};     ///< letters with which it is read from elsewhere
    std::string_view value{};    ///< letters that take the rest of the word, or the next one
    std::string_view rest{};     ///< letters that take the rest of the word
    std::string_view script{};   ///< letters that the script's name follows
    std::string_view plain{};    ///< letters that do not add to what is executed
    std::string_view words{};    ///< long options that take the next word
    std::string_view telling{};  ///< long options that tell the code
    bool first_is_code = false;  ///< its first word is no script
};

constexpr Language kLanguages[] = {
    {.names = " ash bash dash hush ksh mksh rbash sh yash zsh ",
     .code = "c",
     .read = "s",
     .value = "oO",
     .plain = "abefhkmnuvxBCEHPT",
     .words = " --rcfile --init-file "},
    {.names = " python pypy ipython bpython ",
     .code = "cm",
     .value = "WX",
     .plain = "bBdEIOPqsSuvx",
     .words = " --check-hash-based-pycs "},
    {.names = " perl ", .code = "eE", .value = "I", .rest = "MmiCDFdxV", .plain = "tTuUwWX"},
    {.names = " ruby jruby ", .code = "e", .value = "rIC", .rest = "iEKWFxT", .plain = "wv"},
    {.names = " node nodejs ts-node tsx ",
     .code = "ep",
     .value = "rC",
     .words = " --require --import --loader --experimental-loader --conditions --env-file --title ",
     .telling = " --eval --print "},
    {.names = " awk gawk mawk nawk original-awk ",
     .value = "Fv",
     .script = "f",
     .telling = " --source ",
     .first_is_code = true},
    {.names = " php ",
     .code = "rBRE",
     .value = "dczt",
     .script = "fF",
     .plain = "nqC",
     .telling = " --run "},
    {.names = " lua luajit ", .code = "e", .value = "l", .plain = "EvW"},
    // Others: their first word behind what looks like an option.
    {.names = " R Rscript bun csh deno dotnet elixir elvish erl expect fish ghc gjs groovy guile "
              "irb java jjs jshell julia nu ocaml pwsh qjs racket raku rc scala swipl tclsh tcsh "
              "wish xonsh "},
};

bool names(std::string_view list, std::string_view word) {
    for (auto at = list.find(word); at != std::string_view::npos; at = list.find(word, at + 1)) {
        if (!word.empty() && at > 0 && list[at - 1] == ' ' && list[at + word.size()] == ' ')
            return true;
    }
    return false;
}

bool holds(std::string_view letters, char letter) {
    return letters.find(letter) != std::string_view::npos;
}

const Language* language_of(std::string_view program) {
    const std::string_view name = basename(program);
    for (const Language& one : kLanguages) {
        if (names(one.names, name) || names(one.names, detail::without_version(name))) return &one;
    }
    return nullptr;
}

/// Of `sh x` and `busybox sh x` it is the shell's; `at` is where the words begin.
const Language* language_of(
    std::string_view executable, const std::vector<std::string>& argv, std::size_t& at
) {
    if (!detail::is_of_many(basename(executable)) || argv.empty()) return language_of(executable);
    if (!detail::is_of_many(basename(argv[0])) || argv.size() < 2) return language_of(argv[0]);
    at = 2;
    return language_of(argv[1]);
}

enum class Option { kAlone, kTakesNext, kTold, kRead, kScriptNext };

/// What an option says of the word behind it; `plain` turns false where it adds to what is
/// executed.
Option read_option(const Language& language, std::string_view word, bool& plain) {
    if (word.substr(0, 2) == "--") {
        plain = false;
        const std::string_view name = word.substr(0, word.find('='));
        if (names(language.telling, name)) return Option::kTold;
        return names(language.words, word) ? Option::kTakesNext : Option::kAlone;
    }
    for (std::size_t i = 1; i < word.size(); ++i) {
        const bool last = i + 1 == word.size();
        if (holds(language.code, word[i])) return Option::kTold;
        if (holds(language.read, word[i])) return Option::kRead;
        if (holds(language.script, word[i])) return last ? Option::kScriptNext : Option::kRead;
        if (holds(language.plain, word[i])) continue;
        plain = false;
        if (holds(language.value, word[i])) return last ? Option::kTakesNext : Option::kAlone;
        if (holds(language.rest, word[i])) return Option::kAlone;
    }
    return Option::kAlone;
}

}  // namespace

bool is_interpreter(std::string_view executable) { return language_of(executable) != nullptr; }

ScriptWord script_word(std::string_view executable, const std::vector<std::string>& argv) {
    std::size_t at = 1;
    const Language* language = language_of(executable, argv, at);
    if (language == nullptr) {
        const bool word = argv.size() > 1 && !argv[1].empty() && argv[1][0] != '-';
        // env does nothing itself: what it executes is judged again.
        return {
            word && is_wrapper(executable) ? std::size_t{1} : 0,
            basename(executable) == "env",
            false};
    }
    bool plain = true;
    for (; at < argv.size(); ++at) {
        const std::string& word = argv[at];
        if (word == "--") return {at + 1 < argv.size() ? at + 1 : 0, plain, false};
        const bool option = word.size() > 1 && (word[0] == '-' || word[0] == '+');
        if (!option) {
            const bool name = !word.empty() && word != "-";
            return {name ? at : 0, plain, name && language->first_is_code};
        }
        switch (read_option(*language, word, plain)) {
            case Option::kTold: return {0, false, true};
            case Option::kRead: return {};
            case Option::kScriptNext: return {at + 1 < argv.size() ? at + 1 : 0, plain, false};
            case Option::kTakesNext: ++at; break;
            case Option::kAlone: break;
        }
    }
    return {};
}

bool reads_its_code(const Plan& plan) {
    std::size_t at = 1;
    return plan.script.sha256.empty() &&
           language_of(plan.executable.path, plan.argv, at) != nullptr &&
           !script_word(plan.executable.path, plan.argv).told;
}

}  // namespace berth::policy
