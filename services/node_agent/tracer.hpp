// SPDX-License-Identifier: Apache-2.0
// Stops every exec of a process tree and lets whoever judges decide; everything else of the tree
// goes on as if nobody watched.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/result.hpp"
#include "node_agent/injection.hpp"

namespace berth::node {

/// What a tracer tells. Calls come from on_child() and the orders below, on its thread.
class TracerEvents {
public:
    virtual ~TracerEvents() = default;
    /// A process has a new image and stands before its first instruction. Answer now or later by
    /// go(), refuse(), hold() or replace(). `parent` is the executable it had before.
    virtual void on_exec(pid_t pid, const std::string& before) = 0;
    /// What hold() began is done: it stands still and nobody of its uid reaches into it.
    virtual void on_held(pid_t pid) = 0;
    /// A process that had an exec is gone, with its wait status; also one that was never answered.
    virtual void on_gone(pid_t pid, int wait_status) = 0;
    /// A child of this process that is not of the tree.
    virtual void on_other_child(pid_t pid, int wait_status) = 0;
};

/// Built on ptrace(2): needs no privilege over processes of the same uid, nor over those of a user
/// namespace that this uid made. Debuggers cannot work inside the tree. The tree dies with this
/// process. Single-threaded; nothing here waits.
class Tracer {
public:
    explicit Tracer(TracerEvents& events) : events_(events) {}

    /// Takes a process that waits before its first exec, and all that will come of it. Error
    /// "system".
    Result<void> seize(pid_t pid);
    /// What waitpid(2) said of any child.
    void on_child(pid_t pid, int wait_status);

    /// Answers to on_exec(); a process that is gone meanwhile is no matter.
    void go(pid_t pid);
    /// It says `text` on its stderr, exits with kRefusedCode, and does nothing else. False: nothing
    /// can be put into it, it was killed and says nothing.
    bool refuse(pid_t pid, const std::string& text);
    /// It stays stopped, its memory closed to others of its uid: on_held() says when. Then go(),
    /// refuse() or replace(). False: impossible; it stands still and is to be refused.
    bool hold(pid_t pid);
    /// It stands under more filters of system calls than the tree began with, which would decide
    /// what becomes of anything that is put into it; or the kernel does not say (before Linux 5.9).
    bool is_filtered(pid_t pid) const;
    /// Whether anybody of the tree can write to the memory of another process, or of its own, by a
    /// file that is open: see open_memory.hpp. What is held does nothing and is not looked at.
    bool has_memory_open() const;
    /// It executes this instead, and comes to on_exec() again; false: impossible, it stands still.
    bool replace(
        pid_t pid,
        const std::string& path,
        const std::vector<std::string>& argv,
        const std::vector<std::string>& environment
    );
    /// A held process was sent a signal that ends it: it goes on to die of it. False: none.
    bool let_die(pid_t pid);

    /// Says what a process executes now, for on_exec() of what it becomes.
    void set_executable(pid_t pid, const std::string& path);

    /// A process and all that it starts from here on are a family; its number.
    std::uint64_t found_family(pid_t pid);
    bool is_of(pid_t pid, std::uint64_t family) const;
    /// To all of a family, also of those that were founded in it. How many threads it has.
    std::size_t signal_family(std::uint64_t family, int signal);

    /// Stops all threads of the tree where they stand; nothing goes on until thaw().
    void freeze();
    void thaw();
    bool frozen() const { return frozen_; }
    /// Tracees that still run after freeze().
    std::size_t running() const;
    /// Tracees that are there.
    std::size_t living() const;

private:
    enum class State {
        kRunning,
        kStopped,  ///< frozen at any stop; `resume` says how it goes on
        kAtExec,   ///< on_exec() was told
        kClosing,  ///< runs the few instructions that close its memory
        kHeld,     ///< closed
        kOpening,  ///< runs those that open it again
    };
    struct Family {
        std::uint64_t number = 0;
        std::shared_ptr<const Family> above;  ///< the one that it was founded in
    };
    struct Tracee {
        State state = State::kRunning;
        bool executed = false;
        bool refused = false;    ///< says why and ends: no other system call of it is done
        bool listening = false;  ///< stopped as a group, as any job may be
        int resume_signal = 0;
        int late_signal = 0;  ///< came while it ran our instructions
        Injected injected;
        std::shared_ptr<const std::string> executable;
        std::shared_ptr<const Family> family;
    };

    static bool is_of(const Tracee& tracee, std::uint64_t number);
    void on_stop(pid_t pid, int status);
    void on_event(pid_t pid, Tracee& tracee, int event, int signal);
    void on_exec(pid_t pid, Tracee& tracee);
    void on_signal(pid_t pid, Tracee& tracee, int signal);
    void on_system_call(pid_t pid, Tracee& tracee);
    void on_injected_call(pid_t pid, Tracee& tracee);
    void remember_child(pid_t parent);
    void inherit(pid_t child, pid_t parent);
    void resume(pid_t pid, Tracee& tracee, int signal);
    void listen(pid_t pid, Tracee& tracee);
    void kill(pid_t pid);
    void open(pid_t pid, Tracee& tracee);

    TracerEvents& events_;
    std::unordered_map<pid_t, Tracee> tracees_;
    bool frozen_ = false;
    std::uint64_t families_ = 0;
    bool begun_ = false;  ///< the first exec was seen
    std::optional<std::uint64_t>
        filters_;  ///< of the first image; nullopt: the kernel does not say
};

}  // namespace berth::node
