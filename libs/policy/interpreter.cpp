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
    std::string_view names;  ///< each between spaces
    std::string_view code;   ///< letters behind which there is no script: the code is told, or read
    std::string_view value;  ///< letters that take the rest of the word, or the next one
    std::string_view rest;   ///< letters that take the rest of the word
    std::string_view script;   ///< letters that the script's name follows
    std::string_view plain;    ///< letters that do not add to what is executed
    std::string_view words;    ///< long options that take the next word
    std::string_view telling;  ///< long options that tell the code
};

constexpr Language kLanguages[] = {
    {" ash bash dash hush ksh mksh rbash sh yash zsh ",
     "cs",
     "oO",
     "",
     "",
     "abefhkmnuvxBCEHPT",
     " --rcfile --init-file ",
     ""},
    {" python pypy ipython bpython ",
     "cm",
     "WX",
     "",
     "",
     "bBdEIOPqsSuvx",
     " --check-hash-based-pycs ",
     ""},
    {" perl ", "eE", "I", "MmiCDFdxV", "", "tTuUwWX", "", ""},
    {" ruby jruby ", "e", "rIC", "iEKWFxT", "", "wv", "", ""},
    {" node nodejs ts-node tsx ",
     "ep",
     "rC",
     "",
     "",
     "",
     " --require --import --loader --experimental-loader --conditions --env-file --title ",
     " --eval --print "},
    {" awk gawk mawk nawk original-awk ", "", "Fv", "", "f", "", "", " --source "},
    {" php ", "rBRE", "dczt", "", "fF", "nqC", "", " --run "},
    {" lua luajit ", "e", "l", "", "", "EvW", "", ""},
    // Others: their first word, where it is no option.
    {" R Rscript bun csh deno dotnet elixir elvish erl expect fish ghc gjs groovy guile irb java "
     "jjs "
     "jshell julia nu ocaml pwsh qjs racket raku rc scala swipl tclsh tcsh wish xonsh ",
     "",
     "",
     "",
     "",
     "",
     "",
     ""},
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

enum class Option { kAlone, kTakesNext, kNoScript, kScriptNext };

/// What an option says of the word behind it; `plain` turns false where it adds to what is
/// executed.
Option read_option(const Language& language, std::string_view word, bool& plain) {
    if (word.substr(0, 2) == "--") {
        plain = false;
        const std::string_view name = word.substr(0, word.find('='));
        if (names(language.telling, name)) return Option::kNoScript;
        return names(language.words, word) ? Option::kTakesNext : Option::kAlone;
    }
    for (std::size_t i = 1; i < word.size(); ++i) {
        const bool last = i + 1 == word.size();
        if (holds(language.code, word[i])) return Option::kNoScript;
        if (holds(language.script, word[i])) return last ? Option::kScriptNext : Option::kNoScript;
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
    const Language* language = language_of(executable);
    if (detail::is_of_many(basename(executable)) && !argv.empty()) {
        // `sh x` and `busybox sh x` are a shell's.
        const bool own_name = !detail::is_of_many(basename(argv[0]));
        if (!own_name && argv.size() > 1) at = 2;
        language = language_of(own_name || argv.size() < 2 ? argv[0] : argv[1]);
    }
    if (language == nullptr) {
        const bool word = argv.size() > 1 && !argv[1].empty() && argv[1][0] != '-';
        // env does nothing itself: what it executes is judged again.
        return {word && is_wrapper(executable) ? std::size_t{1} : 0, basename(executable) == "env"};
    }
    bool plain = true;
    for (; at < argv.size(); ++at) {
        const std::string& word = argv[at];
        if (word == "--") return {at + 1 < argv.size() ? at + 1 : 0, plain};
        const bool option = word.size() > 1 && (word[0] == '-' || word[0] == '+');
        if (!option) return {word.empty() || word == "-" ? 0 : at, plain};
        switch (read_option(*language, word, plain)) {
            case Option::kNoScript: return {};
            case Option::kScriptNext: return {at + 1 < argv.size() ? at + 1 : 0, plain};
            case Option::kTakesNext: ++at; break;
            case Option::kAlone: break;
        }
    }
    return {};
}

}  // namespace berth::policy
