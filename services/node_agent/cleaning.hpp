// SPDX-License-Identifier: Apache-2.0
// Between two owners: everything the first one left goes before the machine is anybody else's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "berth/node/v1/node.pb.h"
#include "node_agent/node_context.hpp"

namespace berth::node {

/// One machine's cleanings, one at a time. Lives on the loop's thread; the removal of files runs on
/// a thread of its own.
///
///   asked (node/cleaning) -> nothing runs -> the place is reset -> workspace, home and tmp are new
///   and the old ones removed -> recorded (node/cleaned), node/cleaning removed -> told (`cleaned`)
///
/// node/cleaning goes before anything is told: a machine that may have its next owner is never
/// cleaned again. The last word of node/cleaned is told anew at each start, which its reader knows
/// as a repetition.
class Cleaning : public std::enable_shared_from_this<Cleaning> {
public:
    /// `quiet` ends what runs, and is asked again until it says that nothing does.
    Cleaning(NodeContext context, std::function<bool()> quiet);
    ~Cleaning();

    /// Goes on where a killed agent left off.
    void start();
    /// Records the command; the rest follows. Errors: "bad_name", conflict "cleaning" (for another
    /// lease), "system".
    Result<void> begin(const v1::Clean& command);
    /// True where runs of this lease must not start (any more).
    bool bars(const std::string& lease) const;

private:
    struct Done {
        std::string lease;
        std::string error;  // empty: it was cleaned
    };
    void wait_quiet(SteadyTime until);
    void wipe();
    void finish(const std::string& error);
    const Done* find(const std::string& lease) const;
    void tell(const Done& done);

    NodeContext context_;
    std::function<bool()> quiet_;
    std::string lease_;       // being cleaned; empty: none
    std::vector<Done> done_;  // the newest last
    std::thread remover_;
    std::atomic<bool> stopping_{false};
};

/// Empties the machine's workspace, home and tmp: puts new folders in their place and moves the old
/// ones into node/trash, which remove_trash() removes. Error "system".
Result<void> renew_folders(const std::filesystem::path& dir);
/// Gives up between two entries once `stopping`. Error "not_removed".
Result<void> remove_trash(const std::filesystem::path& dir, const std::atomic<bool>& stopping);

}  // namespace berth::node
