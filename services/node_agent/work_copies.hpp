// SPDX-License-Identifier: Apache-2.0
// Copies of the workspace, for runs that go on side by side and must not see each other's changes.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "node_agent/loop.hpp"
#include "node_agent/place.hpp"
#include "node_agent/settings.hpp"
#include "process/spawn.hpp"

namespace berth::node {

/// Lives on the loop's thread. A copy is made and removed by the machine's own rsync, inside the
/// place where commands run, because nobody else may see a container's files. node/works/<run> is
/// the record of a copy, written before it is made, and holds rsync's complaints.
class WorkCopies {
public:
    using Done = std::function<void(const Result<void>&)>;
    struct Hooks {
        std::function<bool()> moving;                  ///< the workspace is being sent to
        std::function<bool(const std::string&)> live;  ///< whether a run has not ended
    };
    WorkCopies(Loop& loop, const Settings& settings, Place& place, Hooks hooks);
    /// Kills what is under way; nobody is told.
    ~WorkCopies();
    WorkCopies(const WorkCopies&) = delete;
    WorkCopies& operator=(const WorkCopies&) = delete;

    /// Where a run's copy is inside.
    static std::string folder(const std::string& run);

    /// Makes the run's copy, once nobody sends to the workspace; `done` is called unless this
    /// object goes first. Errors: "no_rsync", kPlaceComing, "no_copy" with rsync's words.
    void make(const std::string& run, Done done);
    /// True while one is being taken: the workspace must not change.
    bool busy() const { return !tools_.empty(); }
    /// Ends what is under way with an error.
    void abandon();
    /// Removes the copies of runs that ended, but for the newest few, which may be fetched.
    void tidy();

private:
    struct Tool {
        process::Child child;
        Done done;
    };
    Result<void> spawn(
        const std::string& key,
        const std::string& run,
        const std::vector<std::string>& arguments,
        const std::string& cwd,
        Done done
    );
    void on_exit(const std::string& key, const std::string& run);
    void remove(const std::string& run);
    std::filesystem::path record(const std::string& run) const;

    Loop& loop_;
    const Settings& settings_;
    Place& place_;
    const Hooks hooks_;
    std::map<std::string, Tool> tools_;     // by run: copies being made
    std::map<std::string, Tool> removals_;  // by run
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace berth::node
