// SPDX-License-Identifier: Apache-2.0
// A run's guard inside its supervisor: judges each exec, refuses, holds, and keeps the audit.
#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "identity/sha256.hpp"
#include "node_agent/audit_log.hpp"
#include "node_agent/child_wait.hpp"
#include "node_agent/guard_policy.hpp"
#include "node_agent/guarding.hpp"
#include "node_agent/image.hpp"
#include "node_agent/image_memory.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/shim_door.hpp"
#include "node_agent/tracer.hpp"

namespace berth::node {

/// Single-threaded, on the supervisor's loop; never waits. Commands that wait for a decision stay
/// stopped while the rest of the tree goes on.
class Guard final : public Guarding, private TracerEvents, private ShimEvents, private ChildEvents {
public:
    /// Where a guard keeps its files, and whose commands they are.
    struct Keeping {
        std::filesystem::path folder;  ///< audit and held/ of the run
        uid_t owner = 0;               ///< the user whose files the run can write
        unsigned mode = 0600;          ///< of the files it makes
    };
    Guard(const Launch& launch, Keeping keeping, GuardHost& host);
    ~Guard() override;

    std::uint32_t init_flags() const override;
    int descriptor() const override;
    void on_input() override { door_.on_ready(); }
    int poll(pollfd* set, nfds_t count, int timeout_ms) override;
    Result<void> prepare() override;
    /// Instead of prepare(): shims come as descriptors over `channel`, from whoever hears them.
    Result<void> prepare(Fd channel);
    Result<void> seize(pid_t pid) override;
    bool on_word(const RunWord& word) override;
    void greet() override;
    void tell() override;
    std::optional<Time> next_timer() const override;
    void on_timers() override;
    void on_output(std::string_view bytes) override;
    void finish(int exit_code) override;

    /// Processes of the tree that are left.
    std::size_t living() const { return tracer_.living(); }
    /// Names of the tools that the policy speaks of.
    std::vector<std::string> tools() { return policy_.tools(); }

private:
    /// A command's time, and that of all that it started.
    struct Timed {
        pid_t pid = 0;  ///< until it ends, whatever it executes meanwhile
        Time at;
        std::string why;      ///< it was ended, in words
        bool warned = false;  ///< SIGTERM was sent: from here on it ends with the last of them
        int kills = 0;
    };
    struct Waiting {
        Held held;
        pid_t pid = 0;
        std::string asked_as;
        std::vector<std::string> environment;
        bool shim = false;  ///< it asked by a shim, which waits for the answer
        std::optional<Decision> decision;
        std::optional<ImageMemory> memory;  ///< of what is held
        bool closed = false;   ///< stands still; before that nothing is asked or decided
        bool decided = false;  ///< its decision's file is there
        bool claiming = false;
    };

    // TracerEvents
    void on_exec(pid_t pid, const std::string& before) override;
    void on_held(pid_t pid) override;
    void on_gone(pid_t pid, int wait_status) override;
    void on_other_child(pid_t pid, int wait_status) override;

    // ShimEvents
    void on_question(pid_t pid, const std::string& path) override;
    void on_hung_up(pid_t pid) override;

    // ChildEvents
    void on_child_status(pid_t pid, int wait_status) override;
    bool may_sleep() override;

    void abandon(pid_t pid);
    bool refuse(pid_t pid, const std::string& text);
    void close(const std::string& id);
    void judge_stopped(pid_t pid, const std::string& before);
    static bool barred(const Image& image);
    policy::Verdict judge(const Image& image);
    void limit_held(policy::Verdict& verdict) const;
    void start_watching(
        pid_t pid,
        const policy::Plan& plan,
        const policy::Verdict& verdict,
        const std::string& digest,
        const std::string& approval
    );
    void end_watching(pid_t pid, std::optional<int> exit_code);
    void deny(
        pid_t pid,
        const policy::Plan& plan,
        const policy::Verdict& verdict,
        const std::string& digest,
        const std::string& approval
    );
    void hold(Waiting waiting, const policy::Verdict& verdict);
    void ask_next();
    void ask(const std::string& id);
    void claim_edited(const std::string& id);
    void on_decision(const std::string& id);
    void carry_out(const std::string& id);
    void ask_claim(const std::string& id);
    void on_claimed(const std::vector<std::string>& texts);
    void go_on(const std::string& id);
    void reject(const std::string& id, const std::string& rule, const std::string& reason);
    void forget(const std::string& id, const char* outcome);
    bool still_same(const Waiting& waiting, std::string& why);
    bool take_edited(pid_t pid, Image& image);
    void freeze(const std::string& halt);
    void watch_freezing();
    void watch_times(Time now);
    void tell_timed_out(std::uint64_t family, const Timed& timed);
    std::filesystem::path held_file(const std::string& id) const;
    AuditEntry entry_of(
        const char* fact,
        pid_t pid,
        const policy::Plan& plan,
        const policy::Verdict& verdict,
        const std::string& digest
    ) const;
    void say(Word word, std::vector<std::string> texts);

    const Keeping keeping_;
    GuardHost& host_;
    policy::Level level_;
    std::string run_;
    milliseconds grace_;
    GuardPolicy policy_;
    AuditWriter audit_;
    Tracer tracer_;
    ShimDoor door_;
    std::unique_ptr<Images> images_;
    std::vector<std::string> environment_;  ///< the run's own; what shims differ from
    std::optional<ChildWait> children_;     ///< once something is traced
    bool turn_due_ = false;                 ///< what children did gave the loop something to do
    bool baseline_known_ = false;
    pid_t command_ = 0;                     ///< the run's own
    std::map<pid_t, AuditEntry> watched_;   ///< what began, between its exec and its end
    std::map<std::uint64_t, Timed> timed_;  ///< by the tracer's family
    std::map<std::string, Waiting> waiting_;
    std::deque<std::string> unasked_;      ///< closed, and their files not read yet
    std::map<pid_t, std::string> edited_;  ///< execs that are to come, by the held id
    std::deque<std::pair<pid_t, std::string>> postponed_;  ///< until the audit has room
    std::deque<std::pair<Word, std::string>> unsaid_;
    std::uint64_t told_audit_ = 0;
    std::optional<Time> tell_audit_at_;
    std::optional<Time> look_at_;    ///< for signals to held processes
    std::string freezing_;           ///< id of a halt that is being carried out
    std::optional<Time> frozen_by_;  ///< when to look again
    Time freeze_until_{};
    identity::Sha256 output_;
};

}  // namespace berth::node
