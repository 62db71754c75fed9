// SPDX-License-Identifier: Apache-2.0
// A run's way from its folder to its supervisor. The way of its end is in run_end.cpp.
#include "node_agent/run.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>

#include "core/text.hpp"
#include "log/log.hpp"
#include "node_agent/warden_link.hpp"
#include "node_agent/work_copies.hpp"
#include "process/file_lock.hpp"
#include "service/proto_time.hpp"

namespace berth::node {
namespace {

constexpr milliseconds kResumePause{
    50};  // between looking for a supervisor that is just starting or ending
constexpr unsigned kStartAttempts = 5;  // of a supervisor that dies before it could write `started`
constexpr std::size_t kMaxUnsent = 256;
constexpr milliseconds kEndPatience{5'000};  // with a supervisor that was told to end its run

/// Where a run's files are inside: the workspace, or its own copy of it.
std::string work_of(const v1::Start& spec) {
    return spec.own_work() ? WorkCopies::folder(spec.run()) : std::string(kInsideWorkspace);
}

/// What every command finds in its environment, whatever the client sent.
std::vector<std::string> environment_of(NodeContext context, const v1::Start& spec) {
    const Settings& settings = context.settings;
    std::map<std::string, std::string> env = context.place.environment();
    if (spec.tty()) env["TERM"] = "xterm-256color";
    for (const auto& [name, value] : spec.env()) {
        const bool usable = !name.empty() && name.find('=') == std::string::npos &&
                            name.find('\0') == std::string::npos &&
                            value.find('\0') == std::string::npos;
        // LD_PRELOAD and its like change what every program of the run does.
        if (usable && !context.warden.drops(name)) env[name] = value;
    }
    env["BERTH_RUN"] = spec.run();
    env["BERTH_LEASE"] = spec.lease().empty() ? settings.lease : spec.lease();
    env["BERTH_SLUG"] = spec.slug().empty() ? settings.slug : spec.slug();
    env["BERTH_MACHINE"] = settings.machine;
    env["BERTH_ORG"] = settings.org;
    env["BERTH_USER"] = spec.user();
    env["BERTH_WORKSPACE"] = work_of(spec);
    std::vector<std::string> list;
    for (const auto& [name, value] : env) list.push_back(name + "=" + value);
    return list;
}

Launch launch_of(NodeContext context, const std::string& holder, const v1::Start& spec) {
    const Place& place = context.place;
    Launch launch;
    launch.tty = spec.tty();
    launch.input = spec.stdin() || spec.tty();
    launch.rows = spec.rows();
    launch.cols = spec.cols();
    launch.output_cap = spec.output_cap_bytes();
    if (spec.has_deadline())
        launch.deadline_us = to_unix_micros(service::to_wall_time(spec.deadline()));
    launch.holder = holder;
    launch.cwd = spec.cwd().starts_with('/') ? spec.cwd() : work_of(spec) + "/" + spec.cwd();
    launch.sandbox = place.run_command();
    launch.relayed = place.relayed();
    launch.argv.assign(spec.argv().begin(), spec.argv().end());
    launch.env = environment_of(context, spec);
    if (context.settings.container) {
        policy::EnvironmentRules rules = context.warden.environment();
        launch.env_drop = std::move(rules.drop);
        launch.env_keep = std::move(rules.keep);
    }
    return launch;
}

}  // namespace

Run::Run(NodeContext context, v1::Start spec, std::function<void(const std::string&)> finished)
    : context_(context),
      spec_(std::move(spec)),
      finished_(std::move(finished)),
      folder_(folder_of(context.settings, spec_.run())),
      guard_(make_guard()) {}

std::shared_ptr<RunGuard> Run::make_guard() {
    RunGuard::Run run;
    run.send = [this](const RunWord& word) { return socket_ && send(word); };
    run.drained = [this] {
        if (ended_stored_) clean_up();
    };
    return std::make_shared<RunGuard>(
        context_, spec_, guard_folder(context_.settings, spec_.run()), std::move(run)
    );
}

Run::~Run() {
    leave_socket();
    if (child_) context_.loop.unwatch(child_->pidfd());
}

Result<void> Run::record(const Settings& settings, const v1::Start& spec) {
    const auto folder = folder_of(settings, spec.run());
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot create " + folder.string(), errno);
    return write_file_atomic(folder / "spec.pb", spec.SerializeAsString(), 0600);
}

bool Run::start_by_passed() const {
    return spec_.has_start_by() && service::to_wall_time(spec_.start_by()) < Clock::system().now();
}

bool Run::has_work() const {
    std::error_code error;
    return !spec_.own_work() || std::filesystem::exists(folder_ / "work", error);
}

void Run::take_copy() {
    context_.copies.make(id(), [weak = weak_from_this()](const Result<void>& done) {
        const auto self = weak.lock();
        if (!self || self->end_) return;
        // A node agent that is killed before this takes the copy again, from the start.
        const auto noted =
            done ? write_quickly(self->folder_ / "work", "") : Result<void>(done.error());
        if (noted) return self->resume();
        if (noted.error().code == kPlaceComing) return self->retry_resume();
        self->lose("its own copy of the workspace cannot be made: " + noted.error().message);
    });
}

void Run::lose(std::string reason) { end_unstarted(EndState::kLost, std::move(reason)); }

void Run::end_unstarted(EndState state, std::string reason) {
    ExitRecord end;
    end.state = state;
    end.reason = std::move(reason);
    end.of_berth = true;
    end.ended_us = to_unix_micros(Clock::system().now());
    set_end(std::move(end));
}

void Run::resume() {
    if (join()) return;
    if (const auto text = read_file(folder_ / "exit")) {
        auto record = ExitRecord::decode(*text);
        if (record) return set_end(std::move(*record));
    }
    if (process::FileLock::is_held(folder_ / "lock"))
        return retry_resume();  // just starting, or just ending
    std::error_code error;
    if (std::filesystem::exists(folder_ / "started", error)) {
        // The lock is free and there is no exit: its supervisor died, and the whole tree with it.
        if (const auto text =
                read_file(folder_ / "exit")) {  // it may have ended between the two looks
            auto record = ExitRecord::decode(*text);
            if (record) return set_end(std::move(*record));
        }
        if (killed_)
            end_unstarted(EndState::kCanceled, "its supervisor did not end it and was killed");
        else
            lose("the run's supervisor died");
    } else if (start_by_passed() && (!spec_.own_work() || !has_work())) {
        lose("the machine could not start it in time" + obstacle_);
    } else if (const auto guarded = context_.warden.guard_for(spec_);
               !guarded && guarded.error().fault == Fault::kConflict) {
        // Somebody's halt, or a policy that this machine cannot keep: nothing was lost.
        end_unstarted(
            guarded.error().code == kHalted ? EndState::kCanceled : EndState::kFailed,
            guarded.error().message
        );
    } else if (!has_work()) {
        take_copy();
    } else if (++attempts_ > kStartAttempts) {
        lose("its supervisor could not be started" + obstacle_);
    } else {
        if (auto started = start_supervisor(); !started) {
            // A machine that is being started again comes back; how often it is asked is no matter.
            const bool comes =
                started.error().code == kPlaceComing || started.error().code == kNoPolicyKnown;
            if (comes) --attempts_;
            waits_for_policy_ = started.error().code == kNoPolicyKnown;
            if (obstacle_.empty() && !comes)
                log::warning(
                    "a supervisor does not start", {{"run", id()}, {"error", started.error()}}
                );
            obstacle_ = ": " + started.error().message;
            return retry_resume();
        }
        if (join()) return;
        retry_resume();
    }
}

void Run::retry_resume() {
    context_.loop.after(kResumePause, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self && !self->socket_ && !self->end_) self->resume();
    });
}

