// SPDX-License-Identifier: Apache-2.0
// getrandom(2) and SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014).
#include "core/random.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace berth {
namespace {

class SystemRandom final : public Random {
public:
    void fill(std::span<std::uint8_t> out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t got = getrandom(out.data() + done, out.size() - done, 0);
            if (got > 0) {
                done += static_cast<std::size_t>(got);
            } else if (errno != EINTR) {
                std::abort();
            }
        }
    }
};

}  // namespace

Random& Random::system() {
    static SystemRandom random;
    return random;
}

std::uint64_t Random::next() {
    std::uint64_t value = 0;
    fill({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
    return value;
}

std::uint64_t Random::below(std::uint64_t limit) {
    // The bias of a plain remainder is at most limit / 2^64: nothing here can tell.
    return next() % limit;
}

void SeededRandom::fill(std::span<std::uint8_t> out) {
    for (std::size_t done = 0; done < out.size(); done += 8) {
        state_ += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
        z ^= z >> 31U;
        std::memcpy(out.data() + done, &z, std::min<std::size_t>(8, out.size() - done));
    }
}

}  // namespace berth
