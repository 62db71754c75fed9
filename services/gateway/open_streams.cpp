// SPDX-License-Identifier: Apache-2.0
// Looking again at who holds a stream open.
#include "gateway/open_streams.hpp"

#include <algorithm>

#include "log/log.hpp"

namespace berth::gateway {
namespace {

// Turns within a token's trusted time: a revocation takes effect that much more exactly.
constexpr int kTurns = 10;
constexpr milliseconds kShortestTurn{20};

Error token_ended() {
    return {
        Fault::kUnauthenticated,
        "token_ended",
        "the token is not valid any more: it was revoked, it expired, or its user was disabled",
        {}};
}

Error role_lost() {
    return forbidden(
        "role_lost",
        "a role that this was opened with was taken away; open it anew with what is left"
    );
}

bool lost_one(const std::vector<std::string>& had, const std::vector<std::string>& has) {
    return std::any_of(had.begin(), had.end(), [&](const std::string& role) {
        return !covers(has, role);
    });
}

}  // namespace

struct OpenStreams::Slot::State {
    std::mutex mutex;
    std::map<std::string, std::size_t> counts;   // by mutex; of org/user
    std::map<Slot*, std::weak_ptr<Slot>> slots;  // by mutex
    metrics::Gauge gauge;
};

OpenStreams::Slot::~Slot() {
    const std::lock_guard lock(state_->mutex);
    state_->slots.erase(this);
    state_->gauge.subtract();
    const auto it = state_->counts.find(principal_.org + "/" + principal_.user);
    if (--it->second == 0) state_->counts.erase(it);
}

void OpenStreams::Slot::on_revoked(End end) {
    std::optional<Error> why;
    {
        const std::lock_guard lock(mutex_);
        why = why_;
        if (!why) end_ = std::move(end);
    }
    if (why) end(*why);
}

void OpenStreams::Slot::revoke(const Error& why) {
    End end;
    {
        const std::lock_guard lock(mutex_);
        if (why_) return;
        why_ = why;
        end.swap(end_);
    }
    log::info(
        "a stream was ended",
        {{"user", principal_.user}, {"token", principal_.token_id}, {"why", why.code}}
    );
    if (end) end(why);
}

OpenStreams::OpenStreams(
    std::size_t most,
    metrics::Gauge open,
    store::Pool& pool,
    Workers& workers,
    milliseconds token_life
)
    : most_(most),
      pool_(pool),
      workers_(workers),
      life_(token_life),
      turn_(std::max(token_life / kTurns, kShortestTurn)),
      state_(std::make_shared<Slot::State>()) {
    state_->gauge = open;
}

Result<OpenStreams::SlotPtr> OpenStreams::take(const Principal& principal) {
    const std::lock_guard lock(state_->mutex);
    auto& count = state_->counts[principal.org + "/" + principal.user];
    if (count >= most_)
        return Error{
            Fault::kLimit,
            "too_many_streams",
            "you hold too many open streams; close one first",
            {}};
    ++count;
    state_->gauge.add();
    SlotPtr slot(new Slot(state_, principal));
    slot->trusted_until_ = principal.trusted_until;
    state_->slots.emplace(slot.get(), slot);
    return slot;
}

OpenStreams::Slots OpenStreams::open(const std::function<bool(Slot&)>& wanted) {
    Slots all;
    {
        const std::lock_guard lock(state_->mutex);
        for (const auto& [slot, weak] : state_->slots) {
            if (auto held = weak.lock()) all.push_back(std::move(held));
        }
    }
    // Those not wanted are let go of outside the lock: one may have become ours alone.
    std::erase_if(all, [&](const SlotPtr& slot) { return !wanted(*slot); });
    return all;
}

void OpenStreams::keep_looking() {
    const auto now = std::chrono::steady_clock::now();
    look(open([&](Slot& slot) {
        const std::lock_guard lock(slot.mutex_);
        return !slot.why_ && slot.trusted_until_ <= now + turn_;
    }));
    workers_.after(turn_, [this] { keep_looking(); });
}

void OpenStreams::look_at_user(const std::string& org, const std::string& user) {
    look(open([&](Slot& slot) { return slot.principal_.org == org && slot.principal_.user == user; }
    ));
}

void OpenStreams::look_at_token(const std::string& token_id) {
    look(open([&](Slot& slot) { return slot.principal_.token_id == token_id; }));
}

void OpenStreams::look(const Slots& slots) {
    std::map<std::string, Slots> by_token;
    for (const auto& slot : slots) by_token[slot->principal_.token_id].push_back(slot);
    for (const auto& [token, held] : by_token) {
        // The time before the look-up, as Authenticator::look_up.
        const auto until = std::chrono::steady_clock::now() + life_;
        const auto row = repo::find_token_by_id(pool_, token);
        if (!row) {
            // The database's outage is nobody's loss of a right; it is looked for again.
            return log::debug("open streams were not looked at", {{"error", row.error()}});
        }
        for (const auto& slot : held) {
            if (!*row) {
                slot->revoke(token_ended());
            } else if (lost_one(
                           slot->principal_.roles,
                           effective_roles((*row)->roles, (*row)->user_roles)
                       )) {
                slot->revoke(role_lost());
            } else {
                const std::lock_guard lock(slot->mutex_);
                slot->trusted_until_ = until;
            }
        }
    }
}

}  // namespace berth::gateway