Result<void> Run::start_supervisor() {
    BERTH_ASSIGN(const std::string holder, context_.place.ensure());
    BERTH_ASSIGN(Launch::Guard guard, context_.warden.guard_for(spec_));
    Launch launch = launch_of(context_, holder, spec_);
    launch.guard = std::move(guard);
    BERTH_TRY(context_.warden.prepare(launch, folder_));
    BERTH_TRY(write_quickly(folder_ / "launch", launch.encode()));
    BERTH_ASSIGN(const Fd listener, listen_in(folder_));
    process::SpawnSpec spawn;
    spawn.argv = {
        (context_.settings.programs / "berth-supervisor").string(), "--dir", folder_.string()};
    spawn.env = std::vector<std::string>{};
    spawn.cwd = "/";
    spawn.stdin_fd = spawn.stdout_fd = spawn.stderr_fd = process::kNull;
    spawn.fds = {{listener.get(), kSupervisorListenFd}};
    spawn.new_session = true;
    if (child_) context_.loop.unwatch(child_->pidfd());
    BERTH_ASSIGN(child_, process::spawn(spawn));
    watch_child();
    return {};
}

/// Only reaps: that the supervisor is gone shows at its socket.
void Run::watch_child() {
    const auto reap = [weak = weak_from_this()](std::uint32_t) {
        const auto self = weak.lock();
        if (!self || !self->child_) return;
        if (self->child_->poll()) self->context_.loop.unwatch(self->child_->pidfd());
    };
    context_.loop.watch(child_->pidfd(), EPOLLIN, reap);
}

