// SPDX-License-Identifier: Apache-2.0
// The local terminal while a remote one is shown on it.
#pragma once

#include <cstdint>
#include <memory>

struct termios;

namespace berth::cli {

struct WindowSize {
    std::uint32_t rows = 0;
    std::uint32_t cols = 0;
};
/// Of stdout's terminal; zeros when it is none.
WindowSize window_size();

/// Puts stdin's terminal into raw mode until destroyed; does nothing when stdin is no terminal.
class RawMode {
public:
    explicit RawMode(bool wanted);
    ~RawMode();
    RawMode(const RawMode&) = delete;
    RawMode& operator=(const RawMode&) = delete;

private:
    std::unique_ptr<termios> saved_;
};

}  // namespace berth::cli
