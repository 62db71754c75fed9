// SPDX-License-Identifier: Apache-2.0
// SHA-256 by itself, for programs that must stay small and static: nothing else of libsodium comes
// along.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

/// Thread rules: an object belongs to one thread; the function may be called from any.
namespace berth::identity {

/// The hash of bytes that come piece by piece.
class Sha256 {
public:
    Sha256();
    /// false: without the processor's own instructions, for the test that holds both ways against
    /// each other.
    explicit Sha256(bool may_be_fast);
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void update(std::string_view bytes);
    /// The 32 raw bytes. The object is used up.
    std::string finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The 32 raw bytes of SHA-256.
std::string sha256(std::string_view bytes);

}  // namespace berth::identity
