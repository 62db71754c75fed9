// SPDX-License-Identifier: Apache-2.0
// Runs that people in a chat asked for: a machine, the start, a card that follows, and the end.
// Private to libs/chat.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "berth/run/v1/run.pb.h"
#include "chat/card.hpp"
#include "chat/crew.hpp"
#include "chat/output.hpp"
#include "chat/parts.hpp"
#include "chat/store.hpp"

namespace berth::chat {

/// What a run's card shows besides the run.
struct RunCard {
    std::string command;  ///< as said
    std::string user;
    std::string lease;    ///< its slug, or its id
    std::string waiting;  ///< why it has no run yet
    std::string failure;  ///< why it never will
    std::string output;   ///< its last lines
    bool canceled = false;
};
/// Pure. A run without an id is not begun.
Card run_card(const run::v1::Run& run, const RunCard& what, WallTime now);

/// "1 min 5 s".
std::string spoken(milliseconds duration);

bool has_ended(const run::v1::Run& run);

/// The rows of a new job: itself and the message that follows it, which answers `handle`.
Result<void> begin_job(
    store::Transaction& tx, const JobRow& job, const std::string& handle, WallTime now
);

/// Takes jobs on while this process leads, each from where it stands. Every step may be taken
/// twice: its commands have the job's ids, and its rows are locked.
class Runs {
public:
    static constexpr std::size_t kWorkers = 4;
    /// A card shows at most this often what came meanwhile.
    static constexpr seconds kCardEvery{2};
    static constexpr std::size_t kLines = 12;
    static constexpr std::size_t kBytes = 1'500;

    explicit Runs(Parts& parts) : parts_(parts), crew_([this](const JobRow& job) { work(job); }) {}
    ~Runs() { stop(); }
    Runs(const Runs&) = delete;
    Runs& operator=(const Runs&) = delete;
    void start();
    void stop();

private:
    /// How a step leaves a job: its new state, and when it wants the next look.
    struct Step {
        JobRow job;
        milliseconds next{0};
        RunCard card;
        bool draw = false;
        std::string file;  ///< finished: the output as a file, where the card does not hold it
        bool file_cut = false;
    };
    void choose();
    void work(const JobRow& job);
    void take(const JobRow& job);
    Result<Step> step(const JobRow& job);
    Result<Step> acquire(JobRow job);
    Result<Step> launch(JobRow job);
    Result<Step> follow(JobRow job);
    Result<Step> finish(JobRow job);
    Step give_up(JobRow job, const Error& why);
    Result<void> store(const JobRow& before, const Step& step);
    std::shared_ptr<OutputFollower> follower(const JobRow& job, const run::v1::Run& run);

    Parts& parts_;
    std::mutex mutex_;
    std::set<std::string> under_way_;  // by mutex_, as followed_
    struct Followed {
        std::shared_ptr<OutputFollower> output;
        std::uint64_t shown = 0;    // bytes of output
        std::int64_t revision = 0;  // of the run, as drawn
        SteadyTime drawn{};
        SteadyTime asked{};
    };
    std::map<std::string, Followed> followed_;  // by job
    Crew<JobRow> crew_;
};

}  // namespace berth::chat
