// SPDX-License-Identifier: Apache-2.0
// Reading node.yaml.
#include "node_agent/settings.hpp"

#include "config/config.hpp"
#include "core/id.hpp"

namespace berth::node {

std::filesystem::path guard_folder(const Settings& settings) {
    return settings.dir / (settings.container ? "door" : "node") / "guard";
}

std::filesystem::path guard_folder(const Settings& settings, const std::string& run) {
    return settings.dir / (settings.container ? "door/runs" : "runs") / run;
}

Result<Settings> load_settings(const std::filesystem::path& dir) {
    BERTH_ASSIGN(
        const config::Document document, config::Document::load(dir / "node" / "node.yaml")
    );
    config::Reader reader(document.root());
    Settings settings;
    settings.dir = dir;
    settings.machine = reader.require_string("machine");
    settings.org = reader.require_string("org");
    settings.lease = reader.get_string("lease");
    settings.slug = reader.get_string("slug", "machine");
    settings.profile = reader.get_string("profile");
    settings.nats_url = reader.require_string("nats_url");
    settings.nats_ca_file = reader.get_string("nats_ca_file");
    settings.nats_name = reader.get_string("nats_name");
    settings.creds_file = reader.get_string("creds_file");
    settings.enrol_url = reader.get_string("enrol_url");
    settings.network = reader.get_bool("network", false);
    const auto level = policy::level_of(reader.get_string("guard", "enforce"));
    if (!level) reader.reject("guard", "must be enforce, shim, observe or none");
    settings.guard = level.value_or(policy::Level::kEnforce);
    const std::string place = reader.get_string("place", "sandbox");
    settings.container = place == "container";
    if (place != "sandbox" && place != "container")
        reader.reject("place", "must be sandbox or container");
    if (reader.get_string("workspace_quota", "none") != "none")
        reader.reject("workspace_quota", "only \"none\" is known");
    for (const auto& [key, value] :
         {std::pair{"machine", settings.machine},
          std::pair{"org", settings.org},
          std::pair{"slug", settings.slug}}) {
        if (!is_subject_token(value)) reader.reject(key, "must be 1 to 64 of a-z, 0-9, _ and -");
    }
    BERTH_TRY(reader.finish());
    for (std::filesystem::path* file : {&settings.creds_file, &settings.nats_ca_file}) {
        if (!file->empty() && file->is_relative()) *file = dir / "node" / *file;
    }
    std::error_code error;
    settings.programs = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    return settings;
}

}  // namespace berth::node
