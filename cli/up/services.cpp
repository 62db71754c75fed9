// SPDX-License-Identifier: Apache-2.0
// Settings are written anew at each start: they are derived, and the user's own file is
// etc/berth.yaml.
#include "cli/up/services.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/paths.hpp"
#include "cli/up/postgres.hpp"
#include "config/config.hpp"
#include "core/fd.hpp"
#include "net/http_client.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

constexpr milliseconds kHealthPatience{500};

// A YAML text in double quotes.
std::string yaml_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

std::string setting(std::string_view key, std::string_view value) {
    return fmt::format("{}: {}\n", key, yaml_text(value));
}

void append_yaml(std::string& out, const config::Node& node, const std::string& indent) {
    for (const auto& [key, value] : node.entries()) {
        out += indent + yaml_text(key) + ":";
        if (value.is_map()) {
            out += "\n";
            append_yaml(out, value, indent + "  ");
        } else if (value.is_list()) {
            std::string items;
            for (const auto& item : value.items())
                items += (items.empty() ? "" : ", ") + yaml_text(item.get_string().value_or(""));
            out += " [" + items + "]\n";
        } else {
            out += " " + (value.is_null() ? "" : yaml_text(value.get_string().value_or(""))) + "\n";
        }
    }
}

/// The profiles of the user's file; where it names none, two of the local driver.
Result<std::string> profiles(const Layout& layout) {
    const std::string own =
        "profiles:\n"
        "  default: {driver: local, ttl: 8h, idle_timeout: 15m, network: false}\n"
        "  net: {driver: local, ttl: 8h, idle_timeout: 15m, network: true}\n";
    std::error_code ignored;
    if (!fs::exists(layout.user_settings(), ignored)) return own;
    BERTH_ASSIGN(const config::Document document, config::Document::load(layout.user_settings()));
    config::Reader reader(document.root());
    const bool given = reader.has("profiles");
    (void)reader.has("provisioner");  // goes to the provisioner
    (void)reader.has("broker");       // goes to the lease broker
    (void)reader.has("gateway");      // goes to the gateway
    (void)reader.has("webhook");      // goes to webhook
    (void)reader.has("bus");          // goes to nats-server (cli/up/nats.cpp)
    for (const auto& bridge : kBridges) (void)reader.has(bridge.token);  // go to the chat bridges
    BERTH_TRY(reader.finish());  // the keys of a profile are checked by the service
    if (!given) return own;
    std::string out = "profiles:\n";
    append_yaml(out, *document.root().find("profiles"), "  ");
    return out;
}

/// A section of the user's file whose keys are one service's own: `provisioner`, `broker`,
/// `gateway`, `webhook`.
Result<std::string> section_of(const Layout& layout, std::string_view name) {
    std::error_code ignored;
    std::string out;
    if (!fs::exists(layout.user_settings(), ignored)) return out;
    BERTH_ASSIGN(const config::Document document, config::Document::load(layout.user_settings()));
    if (const auto section = document.root().find(name)) append_yaml(out, *section, "");
    return out;
}

bool is_bridge(const ServiceName& service) {
    return std::any_of(kBridges.begin(), kBridges.end(), [&](const ServiceName& bridge) {
        return bridge.token == service.token;
    });
}

}  // namespace

Result<std::vector<ServiceName>> services_of(const Layout& layout) {
    std::vector<ServiceName> out;
    std::error_code ignored;
    if (fs::exists(layout.user_settings(), ignored)) {
        BERTH_ASSIGN(
            const config::Document document, config::Document::load(layout.user_settings())
        );
        for (const auto& bridge : kBridges) {
            if (document.root().find(bridge.token)) out.push_back(bridge);
        }
    }
    out.insert(out.end(), kServices.begin(), kServices.end());
    return out;
}

