// SPDX-License-Identifier: Apache-2.0
// Saves and restores the terminal's settings around a session.
#include "cli/terminal.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace berth::cli {

WindowSize window_size() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return {};
    return {size.ws_row, size.ws_col};
}

RawMode::RawMode(bool wanted) {
    auto now = std::make_unique<termios>();
    if (!wanted || ::tcgetattr(STDIN_FILENO, now.get()) != 0) return;
    termios raw = *now;
    ::cfmakeraw(&raw);
    if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0) saved_ = std::move(now);
}

RawMode::~RawMode() {
    if (saved_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, saved_.get());
}

}  // namespace berth::cli