bool Run::join() {
    auto socket = connect_to(folder_);
    if (!socket) return false;
    socket_ = std::move(*socket);
    context_.loop.watch(socket_.get(), EPOLLIN, [weak = weak_from_this()](std::uint32_t events) {
        if (const auto self = weak.lock()) self->on_socket(events);
    });
    return true;
}

void Run::leave_socket() {
    if (socket_) context_.loop.unwatch(socket_.get());
    socket_.reset();
    freeze_told_ = cut_ = false;
}

void Run::on_socket(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) flush();
    constexpr int kWordsPerTurn = 64;
    for (int i = 0; i < kWordsPerTurn && socket_; ++i) {
        bool closed = false;
        const auto word = receive_word(socket_.get(), buffer_, sizeof buffer_, closed);
        if (closed) return supervisor_gone();
        if (!word) return;
        on_word(*word);
    }
}

void Run::on_word(const RunWord& word) {
    switch (word.word) {
        case Word::kHello:
            attempts_ = 0;
            publish_started();
            stdin_room_ = word.d;
            begin_output(word.a, word.b);
            feed_stdin();
            if (word.c == 0) break;
            [[fallthrough]];
        case Word::kEnded: {
            output_->advance(word.b);
            const auto text = read_file(folder_ / "exit");
            auto record = text ? ExitRecord::decode(*text) : Result<ExitRecord>(text.error());
            if (record)
                set_end(std::move(*record));
            else
                log::error(
                    "a supervisor told of an end that is not on disk",
                    {{"run", id()}, {"error", record.error()}}
                );
            break;
        }
        case Word::kWritten: output_->advance(word.b); break;
        case Word::kStdinRoom:
            if (stdin_) stdin_->add_room(word.a, true);
            break;
        default: (void)guard_->on_word(word); break;
    }
}

void Run::policy_known() {
    if (std::exchange(waits_for_policy_, false) && !socket_ && !end_) resume();
}

bool Run::stand_still(const std::string& halt) {
    if (std::exchange(halting_, halt) != halt) guard_->forget_freeze();
    if (!guard_->frozen().empty()) return true;
    if (!freeze_told_ && socket_) {
        const std::string data = pack({halt});
        freeze_told_ = send({Word::kFreeze, 0, 0, 0, 0, data});
    }
    return false;
}

void Run::end_halted() {
    if (cut_ || !socket_) return;  // one that is just starting is asked again
    cut_ = send({Word::kCancel, 0, 0, 0, 0, {}});
    if (cut_) expect_end(kEndPatience);
}

void Run::expect_end(milliseconds within) {
    context_.loop.after(within, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->end_unheard();
    });
}

