// SPDX-License-Identifier: Apache-2.0
// Output is written on the socket's reading thread, so that a slow reader slows the run and nothing
// is buffered here; input is read on a thread of its own, so that a full pipe there never holds up
// output.
#include "cli/attachment.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <thread>

#include "berth/node/v1/node.pb.h"
#include "cli/api.hpp"
#include "cli/context.hpp"
#include "cli/terminal.hpp"
#include "core/fd.hpp"
#include "net/http_types.hpp"
#include "net/ws_client.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kChunk = 64 * 1024;
constexpr milliseconds kFirstBackoff{20};
constexpr milliseconds kLastBackoff{5'000};
constexpr milliseconds kLongestQueueLook{500};
// How long the end of a run waits for the input thread, which may be stuck in a full connection.
constexpr milliseconds kInputFarewell{200};
// Past this without a connection the user is told; the run itself goes on.
constexpr seconds kReconnectPatience{60};
// A command that reads nothing for a day makes the channel wait for as long.
constexpr std::chrono::hours kInputPatience{24};

bool is_over(run::v1::RunState state) {
    return state == run::v1::RUN_STATE_SUCCEEDED || state == run::v1::RUN_STATE_FAILED ||
           state == run::v1::RUN_STATE_CANCELED || state == run::v1::RUN_STATE_TIMED_OUT ||
           state == run::v1::RUN_STATE_LOST;
}

}  // namespace

struct Attachment::Impl {
    explicit Impl(AttachmentOptions given)
        : options(std::move(given)),
          offset(options.offset),
          wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    const AttachmentOptions options;

    // Touched by the socket's reading thread only; sockets follow one another, never overlap.
    std::uint64_t offset;
    std::string last_notice;
    bool stdout_dead = false;
    bool stderr_dead = false;

    std::mutex mutex;
    std::condition_variable changed;
    // Guarded by mutex.
    std::shared_ptr<net::WsClient> socket;
    bool socket_closed = true;
    bool heard = false;  // the present socket has given at least one message
    bool stopping = false;
    bool input_done = false;
    std::optional<run::v1::OutputFrame::End> end;

    Fd wake;  // rouses the input thread
    std::atomic<bool> resized{false};

    void rouse() {
        const std::uint64_t one = 1;
        if (::write(wake.get(), &one, sizeof one) < 0) return;  // full: it is awake
    }

    void stop() {
        {
            const std::lock_guard lock(mutex);
            stopping = true;
        }
        changed.notify_all();
        rouse();
    }

    // Tells the run that nobody reads this stream any more, as a pipe would.
    void report_broken_pipe() {
        Api api(options.server, options.token);
        const auto ignored = api.signal(options.run, SIGPIPE);
        static_cast<void>(ignored);
    }

    void write_output(run::v1::Stream stream, std::string_view data) {
        const bool to_stderr = stream == run::v1::STREAM_STDERR;
        bool& dead = to_stderr ? stderr_dead : stdout_dead;
        if (dead || write_all(to_stderr ? options.stderr_fd : options.stdout_fd, data)) return;
        dead = true;
        report_broken_pipe();
    }

