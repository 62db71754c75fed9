// SPDX-License-Identifier: Apache-2.0
// Signing in with GitHub: its device flow, then who that is and whether they belong to the
// organisation. The access token is forgotten as soon as both are known.
#include "core/json.hpp"
#include "gateway/device_flow.hpp"
#include "http/client.hpp"

namespace berth::gateway {
namespace {

class Github final : public SignInProvider {
public:
    explicit Github(GithubSettings settings) : settings_(std::move(settings)) {}

    Result<DeviceStart> start(const std::string&) override {
        FormFields fields{{"client_id", settings_.client_id}};
        if (!settings_.admission.required.empty()) fields.emplace_back("scope", "read:org");
        BERTH_ASSIGN(const auto answer, post("/login/device/code", fields));
        if (answer.status != 200) return refused(answer);
        // GitHub answers 200 with an error, too (device_flow_disabled, for one).
        const auto json = Json::parse(answer.body);
        if (json && !json->string_or("error", "").empty())
            return unavailable(
                "provider_error",
                "GitHub answers " + shown(json->string_or("error", "")) + ": " +
                    shown(json->string_or("error_description", ""))
            );
        return read_device_start(answer.body);
    }

    Result<DevicePoll> poll(const Secret& device_code, const std::string&) override {
        BERTH_ASSIGN(
            const auto answer,
            post(
                "/login/oauth/access_token",
                {{"client_id", settings_.client_id},
                 {"device_code", device_code.reveal()},
                 {"grant_type", "urn:ietf:params:oauth:grant-type:device_code"}}
            )
        );
        const auto json = Json::parse(answer.body);
        if (!json || !json->is_object()) return refused(answer);
        const Secret token(json->string_or("access_token", ""));
        if (token.empty()) {
            BERTH_ASSIGN(
                DevicePoll out,
                read_poll_error(
                    json->string_or("error", ""), json->string_or("error_description", "")
                )
            );
            out.interval = seconds(json->int_or("interval", 0));
            return out;
        }
        return identify(token);
    }

private:
    Result<DevicePoll> identify(const Secret& token) {
        BERTH_ASSIGN(const auto answer, get("/user", token));
        const auto user = Json::parse(answer.body);
        const std::int64_t id = user ? user->int_or("id", 0) : 0;
        if (answer.status != 200 || id <= 0) return refused(answer);
        DevicePoll out;
        out.state = DevicePoll::State::kDone;
        out.identity.subject = std::to_string(id);
        out.identity.login = shown(user->string_or("login", ""));
        const std::string& org = settings_.admission.required;
        if (org.empty()) return out;
        BERTH_ASSIGN(const auto membership, get("/user/memberships/orgs/" + org, token));
        // 404 to who is none, 403 where the organisation has not approved this client.
        if (membership.status != 200 && membership.status != 404 && membership.status != 403)
            return refused(membership);
        const auto state = Json::parse(membership.body);
        out.identity.admitted =
            membership.status == 200 && state && state->string_or("state", "") == "active";
        out.identity.refused = !out.identity.admitted;
        return out;
    }

    Result<http::Response> post(const std::string& path, const FormFields& fields) {
        http::Request request;
        request.method = "POST";
        request.url = settings_.url + path;
        request.headers = {
            {"Accept", "application/json"}, {"Content-Type", "application/x-www-form-urlencoded"}};
        request.body = form_encode(fields);
        return send(std::move(request));
    }

    Result<http::Response> get(const std::string& path, const Secret& token) {
        http::Request request;
        request.url = settings_.api_url + path;
        request.headers = {
            {"Accept", "application/vnd.github+json"},
            {"Authorization", "Bearer " + token.reveal()},
            {"X-GitHub-Api-Version", "2022-11-28"}};
        return send(std::move(request));
    }

    static Result<http::Response> send(http::Request request) {
        request.headers.emplace_back("User-Agent", "berth");  // GitHub refuses who has none
        request.timeout = kProviderTimeout;
        request.max_response = 1U << 20U;
        auto answer = http::Client().send(request);
        if (!answer)
            return unavailable(
                "provider_unreachable", "GitHub cannot be reached: " + answer.error().message
            );
        return answer;
    }

    static Error refused(const http::Response& answer) {
        const auto json = Json::parse(answer.body);
        const std::string words = json ? json->string_or("message", "") : "";
        return unavailable(
            "provider_error",
            "GitHub answers " + std::to_string(answer.status) +
                (words.empty() ? "" : ": " + shown(words))
        );
    }

    const GithubSettings settings_;
};

}  // namespace

std::unique_ptr<SignInProvider> make_github(const GithubSettings& settings) {
    return std::make_unique<Github>(settings);
}

}  // namespace berth::gateway
