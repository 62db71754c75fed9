// SPDX-License-Identifier: Apache-2.0
// Creates the system user once, hands over the folder and steps down.
#include "cli/up/users.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "cli/capture.hpp"
#include "cli/paths.hpp"
#include "process/file_lock.hpp"
#include "process/privileges.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

constexpr const char* kUser = "berth";
constexpr const char* kUserLock = "/run/berth-user.lock";
constexpr seconds kUseraddPatience{30};

Result<passwd> find_user() {
    const passwd* entry = ::getpwnam(kUser);
    if (entry == nullptr) return not_found("no_user", "there is no user 'berth'");
    return *entry;
}

Result<passwd> find_or_create_user() {
    if (auto user = find_user()) return user;
    // Two useradd at once both succeed, and the second changes the numbers the first one chose.
    BERTH_ASSIGN(const auto lock, process::FileLock::acquire(kUserLock, kUseraddPatience));
    if (auto user = find_user()) return user;
    process::SpawnSpec spec;
    spec.argv = {
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
        kUser};
    if (auto program = process::find_program("useradd")) spec.executable = *program;
    auto made = capture(std::move(spec), kUseraddPatience);
    if (auto user = find_user()) return user;
    const std::string why = made ? made->err : made.error().message;
    return unavailable(
        "no_user",
        fmt::format(
            "the system user 'berth' could not be created ({}); create it with 'useradd --system "
            "berth', or run 'berth up' as an ordinary user",
            why
        )
    );
}

Result<void> give(const fs::path& path, const passwd& user) {
    if (::lchown(path.c_str(), user.pw_uid, user.pw_gid) != 0)
        return system_error("cannot give " + path.string() + " to user berth", errno);
    return {};
}

}  // namespace

Result<void> prepare_user(const Layout& layout) {
    if (::geteuid() != 0) return {};
    BERTH_ASSIGN(const passwd user, find_or_create_user());
    BERTH_TRY(give(layout.data, user));
    // What earlier starts made belongs to the user already, and machines' files may be many: only
    // our own folders.
    for (const auto& folder : {layout.etc(), layout.run(), layout.log(), layout.machines()})
        BERTH_TRY(give(folder, user));
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(layout.etc(), ignored))
        BERTH_TRY(give(file.path(), user));
    return {};
}

Result<void> become_user(const Layout& layout) {
    if (::geteuid() == 0) {
        BERTH_ASSIGN(const passwd user, find_user());
        BERTH_TRY(process::drop_privileges(user.pw_uid, user.pw_gid));
        ::setenv("HOME", layout.data.c_str(), 1);
        ::setenv("USER", kUser, 1);
        ::setenv("LOGNAME", kUser, 1);
        for (const char* name :
             {"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"})
            ::unsetenv(name);
    }
    if (::chdir(layout.data.c_str()) != 0) {
        return invalid(
            "bad_data_folder",
            fmt::format(
                "user 'berth' cannot enter {}; choose a folder below one that everybody may enter, "
                "with --data",
                layout.data.string()
            )
        );
    }
    BERTH_ASSIGN(const auto services, services_of(layout));
    for (const auto& service : services) {
        const fs::path program = own_path().parent_path() / service.binary;
        if (::access(program.c_str(), X_OK) != 0) {
            return unavailable(
                "no_program",
                fmt::format(
                    "{} cannot be run ({}); install Berth's programs side by side where every user "
                    "may run them",
                    program.string(),
                    errno == ENOENT ? "it is not there" : "no permission"
                )
            );
        }
    }
    return {};
}

}  // namespace berth::cli::up
