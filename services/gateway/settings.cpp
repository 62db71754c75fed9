// SPDX-License-Identifier: Apache-2.0
// The gateway's keys of its settings file.
#include "gateway/settings.hpp"

#include <filesystem>

#include "core/id.hpp"
#include "gateway/roles.hpp"

namespace berth::gateway {

namespace {

// Secrets travel to these: plain HTTP only within this host.
void check_url(config::Reader& reader, std::string_view key, const std::string& url) {
    const bool here = url.starts_with("http://127.0.0.1:") ||
                      url.starts_with("http://localhost:") || url.starts_with("http://[::1]:");
    if (!url.empty() && !url.starts_with("https://") && !here)
        reader.reject(key, "must be an https:// address");
}

Admission read_admission(config::Reader& reader, std::string_view key) {
    Admission out;
    out.required = reader.get_string(key);
    out.roles = reader.get_list("roles", out.roles);
    for (const auto& role : out.roles) {
        if (!is_role(role)) reader.reject("roles", "may hold viewer, operator, approver and admin");
    }
    return out;
}

GithubSettings read_github(config::Reader reader) {
    GithubSettings out;
    out.client_id = reader.require_string("client_id");
    out.url = reader.get_string("url", out.url);
    out.api_url = reader.get_string("api_url", out.api_url);
    for (std::string* url : {&out.url, &out.api_url}) {
        while (url->ends_with('/')) url->pop_back();
    }
    check_url(reader, "url", out.url);
    check_url(reader, "api_url", out.api_url);
    out.admission = read_admission(reader, "org");
    // It goes into a path.
    for (const char c : out.admission.required) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!plain) {
            reader.reject("org", "must be an organisation's name as in its address");
            break;
        }
    }
    return out;
}

OidcSettings read_oidc(config::Reader reader) {
    OidcSettings out;
    out.issuer = reader.require_string("issuer");
    out.client_id = reader.require_string("client_id");
    out.client_secret_file = reader.get_string("client_secret_file");
    out.scope = reader.get_string("scope", out.scope);
    out.name_claim = reader.get_string("name_claim", out.name_claim);
    out.groups_claim = reader.get_string("groups_claim", out.groups_claim);
    out.device_authorization_endpoint = reader.get_string("device_authorization_endpoint");
    out.token_endpoint = reader.get_string("token_endpoint");
    out.jwks_uri = reader.get_string("jwks_uri");
    check_url(reader, "issuer", out.issuer);
    check_url(reader, "device_authorization_endpoint", out.device_authorization_endpoint);
    check_url(reader, "token_endpoint", out.token_endpoint);
    check_url(reader, "jwks_uri", out.jwks_uri);
    out.admission = read_admission(reader, "group");
    return out;
}

SignInSettings read_sign_in(config::Reader& settings) {
    SignInSettings out;
    if (!settings.has("sign_in")) return out;
    config::Reader reader = settings.get_section("sign_in");
    out.org = reader.get_string("org", out.org);
    if (!is_subject_token(out.org)) reader.reject("org", "must be 1 to 64 of a-z 0-9 _ -");
    out.token_life = reader.get_duration("token_life", out.token_life);
    if (reader.has("github")) out.github = read_github(reader.get_section("github"));
    if (reader.has("oidc")) out.oidc = read_oidc(reader.get_section("oidc"));
    return out;
}

}  // namespace

GatewaySettings read_gateway_settings(config::Reader& reader) {
    GatewaySettings out;
    out.http_listen = reader.get_string("http_listen", out.http_listen);
    out.http_addr_file = reader.get_string("http_addr_file");
    out.bootstrap_token_file = reader.get_string("bootstrap_token_file");
    std::error_code error;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    out.node_bundle_file = reader.get_string(
        "node_bundle_file", (program.parent_path() / "berth-node.tar.gz").string()
    );
    out.ask_timeout = reader.get_duration("ask_timeout", out.ask_timeout);
    out.token_cache = reader.get_duration("token_cache", out.token_cache);
    out.streams_per_user =
        static_cast<std::size_t>(reader.get_int("streams_per_user", 100, 1, 10'000));
    out.sign_in = read_sign_in(reader);
    return out;
}

}  // namespace berth::gateway
