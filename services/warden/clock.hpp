// SPDX-License-Identifier: Apache-2.0
// What one replica of warden does by the clock: deadlines of approvals and ends of grants.
#pragma once

#include "service/runtime.hpp"
#include "warden/handlers.hpp"

namespace berth::warden {

/// look() is called by the leader's loop.
///
/// Safety: each change is made under the approval's row lock and the leader's fence. Liveness: a
/// deadline takes effect at most kDeadlinesEvery after it, or at a leader's return. Gap: none for
/// clicks, which look at the deadline themselves.
class Deadlines {
public:
    static constexpr const char* kOffice = "deadlines";

    Deadlines(WardenHandlers& handlers, service::Runtime& runtime)
        : handlers_(handlers), runtime_(runtime) {}
    Result<void> look(std::int64_t fence);

private:
    using Pass = Result<std::vector<store::OutboxMessage>> (WardenHandlers::*)(
        store::Transaction&, const std::string&, const std::string&, WallTime
    );
    Result<void> pass(
        std::int64_t fence,
        const std::vector<std::pair<std::string, std::string>>& due,
        WallTime now,
        Pass what
    );

    WardenHandlers& handlers_;
    service::Runtime& runtime_;
    SteadyTime next_forget_{};
};

}  // namespace berth::warden
