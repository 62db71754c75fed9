// SPDX-License-Identifier: Apache-2.0
// Signing in at an OpenID provider: discovery, the device flow, and an ID token that is believed
// only after every check.
#include <mutex>
#include <optional>

#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "gateway/device_flow.hpp"
#include "http/client.hpp"
#include "jose/id_token.hpp"
#include "net/http_types.hpp"

namespace berth::gateway {
namespace {

// An issuer's addresses do not move within this; its keys are fetched again when a new one signs.
constexpr std::chrono::hours kDiscoveryLife{1};
// An unknown key makes us look again, but a forger cannot make us ask without end.
constexpr seconds kKeysPause{30};
constexpr std::size_t kMaxSecret = 4'096;

struct Endpoints {
    std::string device;
    std::string token;
    std::string keys;
};

class Oidc final : public SignInProvider {
public:
    Oidc(OidcSettings settings, Secret secret)
        : settings_(std::move(settings)), secret_(std::move(secret)) {}

    Result<DeviceStart> start(const std::string& nonce) override {
        BERTH_ASSIGN(const Endpoints where, endpoints());
        BERTH_ASSIGN(
            const auto answer, post(where.device, {{"scope", settings_.scope}, {"nonce", nonce}})
        );
        if (answer.status != 200) return refused(answer);
        return read_device_start(answer.body);
    }

    Result<DevicePoll> poll(const Secret& device_code, const std::string& nonce) override {
        BERTH_ASSIGN(const Endpoints where, endpoints());
        BERTH_ASSIGN(
            const auto answer,
            post(
                where.token,
                {{"device_code", device_code.reveal()},
                 {"grant_type", "urn:ietf:params:oauth:grant-type:device_code"}}
            )
        );
        const auto json = Json::parse(answer.body);
        if (!json || !json->is_object() || answer.status >= 500) return refused(answer);
        if (answer.status != 200)
            return read_poll_error(
                json->string_or("error", ""), json->string_or("error_description", "")
            );
        BERTH_ASSIGN(const Json claims, verified(json->string_or("id_token", ""), nonce));
        DevicePoll out;
        out.state = DevicePoll::State::kDone;
        out.identity = identity_of(claims);
        return out;
    }

private:
    ProviderIdentity identity_of(const Json& claims) const {
        ProviderIdentity out;
        out.subject = claims.string_or("sub", "");
        out.login = shown(claims.string_or(settings_.name_claim, out.subject));
        const std::string& group = settings_.admission.required;
        if (group.empty()) return out;
        const Json* groups = claims.find(settings_.groups_claim);
        if (groups != nullptr && groups->as_string() != nullptr)
            out.admitted = *groups->as_string() == group;
        if (groups != nullptr && groups->as_array() != nullptr) {
            for (const Json& each : *groups->as_array())
                out.admitted =
                    out.admitted || (each.as_string() != nullptr && *each.as_string() == group);
        }
        out.refused = !out.admitted;
        return out;
    }

    Result<Json> verified(const std::string& token, const std::string& nonce) {
        const jose::IdTokenRules rules{settings_.issuer, settings_.client_id, nonce};
        const auto judge = [&](const jose::KeySet& keys) {
            return jose::verify_id_token(token, keys, rules, Clock::system().now());
        };
        BERTH_ASSIGN(jose::KeySet known, keys(false));
        auto claims = judge(known);
        if (!claims && claims.error().code == "unknown_key") {
            BERTH_ASSIGN(known, keys(true));
            claims = judge(known);
        }
        if (claims) return claims;
        return unavailable("provider_error", claims.error().message);
    }

    Result<Endpoints> endpoints() {
        Endpoints out{
            settings_.device_authorization_endpoint, settings_.token_endpoint, settings_.jwks_uri};
        if (!out.device.empty() && !out.token.empty() && !out.keys.empty()) return out;
        BERTH_ASSIGN(const Endpoints found, discovered());
        if (out.device.empty()) out.device = found.device;
        if (out.token.empty()) out.token = found.token;
        if (out.keys.empty()) out.keys = found.keys;
        if (out.device.empty() || out.token.empty() || out.keys.empty())
            return unavailable(
                "provider_error",
                "the issuer does not say where its device flow is; name the endpoints in the "
                "gateway's settings (sign_in.oidc)"
            );
        return out;
    }

