// SPDX-License-Identifier: Apache-2.0
// Resolves the user's folders once per question; nothing is created unasked.
#include "cli/paths.hpp"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace berth::cli {
namespace fs = std::filesystem;

fs::path home_folder() {
    if (const char* text = std::getenv("HOME"); text != nullptr && *text == '/') return text;
    if (const passwd* entry = ::getpwuid(::geteuid()); entry != nullptr) return entry->pw_dir;
    return "/";
}

namespace {

// The standard says that a relative path in these variables is invalid and to be ignored.
fs::path xdg(const char* variable, const char* below_home) {
    if (const char* text = std::getenv(variable); text != nullptr && *text == '/')
        return fs::path(text) / "berth";
    return home_folder() / below_home / "berth";
}

}  // namespace

fs::path config_folder() { return xdg("XDG_CONFIG_HOME", ".config"); }
fs::path cache_folder() { return xdg("XDG_CACHE_HOME", ".cache"); }
fs::path state_folder() { return xdg("XDG_STATE_HOME", ".local/state"); }

fs::path default_data_folder() {
    if (std::getenv("XDG_DATA_HOME") == nullptr && ::geteuid() == 0) return "/var/lib/berth";
    return xdg("XDG_DATA_HOME", ".local/share");
}

fs::path token_path(std::string_view server) {
    std::string name;
    for (const char c : server.substr(0, 200)) {  // a file name holds 255 bytes
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '.' || c == '-';
        name += plain ? c : '_';
    }
    return config_folder() / "tokens" / name;
}

fs::path find_repository(const fs::path& start) {
    std::error_code ignored;
    for (fs::path folder = start;; folder = folder.parent_path()) {
        if (fs::exists(folder / ".git", ignored) || fs::exists(folder / "berth.yaml", ignored))
            return folder;
        if (folder == folder.parent_path()) return {};
    }
}

Result<void> make_private_folder(const fs::path& folder) {
    std::error_code ignored;
    if (folder.empty() || fs::is_directory(folder, ignored)) return {};
    BERTH_TRY(make_private_folder(folder.parent_path()));
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot make " + folder.string(), errno);
    return {};
}

fs::path own_path() {
    std::error_code error;
    fs::path path = fs::read_symlink("/proc/self/exe", error);
    return error ? fs::path("berth") : path;
}

}  // namespace berth::cli
