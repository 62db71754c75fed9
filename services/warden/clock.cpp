// SPDX-License-Identifier: Apache-2.0
// One transaction for each approval or grant whose time is over.
#include "warden/clock.hpp"

#include "warden/settings.hpp"

namespace berth::warden {

Result<void> Deadlines::pass(
    std::int64_t fence,
    const std::vector<std::pair<std::string, std::string>>& due,
    WallTime now,
    Pass what
) {
    for (const auto& [id, org] : due) {
        auto messages = runtime_.pool().transact(
            [&, &id = id, &org = org](store::Transaction& tx
            ) -> Result<std::vector<store::OutboxMessage>> {
                BERTH_TRY(store::check_fence(tx, kOffice, fence));
                BERTH_ASSIGN(auto out, (handlers_.*what)(tx, org, id, now));
                if (!out.empty()) BERTH_TRY(store::Outbox::add_all(tx, out));
                return out;
            }
        );
        if (!messages) return std::move(messages).error();
        runtime_.relay().publish_committed(std::move(*messages));
    }
    return {};
}

Result<void> Deadlines::look(std::int64_t fence) {
    const WallTime now = Clock::system().now();
    BERTH_ASSIGN(const auto approvals, repo::due(runtime_.pool(), now, kDeadlineBatch));
    BERTH_TRY(pass(fence, approvals, now, &WardenHandlers::pass_deadline));
    BERTH_ASSIGN(const auto grants, repo::due_grants(runtime_.pool(), now, kDeadlineBatch));
    BERTH_TRY(pass(fence, grants, now, &WardenHandlers::end_grant));
    if (const SteadyTime steady = std::chrono::steady_clock::now(); steady >= next_forget_) {
        next_forget_ = steady + kForgetEvery;
        BERTH_TRY(repo::forget(runtime_.pool(), now - kForgetAfter));
        return repo::forget_ended(runtime_.pool(), now - kKeepEnded);
    }
    return {};
}

}  // namespace berth::warden
