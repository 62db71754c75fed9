// SPDX-License-Identifier: Apache-2.0
// ptrace by PTRACE_SEIZE: signals and job control pass unchanged, only exec stops are ours.
#include "node_agent/tracer.hpp"

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/fd.hpp"
#include "node_agent/open_memory.hpp"

namespace berth::node {
namespace {

constexpr long kOptions = PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                          PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
constexpr int kSystemCall = SIGTRAP | 0x80;  // by PTRACE_O_TRACESYSGOOD

/// Signals whose default does not end a process.
constexpr std::uint64_t bit(int signal) { return 1ULL << (signal - 1); }
constexpr std::uint64_t kHarmless = bit(SIGCHLD) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGCONT) |
                                    bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

bool stops_a_job(int signal) {
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

Result<std::string> status_of(pid_t pid) {
    return read_file("/proc/" + std::to_string(pid) + "/status");
}

/// A number of /proc/<pid>/status; 0 where it has none of that name.
std::uint64_t number_of(const std::string& status, const char* name, int base) {
    const auto at = status.find(name);
    return at == std::string::npos
               ? 0
               : std::strtoull(status.c_str() + at + std::strlen(name), nullptr, base);
}

std::uint64_t mask_of(const std::string& status, const char* name) {
    return number_of(status, name, 16);
}

/// How many filters of system calls it stands under; nullopt where the kernel does not say.
std::optional<std::uint64_t> filters_of(pid_t pid) {
    constexpr const char* kName = "\nSeccomp_filters:";
    const auto status = status_of(pid);
    if (!status || status->find(kName) == std::string::npos) return std::nullopt;
    return number_of(*status, kName, 10);
}

/// Not sent by anybody: what its own instructions did.
bool is_fault(pid_t pid, int signal) {
    constexpr std::uint64_t kFaults =
        bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGTRAP);
    siginfo_t info{};
    return (kFaults & bit(signal)) != 0 && ::ptrace(PTRACE_GETSIGINFO, pid, nullptr, &info) == 0 &&
           info.si_code > 0;
}

/// On to its next stop at a system call.
void step(pid_t pid) { (void)::ptrace(PTRACE_SYSCALL, pid, nullptr, 0); }

/// One that was killed before its parent told of it is never heard of again.
bool is_there(pid_t pid) { return ::kill(pid, 0) == 0 || errno != ESRCH; }

/// Not one more thread of a process.
bool is_leader(pid_t pid) {
    const auto status = status_of(pid);
    return status && number_of(*status, "\nTgid:", 10) == static_cast<std::uint64_t>(pid);
}

/// Whoever started it; of one more thread its process. 0: gone.
pid_t starter_of(pid_t pid) {
    const auto status = status_of(pid);
    if (!status) return 0;
    const auto process = static_cast<pid_t>(number_of(*status, "\nTgid:", 10));
    return process != pid ? process : static_cast<pid_t>(number_of(*status, "\nPPid:", 10));
}

}  // namespace

Result<void> Tracer::seize(pid_t pid) {
    if (::ptrace(PTRACE_SEIZE, pid, nullptr, kOptions) != 0)
        return system_error("the command cannot be guarded", errno);
    tracees_.try_emplace(pid);
    return {};
}

void Tracer::on_child(pid_t pid, int wait_status) {
    if (WIFSTOPPED(wait_status)) return on_stop(pid, wait_status);
    const auto found = tracees_.find(pid);
    if (found == tracees_.end()) return events_.on_other_child(pid, wait_status);
    const bool executed = found->second.executed;
    tracees_.erase(found);
    if (executed) events_.on_gone(pid, wait_status);
}

void Tracer::on_stop(pid_t pid, int status) {
    // A child may be heard of before its parent tells of it, and start others before that too.
    const auto [found, unheard_of] = tracees_.try_emplace(pid);
    if (unheard_of) inherit(pid, starter_of(pid));
    Tracee& tracee = found->second;
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (event != 0) return on_event(pid, tracee, event, signal);
    if (signal == kSystemCall) return on_system_call(pid, tracee);
    on_signal(pid, tracee, signal);
}

void Tracer::on_event(pid_t pid, Tracee& tracee, int event, int signal) {
    switch (event) {
        case PTRACE_EVENT_EXEC: return on_exec(pid, tracee);
        case PTRACE_EVENT_FORK:
        case PTRACE_EVENT_VFORK:
        case PTRACE_EVENT_CLONE:
            remember_child(pid);
            return resume(pid, tracees_[pid], 0);  // the map may have moved
        case PTRACE_EVENT_STOP:
            if (stops_a_job(signal)) return listen(pid, tracee);
            // SIGCONT stops it in our instructions: they go on.
            if (tracee.state == State::kClosing || tracee.state == State::kOpening)
                return step(pid);
            [[fallthrough]];
        default: return resume(pid, tracee, 0);
    }
}

