// SPDX-License-Identifier: Apache-2.0
// Which programs read a script, and which of their words it is.
#include <algorithm>
#include <iterator>

#include "policy/glob.hpp"
#include "policy/policy.hpp"
#include "policy/rule.hpp"

namespace berth::policy {
namespace {

/// How the programs of one language read their options. Letters may stand together in one word;
/// lists of words have each between spaces. A new language is a row below, and its spellings are
/// rows of script_test.cpp.
struct Language {
    std::string_view names;
    // Letters, and what they say of the rest of the word, or of the words behind it:
    std::string_view code{};     ///< they tell the code, and no script is read
    std::string_view adds{};     ///< they take code that is executed before a script
    std::string_view read{};     ///< it is read from its standard input
    std::string_view script{};   ///< the script's name follows
    std::string_view value{};    ///< a value follows
    std::string_view next{};     ///< the next word is its value, whatever else is in this one
    std::string_view rest{};     ///< the rest of the word is its value
    std::string_view plain{};    ///< they do not add to what is executed
    std::string_view folder{};   ///< a folder follows, to which the program goes first
    std::string_view in_path{};  ///< the script is looked for in the search path
    std::string_view ends{};     ///< behind this word there is no option
    // Long options, likewise; who knows any takes the beginning of one for it:
    std::string_view telling{}, adding{}, scripts{}, words{};
    std::string_view sources{};  ///< a file follows that is executed besides the script
    std::string_view single{};   ///< those that may begin with one dash, before any letter
    std::string_view verbs{};    ///< a word that may stand before the script
    bool shell = false;          ///< '+' begins an option too, and a lone '-' ends them
    bool first_is_code = false;  ///< its first word is no script
    bool long_by_w = false;      ///< `-W name` is `--name`
    Search search{};
};

constexpr Language shell(std::string_view names, Order order) {
    return {
        .names = names,
        .code = "c",
        .read = "s",
        .next = "oO",
        .plain = "abefhkmnuvxBCEHPT",
        .sources = " --rcfile --init-file ",
        .single =
            " --debug --debugger --dump-po-strings --dump-strings --help --init-file --login "
            "--noediting --noprofile --norc --posix --pretty-print --protected --rcfile "
            "--restricted --verbose --version --wordexp ",
        .shell = true,
        .search = {
            .order = order,
            .otherwise = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
}

constexpr Language awk(std::string_view names, Search search) {
    return {
        .names = names,
        .adds = "e",
        .script = "fE",
        .value = "Fvil",
        .adding = " --source ",
        .scripts = " --file --exec ",
        .words = " --field-separator --assign --include --load ",
        .first_is_code = true,
        .long_by_w = true,
        .search = search};
}

constexpr Language kLanguages[] = {
    shell(" ash dash hush ", Order::kFolder),
    // sh may be any of them.
    shell(" bash ksh mksh rbash sh yash ", Order::kFolderThenPath),
    {.names = " zsh ",
     .code = "c",
     .read = "s",
     .value = "o",
     .plain = "aefhkmnuvxBCEHPT",
     .ends = "b-",
     .words = " --emulate ",
     .shell = true,
     .search = {.order = Order::kFolderThenPath}},  // by its option PATH_SCRIPT
    {.names = " python pypy ipython bpython ",
     .code = "cm",
     .value = "WX",
     .plain = "bBdEIOPqsSuvx",
     .words = " --check-hash-based-pycs ",
     .search = {.mains = " __main__.py __main__.pyc"}},
    {.names = " perl ",
     .code = "eE",
     .value = "I",
     .rest = "MmiCDFxV:=",
     .plain = "tTuUwWX",
     .in_path = "S"},
    {.names = " ruby jruby ",
     .code = "e",
     .value = "rI",
     .rest = "iEKWFxT",
     .plain = "wv",
     .folder = "CX",
     .in_path = "S"},
    {.names = " node nodejs ",
     .code = "ep",
     .value = "rC",
     .telling = " --eval --print ",
     .words = " --require --import --loader --experimental-loader --conditions --env-file --title ",
     .verbs = " inspect debug ",
     .search =
         {.suffixes = " .js .json .node",
          .mains = " index.js index.json index.node",
          .manifest = "package.json",
          .lexical = true}},
    {.names = " bun deno ts-node tsx ",
     .code = "ep",
     .value = "rC",
     .telling = " --eval --print ",
     .verbs = " run test watch ",
     .search =
         {.suffixes = " .tsx .jsx .ts .mts .cts .js .mjs .cjs .json",
          .mains = " index.tsx index.jsx index.ts index.js",
          .manifest = "package.json",
          .lexical = true}},
    awk(" gawk ",
        {.order = Order::kPathThenFolder,
         .variable = "AWKPATH",
         .otherwise = ".:/usr/share/awk",
         .suffixes = " .awk"}),
    awk(" awk mawk nawk original-awk ", {}),
    {.names = " php ",
     .code = "rR",
     .adds = "BE",
     .script = "fF",
     .value = "dcztSlswa",
     .plain = "nqC",
     .telling = " --run --process-code ",
     .adding = " --process-begin --process-end ",
     .scripts = " --file --process-file "},
    {.names = " lua luajit ", .adds = "e", .value = "l", .plain = "EvW"},
    // Others: their first word behind what looks like an option.
    {.names =
         " R Rscript csh dotnet elixir elvish erl expect fish ghc gjs groovy guile irb java "
         "jjs jshell julia nu ocaml pwsh qjs racket raku rc scala swipl tclsh tcsh wish xonsh "},
};

bool names(std::string_view list, std::string_view word) {
    for (auto at = list.find(word); at != std::string_view::npos; at = list.find(word, at + 1)) {
        if (!word.empty() && at > 0 && list[at - 1] == ' ' && list[at + word.size()] == ' ')
            return true;
    }
    return false;
}

/// True where one of the long options in `list` begins with `word`.
bool abbreviates(std::string_view list, std::string_view word) {
    return word.size() > 2 && list.find(" " + std::string(word)) != std::string_view::npos;
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
    if (!detail::is_of_many(basename(executable))) return language_of(executable);
    std::string_view applet;
    detail::find_applet(executable, argv, applet, at);
    return applet.empty() ? nullptr : language_of(applet);
}

std::string joined(const std::string& folder, const std::string& path) {
    return folder.empty() || path.starts_with('/') ? path : folder + "/" + path;
}

/// Reads the words of one command.
class Words {
public:
    Words(const Language& language, const std::vector<std::string>& argv, std::size_t at)
        : language_(language), argv_(argv), at_(at) {
        word_.interpreter = true;
        word_.search = language.search;
    }

    ScriptWord read() {
        while (at_ < argv_.size() && !ended_ && read_option()) ++at_;
        if (!word_.told && !read_ && !named_) read_script();
        word_.input = !word_.told && (word_.input || read_);
        word_.told = word_.told || (adds_ && files_.empty() && !word_.input);
        word_.alone = plain_ && files_.size() == 1 && !word_.told && !word_.input;
        if (!files_.empty()) {
            static_cast<FileWord&>(word_) = files_.front();
            word_.others.assign(files_.begin() + 1, files_.end());
        }
        return std::move(word_);
    }

private:
    /// False where the word is none.
    bool read_option() {
        const std::string_view word = argv_[at_];
        if (word == "--" || (language_.shell && word == "-")) return ended_ = true;
        if (language_.shell && word == "+") return true;
        const bool plus = language_.shell && word.starts_with('+');
        if (word.size() < 2 || (word[0] != '-' && !plus)) return false;
        if (word.starts_with("--")) return read_long(word);
        if (!letters_ && !plus && names(language_.single, "-" + std::string(word)))
            return read_long("-" + std::string(word));
        letters_ = true;
        return read_letters(word);
    }

    /// Of this word, from the '=' in it on, or the next one.
    FileWord value_of_long() {
        const auto equals = argv_[at_].find('=');
        if (equals != std::string::npos) return {at_, equals + 1};
        return {++at_, 0};
    }

    bool read_long(std::string_view word) {
        const std::string_view name = word.substr(0, word.find('='));
        plain_ = false;
        if (abbreviates(language_.telling, name)) {
            word_.told = true;
            return false;
        }
        if (abbreviates(language_.adding, name)) {
            adds_ = true;
            value_of_long();
        } else if (abbreviates(language_.scripts, name)) {
            named_ = true;
            add_file(value_of_long());
        } else if (abbreviates(language_.sources, name)) {
            add_file(value_of_long());
        } else if (abbreviates(language_.words, name)) {
            value_of_long();
        }
        return true;
    }

    /// Of this word from its byte `i` on, or the next one.
    FileWord value_of_letter(std::string_view word, std::size_t i) {
        if (i < word.size()) return {at_, i};
        return {++at_, 0};
    }

    bool read_letters(std::string_view word) {
        std::size_t next = 0;
        bool going = true;
        for (std::size_t i = 1; going && i < word.size(); ++i) {
            const char letter = word[i];
            if (holds(language_.code, letter)) {
                word_.told = true;
                return false;
            }
            // `+s`: not from there.
            if (holds(language_.read, letter) && word[0] == '-') {
                read_ = true;
                return false;
            }
            if (holds(language_.plain, letter)) continue;
            plain_ = plain_ && holds(language_.script, letter);
            if (holds(language_.next, letter)) ++next;
            word_.search.order =
                holds(language_.in_path, letter) ? Order::kPath : word_.search.order;
            ended_ = ended_ || holds(language_.ends, letter);
            going = !takes_rest(word, i);
        }
        at_ += next;
        return true;
    }

    /// True where the letter at `i` is the last that is one.
    bool takes_rest(std::string_view word, std::size_t i) {
        const char letter = word[i];
        if (language_.long_by_w && letter == 'W') {
            const FileWord value = value_of_letter(word, i + 1);
            if (value.at < argv_.size()) read_long("--" + argv_[value.at].substr(value.from));
        } else if (holds(language_.script, letter)) {
            FileWord file = value_of_letter(word, i + 1);
            if (file.at < argv_.size() && file.from > 0 && word[file.from] == '=') ++file.from;
            named_ = true;
            add_file(file);
        } else if (holds(language_.folder, letter)) {
            const FileWord folder = value_of_letter(word, i + 1);
            if (folder.at < argv_.size())
                word_.folder = joined(word_.folder, argv_[folder.at].substr(folder.from));
        } else if (holds(language_.adds, letter)) {
            adds_ = true;
            value_of_letter(word, i + 1);
        } else if (holds(language_.value, letter)) {
            value_of_letter(word, i + 1);
        } else {
            return holds(language_.rest, letter);
        }
        return true;
    }

    void add_file(FileWord file) {
        if (file.at >= argv_.size() || file.from >= argv_[file.at].size()) return;
        // Of awk.
        if (language_.first_is_code && argv_[file.at].substr(file.from) == "-")
            word_.input = true;
        else
            files_.push_back(file);
    }

    void read_script() {
        if (at_ < argv_.size() && !ended_ && names(language_.verbs, argv_[at_])) {
            plain_ = false;
            while (++at_ < argv_.size() && argv_[at_].starts_with('-')) continue;
        }
        if (at_ >= argv_.size()) {
            word_.input = !adds_ && !language_.first_is_code;
            return;
        }
        if (argv_[at_].empty()) return;
        if (argv_[at_] == "-" && !language_.shell) {
            word_.input = true;
            return;
        }
        if (language_.first_is_code)
            word_.told = true;
        else
            files_.insert(files_.begin(), {at_, 0});
    }

    const Language& language_;
    const std::vector<std::string>& argv_;
    std::size_t at_;
    ScriptWord word_;
    std::vector<FileWord> files_;
    bool plain_ = true;     ///< nothing adds to what is executed
    bool ended_ = false;    ///< of its options
    bool letters_ = false;  ///< there were some
    bool named_ = false;    ///< the script, by an option
    bool read_ = false;     ///< from its standard input
    bool adds_ = false;     ///< code before the script
};

}  // namespace

bool is_interpreter(std::string_view executable) { return language_of(executable) != nullptr; }

ScriptWord script_word(std::string_view executable, const std::vector<std::string>& argv) {
    std::size_t at = 1;
    const Language* language = language_of(executable, argv, at);
    if (language != nullptr) return Words(*language, argv, at).read();
    ScriptWord word;
    const bool first = argv.size() > 1 && !argv[1].empty() && argv[1][0] != '-';
    if (first && is_wrapper(executable)) word.at = 1;
    // env does nothing itself: what it executes is judged again.
    word.alone = basename(executable) == "env";
    return word;
}

bool reads_its_code(const Plan& plan) {
    const ScriptWord word = script_word(plan.executable.path, plan.argv);
    return word.interpreter && !word.told && (word.at == 0 || plan.script.sha256.empty());
}

}  // namespace berth::policy
