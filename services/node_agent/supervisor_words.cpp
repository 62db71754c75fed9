// SPDX-License-Identifier: Apache-2.0
// The supervisor's words with its node agent, and what those carry: stdin, signals, decisions.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "node_agent/guard_files.hpp"
#include "node_agent/supervisor_loop.hpp"

namespace berth::node {

bool Supervisor::send_word(const RunWord& word) {
    if (!client_) return false;
    const SendResult result = node::send_word(client_.get(), word);
    if (result == SendResult::kGone) drop_client();
    if (result == SendResult::kFull && !wake_at_)
        wake_at_ = std::chrono::steady_clock::now() + kSocketRetry;
    return result == SendResult::kSent;
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
            kill_at_ = std::chrono::steady_clock::now() +
                       milliseconds{std::min<std::uint64_t>(word.a, 3'600'000)};
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
        case Word::kNotice: notices_.append(word.data).push_back('\n'); break;
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
    if (result == SendResult::kFull && !wake_at_)
        wake_at_ = std::chrono::steady_clock::now() + kSocketRetry;
}

}  // namespace berth::node
