// SPDX-License-Identifier: Apache-2.0
// The supervisor's one loop: sandbox, output, deadline, end.
#include "node_agent/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "node_agent/exit_reason.hpp"
#include "node_agent/far_guard.hpp"
#include "node_agent/guard.hpp"
#include "node_agent/guard_files.hpp"
#include "node_agent/launching.hpp"
#include "node_agent/supervisor_loop.hpp"

namespace berth::node {
namespace {

constexpr int kPipeBytes =
    1 << 20;  // fewer wake-ups; the kernel may grant less to a user with many
constexpr milliseconds kLockPatience{2000};     // a predecessor that is just leaving
constexpr milliseconds kDiskRetry{500};         // a full disk is tried again this often
constexpr std::size_t kErrorTextBytes = 512;    // of the sandbox's own complaint, for the reason
constexpr int kLingerLook = 5'000;              // ms between looks for the folder of an ended run
constexpr milliseconds kRelayPatience{15'000};  // of whoever ends a run elsewhere
constexpr int kReadsPerTurn = 16;               // of one stream before the others get their turn

using Steady = std::chrono::steady_clock;

long long wall_micros() { return to_unix_micros(Clock::system().now()); }

/// Where the commands are: beside them in a container, else here.
std::unique_ptr<Guarding> make_guard(
    const Launch& launch, const std::filesystem::path& folder, GuardHost& host
) {
    if (launch.guard.level.empty()) return nullptr;
    if (!launch.guard.beside.empty()) return std::make_unique<FarGuard>(launch, host);
    return std::make_unique<Guard>(launch, Guard::Keeping{folder, ::geteuid(), 0600}, host);
}

}  // namespace

SupervisorEnd Supervisor::run() {
    ::signal(SIGPIPE, SIG_IGN);
    auto lock = process::FileLock::acquire(folder_ / "lock", kLockPatience);
    if (!lock)
        return lock.error().code == "locked" ? SupervisorEnd::kRefused : SupervisorEnd::kFailed;
    lock_ = std::move(*lock);
    if (::access((folder_ / "started").c_str(), F_OK) == 0) return SupervisorEnd::kRefused;
    if (auto begun = begin(); !begun) {
        return begun.error().code == "exists" ? SupervisorEnd::kRefused : SupervisorEnd::kFailed;
    }
    if (auto started = start_sandbox(); !started) {
        early_error_ = started.error().describe();
        for (Source& source : out_) source.fd.reset();
        sandbox_end_ = process::ExitStatus{};
        wake_at_ = Steady::now();
    }
    loop();
    return SupervisorEnd::kDone;
}

/// Everything up to and including the durable `started`.
Result<void> Supervisor::begin() {
    BERTH_ASSIGN(const std::string bytes, read_file(folder_ / "launch"));
    BERTH_ASSIGN(launch_, Launch::decode(bytes));
    BERTH_ASSIGN(SpoolWriter spool, SpoolWriter::create(folder_ / "spool"));
    spool_ = std::move(spool);
    guard_ = make_guard(launch_, folder_, *this);
    if (launch_.deadline_us != 0)
        deadline_ = Steady::now() + microseconds{launch_.deadline_us - wall_micros()};
    return create_durable(
        folder_ / "started", StartedRecord{process::ProcessId::self(), wall_micros()}.encode()
    );
}

Result<void> Supervisor::start_sandbox() {
    if (guard_) BERTH_TRY(guard_->prepare());
    BERTH_ASSIGN(const Fd command, write_init_launch(launch_, guard_ ? guard_->init_flags() : 0U));
    BERTH_ASSIGN(const std::vector<Fd> spaces, holder_namespaces(launch_));
    BERTH_ASSIGN(auto control, process::make_socket_pair(SOCK_SEQPACKET));
    BERTH_ASSIGN(process::Pipe out, process::make_pipe());
    BERTH_ASSIGN(process::Pipe err, process::make_pipe());
    process::Pipe in;
    const int on = 1;
    ::setsockopt(control.first.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);

    process::SpawnSpec spec;
    spec.argv = launch_.sandbox;
    spec.env = {{"PATH=/usr/bin:/bin"}};  // the command's own environment goes to init, not to
                                          // bwrap's loader
    spec.cwd = "/";
    spec.stdin_fd = process::kNull;
    if (launch_.input && !launch_.tty) {
        BERTH_ASSIGN(in, process::make_pipe());
        spec.stdin_fd = in.read.get();
        stdin_ = std::move(in.write);
        ::fcntl(stdin_.get(), F_SETFL, O_NONBLOCK);
    }
    spec.stdout_fd = out.write.get();
    spec.stderr_fd = err.write.get();
    spec.fds = {{control.second.get(), kInitControlFd}, {command.get(), kInitLaunchFd}};
    if (const int fd = guard_ ? guard_->for_init() : -1; fd >= 0) {
        spec.argv.emplace_back("guarded");
        spec.fds.emplace_back(fd, kInitGuardFd);
    }
    for (const Fd& space : spaces) spec.namespaces.push_back(space.get());
    spec.new_group = true;
    spec.no_new_privileges = true;
    spec.death_signal = SIGKILL;
    for (process::Pipe* pipe : {&out, &err}) {
        ::fcntl(pipe->read.get(), F_SETPIPE_SZ, kPipeBytes);
        ::fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);
    }
    out_[0] = {std::move(out.read), OutStream::kStdout, false};
    out_[1] = {std::move(err.read), OutStream::kStderr, false};
    control_ = std::move(control.first);
    BERTH_ASSIGN(sandbox_, process::spawn(spec));
    if (guard_) guard_->handed_over();
    const std::string pids = sandbox_.id().to_text() + "\n";
    return write_quickly(folder_ / "pids", pids);
}

void Supervisor::loop() {
    while (!done_) {
        const bool room = !spool_->full() && pending_.empty();
        pollfd set[10] = {};
        nfds_t count = 0;
        const auto add = [&](int fd, short events) {
            set[count] = {fd, events, 0};  // poll skips negative descriptors
            return count++;
        };
        const auto listener = add(listener_.get(), POLLIN);
        const auto client = add(client_.get(), POLLIN);
        const auto control = add(control_.get(), POLLIN);
        const auto sandbox =
            add(sandbox_end_ || sandbox_.pid() == 0 ? -1 : sandbox_.pidfd(), POLLIN);
        const auto first = add(room ? out_[0].fd.get() : -1, POLLIN);
        const auto second = add(room ? out_[1].fd.get() : -1, POLLIN);
        const auto input = add(stdin_buffer_.empty() ? -1 : stdin_.get(), POLLOUT);
        const auto guards = add(guard_ ? guard_->descriptor() : -1, POLLIN);
        const int timeout = poll_timeout();
        const int ready = guard_ ? guard_->poll(set, count, timeout) : ::poll(set, count, timeout);
        if (ready < 0 && errno != EINTR) return;
        if (set[control].revents != 0) read_control();
        if (set[guards].revents != 0) guard_->on_input();
        if (set[sandbox].revents != 0 && !sandbox_end_) sandbox_end_ = sandbox_.poll();
        if (set[first].revents != 0) read_output(out_[0]);
        if (set[second].revents != 0) read_output(out_[1]);
        if (set[input].revents != 0) write_stdin();
        if (set[client].revents != 0) read_client();
        if (set[listener].revents != 0) accept_client();
        on_timers();
        // The end is durable only later, and whoever pressed a halt counts the moments.
        if (sandbox_end_ && std::exchange(halting_, false))
            (void)send_word({Word::kGone, 0, 0, 0, 0, {}});
        if (sandbox_end_ && !ended_) try_finish();
        tell_client();
        // A node agent that died between removing the folder and dismissing us: nobody will come
        // any more.
        if (ended_ && ::access((folder_ / "exit").c_str(), F_OK) != 0) done_ = true;
    }
}

int Supervisor::poll_timeout() const {
    std::optional<Steady::time_point> next;
    const auto consider = [&next](const std::optional<Steady::time_point>& time) {
        if (time && (!next || *time < *next)) next = time;
    };
    if (!ended_ && !timed_out_) consider(deadline_);
    if (!ended_) consider(kill_at_);
    if (!ended_) consider(cut_at_);
    consider(wake_at_);
    if (guard_) consider(guard_->next_timer());
    if (!next) return ended_ ? kLingerLook : -1;
    const auto left = std::chrono::ceil<milliseconds>(*next - Steady::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

void Supervisor::on_timers() {
    const auto now = Steady::now();
    if (!ended_ && deadline_ && !timed_out_ && now >= *deadline_) {
        timed_out_ = true;
        signal_command(SIGTERM);
        if (!kill_at_) kill_at_ = now + milliseconds{launch_.grace_ms};
    }
    if (!ended_ && kill_at_ && now >= *kill_at_) {
        kill_at_.reset();
        kill_all();
    }
    if (!ended_ && cut_at_ && now >= *cut_at_) {
        cut_at_.reset();
        (void)sandbox_.signal(SIGKILL);  // gone is what we want
    }
    if (wake_at_ && now >= *wake_at_) {
        wake_at_.reset();
        const std::string bytes = std::exchange(pending_, {});
        if (!bytes.empty()) store(pending_stream_, bytes);
    }
    if (guard_) guard_->on_timers();
    if (memory_notice_due_ && pending_.empty()) {
        memory_notice_due_ = false;
        store(OutStream::kBerth, memory_notice_ + "\n");
    }
    if (!notices_.empty() && pending_.empty())
        store(OutStream::kBerth, std::exchange(notices_, {}));
    if (cap_notice_due_ && pending_.empty()) {
        cap_notice_due_ = false;
        store(
            OutStream::kBerth,
            "output cap of " + std::to_string(launch_.output_cap) +
                " bytes reached; the command goes on, its further output is dropped\n"
        );
    }
}

void Supervisor::read_control() {
    for (;;) {
        InitReport report;
        switch (receive_report(control_.get(), report)) {
            case InitRead::kNothing: return;
            case InitRead::kGone: control_.reset(); return;
            case InitRead::kMessage: on_init_message(report); break;
        }
    }
}

void Supervisor::on_init_message(InitReport& report) {
    const InitMessage& message = report.message;
    Fd& passed = report.passed;
    if (message.kind == kInitExited) {
        command_end_ = process::to_exit_status(message.value);
        return;
    }
    if (message.kind == kInitNoFolder) {
        no_folder_ = launch_.cwd + ": " + ::strerror(message.value);
        return;
    }
    if (message.kind == kInitMemory) {
        memory_notice_ = "the machine's memory limit";
        if (message.value > 0) memory_notice_ += " of " + std::to_string(message.value) + " MiB";
        memory_notice_ += " was reached and the kernel killed a process";
        memory_notice_due_ = true;
    }
    if (message.kind == kInitStopped) tell_stopped(static_cast<std::size_t>(message.value));
    if (message.kind == kInitTraceMe && guard_) return start_guarding(report);
    if (message.kind != kInitStarted || started_) return;
    started_ = true;
    early_error_.clear();
    init_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, report.sender, 0)));
    if (const auto id = process::ProcessId::of(report.sender)) {
        init_id_ = *id;
        // Killing the first kills this one too; the record only lets a destroyer wait for both.
        (void
        )write_quickly(folder_ / "pids", sandbox_.id().to_text() + "\n" + id->to_text() + "\n");
    }
    if (passed) {
        ::fcntl(passed.get(), F_SETFL, O_NONBLOCK);
        if (launch_.input) stdin_ = Fd(::fcntl(passed.get(), F_DUPFD_CLOEXEC, 3));
        out_[0].fd = std::move(passed);
    }
    write_stdin();
}