    Result<Endpoints> discovered() {
        const std::lock_guard lock(mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (endpoints_ && now < endpoints_until_) return *endpoints_;
        std::string issuer = settings_.issuer;
        if (issuer.ends_with('/')) issuer.pop_back();
        BERTH_ASSIGN(const auto answer, get(issuer + "/.well-known/openid-configuration"));
        const auto json = Json::parse(answer.body);
        if (answer.status != 200 || !json || !json->is_object()) return refused(answer);
        // OpenID Connect Discovery 4.3: else anybody's document would do.
        if (json->string_or("issuer", "") != settings_.issuer)
            return unavailable(
                "provider_error",
                "the discovery document is of another issuer: " +
                    shown(json->string_or("issuer", ""))
            );
        Endpoints found{
            json->string_or("device_authorization_endpoint", ""),
            json->string_or("token_endpoint", ""),
            json->string_or("jwks_uri", "")};
        // No secret follows a document from https to http.
        for (const std::string* url : {&found.device, &found.token, &found.keys}) {
            if (settings_.issuer.starts_with("https://") && !url->empty() &&
                !url->starts_with("https://"))
                return unavailable("provider_error", "the issuer names an address without TLS");
        }
        endpoints_ = found;
        endpoints_until_ = now + kDiscoveryLife;
        return found;
    }

    Result<jose::KeySet> keys(bool again) {
        BERTH_ASSIGN(const Endpoints where, endpoints());
        const std::lock_guard lock(mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (keys_ && (!again || now < keys_at_ + kKeysPause)) return *keys_;
        BERTH_ASSIGN(const auto answer, get(where.keys));
        if (answer.status != 200) return refused(answer);
        auto parsed = jose::KeySet::parse(answer.body);
        if (!parsed) return unavailable("provider_error", parsed.error().message);
        keys_ = std::move(*parsed);
        keys_at_ = now;
        return *keys_;
    }

    Result<http::Response> post(const std::string& url, FormFields fields) {
        http::Request request;
        request.method = "POST";
        request.url = url;
        request.headers = {
            {"Accept", "application/json"}, {"Content-Type", "application/x-www-form-urlencoded"}};
        fields.emplace_back("client_id", settings_.client_id);
        if (!secret_.empty()) {  // RFC 6749, 2.3.1: each half form-encoded, then Basic
            const Secret pair(
                net::percent_encode(settings_.client_id) + ":" +
                net::percent_encode(secret_.reveal())
            );
            request.headers.emplace_back("Authorization", "Basic " + base64(pair.reveal()));
        }
        request.body = form_encode(fields);
        return send(std::move(request));
    }

    static Result<http::Response> get(const std::string& url) {
        http::Request request;
        request.url = url;
        request.headers = {{"Accept", "application/json"}};
        return send(std::move(request));
    }

    static Result<http::Response> send(http::Request request) {
        request.headers.emplace_back("User-Agent", "berth");
        request.timeout = kProviderTimeout;
        request.max_response = 1U << 20U;
        auto answer = http::Client().send(request);
        if (!answer)
            return unavailable(
                "provider_unreachable",
                "the sign-in provider cannot be reached: " + answer.error().message
            );
        return answer;
    }

    static Error refused(const http::Response& answer) {
        const auto json = Json::parse(answer.body);
        std::string words = json ? json->string_or("error", "") : "";
        if (json && !json->string_or("error_description", "").empty())
            words += ": " + json->string_or("error_description", "");
        return unavailable(
            "provider_error",
            "the sign-in provider answers " + std::to_string(answer.status) +
                (words.empty() ? "" : ", " + shown(words))
        );
    }

    const OidcSettings settings_;
    const Secret secret_;
    std::mutex mutex_;
    // By mutex_, which is held while they are fetched: one fetch serves all who wait.
    std::optional<Endpoints> endpoints_;
    SteadyTime endpoints_until_{};
    std::optional<jose::KeySet> keys_;
    SteadyTime keys_at_{};
};

}  // namespace

Result<std::unique_ptr<SignInProvider>> make_oidc(const OidcSettings& settings) {
    std::string secret;
    if (!settings.client_secret_file.empty()) {
        BERTH_ASSIGN(secret, read_file(settings.client_secret_file, kMaxSecret));
    }
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
    return std::unique_ptr<SignInProvider>(
        std::make_unique<Oidc>(settings, Secret(std::move(secret)))
    );
}

}  // namespace berth::gateway
