// SPDX-License-Identifier: Apache-2.0
// How long a held command waits once somebody has said yes: from warden's decision to the command's
// own clock, over bus, node agent, supervisor and the last question to warden.
#include <cstdlib>

#include "core/time.hpp"
#include "load.hpp"

namespace berth::bench {
namespace {

constexpr int kRounds = 50;

Json json_of(const http::Response& response) {
    auto json = Json::parse(response.body);
    if (!json) throw std::runtime_error(response.body);
    return *json;
}

/// The only approval that waits.
std::string pending(Suite& suite) {
    std::string id;
    (void)suite.eventually([&] {
        const Json all = json_of(suite.api("GET", "/v1/approvals?state=pending"));
        const Json* list = all.find("approvals");
        if (list == nullptr || list->as_array() == nullptr || list->as_array()->empty())
            return false;
        id = list->as_array()->front().string_or("id", "");
        return true;
    });
    return id;
}

/// When warden decided on it: microseconds since the epoch.
long long decided_at(Suite& suite, const std::string& approval) {
    long long at = 0;
    (void)suite.eventually([&] {
        const Json page = json_of(suite.api("GET", "/v1/audit?fact=approval_decided&limit=1"));
        const Json* list = page.find("records");
        if (list == nullptr || list->as_array() == nullptr || list->as_array()->empty())
            return false;
        const Json& newest = list->as_array()->front();
        if (newest.string_or("approval", "") != approval) return false;
        at = to_unix_micros(*parse_rfc3339(newest.string_or("at", "")));
        return true;
    });
    return at;
}

void show(const char* what, std::vector<double> times) {
    std::sort(times.begin(), times.end());
    std::printf(
        "%-44s median %6.2f ms  p90 %6.2f ms  most %6.2f ms\n",
        what,
        times[times.size() / 2],
        times[times.size() * 9 / 10],
        times.back()
    );
}

}  // namespace

void bench_decisions() {
    Suite suite({"profiles:\n  default: {driver: local}\n"});
    (void)suite.api("POST", "/v1/users", R"({"name":"anna","roles":["approver"]})");
    const std::string token =
        json_of(suite.api("POST", "/v1/tokens", R"({"user":"anna","roles":["approver"]})"))
            .string_or("text", "");
    Json policy = Json::object();
    policy.set(
        "text",
        "version: 1\ndefault: allow\ntimeout: 10m\nrules:\n"
        "  - {id: ask-date, action: ask, match: {executable: date}}\n"
    );
    if (suite.api("PUT", "/v1/policy", policy.dump()).status != 200)
        throw std::runtime_error("no policy");
    const std::string lease = acquire(suite, "default");
    // Each says itself when it began.
    const std::string script =
        "for i in $(seq " + std::to_string(kRounds) + "); do date +%s%N; done";
    const std::string run =
        json_of(suite.api(
                    "POST",
                    "/v1/runs",
                    R"({"lease":")" + lease + R"(","argv":["sh","-c",)" + Json(script).dump() + "]}"
                ))
            .string_or("id", "");
    std::vector<long long> clicked;
    std::vector<long long> decided;
    for (int i = 0; i < kRounds; ++i) {
        const std::string id = pending(suite);
        clicked.push_back(to_unix_micros(Clock::system().now()));
        const auto answer = suite.api_at(
            suite.url(),
            "POST",
            "/v1/approvals/" + id + "/decide",
            R"({"approve":true,"surface":"api"})",
            {{"Authorization", "Bearer " + token}}
        );
        if (answer.status != 200) throw std::runtime_error(answer.body);
        decided.push_back(decided_at(suite, id));
    }
    (void)suite.api("GET", "/v1/runs/" + run + "?wait=ended&timeout=20s");
    const std::string out = suite.berth({"logs", run}).out;
    std::vector<double> from_click;
    std::vector<double> from_decision;
    const char* at = out.c_str();
    for (int i = 0; i < kRounds; ++i) {
        char* end = nullptr;
        const auto began = static_cast<double>(std::strtoll(at, &end, 10)) / 1e3;
        if (end == at) throw std::runtime_error("fewer commands ran: " + out);
        at = end;
        const auto place = static_cast<std::size_t>(i);
        from_click.push_back((began - static_cast<double>(clicked[place])) / 1e3);
        from_decision.push_back((began - static_cast<double>(decided[place])) / 1e3);
    }
    show("decision to the held command's start (limit 20)", from_decision);
    show("click by HTTP to the held command's start", from_click);
}

}  // namespace berth::bench
