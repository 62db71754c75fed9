// SPDX-License-Identifier: Apache-2.0
// Randomness as a dependency, so that a simulation replays from its seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace berth {

/// A source of random bytes. Thread-safe.
class Random {
public:
    virtual ~Random() = default;
    virtual void fill(std::span<std::uint8_t> out) = 0;
    std::uint64_t next();
    /// Uniform in [0, limit); limit > 0.
    std::uint64_t below(std::uint64_t limit);
    /// The kernel's generator (getrandom(2)); aborts when the kernel refuses, which it never does.
    static Random& system();
};

/// SplitMix64 from a seed. For simulations and jitter in tests, never for secrets.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<std::uint8_t> out) override;

private:
    std::uint64_t state_;  // single-threaded by nature: a seeded run must be
};

}  // namespace berth
