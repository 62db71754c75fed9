// SPDX-License-Identifier: Apache-2.0
// The streams that are held open: how many one user may hold, and whether he still may.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gateway/auth.hpp"

namespace berth::gateway {

/// A stalled reader is waited for in turns of this, so that its end is seen.
inline constexpr milliseconds kWriteTurn{1'000};

/// A request is checked as it comes; what stays open is checked again and again: each stream
/// rests on its caller's token as long as a look-up of it is trusted (`token_cache`), then on the
/// next look-up. Thread-safe; slots may outlive it.
class OpenStreams {
public:
    /// Why the stream ends: Fault::kUnauthenticated "token_ended" or Fault::kForbidden
    /// "role_lost". Short enough for a WebSocket's reason.
    using End = std::function<void(const Error& why)>;

    /// A stream's place, until it is dropped.
    class Slot {
    public:
        Slot(const Slot&) = delete;
        Slot& operator=(const Slot&) = delete;
        ~Slot();
        /// Says what ends the stream; called once, on a worker, or at once where the caller may not
        /// have it any more already. It must not own what owns the slot.
        void on_revoked(End end);

    private:
        friend class OpenStreams;
        struct State;
        Slot(std::shared_ptr<State> state, Principal principal)
            : state_(std::move(state)), principal_(std::move(principal)) {}
        void revoke(const Error& why);

        const std::shared_ptr<State> state_;
        const Principal principal_;
        std::mutex mutex_;
        SteadyTime trusted_until_{};  // by mutex_
        std::optional<Error> why_;    // by mutex_
        End end_;                     // by mutex_
    };
    using SlotPtr = std::shared_ptr<Slot>;

    OpenStreams(
        std::size_t most,
        metrics::Gauge open,
        store::Pool& pool,
        Workers& workers,
        milliseconds token_life
    );

    /// A slot for one more stream; error "too_many_streams".
    Result<SlotPtr> take(const Principal& principal);
    /// Looks at those whose look-up is not trusted any more, now and from now on.
    void keep_looking();
    /// Looks at once at those of a user, or of one token: something about them was changed. Blocks
    /// for the database.
    void look_at_user(const std::string& org, const std::string& user);
    void look_at_token(const std::string& token_id);

private:
    using Slots = std::vector<SlotPtr>;
    Slots open(const std::function<bool(Slot&)>& wanted);
    void look(const Slots& slots);

    const std::size_t most_;
    store::Pool& pool_;
    Workers& workers_;
    const milliseconds life_;
    const milliseconds turn_;
    const std::shared_ptr<Slot::State> state_;
};

}  // namespace berth::gateway
