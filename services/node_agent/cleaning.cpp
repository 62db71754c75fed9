// SPDX-License-Identifier: Apache-2.0
// The steps of a cleaning.
#include "node_agent/cleaning.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "core/text.hpp"
#include "log/log.hpp"

namespace berth::node {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kQuietCheck{50};
// Killing a tree takes milliseconds; whoever asked gives up after a minute.
constexpr seconds kQuietPatience{30};
// Of cleaned leases: a start that is older than this many owners is past its own deadline.
constexpr std::size_t kRememberedLeases = 64;
constexpr const char* kOwned[] = {"workspace", "home", "tmp"};

/// A folder whose owner took away its own rights can be removed after this.
void open_folders(const fs::path& path) {
    std::error_code error;
    fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, error);
    for (auto it = fs::recursive_directory_iterator(
             path, fs::directory_options::skip_permission_denied, error
         );
         !error && it != fs::end(it);
         it.increment(error)) {
        std::error_code ignored;
        if (it->is_directory(ignored) && !it->is_symlink(ignored))
            fs::permissions(it->path(), fs::perms::owner_all, fs::perm_options::add, ignored);
    }
}

}  // namespace

Result<void> renew_folders(const fs::path& dir) {
    const fs::path trash = dir / "node" / "trash";
    if (::mkdir(trash.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot create " + trash.string(), errno);
    for (const char* name : kOwned) {
        fs::path old;
        for (int i = 0; old.empty() || fs::exists(old); ++i)
            old = trash / (std::string(name) + "-" + std::to_string(i));
        // A cleaning that was killed between the two finds no folder.
        if (::rename((dir / name).c_str(), old.c_str()) != 0 && errno != ENOENT)
            return system_error("cannot move " + (dir / name).string(), errno);
        if (::mkdir((dir / name).c_str(), 0700) != 0)
            return system_error("cannot create " + (dir / name).string(), errno);
    }
    return {};
}

Result<void> remove_trash(const fs::path& dir, const std::atomic<bool>& stopping) {
    const fs::path trash = dir / "node" / "trash";
    std::error_code error;
    for (const auto& folder : fs::directory_iterator(trash, error)) {
        std::error_code ignored;
        fs::permissions(folder.path(), fs::perms::owner_all, ignored);
        for (const auto& entry : fs::directory_iterator(folder.path(), ignored)) {
            if (stopping) return unavailable("not_removed", "the node agent is stopping");
            std::error_code removed;
            fs::remove_all(entry.path(), removed);
            if (!removed) continue;
            open_folders(entry.path());
            fs::remove_all(entry.path(), removed);
            if (removed)
                return internal(
                    "not_removed", "cannot remove a file of the last owner: " + removed.message()
                );
        }
    }
    error.clear();
    fs::remove_all(trash, error);
    if (error) return internal("not_removed", "cannot remove the trash: " + error.message());
    return {};
}

Cleaning::Cleaning(NodeContext context, std::function<bool()> quiet)
    : context_(context), quiet_(std::move(quiet)) {}

Cleaning::~Cleaning() {
    stopping_ = true;
    if (remover_.joinable()) remover_.join();
}

void Cleaning::start() {
    const fs::path node = context_.settings.dir / "node";
    if (const auto text = read_file(node / "cleaned")) {
        for (const std::string_view line : split(*text, '\n')) {
            const std::size_t space = std::min(line.find(' '), line.size());
            if (is_subject_token(line.substr(0, space)))
                done_.push_back(
                    {std::string(line.substr(0, space)),
                     std::string(line.substr(std::min(space + 1, line.size())))}
                );
        }
    }
    const auto asked = read_file(node / "cleaning");
    if (asked && is_subject_token(*asked)) {
        log::info("going on with a cleaning", {{"lease", *asked}});
        lease_ = *asked;
        wait_quiet(std::chrono::steady_clock::now() + kQuietPatience);
    } else if (!done_.empty()) {
        tell(done_.back());
    }
}

const Cleaning::Done* Cleaning::find(const std::string& lease) const {
    const auto found = std::find_if(done_.begin(), done_.end(), [&](const Done& done) {
        return done.lease == lease;
    });
    return found == done_.end() ? nullptr : &*found;
}

bool Cleaning::bars(const std::string& lease) const {
    return !lease.empty() && (lease == lease_ || find(lease) != nullptr);
}

Result<void> Cleaning::begin(const v1::Clean& command) {
    if (!is_subject_token(command.lease()))
        return invalid("bad_name", "must be a lease's id", "lease");
    if (command.lease() == lease_) return {};
    if (const Done* done = find(command.lease())) {  // it may not have been heard
        tell(*done);
        return {};
    }
    if (!lease_.empty()) return conflict("cleaning", "the machine is being cleaned already");
    BERTH_TRY(write_file_atomic(context_.settings.dir / "node" / "cleaning", command.lease(), 0600)
    );
    lease_ = command.lease();
    wait_quiet(std::chrono::steady_clock::now() + kQuietPatience);
    return {};
}

void Cleaning::wait_quiet(SteadyTime until) {
    if (quiet_()) return wipe();
    if (std::chrono::steady_clock::now() >= until) return finish("something still runs");
    context_.loop.after(kQuietCheck, [weak = weak_from_this(), until] {
        if (const auto self = weak.lock()) self->wait_quiet(until);
    });
}

void Cleaning::wipe() {
    if (auto reset = context_.place.reset(); !reset) return finish(reset.error().message);
    if (auto renewed = renew_folders(context_.settings.dir); !renewed)
        return finish(renewed.error().message);
    if (remover_.joinable()) remover_.join();
    // The loop outlives this object's thread: the destructor joins it.
    remover_ = std::thread([this, weak = weak_from_this(), &loop = context_.loop] {
        const auto removed = remove_trash(context_.settings.dir, stopping_);
        loop.post([weak, error = removed ? std::string() : removed.error().message] {
            if (const auto self = weak.lock()) self->finish(error);
        });
    });
}

void Cleaning::finish(const std::string& error) {
    Done done{std::exchange(lease_, {}), error};
    if (done.lease.empty()) return;
    std::replace(done.error.begin(), done.error.end(), '\n', ' ');
    done_.push_back(done);
    if (done_.size() > kRememberedLeases) done_.erase(done_.begin());
    std::string text;
    for (const Done& each : done_)
        text += each.lease + (each.error.empty() ? "" : " " + each.error) + "\n";
    const fs::path node = context_.settings.dir / "node";
    const auto recorded = write_file_atomic(node / "cleaned", text, 0600);
    std::error_code removed;
    fs::remove(node / "cleaning", removed);
    if (done.error.empty() && (!recorded || removed))
        done_.back().error = done.error = "its end could not be recorded";
    tell(done);
}

void Cleaning::tell(const Done& done) {
    v1::Cleaned event;
    event.set_machine(context_.settings.machine);
    event.set_lease(done.lease);
    event.set_error(done.error);
    if (!done.error.empty())
        log::warning("the machine is not clean", {{"lease", done.lease}, {"error", done.error}});
    publish_surely(
        context_,
        make_node_event(context_.settings, "machine", done.lease, "cleaned", event),
        weak_from_this(),
        [] {}
    );
}

}  // namespace berth::node