Result<void> write_settings(
    const Layout& layout, const ServiceName& service, const Nats& nats, int http_port
) {
    const auto creds = nats.deployment.creds.find(std::string(service.token));
    if (creds == nats.deployment.creds.end())
        return internal("topology", fmt::format("the topology has no user '{}'", service.token));
    BERTH_ASSIGN(const Secret conninfo, postgres_conninfo(layout, service.token));
    std::string out =
        "# Written by 'berth up' at each start; profiles belong into berth.yaml beside this "
        "file.\n";
    out += setting("nats_url", nats.url());
    if (!nats.name.empty()) {
        out += setting("nats_ca_file", nats.deployment.ca_file.string());
        out += setting("nats_name", nats.name);
    }
    out += setting("creds_file", creds->second.string());
    out += setting("data_dir", (layout.data / service.token).string());
    out += setting("listen", "127.0.0.1:0");
    out += setting("addr_file", (layout.run() / fmt::format("{}.addr", service.token)).string());
    out += setting("postgres", conninfo.reveal());
    if (service.token == "gateway") {
        out += setting("http_listen", fmt::format("127.0.0.1:{}", http_port));
        out += setting("bootstrap_token_file", layout.bootstrap_token().string());
        BERTH_ASSIGN(const std::string own, section_of(layout, "gateway"));
        out += own;
    } else if (service.token == "prov") {
        out += setting("account_seed_file", nats.deployment.account_seed.string());
        if (!nats.public_url.empty()) out += setting("public_nats_url", nats.public_url);
        out += setting("machines_dir", layout.machines().string());
        out += setting("node_binary", (own_path().parent_path() / "berth-node").string());
        BERTH_ASSIGN(const std::string text, section_of(layout, "provisioner"));
        out += text;
    } else if (service.token == "webhook") {
        BERTH_TRY(kept_secret(layout, "webhook-key"));  // made once, in the file it is read from
        out += setting("key_file", (layout.etc() / "webhook-key.secret").string());
        BERTH_ASSIGN(const std::string text, section_of(layout, "webhook"));
        out += text;
    } else if (service.token == "lease") {
        BERTH_ASSIGN(const std::string text, profiles(layout));
        BERTH_ASSIGN(const std::string own, section_of(layout, "broker"));
        out += text + own;
    } else if (is_bridge(service)) {
        BERTH_ASSIGN(const std::string own, section_of(layout, service.token));
        out += own;
    }
    BERTH_TRY(make_private_folder(layout.data / service.token));
    return write_file_atomic(layout.etc() / fmt::format("{}.yaml", service.token), out, 0600);
}

PartSpec service_part(const Layout& layout, const ServiceName& service) {
    PartSpec part;
    part.name = std::string(service.token);
    part.log = layout.log() / fmt::format("{}.log", service.token);
    const fs::path address_file = layout.run() / fmt::format("{}.addr", service.token);
    const fs::path settings = layout.etc() / fmt::format("{}.yaml", service.token);
    const fs::path program = own_path().parent_path() / service.binary;
    part.make = [=]() -> Result<process::SpawnSpec> {
        std::error_code ignored;
        fs::remove(address_file, ignored);  // of the run before: it would be asked in vain
        process::SpawnSpec spec;
        spec.argv = {program.string(), "--config", settings.string()};
        return spec;
    };
    part.not_ready = [address_file](pid_t) { return ask_ready(address_file); };
    return part;
}

std::string ask_ready(const fs::path& address_file) {
    auto address = read_file(address_file, 256);
    if (!address) return "it has not told its address yet";
    while (!address->empty() && address->back() == '\n') address->pop_back();
    net::HttpClient client("http://" + *address);
    net::HttpRequest request;
    request.path = "/readyz";
    request.timeout = kHealthPatience;
    auto answer = client.send(request);
    if (!answer) return answer.error().message;
    if (answer->status == 200) return {};
    while (!answer->body.empty() && answer->body.back() == '\n') answer->body.pop_back();
    return answer->body.empty() ? fmt::format("/readyz answers {}", answer->status) : answer->body;
}

}  // namespace berth::cli::up
