// SPDX-License-Identifier: Apache-2.0
// One run as the node agent sees it: from the recorded command to the confirmed end, over any
// number of restarts.
#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "berth/node/v1/node.pb.h"
#include "node_agent/node_context.hpp"
#include "node_agent/output.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/run_guard.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/stdin_feed.hpp"
#include "process/spawn.hpp"

namespace berth::node {

/// An order for a run whose supervisor does not listen yet: it is to be given again in a moment.
inline constexpr const char* kRunComing = "run_starting";

/// Lives on the loop's thread; held by shared_ptr because answers of the bus come later. All that
/// matters is in the run's folder; this object may die at any moment and another takes over from
/// there.
///
///   recorded (spec.pb) -> supervised (hello) -> ended (exit, or the supervisor is gone: lost)
///   -> all output stored -> end frame stored -> RunEnded stored -> supervisor dismissed, folder
///   removed
class Run : public std::enable_shared_from_this<Run> {
public:
    /// `finished` is called once, when nothing of the run is left here.
    Run(NodeContext context, v1::Start spec, std::function<void(const std::string& run)> finished);
    ~Run();

    /// Writes the run's folder durably; idempotent. With it the run is recorded.
    static Result<void> record(const Settings& settings, const v1::Start& spec);
    static std::filesystem::path folder_of(const Settings& settings, const std::string& run) {
        return settings.dir / "runs" / run;
    }

    /// Finds out where the run stands and goes on from there: starts the supervisor, joins the one
    /// that lives, or publishes the end of one that is gone.
    void resume();
    /// A new connection to the bus is there / the old one is going away.
    void bus_up(bus::Connection& connection);
    void bus_down();

    /// Errors: conflict "run_ended" when it has, unavailable kRunComing while nobody takes it.
    Result<void> signal(int number, std::optional<milliseconds> kill_after);
    /// The guard's part of it.
    RunGuard& guard() { return *guard_; }
    /// Warden has spoken: a start that waited for it goes on.
    void policy_known();
    /// A halt: everything of it is to stand still; true once it does. Call again until it is.
    bool stand_still(const std::string& halt);
    /// Then it dies. Call again until it is not live any more.
    void end_halted();
    const v1::Start& spec() const { return spec_; }
    const std::string& id() const { return spec_.run(); }
    bool live() const { return !end_; }

private:
    bool start_by_passed() const;
    bool has_work() const;
    void take_copy();
    void lose(std::string reason);
    void end_unstarted(EndState state, std::string reason);
    Result<void> start_supervisor();
    bool join();
    void on_socket(std::uint32_t events);
    void on_word(const RunWord& word);
    bool send(const RunWord& word);
    void flush();
    void leave_socket();
    void supervisor_gone();
    void retry_resume();
    void expect_end(milliseconds within);
    void end_unheard();
    bool tree_lives() const;
    void watch_child();
    void publish_started();
    void begin_output(std::uint64_t from, std::uint64_t written);
    void on_confirmed(std::uint64_t offset);
    void set_end(ExitRecord record);
    void try_publish_end();
    void publish_ended_event();
    void clean_up();
    void feed_stdin();
    std::shared_ptr<RunGuard> make_guard();

    NodeContext context_;
    v1::Start spec_;
    std::function<void(const std::string&)> finished_;
    std::filesystem::path folder_;
    Fd socket_;
    std::deque<std::pair<RunWord, std::string>>
        unsent_;  // few: signals and confirmations while the socket is full
    std::optional<process::Child> child_;
    std::shared_ptr<OutputPublisher> output_;
    std::shared_ptr<StdinFeed> stdin_;
    std::shared_ptr<RunGuard> guard_;
    std::string halting_;  // halt that was told to the supervisor
    bool waits_for_policy_ = false;
    bool freeze_told_ = false;
    bool cut_ = false;           // and that it dies
    bool killed_ = false;        // its supervisor, which did not do that
    bool ended_stored_ = false;  // RunEnded is on the bus
    std::uint64_t stdin_room_ = 0;
    bool started_published_ = false;
    bool started_sent_ = false;
    std::optional<ExitRecord> end_;
    bool end_sent_ = false;
    unsigned attempts_ = 0;
    std::string obstacle_;  // why the last attempt failed, as the end of a sentence
    char buffer_[kWordBytes];
};

}  // namespace berth::node
