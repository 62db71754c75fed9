// SPDX-License-Identifier: Apache-2.0
// The look: tend, list, remove, tell.
#include "provisioner/reconciler.hpp"

#include <algorithm>

#include "log/log.hpp"
#include "provisioner/actors.hpp"

namespace berth::prov {
namespace {

constexpr int kTendBatch = 10'000;
// A look that found what the one before did is written again after this, so that its age shows that
// somebody looks.
constexpr seconds kTellAgain{15};

constexpr std::pair<DriftKind, const char*> kKinds[] = {
    {DriftKind::kOrphan, "orphan"},
    {DriftKind::kMissing, "missing"},
    {DriftKind::kForeign, "foreign"},
    {DriftKind::kStuck, "stuck"},
};

}  // namespace

Reconciler::Reconciler(std::string name, Driver& driver, const Parts& parts)
    : name_(std::move(name)), driver_(driver), parts_(parts) {
    orphans_ = parts_.metrics.counter(
        "berth_prov_orphans_removed_total",
        "Machines found at a provider that nothing wanted, and removed."
    );
    list_failures_ = parts_.metrics.counter(
        "berth_prov_list_failures_total",
        "Times a provider could not be listed, so that nothing was reconciled.",
        {{"driver", name_}}
    );
    for (const auto& [kind, text] : kKinds)
        drift_[kind] = parts_.metrics.gauge(
            "berth_prov_drift_machines",
            "Machines of which the record and the provider say different things.",
            {{"driver", name_}, {"kind", text}}
        );
}

void Reconciler::tend_ready(bool listed, std::vector<DriftItem>& items) {
    const auto ready = repo::ready(parts_.pool, name_, kTendBatch);
    if (!ready) return;
    for (const Resource& resource : *ready) {
        const auto spec = spec_of(resource);
        if (!spec) continue;
        const auto condition = driver_.tend(*spec);
        if (!condition) {
            if (condition.error().code == kInterrupted) return;
            // It may still be there, and a person has to look: neither working nor gone.
            if (condition.error().code == kNotOurs)
                items.push_back(
                    {DriftKind::kForeign,
                     name_,
                     resource.machine,
                     {},
                     {},
                     {},
                     condition.error().describe()}
                );
            log::warning(
                "a machine could not be tended",
                {{"machine", resource.machine}, {"error", condition.error()}}
            );
        } else if (*condition == Condition::kMissing && listed) {
            log::warning("a machine is not there any more", {{"machine", resource.machine}});
            items.push_back(
                {DriftKind::kMissing, name_, resource.machine, {}, {}, {}, "not at the provider"}
            );
            const auto lost = [](Resource& current) {
                return vanished(current) ? std::optional<std::string>(std::string()) : std::nullopt;
            };
            (void)record(parts_.pool, parts_.relay, resource.machine, {}, lost);
        }
    }
}

void Reconciler::tell_foreign(std::vector<DriftItem>& items) {
    for (const std::string& machine : driver_.foreign()) {
        const bool told = std::any_of(items.begin(), items.end(), [&](const DriftItem& item) {
            return item.machine == machine && item.kind == DriftKind::kForeign;
        });
        if (!told)
            items.push_back(
                {DriftKind::kForeign,
                 name_,
                 machine,
                 {},
                 {},
                 {},
                 "bears no mark of this deployment"}
            );
    }
}

Result<void> Reconciler::remove(const std::string& machine, std::vector<DriftItem>& items) {
    // An actor may be at it this moment; the lock goes with the connection.
    BERTH_ASSIGN(auto connection, store::Connection::open(parts_.database));
    BERTH_ASSIGN(const bool locked, repo::try_act(connection, machine));
    if (!locked) return {};
    const std::string one[] = {machine};
    BERTH_ASSIGN(const auto wanted, repo::wanted(parts_.pool, one));
    if (!wanted.empty()) return {};
    log::warning(
        "a machine that nothing wants is removed", {{"machine", machine}, {"driver", name_}}
    );
    const auto done = driver_.destroy(machine);
    if (done) {
        orphans_.add();
        return {};
    }
    if (done.error().code == kInterrupted) return {};
    const auto kind = done.error().code == kNotOurs ? DriftKind::kForeign : DriftKind::kOrphan;
    items.push_back({kind, name_, machine, {}, {}, {}, done.error().describe()});
    log::warning(
        "it could not be removed; trying again", {{"machine", machine}, {"error", done.error()}}
    );
    return {};
}

Result<void> Reconciler::remove_orphans(
    const std::vector<std::string>& present, std::vector<DriftItem>& items
) {
    if (present.empty()) return {};
    BERTH_ASSIGN(const auto wanted, repo::wanted(parts_.pool, present));
    for (const std::string& machine : present) {
        if (std::find(wanted.begin(), wanted.end(), machine) != wanted.end()) continue;
        BERTH_TRY(remove(machine, items));
    }
    return {};
}

void Reconciler::tell(const DriverLook& look, const std::vector<DriftItem>& items) {
    count_drift();
    std::string text = look.error + "/" + std::to_string(look.machines);
    for (const DriftItem& item : items)
        text += "/" + std::to_string(static_cast<int>(item.kind)) + item.machine + item.message;
    const SteadyTime now = std::chrono::steady_clock::now();
    if (text == told_ && now < told_at_ + kTellAgain) return;
    if (const auto written = repo::write_look(parts_.pool, look, items); !written) {
        log::warning("a look could not be recorded", {{"error", written.error()}});
        return;
    }
    told_ = std::move(text);
    told_at_ = now;
    count_drift();
}

void Reconciler::count_drift() {
    const std::string names[] = {name_};
    const auto report = repo::read_drift(parts_.pool, names);
    if (!report) return;
    for (auto& [kind, gauge] : drift_) {
        const auto same = [&, kind = kind](const DriftItem& item) {
            return item.kind == kind && item.driver == name_;
        };
        gauge.set(
            static_cast<double>(std::count_if(report->items.begin(), report->items.end(), same))
        );
    }
}

Result<void> Reconciler::look() {
    // Not fenced: tending restarts a node agent, whose own lock admits one, and what is removed is
    // looked up again under its machine's lock.
    std::vector<DriftItem> items;
    DriverLook look;
    look.driver = name_;
    const auto present = driver_.list();
    tend_ready(present.has_value(), items);
    look.looked_at = Clock::system().now();
    look.ok = present.has_value();
    if (!present) {
        if (present.error().code == kInterrupted) return {};
        list_failures_.add();
        look.error = present.error().describe();
        tell(look, items);
        return present.error();
    }
    look.machines = static_cast<int>(present->size());
    tell_foreign(items);
    // A part of the provider that cannot be seen holds up nothing else, and is told.
    if (look.error = driver_.unseen(); !look.error.empty()) {
        look.ok = false;
        list_failures_.add();
    }
    const auto removed = remove_orphans(*present, items);
    tell(look, items);
    return removed;
}

}  // namespace berth::prov
