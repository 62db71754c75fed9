// SPDX-License-Identifier: Apache-2.0
// Where an interpreter finds the file that it was told: links, the process's own /proc, search
// paths.
#include <algorithm>
#include <optional>

#include "core/text.hpp"
#include "policy/script.hpp"

namespace berth::policy {
namespace {

using Kind = Files::Kind;

constexpr int kMostLinks = 40;  // the kernel's own limit

bool is_number(std::string_view text) {
    return !text.empty() && text.size() < 10 &&
           text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// Follows a path part by part. What a process's own links in /proc mean is known; no other one
/// leads anywhere but for the process itself.
class PathWalk {
public:
    PathWalk(const Place& place, Files& files)
        : files_(files), root_(place.root == "/" ? "" : place.root), cwd_(place.cwd) {}

    FoundFile to(std::string_view path) {
        if (path.empty()) return {};
        add(path);
        at_ = path.starts_with('/') ? root_ : cwd_;
        if (at_ == "/") at_.clear();
        FoundFile last{{Kind::kFolder}, {}, -1, {}};
        while (!parts_.empty()) {
            const std::string part = std::move(parts_.back());
            parts_.pop_back();
            if (last.what.kind != Kind::kFolder) return {};  // a file is no folder
            if (part.empty() || part == ".") continue;
            last = step(part);
            if (!last.unknown.empty() || last.what.kind == Kind::kMissing) return last;
        }
        if (last.descriptor < 0) last.path = at_.empty() ? "/" : at_;
        return last;
    }

private:
    FoundFile step(const std::string& part) {
        if (part == "..") {
            if (at_ != root_) at_.resize(at_.empty() ? 0 : at_.rfind('/'));
            return {{Kind::kFolder}, {}, -1, {}};
        }
        if (at_ == "/proc" || at_ == root_ + "/proc") return step_in_proc(part);
        if (at_ == own_) return step_in_own(part);
        if (at_ == own_ + "/fd") return step_in_descriptors(part);
        const std::string next = at_ + "/" + part;
        Files::Answer answer = files_.look(next);
        if (answer.kind == Kind::kUnknown) return unknown();
        if (answer.kind == Kind::kLink) {
            if (++links_ > kMostLinks) return {};
            add(answer.target);
            if (answer.target.starts_with('/')) at_ = root_;
            return {{Kind::kFolder}, {}, -1, {}};
        }
        at_ = next;
        return {std::move(answer), {}, -1, {}};
    }

    FoundFile step_in_proc(const std::string& part) {
        if (part != "self" && part != "thread-self") return unknown();
        own_ = at_ + "/self";
        at_ = own_;
        return {{Kind::kFolder}, {}, -1, {}};
    }

    FoundFile step_in_own(const std::string& part) {
        if (part == "cwd")
            at_ = cwd_ == "/" ? "" : cwd_;
        else if (part == "root")
            at_ = root_;
        else if (part == "fd")
            at_ += "/fd";
        else
            return unknown();
        return {{Kind::kFolder}, {}, -1, {}};
    }

    FoundFile step_in_descriptors(const std::string& part) {
        if (!is_number(part)) return {};
        const int number = std::stoi(part);
        Files::Answer answer = files_.look_at(number);
        if (answer.kind == Kind::kUnknown) return unknown();
        if (answer.kind != Kind::kFolder) return {std::move(answer), {}, number, {}};
        at_ = answer.target == "/" ? "" : answer.target;
        return {std::move(answer), {}, -1, {}};
    }

    static FoundFile unknown() {
        return {{Kind::kUnknown}, {}, -1, "where its script lies cannot be told"};
    }

    void add(std::string_view path) {
        // A file's name with a '/' behind it is none.
        const auto parts = split(path, '/');
        for (auto part = parts.rbegin(); part != parts.rend(); ++part)
            parts_.emplace_back(part->empty() && part == parts.rbegin() ? "." : std::string(*part));
    }

    Files& files_;
    const std::string root_, cwd_;
    std::string own_ = "/proc/self";
    std::string at_;                  ///< resolved so far; empty: "/"
    std::vector<std::string> parts_;  ///< still to go, the last one first
    int links_ = 0;
};

/// A variable of the environment; twice with different values is nobody's.
std::optional<std::string_view> variable(
    const std::vector<std::string>& environment, std::string_view name, bool& doubtful
) {
    std::optional<std::string_view> found;
    for (const std::string_view entry : environment) {
        if (!entry.starts_with(name) || entry.substr(name.size(), 1) != "=") continue;
        const auto value = entry.substr(name.size() + 1);
        doubtful = doubtful || (found && *found != value);
        found = value;
    }
    return found;
}

/// Looks for one name as one language does.
class Finder {
public:
    Finder(
        const Search& search,
        const std::vector<std::string>& environment,
        const Place& place,
        Files& files
    )
        : search_(search), environment_(environment), place_(place), files_(files) {}

    FoundFile find(const std::string& word) {
        const std::string name = search_.lexical ? lexical_path(place_.cwd, word) : word;
        FoundFile folder;
        for (const std::string_view suffix : list(search_.suffixes)) {
            FoundFile found = find_name(name + std::string(suffix));
            if (!found.unknown.empty() || is_file(found)) return found;
            if (found.what.kind == Kind::kFolder && suffix.empty()) folder = std::move(found);
        }
        if (folder.what.kind == Kind::kFolder) return main_of(folder.path);
        // Some languages open their descriptors by these names without any file.
        const std::string text = lexical_path(place_.cwd, word);
        if (text.starts_with("/dev/") || text.starts_with("/proc/"))
            return {{Kind::kUnknown}, {}, -1, "where its script lies cannot be told: " + word};
        return {};
    }

private:
    static bool is_file(const FoundFile& found) {
        return found.what.kind == Kind::kRegular || found.what.kind == Kind::kOther;
    }

    /// The empty text, and what comes after the spaces.
    static std::vector<std::string_view> list(std::string_view text) { return split(text, ' '); }

    FoundFile at(const std::string& path) { return find_file(path, place_, files_); }

    FoundFile find_name(const std::string& name) {
        const bool path = name.find('/') != std::string::npos;
        if (path || search_.order == Order::kFolder) return at(name);
        if (search_.order == Order::kFolderThenPath) {
            FoundFile found = at(name);
            if (found.what.kind != Kind::kMissing) return found;
        }
        bool none = false;
        FoundFile found = find_in_path(name, none);
        if (found.what.kind != Kind::kMissing) return found;
        const bool then_folder = search_.order == Order::kPathThenFolder || none;
        return then_folder ? at(name) : FoundFile{};
    }

    FoundFile find_in_path(const std::string& name, bool& none) {
        bool doubtful = false;
        const auto set = variable(environment_, search_.variable, doubtful);
        if (doubtful) return unknown(name);
        none = !set && search_.otherwise.empty();
        if (none) return {};
        for (const auto folder : split(set ? *set : search_.otherwise, ':')) {
            FoundFile found = at(folder.empty() ? "./" + name : std::string(folder) + "/" + name);
            if (!found.unknown.empty()) return found;
            if (!is_file(found)) continue;
            if (search_.order == Order::kPath && found.what.no_program) continue;
            // Whether it goes on to the next folder is not known.
            if (!found.what.readable || (search_.order == Order::kPath && !found.what.executable))
                return unknown(name);
            return found;
        }
        return {};
    }

    static FoundFile unknown(const std::string& name) {
        return {{Kind::kUnknown}, {}, -1, "which script it finds cannot be told: " + name};
    }

    /// What is executed for a folder; nothing where the folder says so itself.
    FoundFile main_of(const std::string& folder) {
        if (!search_.manifest.empty() && is_file(at(folder + "/" + std::string(search_.manifest))))
            return {};
        for (const std::string_view name : list(search_.mains)) {
            if (name.empty()) continue;
            FoundFile found = at(folder + "/" + std::string(name));
            if (!found.unknown.empty() || is_file(found)) return found;
        }
        return {};
    }

    const Search& search_;
    const std::vector<std::string>& environment_;
    const Place& place_;
    Files& files_;
};

std::string text_of(const Plan& plan, const FileWord& word) {
    return plan.argv[word.at].substr(word.from);
}

FoundFile find_input(Files& files) {
    constexpr int kInput = 0;
    Files::Answer answer = files.look_at(kInput);
    if (answer.kind == Kind::kUnknown)
        return {{Kind::kUnknown}, {}, -1, "what its standard input is cannot be told"};
    return {std::move(answer), {}, kInput, {}};
}

/// To where the program goes before it reads its script: a folder, nothing, or why it is unknown.
FoundFile go_to_folder(const ScriptWord& word, Place& place, Files& files) {
    FoundFile folder{{Kind::kFolder}, place.cwd, -1, {}};
    if (!word.folder.empty()) folder = find_file(word.folder, place, files);
    if (folder.unknown.empty() && folder.what.kind != Kind::kFolder) return {};
    place.cwd = folder.path;
    return folder;
}

}  // namespace

std::string lexical_path(std::string_view folder, std::string_view path) {
    const std::string whole =
        path.starts_with('/') ? std::string(path) : std::string(folder) + "/" + std::string(path);
    std::string out;
    for (const std::string_view part : split(whole, '/')) {
        if (part.empty() || part == ".") continue;
        if (part == "..")
            out.resize(out.empty() ? 0 : out.rfind('/'));
        else
            out.append("/").append(part);
    }
    return out.empty() ? "/" : out;
}

FoundFile find_file(std::string_view path, const Place& place, Files& files) {
    return PathWalk(place, files).to(path);
}

FoundFile find_script(
    const Plan& plan, const std::vector<std::string>& environment, const Place& place, Files& files
) {
    const ScriptWord word = script_word(plan.executable.path, plan.argv);
    if (word.at == 0) return word.input ? find_input(files) : FoundFile{};
    Place from = place;
    FoundFile folder = go_to_folder(word, from, files);
    if (folder.what.kind != Kind::kFolder) return folder;
    Finder finder(word.search, environment, from, files);
    FoundFile found = finder.find(text_of(plan, word));
    const bool unknown = !found.unknown.empty();
    if (unknown && !word.interpreter) return {};
    if (unknown || found.what.kind != Kind::kMissing || !word.interpreter || word.alone)
        return found;
    // An option that is not known may have taken it as its value.
    for (std::size_t at = word.at + 1; at < plan.argv.size(); ++at) {
        if (plan.argv[at].starts_with('-')) continue;
        FoundFile next = finder.find(plan.argv[at]);
        if (next.what.kind == Kind::kRegular) return next;
    }
    return found;
}

std::vector<FoundFile> find_other_scripts(
    const Plan& plan, const std::vector<std::string>& environment, const Place& place, Files& files
) {
    std::vector<FoundFile> out;
    const ScriptWord word = script_word(plan.executable.path, plan.argv);
    if (word.at > 0 && word.input) out.push_back(find_input(files));
    Place from = place;
    // Where its folder cannot be told, neither can its script.
    if (word.others.empty() || go_to_folder(word, from, files).what.kind != Kind::kFolder)
        return out;
    Finder finder(word.search, environment, from, files);
    for (const FileWord& other : word.others) out.push_back(finder.find(text_of(plan, other)));
    return out;
}

}  // namespace berth::policy
