// SPDX-License-Identifier: Apache-2.0
// Making, tending and removing machines on this host.
#include "provisioner/drivers/local/local_driver.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/id.hpp"
#include "log/log.hpp"
#include "process/file_lock.hpp"
#include "process/spawn.hpp"
#include "provisioner/settings.hpp"

namespace berth::prov {
namespace {

namespace fs = std::filesystem;

// From the start of the node agent to its first presence.
constexpr seconds kNodePatience{15};
constexpr milliseconds kNodeCheck{500};
constexpr seconds kDestroyPatience{15};

Result<void> make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error)
        return unavailable("no_folder", "cannot create " + path.string() + ": " + error.message());
    fs::permissions(path, fs::perms::owner_all, error);
    return {};
}

/// Removes a tree whose owner may have taken its own write permission away (a read-only folder of
/// the run's).
Result<void> remove_tree(const fs::path& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) return {};
    std::error_code walk_error;
    for (auto it = fs::recursive_directory_iterator(
             path, fs::directory_options::skip_permission_denied, walk_error
         );
         it != fs::end(it);
         it.increment(walk_error)) {
        if (walk_error) break;
        std::error_code ignored;
        if (it->is_directory(ignored) && !it->is_symlink(ignored)) {
            fs::permissions(it->path(), fs::perms::owner_all, fs::perm_options::add, ignored);
        }
    }
    // A node agent that is just ending removes its own files, too.
    constexpr int kTries = 10;
    for (int tries = 0; tries < kTries; ++tries) {
        fs::remove_all(path, error);
        if (error != std::errc::no_such_file_or_directory) break;
    }
    if (error)
        return unavailable(
            "not_removed", "cannot remove " + path.string() + ": " + error.message()
        );
    return {};
}

}  // namespace

Error LocalDriver::foreign_folder(const std::string& machine) const {
    return conflict(
        std::string(kNotOurs),
        folder(machine).string() +
            " does not bear this deployment's mark (node/owner) and is left alone"
    );
}

bool LocalDriver::is_ours(const fs::path& machine_folder) const {
    const auto owner = read_file(machine_folder / "node" / "owner", 4096);
    return owner && *owner == settings_.deployment;
}

Result<bool> LocalDriver::is_there(const std::string& machine) const {
    const fs::path mark = folder(machine) / "node" / "owner";
    if (read_file(mark, 4096)) {
        BERTH_TRY(refuse_foreign(machine));
        return true;
    }
    std::error_code error;
    const bool marked = fs::exists(mark, error);
    if (!marked && !error && fs::is_directory(settings_.machines_dir, error)) {
        if (node_runs(machine)) return foreign_folder(machine);
        return false;
    }
    return unavailable("cannot_look", mark.string() + " cannot be read");
}

bool LocalDriver::node_runs(const std::string& machine) const {
    return process::FileLock::is_held(folder(machine) / "node" / "lock");
}

Result<void> LocalDriver::refuse_foreign(const std::string& machine) const {
    std::error_code error;
    // A folder without any mark was cut short before it held anything.
    if (is_ours(folder(machine)) || !fs::exists(folder(machine) / "node" / "owner", error))
        return {};
    return foreign_folder(machine);
}

Result<void> LocalDriver::write_files(const MachineSpec& spec) {
    const fs::path root = folder(spec.machine);
    BERTH_TRY(make_folder(root));
    BERTH_TRY(make_folder(root / "node"));
    // The mark of ownership first: a crash after it leaves something that may be removed.
    BERTH_TRY(write_file_atomic(root / "node" / "owner", settings_.deployment, 0600));
    for (const char* name : {"workspace", "home", "tmp", "runs"})
        BERTH_TRY(make_folder(root / name));
    const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
    BERTH_ASSIGN(
        std::string jwt,
        enrolment_.mint(spec.machine, spec.org, key.public_key(), Clock::system().now())
    );
    BERTH_TRY(identity::write_creds(root / "node" / "creds", {std::move(jwt), key.seed()}));
    BERTH_TRY(write_file_atomic(root / "node" / "key.pub", key.public_key(), 0600));
    const std::string settings =
        "machine: " + spec.machine + "\norg: " + spec.org + "\nlease: " + spec.lease +
        "\nslug: " + spec.slug + "\nnats_url: " + settings_.nats_url +
        "\ncreds_file: " + (root / "node" / "creds").string() +
        "\nnetwork: " + (spec.profile.network() ? "true" : "false") + guard_line(spec.profile) +
        "\nprofile: " + spec.profile.name() + "\n" + settings_.node_settings;
    return write_file_atomic(root / "node" / "node.yaml", settings, 0600);
}

