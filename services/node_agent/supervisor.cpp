// SPDX-License-Identifier: Apache-2.0
// The supervisor's one loop: sandbox, output, input, socket, deadline, end.
#include "node_agent/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "node_agent/exit_reason.hpp"
#include "node_agent/guard.hpp"
#include "node_agent/init_link.hpp"
#include "node_agent/launching.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/spool.hpp"
#include "process/file_lock.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {

constexpr int kPipeBytes =
    1 << 20;  // fewer wake-ups; the kernel may grant less to a user with many
constexpr milliseconds kLockPatience{2000};     // a predecessor that is just leaving
constexpr milliseconds kDiskRetry{500};         // a full disk is tried again this often
constexpr std::size_t kErrorTextBytes = 512;    // of the sandbox's own complaint, for the reason
constexpr int kLingerLook = 5'000;              // ms between looks for the folder of an ended run
constexpr milliseconds kRelayPatience{15'000};  // of whoever ends a run elsewhere
constexpr milliseconds kSocketRetry{20};        // what the node agent's socket did not take
constexpr int kReadsPerTurn = 16;               // of one stream before the others get their turn

using Steady = std::chrono::steady_clock;

long long wall_micros() { return to_unix_micros(Clock::system().now()); }

/// A descriptor's worth of output.
struct Source {
    Fd fd;
    OutStream stream = OutStream::kStdout;
    bool drained = false;  ///< read until nothing was left
};

class Supervisor final : private GuardHost {
public:
    Supervisor(std::filesystem::path folder, Fd listener)
        : folder_(std::move(folder)), listener_(std::move(listener)) {}
    SupervisorEnd run();

private:
    Result<void> begin();
    Result<void> start_sandbox();
    void loop();
    int poll_timeout() const;
    void on_timers();
    void read_control();
    void on_init_message(InitReport& report);
    void start_guarding(const InitReport& report);
    void stop_tree(std::string_view words);
    bool send_word(const RunWord& word) override;
    void on_child(pid_t pid, int wait_status) override;
    void read_output(Source& source);
    bool store(OutStream stream, std::string_view bytes);
    void store_capped(OutStream stream, std::string_view bytes);
    void note_early_error(OutStream stream, std::string_view bytes);
    void accept_client();
    void read_client();
    void on_word(const RunWord& word);
    void write_stdin();
    void tell_client();
    void drop_client();
    void signal_command(int number);
    void kill_all();
    void try_finish();
    void finish(ExitRecord record);

    std::filesystem::path folder_;
    Fd listener_;
    Fd client_;
    process::FileLock lock_;
    Launch launch_;
    std::optional<SpoolWriter> spool_;
    std::unique_ptr<Guard> guard_;  // where the org has a policy
    process::Child sandbox_;
    std::optional<process::ExitStatus> sandbox_end_;
    Fd control_;
    Fd init_;  // pidfd
    process::ProcessId init_id_;
    Source out_[2];
    Fd stdin_;  // write end of the pipe; with a terminal, its master (a copy)
    std::string stdin_buffer_;
    bool stdin_end_ = false;
    std::uint64_t stdin_taken_ = 0;  // not yet told
    bool started_ = false;
    std::optional<process::ExitStatus> command_end_;
    bool canceled_ = false;
    bool timed_out_ = false;
    std::string memory_notice_;  // the kernel killed for want of memory
    bool memory_notice_due_ = false;
    bool capped_ = false;
    bool cap_notice_due_ = false;
    bool ended_ = false;
    bool done_ = false;
    bool told_end_ = false;
    bool audited_ = false;
    bool halting_ = false;
    std::uint64_t told_written_ = 0;
    std::uint64_t command_bytes_ = 0;
    std::optional<Steady::time_point> deadline_;
    std::optional<Steady::time_point> kill_at_;
    std::optional<Steady::time_point> cut_at_;  // a relayed run that was told to end
    std::optional<Steady::time_point>
        wake_at_;          // to try again what the disk or the socket did not take
    std::string pending_;  // read, but the disk did not take it yet
    OutStream pending_stream_ = OutStream::kStdout;
    std::string early_error_;
    char buffer_[kRecordBytes];
    char word_buffer_[kWordBytes];
};

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
    if (!launch_.guard.level.empty())
        guard_ = std::make_unique<Guard>(launch_, folder_, static_cast<GuardHost&>(*this));
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
        const auto signals = add(guard_ ? guard_->signals() : -1, POLLIN);
        const auto shims = add(guard_ ? guard_->shims() : -1, POLLIN);
        if (::poll(set, count, poll_timeout()) < 0 && errno != EINTR) return;
        if (set[control].revents != 0) read_control();
        if (set[signals].revents != 0) guard_->on_signals();
        if (set[shims].revents != 0) guard_->on_shims();
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
    if (message.kind == kInitMemory) {
        memory_notice_ = "the machine's memory limit";
        if (message.value > 0) memory_notice_ += " of " + std::to_string(message.value) + " MiB";
        memory_notice_ += " was reached and the kernel killed a process";
        memory_notice_due_ = true;
    }
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
    const std::size_t stopped = launch_.relayed ? 0 : stop_processes(init_id_);
    const std::string told = pack({texts->front(), launch_.relayed ? "none" : "stop"});
    if (client_) (void)send_word({Word::kFrozen, stopped, 0, 0, 0, told});
}