/// The command waits until it is traced; were it not, it must not begin.
void Supervisor::start_guarding(const InitReport& report) {
    if (const auto seized = guard_->seize(report.sender); !seized) {
        store(OutStream::kBerth, seized.error().message + "\n");
        return;
    }
    (void)!::write(report.passed.get(), "G", 1);
}

void Supervisor::stop_tree(std::string_view words) {
    const auto texts = unpack(words);
    if (!texts || texts->size() != 1) return;
    halt_ = texts->front();
    // Where the processes run, their init stops them and says when.
    if (launch_.relayed) return tell_init(kInitStop, 0);
    tell_stopped(stop_processes(init_id_));
}

void Supervisor::tell_stopped(std::size_t count) {
    const std::string told = pack({halt_, "stop"});
    (void)send_word({Word::kFrozen, count, 0, 0, 0, told});
}

void Supervisor::tell_init(char kind, int value) {
    const InitMessage message{kind, value};
    if (control_)
        (void)!::send(control_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Supervisor::on_child(pid_t pid, int wait_status) {
    if (pid == sandbox_.pid()) sandbox_end_ = process::to_exit_status(wait_status);
}

void Supervisor::read_output(Source& source) {
    for (int turn = 0; turn < kReadsPerTurn; ++turn) {
        if (spool_->full() || !pending_.empty()) return;
        const ssize_t got = ::read(source.fd.get(), buffer_, sizeof buffer_);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) {
            source.drained = true;
            return;
        }
        if (got <= 0) {  // the end; EIO is how a terminal says it
            source.fd.reset();
            return;
        }
        source.drained = false;
        store_capped(source.stream, {buffer_, static_cast<std::size_t>(got)});
    }
}

void Supervisor::store_capped(OutStream stream, std::string_view bytes) {
    note_early_error(stream, bytes);
    if (capped_) return;
    if (launch_.output_cap != 0 && command_bytes_ + bytes.size() > launch_.output_cap) {
        bytes = bytes.substr(0, launch_.output_cap - command_bytes_);
        capped_ = true;
        cap_notice_due_ = true;
    }
    command_bytes_ += bytes.size();
    if (guard_) guard_->on_output(bytes);
    if (!bytes.empty()) store(stream, bytes);
}

/// Until the command runs, stderr is the sandbox's own complaint.
void Supervisor::note_early_error(OutStream stream, std::string_view bytes) {
    if (started_ || stream != OutStream::kStderr) return;
    early_error_.append(
        bytes.substr(0, kErrorTextBytes - std::min(kErrorTextBytes, early_error_.size()))
    );
}

bool Supervisor::store(OutStream stream, std::string_view bytes) {
    if (spool_->append(stream, bytes)) return true;
    pending_ = bytes;
    pending_stream_ = stream;
    wake_at_ = Steady::now() + kDiskRetry;
    return false;
}

void Supervisor::signal_command(int number) {
    if (number > 0 && number < NSIG) tell_init(kInitSignal, number);
}

void Supervisor::kill_all() {
    if (launch_.relayed) {
        // Where the processes run, their init ends them; the relay ends when none is left. Its own
        // death says the same, but tells nothing about when.
        const InitMessage message{kInitKill, 0};
        if (control_)
            (void)!::send(control_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
        cut_at_ = Steady::now() + kRelayPatience;
        return;
    }
    if (init_) ::syscall(SYS_pidfd_send_signal, init_.get(), SIGKILL, nullptr, 0);
    (void)sandbox_.signal(SIGKILL);  // gone is what we want
}

/// The sandbox is gone and with it every process of the run; what it wrote last may still be in the
/// pipes.
void Supervisor::try_finish() {
    if (control_) read_control();
    for (Source& source : out_) {
        if (!source.fd) continue;
        source.drained = false;
        read_output(source);
        // A pipe may stay open elsewhere (passed over a socket to another run): empty is the end
        // then.
        if (source.fd && source.drained) source.fd.reset();
    }
    on_timers();
    if (out_[0].fd || out_[1].fd || !pending_.empty() || cap_notice_due_ || memory_notice_due_ ||
        !notices_.empty()) {
        if (!spool_->full() && !wake_at_)
            wake_at_ = Steady::now();  // more to read: come back at once
        return;
    }
    finish(record_of(
        {command_end_,
         started_,
         early_error_,
         memory_notice_,
         no_folder_,
         ended_by_,
         canceled_,
         timed_out_,
         capped_}
    ));
}

void Supervisor::finish(ExitRecord record) {
    record.output_bytes = spool_->written();
    record.ended_us = wall_micros();
    // Whoever finds the end finds the whole audit.
    if (guard_ && !std::exchange(audited_, true)) guard_->finish(record.code);
    if (!write_file_atomic(folder_ / "exit", record.encode(), 0600)) {
        wake_at_ = Steady::now() + kDiskRetry;  // a full disk; try_finish comes back
        return;
    }
    ended_ = true;
    stdin_.reset();
    control_.reset();
}

SupervisorEnd supervise(const std::filesystem::path& folder, Fd listener) {
    const auto supervisor = std::make_unique<Supervisor>(folder, std::move(listener));
    return supervisor->run();
}

}  // namespace berth::node