Result<void> LocalDriver::start_node(const std::string& machine) {
    const fs::path root = folder(machine);
    const Fd log(
        ::open((root / "node" / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
    );
    if (!log) return system_error("cannot open the node's log", errno);
    process::SpawnSpec spec;
    spec.argv = {settings_.node_binary, "--dir", root.string()};
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = log.get();
    spec.stderr_fd = log.get();
    spec.new_session = true;  // it outlives this process, and a Ctrl-C meant for it
    spec.cwd = "/";
    BERTH_ASSIGN(process::Child child, process::spawn(spec));
    log::info("node agent started", {{"machine", machine}, {"pid", child.pid()}});
    reaper_.take(machine, std::move(child));
    return {};
}

Result<void> LocalDriver::create(const MachineSpec& spec, Attempts&) {
    if (!is_id("m", spec.machine)) return invalid("bad_id", "the machine's id is malformed");
    if (spec.profile.network() && ::access("/dev/net/tun", R_OK | W_OK) != 0) {
        return Error{
            Fault::kConflict,
            "network_unavailable",
            "profile '" + spec.profile.name() +
                "' wants a network, but /dev/net/tun cannot be opened: `chmod 0666 /dev/net/tun` "
                "(udev's default) or use a profile without network",
            "profile"};
    }
    BERTH_TRY(refuse_foreign(spec.machine));
    const SteadyTime began = std::chrono::steady_clock::now();
    const bool runs = node_runs(spec.machine);
    // The mark before anything on the bus: list() shows whatever a crash leaves.
    if (!runs) BERTH_TRY(write_files(spec));
    BERTH_TRY(enrolment_.open(spec.machine, spec.org));
    if (!runs) BERTH_TRY(start_node(spec.machine));
    const SteadyTime until = began + kNodePatience;
    while (!presences_.wait_heard(spec.machine, began, kNodeCheck)) {
        if (std::chrono::steady_clock::now() > until) {
            return unavailable(
                "node_silent",
                "the node agent did not come up; its log is " +
                    (folder(spec.machine) / "node" / "log").string()
            );
        }
        // It may have died on its way up.
        if (!node_runs(spec.machine)) BERTH_TRY(start_node(spec.machine));
    }
    return {};
}

Result<void> LocalDriver::destroy(const std::string& machine) {
    if (!is_id("m", machine)) return invalid("bad_id", "the machine's id is malformed");
    const fs::path root = folder(machine);
    std::error_code error;
    if (fs::exists(root, error)) {
        BERTH_TRY(refuse_foreign(machine));
        process::SpawnSpec spec;
        spec.argv = {settings_.node_binary, "--destroy", "--dir", root.string()};
        spec.stdin_fd = process::kNull;
        BERTH_ASSIGN(process::Child child, process::spawn(spec));
        auto status = child.wait(kDestroyPatience);
        if (!status) {
            child.kill();
            return unavailable(
                "not_stopped", "the processes of " + machine + " could not be ended in time"
            );
        }
        if (status->code != 0)
            return unavailable(
                "not_stopped", "the processes of " + machine + " could not be ended"
            );
    }
    presences_.forget(machine);
    // The folder last: until nothing else is left, list() shows the machine.
    BERTH_TRY(enrolment_.close(machine, {}));
    return remove_tree(root);
}

Result<Condition> LocalDriver::tend(const MachineSpec& spec) {
    BERTH_ASSIGN(const bool there, is_there(spec.machine));
    if (!there) return Condition::kMissing;
    if (!node_runs(spec.machine)) {
        // Its user may have expired while it was away: a fresh credential for the same key.
        BERTH_ASSIGN(
            identity::Creds creds, identity::read_creds(folder(spec.machine) / "node" / "creds")
        );
        BERTH_ASSIGN(const auto key, identity::KeyPair::from_seed(creds.seed));
        BERTH_ASSIGN(
            creds.jwt,
            enrolment_.mint(spec.machine, spec.org, key.public_key(), Clock::system().now())
        );
        BERTH_TRY(identity::write_creds(folder(spec.machine) / "node" / "creds", creds));
        BERTH_TRY(start_node(spec.machine));
    }
    return Condition::kWorking;
}

Result<std::vector<std::string>> LocalDriver::list() {
    std::vector<std::string> machines;
    std::vector<std::string> foreign;
    std::error_code error;
    fs::directory_iterator entries(settings_.machines_dir, error);
    if (error)
        return unavailable(
            "cannot_list", "cannot list " + settings_.machines_dir.string() + ": " + error.message()
        );
    for (const auto& entry : entries) {
        const std::string name = entry.path().filename().string();
        if (!is_id("m", name)) continue;
        if (is_ours(entry.path())) {
            machines.push_back(name);
        } else if (read_file(entry.path() / "node" / "owner", 4096)) {
            foreign.push_back(name);
        }
    }
    *foreign_.lock() = std::move(foreign);
    return machines;
}

}  // namespace berth::prov