bool Supervisor::send_word(const RunWord& word) {
    if (!client_) return false;
    const SendResult result = node::send_word(client_.get(), word);
    if (result == SendResult::kGone) drop_client();
    if (result == SendResult::kFull && !wake_at_) wake_at_ = Steady::now() + kSocketRetry;
    return result == SendResult::kSent;
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

void Supervisor::accept_client() {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        peer.uid != ::geteuid())
        return;
    client_ = std::move(fd);  // the newest node agent is the right one
    told_written_ = spool_->written();
    told_end_ = ended_;
    const std::uint64_t room = kStdinWindow - stdin_buffer_.size();
    stdin_taken_ = 0;
    const RunWord hello{
        Word::kHello, spool_->confirmed(), spool_->written(), ended_ ? 1U : 0U, room, {}};
    if (node::send_word(client_.get(), hello) != SendResult::kSent) drop_client();
    if (guard_) guard_->greet();
}

void Supervisor::drop_client() { client_.reset(); }

void Supervisor::read_client() {
    constexpr int kWordsPerTurn = 64;
    for (int i = 0; i < kWordsPerTurn && client_; ++i) {
        bool closed = false;
        const auto word = receive_word(client_.get(), word_buffer_, sizeof word_buffer_, closed);
        if (closed) drop_client();
        if (!word) return;
        on_word(*word);
    }
}

void Supervisor::on_word(const RunWord& word) {
    switch (word.word) {
        case Word::kConfirm: spool_->confirm(word.a); break;
        case Word::kSignal: signal_command(static_cast<int>(word.a)); break;
        case Word::kCancel:
            // Sticky: a cancel that comes twice finds the command dead of the first.
            if (!ended_ && !command_end_) canceled_ = true;
            kill_at_ = Steady::now() + milliseconds{std::min<std::uint64_t>(word.a, 3'600'000)};
            break;
        case Word::kStdin:
            if (!stdin_ && started_)
                stdin_taken_ += word.data.size();  // nobody reads it any more
            else if (stdin_buffer_.size() + word.data.size() <= kStdinWindow)
                stdin_buffer_.append(word.data);
            write_stdin();
            break;
        case Word::kStdinEnd:
            stdin_end_ = true;
            if (launch_.tty) stdin_buffer_.push_back('\x04');  // what a person types for the end
            write_stdin();
            break;
        case Word::kResize: {
            winsize window{};
            window.ws_row = static_cast<unsigned short>(word.a);
            window.ws_col = static_cast<unsigned short>(word.b);
            if (launch_.tty && started_ && out_[0].fd)
                ::ioctl(out_[0].fd.get(), TIOCSWINSZ, &window);
            break;
        }
        case Word::kDone: done_ = ended_; break;
        case Word::kFreeze: halting_ = true; [[fallthrough]];
        default:
            if (guard_ && guard_->on_word(word)) break;
            if (word.word == Word::kFreeze) stop_tree(word.data);
            break;
    }
}

void Supervisor::write_stdin() {
    if (!stdin_) return;
    while (!stdin_buffer_.empty()) {
        const ssize_t put = ::write(stdin_.get(), stdin_buffer_.data(), stdin_buffer_.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) return;
        const std::size_t taken = put > 0 ? static_cast<std::size_t>(put) : stdin_buffer_.size();
        stdin_taken_ += taken;
        stdin_buffer_.erase(0, taken);
        if (put <= 0) stdin_.reset();  // the command closed its stdin
        if (!stdin_) return;
    }
    if (stdin_end_) stdin_.reset();
}

/// One word per turn of the loop at most, however much was written. What does not fit is said next
/// time: the node agent's confirmations wake this loop.
void Supervisor::tell_client() {
    if (guard_) guard_->tell();
    if (!client_) return;
    SendResult result = SendResult::kSent;
    if (stdin_taken_ != 0) {
        result = node::send_word(client_.get(), {Word::kStdinRoom, stdin_taken_, 0, 0, 0, {}});
        if (result == SendResult::kSent) stdin_taken_ = 0;
    }
    if (result == SendResult::kSent && ended_ && !told_end_) {
        result = node::send_word(client_.get(), {Word::kEnded, 0, spool_->written(), 0, 0, {}});
        told_end_ = result == SendResult::kSent;
    } else if (result == SendResult::kSent && !ended_ && told_written_ != spool_->written()) {
        result = node::send_word(client_.get(), {Word::kWritten, 0, spool_->written(), 0, 0, {}});
        if (result == SendResult::kSent) told_written_ = spool_->written();
    }
    if (result == SendResult::kGone) drop_client();
    if (result == SendResult::kFull && !wake_at_) wake_at_ = Steady::now() + kSocketRetry;
}

void Supervisor::signal_command(int number) {
    if (!control_ || number <= 0 || number >= NSIG) return;
    const InitMessage message{kInitSignal, number};
    (void)!::send(control_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
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
    if (out_[0].fd || out_[1].fd || !pending_.empty() || cap_notice_due_ || memory_notice_due_) {
        if (!spool_->full() && !wake_at_)
            wake_at_ = Steady::now();  // more to read: come back at once
        return;
    }
    finish(record_of(
        {command_end_, started_, early_error_, memory_notice_, canceled_, timed_out_, capped_}
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

}  // namespace

SupervisorEnd supervise(const std::filesystem::path& folder, Fd listener) {
    const auto supervisor = std::make_unique<Supervisor>(folder, std::move(listener));
    return supervisor->run();
}

}  // namespace berth::node