/// Its tree dies with a supervisor, which is bound to nothing that its commands could hold up.
void Run::end_unheard() {
    if (end_) return;
    const auto text = read_file(folder_ / "started");
    const auto record = text ? StartedRecord::decode(*text) : Result<StartedRecord>(text.error());
    // One whose tree is gone only waits until its output has been taken.
    if (!record || !tree_lives()) return;
    log::warning("a supervisor does not end its run; it is killed", {{"run", id()}});
    killed_ = true;
    (void)record->supervisor.signal(SIGKILL);  // gone already is fine
}

bool Run::tree_lives() const {
    const auto text = read_file(folder_ / "pids");
    if (!text) return false;
    const auto lines = split(*text, '\n');
    return std::any_of(lines.begin(), lines.end(), [](std::string_view line) {
        const auto process = process::ProcessId::parse(line);
        return process && process->alive();
    });
}

bool Run::send(const RunWord& word) {
    if (!socket_) return false;
    if (unsent_.empty()) {
        const SendResult result = send_word(socket_.get(), word);
        if (result != SendResult::kFull) return result == SendResult::kSent;
    }
    if (word.word == Word::kStdin || unsent_.size() >= kMaxUnsent) {
        context_.loop.change(socket_.get(), EPOLLIN | EPOLLOUT);
        return false;
    }
    unsent_.emplace_back(word, std::string(word.data));
    unsent_.back().first.data = unsent_.back().second;
    context_.loop.change(socket_.get(), EPOLLIN | EPOLLOUT);
    return true;
}

void Run::flush() {
    while (!unsent_.empty()) {
        if (send_word(socket_.get(), unsent_.front().first) == SendResult::kFull) return;
        unsent_.pop_front();
    }
    context_.loop.change(socket_.get(), EPOLLIN);
    if (stdin_) stdin_->pump();
}

void Run::supervisor_gone() {
    leave_socket();
    unsent_.clear();
    if (!end_) retry_resume();
}

void Run::feed_stdin() {
    if (!(spec_.stdin() || spec_.tty()) || stdin_ || end_) return;
    StdinFeed::Sink sink;
    sink.data = [this](std::string_view bytes) { return send({Word::kStdin, 0, 0, 0, 0, bytes}); };
    sink.end = [this] { send({Word::kStdinEnd, 0, 0, 0, 0, {}}); };
    sink.resize = [this](unsigned rows, unsigned cols) {
        send({Word::kResize, rows, cols, 0, 0, {}});
    };
    stdin_ = std::make_shared<StdinFeed>(context_, id(), std::move(sink));
    stdin_->add_room(stdin_room_, false);
    if (context_.bus.connection() != nullptr) bus_up(*context_.bus.connection());
}

void Run::bus_up(bus::Connection& connection) {
    if (!stdin_ || end_) return;
    // The marker says that some node agent has begun to feed this run; only that one knew how far
    // it came.
    const Fd marker(
        ::open((folder_ / "stdin").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
    );
    if (marker)
        stdin_->open(connection);
    else
        stdin_->refuse(
            connection,
            "the machine's node agent was restarted; the command goes on, its input cannot be "
            "resumed"
        );
}

void Run::bus_down() {
    if (stdin_) stdin_->drop();
}

Result<void> Run::signal(int number, std::optional<milliseconds> kill_after) {
    if (end_) return conflict("run_ended", "the run has ended");
    if (number < 0 || number > 64)
        return invalid("bad_signal", "a signal is a number from 1 to 64", "signal");
    if (!socket_) return unavailable(kRunComing, "the run is just starting; try again");
    bool sent = true;
    // The cancel goes first: a command that the signal ended before it would have failed, not have
    // been canceled.
    if (kill_after) {
        const auto grace = std::max<long long>(kill_after->count(), 0);
        sent = send({Word::kCancel, static_cast<std::uint64_t>(grace), 0, 0, 0, {}});
        if (sent) expect_end(milliseconds{grace} + kEndPatience);
    }
    if (number != 0 && sent)
        sent = send({Word::kSignal, static_cast<std::uint64_t>(number), 0, 0, 0, {}});
    if (!sent)
        return unavailable(kRunComing, "the run's supervisor does not take orders now; try again");
    return {};
}

}  // namespace berth::node
