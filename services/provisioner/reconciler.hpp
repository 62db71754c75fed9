// SPDX-License-Identifier: Apache-2.0
// Compares what is recorded with what a provider has, and makes both one.
#pragma once

#include "metrics/metrics.hpp"
#include "provisioner/handlers.hpp"

namespace berth::prov {

/// One driver's. Looks after machines that should work, and removes what the driver lists and
/// nothing wants. What cannot be listed is left as it is; what a driver cannot prove to be ours it
/// neither lists nor removes. look() is called by one thread; several replicas take turns.
class Reconciler {
public:
    struct Parts {
        store::Pool& pool;
        store::PoolSettings database;
        store::Relay& relay;
        metrics::Registry& metrics;
    };
    Reconciler(std::string name, Driver& driver, const Parts& parts);

    Result<void> look();

private:
    /// `listed`: the provider can be seen, so that what is missing there is gone.
    void tend_ready(bool listed, std::vector<DriftItem>& items);
    /// Of foreign things with a machine's name, those that tending has not met.
    void tell_foreign(std::vector<DriftItem>& items);
    Result<void> remove_orphans(
        const std::vector<std::string>& present, std::vector<DriftItem>& items
    );
    Result<void> remove(const std::string& machine, std::vector<DriftItem>& items);
    void tell(const DriverLook& look, const std::vector<DriftItem>& items);
    void count_drift();

    const std::string name_;
    Driver& driver_;
    const Parts parts_;
    metrics::Counter orphans_;
    metrics::Counter list_failures_;
    std::map<DriftKind, metrics::Gauge> drift_;
    std::string told_;  ///< the last look written: what is not new is not written each second
    SteadyTime told_at_{};
};

}  // namespace berth::prov