void Tracer::remember_child(pid_t parent) {
    unsigned long child = 0;
    if (::ptrace(PTRACE_GETEVENTMSG, parent, nullptr, &child) != 0) return;
    const auto [started, unheard_of] = tracees_.try_emplace(static_cast<pid_t>(child));
    // One that was heard of has what it has of its parent, and may have become something else.
    if (unheard_of || !started->second.family) inherit(started->first, parent);
}

void Tracer::inherit(pid_t child, pid_t parent) {
    const auto known = tracees_.find(parent);
    if (known == tracees_.end()) return;
    Tracee& started = tracees_[child];
    if (!started.executed) started.executable = known->second.executable;
    started.family = known->second.family;
}

void Tracer::on_exec(pid_t pid, Tracee& tracee) {
    // A thread that is not the leader becomes it, and the number it had is gone without a word.
    unsigned long former = 0;
    if (::ptrace(PTRACE_GETEVENTMSG, pid, nullptr, &former) == 0 &&
        static_cast<pid_t>(former) != pid)
        tracees_.erase(static_cast<pid_t>(former));
    if (!std::exchange(begun_, true)) filters_ = filters_of(pid);
    tracee.state = State::kAtExec;
    tracee.executed = true;
    tracee.listening = false;
    const auto before = std::exchange(tracee.executable, nullptr);
    events_.on_exec(pid, before ? *before : std::string());
}

/// Of a refused image alone: whoever rewrites its memory while it speaks gets nothing done by it.
void Tracer::on_system_call(pid_t pid, Tracee& tracee) {
    if (tracee.state == State::kClosing || tracee.state == State::kOpening)
        return on_injected_call(pid, tracee);
    if (tracee.refused && !hold_to_refusal(pid)) return kill(pid);
    resume(pid, tracee, 0);
}

void Tracer::on_signal(pid_t pid, Tracee& tracee, int signal) {
    if (tracee.state == State::kClosing || tracee.state == State::kOpening) {
        // Our instructions do no such thing: they were rewritten.
        if (is_fault(pid, signal)) return kill(pid);
        // It must not be delivered to our instructions, nor be lost.
        tracee.late_signal = signal;
        return step(pid);
    }
    resume(pid, tracee, signal);
}

void Tracer::resume(pid_t pid, Tracee& tracee, int signal) {
    if (frozen_) {
        tracee.state = State::kStopped;
        tracee.resume_signal = signal;
        return;
    }
    tracee.state = State::kRunning;
    tracee.listening = false;
    // Fails only for one that was killed meanwhile, whose end comes as an event.
    (void)::ptrace(tracee.refused ? PTRACE_SYSCALL : PTRACE_CONT, pid, nullptr, signal);
}

void Tracer::listen(pid_t pid, Tracee& tracee) {
    tracee.listening = true;
    (void)::ptrace(PTRACE_LISTEN, pid, nullptr, 0);
}

void Tracer::kill(pid_t pid) { (void)::kill(pid, SIGKILL); }

void Tracer::set_executable(pid_t pid, const std::string& path) {
    const auto found = tracees_.find(pid);
    if (found != tracees_.end())
        found->second.executable = std::make_shared<const std::string>(path);
}

std::uint64_t Tracer::found_family(pid_t pid) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end()) return 0;
    auto& family = found->second.family;
    family = std::make_shared<const Family>(Family{++families_, family});
    return families_;
}

bool Tracer::is_of(const Tracee& tracee, std::uint64_t number) {
    const Family* family = tracee.family.get();
    while (family != nullptr && family->number != number) family = family->above.get();
    return family != nullptr;
}

bool Tracer::is_of(pid_t pid, std::uint64_t family) const {
    const auto found = tracees_.find(pid);
    return found != tracees_.end() && is_of(found->second, family);
}

std::size_t Tracer::signal_family(std::uint64_t number, int signal) {
    std::size_t count = 0;
    for (const auto& [pid, tracee] : tracees_) {
        if (!is_of(tracee, number) || !is_there(pid)) continue;
        ++count;
        // Once per process, whatever threads it has: a handler would run as often.
        if (is_leader(pid)) (void)::kill(pid, signal);
    }
    return count;
}