    void on_message(std::string_view bytes) {
        run::v1::OutputFrame frame;
        if (!frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
        if (frame.stream() == run::v1::STREAM_BERTH) {
            // A notice is no output: it has no place in the count of bytes, and is shown once.
            if (!frame.data().empty() && frame.data() != last_notice) {
                last_notice = frame.data();
                write_all(STDERR_FILENO, "berth: " + frame.data() + "\n");
            }
        } else if (!frame.data().empty()) {
            std::string_view data = frame.data();
            const std::uint64_t after = frame.offset() + data.size();
            if (after > offset) {
                if (frame.offset() < offset) data.remove_prefix(offset - frame.offset());
                write_output(frame.stream(), data);
                offset = after;
            }
        }
        const std::lock_guard lock(mutex);
        heard = true;
        if (frame.has_end() && !end) {
            end = frame.end();
            changed.notify_all();
        }
    }

    // Waits until `ready`, the stop or the time; false after the time.
    template <typename Ready>
    bool wait(milliseconds time, Ready ready) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, time, [&] { return stopping || end || ready(); });
    }

    bool finished() {
        const std::lock_guard lock(mutex);
        return stopping || end.has_value();
    }

    Result<void> connect_once(net::WsRefusal& refusal) {
        net::WsClientOptions ws;
        ws.headers = Api(options.server, options.token).headers();
        net::WsClientEvents events;
        events.on_message = [this](std::string_view bytes, bool) { on_message(bytes); };
        events.on_closed = [this](int, const std::string&) {
            const std::lock_guard lock(mutex);
            socket_closed = true;
            changed.notify_all();
        };
        {
            const std::lock_guard lock(mutex);
            socket_closed = false;
            heard = false;
        }
        const std::string path = fmt::format(
            "/v1/runs/{}/attach?offset={}&stdin={}",
            net::percent_encode(options.run),
            offset,
            options.forward_stdin || options.tty ? 1 : 0
        );
        auto made = net::WsClient::connect(
            options.server, path, std::move(ws), std::move(events), &refusal
        );
        if (!made) return std::move(made).error();
        const std::lock_guard lock(mutex);
        socket = std::move(made).value();
        changed.notify_all();
        return {};
    }

    // Lets go of the socket; its last user destroys it, outside the lock.
    void drop_socket() {
        std::shared_ptr<net::WsClient> old;
        const std::lock_guard lock(mutex);
        old.swap(socket);
    }

    // The connection ended without the run's end: perhaps the end was told elsewhere.
    std::optional<Outcome> ask_directly() {
        Api api(options.server, options.token);
        const auto run = api.run(options.run);
        if (!run || !is_over(run->state()) || offset < run->output_bytes()) return std::nullopt;
        return outcome_of(*run);
    }

    Outcome unreachable(const Error& error) {
        return {
            kExitUnreachable,
            "berth",
            unavailable(
                error.code,
                fmt::format(
                    "the gateway is gone ({}); the run goes on: berth attach {}",
                    error.message,
                    options.run
                )
            )};
    }

    Outcome stream() {
        milliseconds backoff = kFirstBackoff;
        auto lost = std::chrono::steady_clock::now();
        Error last = unavailable("connection_lost", "the connection broke");
        while (!finished()) {
            net::WsRefusal refusal;
            if (const auto connected = connect_once(refusal); connected) {
                while (!wait(seconds{3600}, [this] { return socket_closed; })) {
                }
                const bool lived = [this] {
                    const std::lock_guard lock(mutex);
                    return heard;
                }();
                if (lived) {
                    lost = std::chrono::steady_clock::now();
                    backoff = kFirstBackoff;
                }
                if (finished()) break;
                drop_socket();
                if (auto outcome = ask_directly()) return *outcome;
            } else if (refusal.status == 409 && Api::problem(refusal.status, refusal.body).code == "run_has_no_machine") {
                // The run still waits for its turn; nothing is lost meanwhile, however long it
                // takes.
                if (auto outcome = ask_directly()) return *outcome;
                lost = std::chrono::steady_clock::now();
                backoff = std::min(backoff, kLongestQueueLook);
            } else if (refusal.status >= 400 && refusal.status < 500 && refusal.status != 429) {
                if (auto outcome = ask_directly()) return *outcome;
                return outcome_of(Api::problem(refusal.status, refusal.body), kExitLost);
            } else {
                last = connected.error();
            }
            if (std::chrono::steady_clock::now() - lost > kReconnectPatience)
                return unreachable(last);
            wait(backoff, [] { return false; });
            backoff = std::min(backoff * 2, kLastBackoff);
        }
        const std::lock_guard lock(mutex);
        if (end) return outcome_of(*end);
        return {
            130,
            "berth",
            Error{
                Fault::kCanceled,
                "abandoned",
                fmt::format("the run goes on: berth attach {}", options.run),
                {}}};
    }

    // The socket to send on, waiting for a connection; nullptr when it is over.
    std::shared_ptr<net::WsClient> socket_for_input() {
        std::unique_lock lock(mutex);
        while (!changed.wait_for(lock, seconds{3600}, [this] {
            return stopping || end || (socket && !socket_closed);
        })) {
        }
        return stopping || end ? nullptr : socket;
    }

    // Delivers one frame, on the next connection when this one breaks; false when it is over.
    bool send(const node::v1::ChannelFrame& frame) {
        const std::string bytes = frame.SerializeAsString();
        for (;;) {
            const auto target = socket_for_input();
            if (!target) return false;
            if (target->send_binary(bytes, kInputPatience)) return true;
            std::unique_lock lock(mutex);
            changed.wait_for(lock, kLastBackoff, [&] {
                return stopping || end || socket != target;
            });
        }
    }

    bool send_size() {
        const WindowSize size = window_size();
        if (size.rows == 0) return true;
        node::v1::ChannelFrame frame;
        frame.set_rows(size.rows);
        frame.set_cols(size.cols);
        return send(frame);
    }

    void input() {
        std::array<char, kChunk> buffer;
        std::uint64_t sent = 0;
        bool open = options.forward_stdin;
        while (!finished()) {
            std::array<pollfd, 2> polled{
                {{open ? STDIN_FILENO : -1, POLLIN, 0}, {wake.get(), POLLIN, 0}}};
            if (::poll(polled.data(), polled.size(), -1) < 0) continue;
            if (polled[1].revents != 0) {
                std::uint64_t count = 0;
                if (::read(wake.get(), &count, sizeof count) < 0) continue;
                if (resized.exchange(false) && !send_size()) return;
            }
            if (polled[0].revents == 0) continue;
            const auto count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
            if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            node::v1::ChannelFrame frame;
            frame.set_offset(sent);
            if (count > 0) {
                frame.set_data(buffer.data(), static_cast<std::size_t>(count));
                sent += static_cast<std::uint64_t>(count);
            } else {
                frame.set_eof(true);
                open = false;
            }
            if (!send(frame)) return;
        }
    }
};

Attachment::Attachment(AttachmentOptions options)
    : impl_(std::make_shared<Impl>(std::move(options))) {}
Attachment::~Attachment() = default;

Outcome Attachment::follow() {
    std::thread input;
    if (impl_->options.forward_stdin || impl_->options.tty) {
        // Shared: an input thread that is stuck in a full connection is left behind with what it
        // uses.
        input = std::thread([impl = impl_] {
            impl->input();
            const std::lock_guard lock(impl->mutex);
            impl->input_done = true;
            impl->changed.notify_all();
        });
    }
    Outcome outcome = impl_->stream();
    impl_->stop();
    if (input.joinable()) {
        std::unique_lock lock(impl_->mutex);
        const bool done =
            impl_->changed.wait_for(lock, kInputFarewell, [this] { return impl_->input_done; });
        lock.unlock();
        if (!done) {  // it holds the socket's pen: closing would wait for it, and the process ends
                      // now anyway
            input.detach();
            return outcome;
        }
        input.join();
    }
    impl_->drop_socket();
    return outcome;
}

void Attachment::abandon() { impl_->stop(); }

void Attachment::resize() {
    impl_->resized = true;
    impl_->rouse();
}

bool stdin_is_useful() {
    struct stat info {};
    if (::fstat(STDIN_FILENO, &info) != 0) return false;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)) return false;  // /dev/null
    return ::isatty(STDIN_FILENO) != 1 || ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
}

}  // namespace berth::cli
