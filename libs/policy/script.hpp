// SPDX-License-Identifier: Apache-2.0
// Which file an interpreter is going to execute: which of its words it is, and where it looks for
// it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policy/plan.hpp"

/// Thread rules: free functions are pure but for what they ask of a Files.
namespace berth::policy {

/// Where a program looks for a file that it was told by a name without a '/'.
enum class Order {
    kFolder,          ///< in its folder only
    kFolderThenPath,  ///< in its folder, and where it is not there in its search path
    kPath,            ///< in its search path only; there is a program's file
    kPathThenFolder,  ///< in its search path if it has one, and then in its folder
};

struct Search {
    Order order = Order::kFolder;
    std::string_view variable = "PATH";  ///< holds the search path
    std::string_view otherwise{};        ///< the search path where nobody set one
    std::string_view suffixes{};         ///< each after a space; tried where the name is no file
    std::string_view mains{};            ///< files of a folder that are executed for it; likewise
    std::string_view manifest{};         ///< a folder that has this file says itself what is
    bool lexical = false;                ///< `x/..` is nothing to it, even where x is a link
};

/// A word of the arguments that names a file, from its byte `from` on.
struct FileWord {
    std::size_t at = 0;
    std::size_t from = 0;
};

/// Which argument is a program's script.
struct ScriptWord : FileWord {  ///< index in argv; 0: none
    bool interpreter = false;   ///< it is one that is known
    /// It is an interpreter's, and no option before it adds to what is executed.
    bool alone = false;
    /// There is none because the code itself is among the arguments.
    bool told = false;
    /// What its standard input says is executed.
    bool input = false;
    std::vector<FileWord> others{};  ///< what is executed besides it
    std::string folder{};            ///< where the program goes first, as it was told
    Search search{};
};
/// By its options; other wrappers: their first word. Whether it is a file is not known here.
ScriptWord script_word(std::string_view executable, const std::vector<std::string>& argv);

/// The files of a run as one of its processes has them.
class Files {
public:
    enum class Kind { kMissing, kUnknown, kRegular, kFolder, kLink, kOther };
    struct Answer {
        Kind kind = Kind::kMissing;
        std::string target{};     ///< of a link; of a descriptor's folder its path
        bool readable = true;     ///< for sure; both are only asked about in a search path
        bool executable = true;   ///< likewise
        bool no_program = false;  ///< surely nobody can execute it
    };
    virtual ~Files() = default;
    /// `path` is absolute; of its parts only the last may be a link, which is not followed.
    virtual Answer look(const std::string& path) = 0;
    /// What a descriptor of the process is.
    virtual Answer look_at(int descriptor) = 0;
};

/// Whose names they are.
struct Place {
    std::string root = "/";  ///< the process's, as the run sees it
    std::string cwd;
};

/// A file, every link resolved.
struct FoundFile {
    Files::Answer what{};
    std::string path{};     ///< absolute
    int descriptor = -1;    ///< the process's own, instead of a path
    std::string unknown{};  ///< why it cannot be told which file it is
};
FoundFile find_file(std::string_view path, const Place& place, Files& files);

/// The script of a plan, or nothing (kMissing) where there is none, looked for as its interpreter
/// does. `environment`: "NAME=value" each.
FoundFile find_script(
    const Plan& plan, const std::vector<std::string>& environment, const Place& place, Files& files
);
/// What is executed besides it.
std::vector<FoundFile> find_other_scripts(
    const Plan& plan, const std::vector<std::string>& environment, const Place& place, Files& files
);

/// `path` from `folder`, with "." and ".." taken by their text.
std::string lexical_path(std::string_view folder, std::string_view path);

}  // namespace berth::policy
