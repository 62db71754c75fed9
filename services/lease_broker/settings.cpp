// SPDX-License-Identifier: Apache-2.0
// Profiles from the settings file.
#include "lease_broker/settings.hpp"

#include <cmath>
#include <set>

#include "core/id.hpp"
#include "core/text.hpp"
#include "lease_broker/lease.hpp"
#include "lease_broker/money.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

// Those below services/provisioner/drivers; which of them is set up is the provisioner's.
const std::set<std::string, std::less<>> kDrivers{
    "aws", "docker", "hetzner", "local", "simulated", "ssh"};
const std::set<std::string, std::less<>> kGuardLevels{"enforce", "shim", "observe", "none"};
constexpr std::chrono::hours kDefaultTtl{8};
constexpr std::chrono::minutes kDefaultIdle{15};
constexpr std::uint64_t kDefaultOutputCap = 256ULL << 20U;
// Beyond what any machine has, and far from where the numbers' types end.
constexpr double kMostCpus = 1'000;
constexpr std::uint64_t kMostMemory = 64ULL << 40U;

std::string words_of(const std::set<std::string, std::less<>>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

void read_limits(config::Reader& reader, LeaseSettings& settings) {
    config::Reader limits = reader.get_section("limits");
    constexpr std::int64_t kMostLeases = 1'000'000;
    constexpr std::int64_t kMostBudget = 1'000'000'000'000'000;
    const auto leases = [&](const char* key) { return limits.get_int(key, 0, 0, kMostLeases); };
    const auto money = [&](const char* key) { return limits.get_int(key, 0, 0, kMostBudget); };
    settings.leases_per_owner = leases("leases_per_owner");
    settings.leases_per_org = leases("leases_per_org");
    settings.leases_per_profile = leases("leases_per_profile");
    settings.budget_per_owner = money("budget_per_owner_micros");
    settings.budget_per_org = money("budget_per_org_micros");
    for (auto& [owner, own] : limits.get_sections("owners")) {
        OwnerLimits& out = settings.owners[owner];
        if (own.has("leases")) out.leases = own.get_int("leases", 0, 0, kMostLeases);
        if (own.has("budget_micros")) out.budget = own.get_int("budget_micros", 0, 0, kMostBudget);
    }
}

/// As a client may ask for it: a lease without a wish of its own gets this one.
milliseconds read_life(config::Reader& reader, const char* key, milliseconds fallback) {
    const milliseconds value = reader.get_duration(key, fallback);
    if (!check_duration(value, key))
        reader.reject(
            key,
            "must be between " + format_duration(kLeastDuration) + " and " +
                format_duration(kMostTtl)
        );
    return value;
}

void read_size(config::Reader& reader, v1::Profile& profile) {
    const double cpus = reader.get_double("cpus", 0);
    if (std::isfinite(cpus) && cpus >= 0 && cpus <= kMostCpus) {
        profile.set_cpu_millis(static_cast<std::uint32_t>(std::lround(cpus * 1'000)));
    } else {
        reader.reject("cpus", "must be between 0 and 1000");
    }
    profile.set_memory_bytes(reader.get_bytes("memory", 0));
    if (profile.memory_bytes() > kMostMemory) reader.reject("memory", "must be at most 64 TiB");
    profile.set_pids(static_cast<std::uint32_t>(reader.get_int("pids", 0, 0, 1'000'000)));
}

}  // namespace

bool is_profile_name(std::string_view name) { return is_subject_token(name) && name != kFleetId; }

v1::Profile read_profile(const std::string& name, config::Reader& reader) {
    v1::Profile profile;
    profile.set_name(name);
    profile.set_driver(reader.get_string("driver", "local"));
    if (!kDrivers.contains(profile.driver()))
        reader.reject("driver", "must be one of " + words_of(kDrivers));
    *profile.mutable_ttl() = service::to_duration(read_life(reader, "ttl", kDefaultTtl));
    *profile.mutable_idle_timeout() =
        service::to_duration(read_life(reader, "idle_timeout", kDefaultIdle));
    profile.set_network(reader.get_bool("network", false));
    profile.set_guard(reader.get_string("guard", "enforce"));
    if (!kGuardLevels.contains(profile.guard()))
        reader.reject("guard", "must be enforce, shim, observe or none");
    for (const std::string& allowed : reader.get_list("env", {"LANG", "LC_*", "TZ", "CI"}))
        profile.add_env_allow(allowed);
    profile.set_output_cap_bytes(reader.get_bytes("output_cap", kDefaultOutputCap));
    if (const milliseconds timeout = reader.get_duration("run_timeout", milliseconds{0});
        timeout.count() > 0) {
        *profile.mutable_run_timeout() = service::to_duration(timeout);
    }
    profile.set_parallel_runs(
        static_cast<std::uint32_t>(reader.get_int("parallel_runs", 1, 1, 1'000))
    );
    profile.set_image(reader.get_string("image"));
    read_size(reader, profile);
    for (const std::string& type : reader.get_list("types")) profile.add_types(type);
    for (const std::string& place : reader.get_list("locations")) profile.add_locations(place);
    profile.set_disk_gib(static_cast<std::uint32_t>(reader.get_int("disk_gib", 0, 0, 16'384)));
    profile.set_spot(reader.get_bool("spot", false));
    profile.set_ssh(reader.get_bool("ssh", false));
    profile.set_warm_min(static_cast<std::uint32_t>(reader.get_int("warm_min", 0, 0, 10'000)));
    profile.set_max_machines(
        static_cast<std::uint32_t>(reader.get_int("max_machines", 0, 0, 100'000))
    );
    profile.set_price_micros_per_hour(
        static_cast<std::uint64_t>(reader.get_int("price_micros_per_hour", 0, 0, kMostPrice))
    );
    if (profile.max_machines() > 0 && profile.warm_min() > profile.max_machines())
        reader.reject("warm_min", "is more than max_machines");
    if (!is_profile_name(name)) reader.reject("driver", kProfileNameRule);
    return profile;
}

LeaseSettings read_lease_settings(config::Reader& reader) {
    LeaseSettings settings;
    settings.reap_every = reader.get_duration("reap_every", settings.reap_every);
    settings.pool_every = reader.get_duration("pool_every", settings.pool_every);
    settings.warm_orgs = reader.get_list("warm_orgs", settings.warm_orgs);
    settings.currency = reader.get_string("currency", settings.currency);
    read_limits(reader, settings);
    for (auto& [name, section] : reader.get_sections("profiles"))
        (settings.profiles[name] = read_profile(name, section)).set_source("file");
    if (!settings.profiles.contains(kDefaultProfile)) {
        v1::Profile& profile = settings.profiles[kDefaultProfile];
        profile.set_name(kDefaultProfile);
        profile.set_source("built_in");
        profile.set_driver("local");
        *profile.mutable_ttl() = service::to_duration(kDefaultTtl);
        *profile.mutable_idle_timeout() = service::to_duration(kDefaultIdle);
        for (const char* allowed : {"LANG", "LC_*", "TZ", "CI"}) profile.add_env_allow(allowed);
        profile.set_output_cap_bytes(kDefaultOutputCap);
        profile.set_parallel_runs(1);
    }
    return settings;
}

}  // namespace berth::lease
