// SPDX-License-Identifier: Apache-2.0
// What every fuzzer shares: its entry's name, a check that counts as a crash, and bytes taken piece
// by piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

/// A broken property is a finding like any crash.
#define FUZZ_CHECK(condition)           \
    do {                                \
        if (!(condition)) std::abort(); \
    } while (false)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace berth::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// Decisions taken from the input's own bytes, so that one file replays them.
class Input {
public:
    explicit Input(std::string_view bytes) : bytes_(bytes) {}
    bool empty() const { return bytes_.empty(); }
    unsigned byte() {
        if (bytes_.empty()) return 0;
        const auto value = static_cast<unsigned char>(bytes_.front());
        bytes_.remove_prefix(1);
        return value;
    }
    std::string_view take(std::size_t most) {
        const std::string_view piece = bytes_.substr(0, std::min(most, bytes_.size()));
        bytes_.remove_prefix(piece.size());
        return piece;
    }
    std::string_view rest() { return take(bytes_.size()); }

private:
    std::string_view bytes_;
};

}  // namespace berth::fuzz
