// SPDX-License-Identifier: Apache-2.0
// Words one way and the other; nothing is judged here.
#include "node_agent/far_guard.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include "node_agent/audit_log.hpp"
#include "node_agent/init_protocol.hpp"
#include "process/spawn.hpp"

namespace berth::node {
namespace {
constexpr milliseconds kSocketRetry{20};  // what the node agent's socket did not take
}  // namespace

FarGuard::FarGuard(const Launch& launch, GuardHost& host)
    : guard_(launch.guard),
      level_(policy::level_of(guard_.level).value_or(policy::Level::kEnforce)),
      host_(host) {}

std::uint32_t FarGuard::init_flags() const {
    const std::uint32_t shims = level_ == policy::Level::kShim ? kGuardShims : 0U;
    return guard_flags(level_) | kGuardBeside | shims;
}

Result<void> FarGuard::prepare() {
    BERTH_ASSIGN(auto pair, process::make_socket_pair(SOCK_SEQPACKET));
    words_ = std::move(pair.first);
    theirs_ = std::move(pair.second);
    ::fcntl(words_.get(), F_SETFL, O_NONBLOCK);
    // The first word says where the rest is.
    send({Word::kGreet, 0, 0, 0, 0, guard_.beside_inside});
    return {};
}

/// The command waits for the guard beside it and for nobody else.
Result<void> FarGuard::seize(pid_t) {
    return internal("bad_guard", "a command in a container asked to be guarded from outside");
}

void FarGuard::send(const RunWord& word) {
    if (words_) (void)send_word(words_.get(), word);
}

bool FarGuard::on_word(const RunWord& word) {
    switch (word.word) {
        case Word::kDecide:
        case Word::kClaimed:
        case Word::kAuditDone: send(word); return true;
        case Word::kFreeze:
            if (level_ == policy::Level::kShim) return false;  // nothing is traced
            send(word);
            return true;
        default: return false;
    }
}

void FarGuard::on_input() {
    constexpr int kWordsPerTurn = 64;
    for (int i = 0; i < kWordsPerTurn && words_ && !waiting_; ++i) {
        bool closed = false;
        const auto word = receive_word(words_.get(), buffer_, sizeof buffer_, closed);
        if (closed) return words_.reset();
        if (!word) return;
        if (word->word == Word::kTrouble) {
            const std::string data(word->data);
            if (word->a == 0) host_.tell_user(data);
            if (word->a == 1) host_.on_command_ended(data);
            continue;
        }
        if (host_.send_word(*word)) continue;
        waiting_ = Copy{*word, std::string(word->data)};
    }
}

/// To nobody it is not said: whoever comes next is greeted, and the guard then says all again.
void FarGuard::tell() {
    if (!waiting_) return;
    waiting_->word.data = waiting_->data;
    if (!host_.has_listener() || host_.send_word(waiting_->word)) waiting_.reset();
}

std::optional<FarGuard::Time> FarGuard::next_timer() const {
    if (!waiting_) return std::nullopt;
    return std::chrono::steady_clock::now() + kSocketRetry;
}

void FarGuard::finish(int exit_code) {
    AuditWriter audit(std::filesystem::path(guard_.beside) / "audit", kSharedMode);
    audit.add(run_ended(exit_code, output_));
    (void)audit.flush();
}

}  // namespace berth::node
