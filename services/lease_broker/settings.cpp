// SPDX-License-Identifier: Apache-2.0
// Profiles from the settings file.
#include "lease_broker/settings.hpp"

#include "core/id.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

constexpr std::uint64_t kDefaultOutputCap = 256ULL << 20U;

v1::Profile read_profile(const std::string& name, config::Reader& reader) {
    v1::Profile profile;
    profile.set_name(name);
    profile.set_driver(reader.get_string("driver", "local"));
    *profile.mutable_ttl() =
        service::to_duration(reader.get_duration("ttl", std::chrono::hours{8}));
    *profile.mutable_idle_timeout() =
        service::to_duration(reader.get_duration("idle_timeout", std::chrono::minutes{15}));
    profile.set_network(reader.get_bool("network", false));
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
    profile.set_cpu_millis(static_cast<std::uint32_t>(reader.get_double("cpus", 0) * 1'000));
    profile.set_memory_bytes(reader.get_bytes("memory", 0));
    profile.set_pids(static_cast<std::uint32_t>(reader.get_int("pids", 0, 0, 1'000'000)));
    if (!is_subject_token(name))
        reader.reject("driver", "the profile's name must be 1 to 64 characters of a-z 0-9 _ -");
    return profile;
}

}  // namespace

LeaseSettings read_lease_settings(config::Reader& reader) {
    LeaseSettings settings;
    settings.reap_every = reader.get_duration("reap_every", settings.reap_every);
    for (auto& [name, section] : reader.get_sections("profiles"))
        settings.profiles[name] = read_profile(name, section);
    if (!settings.profiles.contains("default")) {
        v1::Profile& profile = settings.profiles["default"];
        profile.set_name("default");
        profile.set_driver("local");
        *profile.mutable_ttl() = service::to_duration(std::chrono::hours{8});
        *profile.mutable_idle_timeout() = service::to_duration(std::chrono::minutes{15});
        for (const char* allowed : {"LANG", "LC_*", "TZ", "CI"}) profile.add_env_allow(allowed);
        profile.set_output_cap_bytes(kDefaultOutputCap);
        profile.set_parallel_runs(1);
    }
    return settings;
}

}  // namespace berth::lease
