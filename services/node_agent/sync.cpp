// SPDX-License-Identifier: Apache-2.0
// The bridging between rsync's pipes and the channel.
#include "node_agent/sync.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "log/log.hpp"

namespace berth::node {
namespace {

constexpr std::size_t kComplaintBytes = 2'048;
constexpr std::size_t kPieceBytes = 64U << 10U;

/// rsync's exit codes that say "we do not understand each other": usage, protocol, unsupported
/// action, protocol stream. Its words on stderr are then the only help, and go to the client as the
/// channel's error.
bool is_misunderstanding(int code) { return code == 1 || code == 2 || code == 4 || code == 12; }

}  // namespace

/// What `rsync -a --delete-missing-args --force --modify-window=-1 --files-from=LIST --from0 SRC/
/// HOST:.` (rsync 3.2 or later, both ends) asks its remote shell to run, as printed by a remote
/// shell that echoes its arguments:
///     rsync --server -logDtpRe.LsfxCIvu --force --delete-missing-args -@-1 . .
/// -a is logDtp plus r, which --files-from takes out; R comes from --files-from; "e." and what
/// follows are the client's capabilities. A client with other options, also without
/// --delete-missing-args or --force, must not be used. The window of -1 compares times to the
/// nanosecond: an edit that keeps a file's size is else lost when it follows within a second.
std::vector<std::string> rsync_server_arguments() {
    return {"--server", "-logDtpRe.LsfxCIvu", "--force", "--delete-missing-args", "-@-1", ".", "."};
}

/// The same of `rsync -rt --include=... --exclude=* HOST:. DEST/`; what is included goes over the
/// protocol.
std::vector<std::string> rsync_sender_arguments() {
    return {"--server", "--sender", "-tre.LsfxCIvu", ".", "."};
}

Sync::Sync(
    NodeContext context, std::string channel, std::function<void(const std::string&)> finished
)
    : context_(context), name_(std::move(channel)), finished_(std::move(finished)) {}

Sync::~Sync() {
    for (const Fd* fd : {&in_, &out_, &err_}) {
        if (*fd) context_.loop.unwatch(fd->get());
    }
    if (child_.pid() != 0) {
        context_.loop.unwatch(child_.pidfd());
        child_.kill();  // bwrap dies, and what is inside dies with it
    }
    if (limit_ != 0) context_.loop.cancel(limit_);
}

Result<void> Sync::start(
    bus::Connection& connection, const std::vector<std::string>& arguments, const std::string& cwd
) {
    BERTH_ASSIGN(std::vector<std::string> server, context_.place.rsync());
    server.insert(server.end(), arguments.begin(), arguments.end());
    BERTH_ASSIGN(process::Pipe in, process::make_pipe());
    BERTH_ASSIGN(process::Pipe out, process::make_pipe());
    BERTH_ASSIGN(process::Pipe err, process::make_pipe());
    process::SpawnSpec spec;
    spec.argv = context_.place.tool_command(server, cwd);
    spec.env = {{"PATH=/usr/bin:/bin", "HOME=/home/berth", "LANG=C.UTF-8"}};
    spec.cwd = "/";
    spec.stdin_fd = in.read.get();
    spec.stdout_fd = out.write.get();
    spec.stderr_fd = err.write.get();
    spec.death_signal = SIGKILL;
    spec.no_new_privileges = true;
    spec.new_session = true;
    BERTH_ASSIGN(child_, process::spawn(spec));
    in_ = std::move(in.write);
    out_ = std::move(out.read);
    err_ = std::move(err.read);
    for (const Fd* fd : {&in_, &out_, &err_}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);

    const auto hop = [weak = weak_from_this(),
                      &loop = context_.loop](std::function<void(Sync&)> work) {
        loop.post([weak, work = std::move(work)] {
            if (const auto self = weak.lock()) work(*self);
        });
    };
    bus::ByteChannel::Events events;
    events.on_data = [hop](std::string_view bytes) {
        hop([copy = std::string(bytes)](Sync& self) { self.take(copy); });
    };
    events.on_eof = [hop] {
        hop([](Sync& self) {
            self.client_done_ = true;
            self.close_input();
        });
    };
    events.on_writable = [hop] { hop([](Sync& self) { self.on_output(); }); };
    events.on_resize = [](unsigned, unsigned) {};
    events.on_closed = [hop](const Result<void>&, int) { hop([](Sync& self) { self.end(); }); };
    const std::string base = "berth.io." + context_.settings.machine + "." + name_;
    bus::ChannelSettings settings;
    settings.send_subject = base + ".out";
    settings.receive_subject = base + ".in";
    BERTH_ASSIGN(
        channel_, bus::ByteChannel::open(connection, std::move(settings), std::move(events))
    );

    const auto self = [weak = weak_from_this()](void (Sync::*method)()) {
        return [weak, method](std::uint32_t) {
            if (const auto sync = weak.lock()) (sync.get()->*method)();
        };
    };
    context_.loop.watch(in_.get(), 0, self(&Sync::on_writable_pipe));
    context_.loop.watch(out_.get(), EPOLLIN, self(&Sync::on_output));
    context_.loop.watch(err_.get(), EPOLLIN, self(&Sync::on_complaint));
    context_.loop.watch(child_.pidfd(), EPOLLIN, self(&Sync::on_exit));
    limit_ = context_.loop.after(kSyncLongest, [weak = weak_from_this()] {
        if (const auto sync = weak.lock()) sync->end();
    });
    return {};
}

void Sync::abandon() { channel_.reset(); }

void Sync::take(std::string bytes) {
    to_program_ += bytes;
    on_writable_pipe();
}

void Sync::on_writable_pipe() {
    std::size_t done = 0;
    while (in_ && done < to_program_.size()) {
        const ssize_t put =
            ::write(in_.get(), to_program_.data() + done, to_program_.size() - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) break;
        if (put < 0) {  // rsync closed its input: what comes for it has no use
            context_.loop.unwatch(in_.get());
            in_.reset();
            break;
        }
        done += static_cast<std::size_t>(put);
    }
    if (!in_) done = to_program_.size();
    to_program_.erase(0, done);
    if (channel_ != nullptr && done != 0) channel_->consume(done);
    const bool want = !to_program_.empty();
    if (in_ && want != writing_) {
        writing_ = want;
        context_.loop.change(in_.get(), want ? EPOLLOUT : 0U);
    }
    close_input();
}

void Sync::close_input() {
    if (!client_done_ || !to_program_.empty() || !in_) return;
    context_.loop.unwatch(in_.get());
    in_.reset();
}

/// Moves rsync's words to the channel; stops reading while the channel's window is closed.
void Sync::on_output() {
    for (;;) {
        if (channel_ == nullptr) return;
        if (!to_client_.empty()) {
            to_client_.erase(0, channel_->send(to_client_));
            if (!to_client_.empty()) break;
        }
        if (!out_) break;
        to_client_.resize(kPieceBytes);
        const ssize_t got = ::read(out_.get(), to_client_.data(), to_client_.size());
        to_client_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            context_.loop.unwatch(out_.get());
            out_.reset();
        }
    }
    const bool want = to_client_.empty();
    if (out_ && want != reading_) {
        reading_ = want;
        context_.loop.change(out_.get(), want ? EPOLLIN : 0U);
    }
    try_finish();
}

void Sync::on_complaint() {
    char words[1024];
    const ssize_t got = ::read(err_.get(), words, sizeof words);
    if (got < 0) return;
    if (got == 0) {
        context_.loop.unwatch(err_.get());
        err_.reset();
        return try_finish();
    }
    if (complaint_.size() < kComplaintBytes)
        complaint_.append(words, static_cast<std::size_t>(got));
}

void Sync::on_exit() {
    status_ = child_.poll();
    if (!status_) return;
    context_.loop.unwatch(child_.pidfd());
    try_finish();
}

void Sync::try_finish() {
    if (!status_ || out_ || err_ || !to_client_.empty() || told_ || channel_ == nullptr) return;
    told_ = true;
    if (status_->code != 0)
        log::info(
            "a sync failed", {{"channel", name_}, {"code", status_->code}, {"words", complaint_}}
        );
    if (is_misunderstanding(status_->code) && !complaint_.empty()) {
        channel_->abort(
            "rsync on the machine refused (exit " + std::to_string(status_->code) +
            "): " + complaint_
        );
    } else {
        channel_->finish(status_->code);
    }
}

void Sync::end() {
    const auto self = shared_from_this();
    channel_.reset();
    finished_(name_);
}

}  // namespace berth::node
