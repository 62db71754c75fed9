// SPDX-License-Identifier: Apache-2.0
// The two offices that one replica leads: reaper and keeper of pools.
#include "lease_broker/keeper.hpp"

#include <set>

#include "store/leader.hpp"

namespace berth::lease {
namespace {

/// `change(tx, messages)` in a transaction that a newer leader would stop; its messages go out.
template <typename F>
Result<void> guarded(
    service::Runtime& runtime, const char* office, std::int64_t fence, const F& change
) {
    auto messages = runtime.pool().transact(
        [&](store::Transaction& tx) -> Result<std::vector<store::OutboxMessage>> {
            std::vector<store::OutboxMessage> out;
            BERTH_TRY(store::check_fence(tx, office, fence));
            BERTH_TRY(change(tx, out));
            if (!out.empty()) BERTH_TRY(store::Outbox::add_all(tx, out));
            return out;
        }
    );
    if (!messages) return std::move(messages).error();
    runtime.relay().publish_committed(std::move(*messages));
    return {};
}

}  // namespace

Reaper::Reaper(LeaseHandlers& handlers, service::Runtime& runtime)
    : handlers_(handlers), runtime_(runtime) {
    expired_ = runtime.metrics().counter(
        "berth_lease_leases_expired_total", "Leases ended because their time was over."
    );
}

Result<void> Reaper::look(std::int64_t fence) {
    // Where more is due than one round takes the next one follows at once.
    for (int round = 0; round < kReapRounds; ++round) {
        BERTH_ASSIGN(const bool all, reap(fence));
        if (all) break;
    }
    BERTH_TRY(drop_stale(fence));
    return press_on(fence);
}

Result<bool> Reaper::reap(std::int64_t fence) {
    const WallTime now = Clock::system().now();
    BERTH_ASSIGN(const auto due, repo::leases_to_look_at(runtime_.pool(), now, kLookBatch));
    std::vector<Lease> touched;
    std::vector<std::string> over;
    for (const Lease& lease : due) {
        if (overdue(lease, now).empty()) {
            touched.push_back(lease);
        } else {
            over.push_back(lease.id);
        }
    }
    for (std::size_t at = 0; at < over.size(); at += kReapBatch) {
        const std::size_t end = std::min(over.size(), at + kReapBatch);
        const std::vector<std::string> batch(
            over.begin() + static_cast<std::ptrdiff_t>(at),
            over.begin() + static_cast<std::ptrdiff_t>(end)
        );
        int ended = 0;
        BERTH_TRY(guarded(
            runtime_,
            kOffice,
            fence,
            [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) -> Result<void> {
                BERTH_ASSIGN(ended, handlers_.expire(tx, batch, Clock::system().now(), out));
                return {};
            }
        ));
        expired_.add(ended);
    }
    if (!touched.empty()) BERTH_TRY(repo::look_later(runtime_.pool(), touched));
    return due.size() < kLookBatch;
}

Result<void> Reaper::drop_stale(std::int64_t fence) {
    // After an outage the runs' own events come first.
    if (std::chrono::steady_clock::now() < began_ + kUnconfirmedAttachment) return {};
    const WallTime now = Clock::system().now();
    BERTH_ASSIGN(
        const auto stale,
        repo::stale_attachments(runtime_.pool(), now - kUnconfirmedAttachment, kStaleBatch)
    );
    for (const std::string& work : stale) {
        BERTH_TRY(guarded(
            runtime_,
            kOffice,
            fence,
            [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) -> Result<void> {
                BERTH_ASSIGN(out, handlers_.drop_attachment(tx, work, now));
                return {};
            }
        ));
    }
    return {};
}

Result<void> Reaper::press_on(std::int64_t fence) {
    const WallTime now = Clock::system().now();
    BERTH_ASSIGN(
        const auto silent,
        repo::silent_machines(
            runtime_.pool(), now - kCreatePatience, now - kDestroyAgain, kSilentBatch
        )
    );
    for (const std::string& machine : silent) {
        BERTH_TRY(guarded(
            runtime_,
            kOffice,
            fence,
            [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) {
                return handlers_.press_on(tx, machine, now, out);
            }
        ));
    }
    return {};
}

Keeper::Keeper(
    const LeaseSettings& settings, const Profiles& profiles, Fleet& fleet, service::Runtime& runtime
)
    : settings_(settings), profiles_(profiles), fleet_(fleet), runtime_(runtime) {
    made_ = runtime.metrics().counter(
        "berth_lease_warm_machines_made_total", "Machines sent for to be held warm."
    );
    dropped_ = runtime.metrics().counter(
        "berth_lease_idle_machines_dropped_total",
        "Idle machines removed: more than the pool holds, or drained."
    );
}

Result<void> Keeper::look(std::int64_t fence) {
    const WallTime now = Clock::system().now();
    BERTH_TRY(end_cleanings(fence, now));
    BERTH_ASSIGN(const auto counts, repo::count_machines(&runtime_.pool(), ""));
    // What is configured, and what is there of profiles that are not any more.
    std::set<std::pair<std::string, std::string>> pools;
    for (const auto& [key, count] : counts) {
        if (count.idle > 0) pools.insert(key);
    }
    const auto known_profiles = profiles_.all();
    for (const auto& [name, recipe] : *known_profiles) {
        if (recipe->profile.warm_min() == 0) continue;
        for (const std::string& org : settings_.warm_orgs) pools.insert({name, org});
    }
    for (const auto& [profile, org] : pools) {
        const auto count = counts.find({profile, org});
        const int warm = count == counts.end() ? 0 : count->second.warm();
        const RecipePtr known = profiles_.find(profile);
        const bool stale =
            known != nullptr && count != counts.end() &&
            (count->second.recipes.size() > 1 || (count->second.recipes.size() == 1 &&
                                                  !count->second.recipes.contains(known->machine)));
        BERTH_ASSIGN(const PoolRule rule, fleet_.rule(&runtime_.pool(), org, profile));
        // The common case costs no transaction.
        if (known != nullptr && !rule.draining && !stale && warm == rule.warm_min) continue;
        BERTH_TRY(tend(fence, org, profile, now));
    }
    BERTH_ASSIGN(const auto lines, repo::lines(runtime_.pool(), ""));
    for (const auto& line : lines) {
        const service::Context context =
            own_context(line.first, "serve/" + std::to_string(to_unix_micros(now)), now);
        const auto done = guarded(
            runtime_,
            kOffice,
            fence,
            [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) {
                return fleet_.serve_line({context, tx, out}, line.first);
            }
        );
        if (!done) return done.error();
    }
    return {};
}

Result<void> Keeper::tend(
    std::int64_t fence, const std::string& org, const std::string& name, WallTime now
) {
    const RecipePtr recipe = profiles_.find(name);
    const v1::Profile* const profile = recipe == nullptr ? nullptr : &recipe->profile;
    const service::Context context =
        own_context(org + "/" + name, "tend/" + std::to_string(to_unix_micros(now)), now);
    BERTH_ASSIGN(const auto failures, repo::pool_failures(runtime_.pool(), org));
    const auto failed = failures.find({org, name});
    const bool paused = failed != failures.end() && failed->second.retry_at > now;
    int made = 0;
    int dropped = 0;
    const auto done = guarded(
        runtime_,
        kOffice,
        fence,
        [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) -> Result<void> {
            made = dropped = 0;
            const Work work{context, tx, out};
            if (profile != nullptr && profile->max_machines() > 0)
                BERTH_TRY(repo::lock_pool(tx, name));
            if (recipe != nullptr) {
                BERTH_ASSIGN(dropped, fleet_.drop_stale(work, org, *recipe, kPoolBatch));
            }
            BERTH_ASSIGN(const PoolRule rule, fleet_.rule(&tx, org, name));
            BERTH_ASSIGN(const auto counts, repo::count_machines(&tx, name));
            BERTH_ASSIGN(const auto waiting, repo::count_waiters(&tx, name));
            int everywhere = 0;
            for (const auto& [key, count] : counts) everywhere += count.all();
            const auto here = counts.find({name, org});
            const PoolCount count = here == counts.end() ? PoolCount{} : here->second;
            const int surplus = machines_to_drop(rule, count, static_cast<int>(waiting));
            if (surplus > 0) {
                BERTH_ASSIGN(
                    const int more,
                    fleet_.drop_idle(work, org, name, std::min(surplus, kPoolBatch), kRemoving)
                );
                dropped += more;
            }
            if (paused || profile == nullptr) return {};
            made = std::min(machines_to_make(rule, count, everywhere), kPoolBatch);
            // After a failure one try at a time shows whether it works again.
            if (failed != failures.end()) made = std::min(made, 1);
            for (int i = 0; i < made; ++i) {
                BERTH_TRY(fleet_.make_machine(
                    work, fleet_.new_machine(work, org, *recipe), *profile, nullptr
                ));
            }
            return {};
        }
    );
    if (!done) return done.error();
    made_.add(made);
    dropped_.add(dropped);
    return {};
}

Result<void> Keeper::end_cleanings(std::int64_t fence, WallTime now) {
    BERTH_ASSIGN(const auto late, repo::overdue_cleanings(runtime_.pool(), now, kPoolBatch));
    for (const std::string& id : late) {
        const auto done = guarded(
            runtime_,
            kOffice,
            fence,
            [&](store::Transaction& tx, std::vector<store::OutboxMessage>& out) -> Result<void> {
                BERTH_ASSIGN(auto machine, repo::lock_machine(tx, id));
                if (!machine || !machine->cleaning() || machine->clean_by > now) return {};
                const service::Context context =
                    own_context(id, "unclean/" + std::to_string(machine->revision), now);
                return fleet_.remove({context, tx, out}, *machine, "not cleaned in time");
            }
        );
        if (!done) return done.error();
    }
    return {};
}

}  // namespace berth::lease
