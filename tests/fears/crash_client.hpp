// SPDX-License-Identifier: Apache-2.0
// A client that insists while parts of the suite are killed under it, whatever the machines are.
#pragma once

#include "../system/system.hpp"
#include "core/random.hpp"

namespace berth::testing {

class CrashTest : public SystemTest {
protected:
    static constexpr seconds kConvergence{60};

    /// What the provider has of ours, in words; empty: nothing.
    using Inventory = std::string (*)();

    /// The same request with the same key until there is an answer, then until the lease is active:
    /// its last state. `patience` is for the machine's way up.
    static http::Response acquire_insisting(Inventory inventory, milliseconds patience) {
        const std::string key = "crash-" + std::to_string(Random::system().next());
        http::Response made;
        EXPECT_TRUE(suite().eventually(
            [&] {
                made = suite().api("POST", "/v1/leases", "{}", {{"Idempotency-Key", key}});
                return made.status != 0 && made.status < 500;
            },
            kConvergence
        ));
        EXPECT_LT(made.status, 300) << made.body;
        const std::string path = "/v1/leases/" + member(made, "id");
        http::Response active;
        EXPECT_TRUE(suite().eventually(
            [&] {
                active = suite().api("GET", path + "?wait=active&timeout=5s");
                return member(active, "state") == "LEASE_STATE_ACTIVE";
            },
            patience
        )) << active.body
           << inventory() << suite().logs();
        return active;
    }
    /// Until nothing is left.
    static void release_insisting(const std::string& lease, Inventory inventory) {
        EXPECT_TRUE(suite().eventually(
            [&] { return suite().api("POST", "/v1/leases/" + lease + "/release").status == 200; },
            kConvergence
        ));
        EXPECT_TRUE(suite().eventually([&] { return inventory().empty(); }, kConvergence))
            << inventory() << suite().logs();
    }
    /// Whether `part` was killed during `action`; `arm` is told its pid and sees to it.
    static bool killed_during(
        const std::string& part,
        const std::function<void(pid_t)>& arm,
        const std::function<void()>& action
    ) {
        EXPECT_TRUE(suite().wait_ready());
        const pid_t before = suite().pid(part);
        arm(before);
        action();
        EXPECT_TRUE(suite().wait_ready());
        return suite().pid(part) != before;
    }
};

}  // namespace berth::testing