void Tracer::go(pid_t pid) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end()) return;
    if (found->second.state == State::kAtExec) return resume(pid, found->second, 0);
    open(pid, found->second);
}

bool Tracer::is_filtered(pid_t pid) const {
    const auto filters = filters_of(pid);
    return !filters || !filters_ || *filters > *filters_;
}

bool Tracer::has_memory_open() const {
    return std::any_of(tracees_.begin(), tracees_.end(), [](const auto& one) {
        const State state = one.second.state;
        const bool held = state == State::kClosing || state == State::kHeld;
        return !held && node::has_memory_open(one.first);
    });
}

bool Tracer::refuse(pid_t pid, const std::string& text) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end()) return true;
    Tracee& tracee = found->second;
    if (is_filtered(pid) || !inject_refusal(pid, text)) {
        kill(pid);
        return false;
    }
    tracee.refused = true;
    resume(pid, tracee, std::exchange(tracee.late_signal, 0));
    return true;
}

bool Tracer::hold(pid_t pid) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end() || found->second.state != State::kAtExec) return true;
    Tracee& tracee = found->second;
    if (is_filtered(pid) || !inject_dumpable(pid, false, tracee.injected)) return false;
    tracee.state = State::kClosing;
    step(pid);
    return true;
}

bool Tracer::replace(
    pid_t pid,
    const std::string& path,
    const std::vector<std::string>& argv,
    const std::vector<std::string>& environment
) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end()) return false;
    Tracee& tracee = found->second;
    // A new image has a memory of its own, open as any.
    if (tracee.state != State::kHeld || !inject_exec(pid, path, argv, environment)) return false;
    resume(pid, tracee, std::exchange(tracee.late_signal, 0));
    return true;
}

void Tracer::open(pid_t pid, Tracee& tracee) {
    if (tracee.state != State::kHeld) return;
    if (!inject_dumpable(pid, true, tracee.injected)) return kill(pid);
    tracee.state = State::kOpening;
    step(pid);
}

/// The kernel's word on what the image did, whatever is in its memory: it was told to make one call
/// and makes no other.
void Tracer::on_injected_call(pid_t pid, Tracee& tracee) {
    const auto done = follow_dumpable(pid, tracee.injected);
    if (!done) return kill(pid);
    if (!*done) return step(pid);
    if (!put_back(pid, tracee.injected)) return kill(pid);
    if (tracee.state == State::kOpening)
        return resume(pid, tracee, std::exchange(tracee.late_signal, 0));
    tracee.state = State::kHeld;
    events_.on_held(pid);
}

bool Tracer::let_die(pid_t pid) {
    const auto found = tracees_.find(pid);
    if (found == tracees_.end() || found->second.state != State::kHeld) return false;
    Tracee& tracee = found->second;
    int signal = std::exchange(tracee.late_signal, 0);
    if (signal == 0 || (kHarmless & bit(signal)) != 0) {
        const auto status = status_of(pid);
        if (!status) return false;
        const std::uint64_t pending = (mask_of(*status, "SigPnd:") | mask_of(*status, "ShdPnd:")) &
                                      ~mask_of(*status, "SigBlk:") & ~mask_of(*status, "SigIgn:") &
                                      ~kHarmless;
        if (pending == 0) {
            tracee.late_signal = signal;
            return false;
        }
    }
    // An image that has run nothing has no handler: it dies before its first instruction.
    resume(pid, tracee, signal);
    return true;
}

void Tracer::freeze() {
    if (std::exchange(frozen_, true)) return;
    for (auto& [pid, tracee] : tracees_) {
        if (tracee.state == State::kRunning) (void)::ptrace(PTRACE_INTERRUPT, pid, nullptr, 0);
    }
}

void Tracer::thaw() {
    if (!std::exchange(frozen_, false)) return;
    for (auto& [pid, tracee] : tracees_) {
        if (tracee.state != State::kStopped) continue;
        if (tracee.listening)
            listen(pid, tracee);
        else
            resume(pid, tracee, std::exchange(tracee.resume_signal, 0));
    }
}

std::size_t Tracer::living() const {
    return static_cast<std::size_t>(std::count_if(
        tracees_.begin(), tracees_.end(), [](const auto& one) { return is_there(one.first); }
    ));
}

std::size_t Tracer::running() const {
    std::size_t count = 0;
    for (const auto& [pid, tracee] : tracees_) {
        const bool moves = (tracee.state == State::kRunning && !tracee.listening) ||
                           tracee.state == State::kClosing || tracee.state == State::kOpening;
        if (moves && is_there(pid)) ++count;
    }
    return count;
}

}  // namespace berth::node
