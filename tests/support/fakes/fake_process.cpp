// SPDX-License-Identifier: Apache-2.0
// Speaks HTTP to a fake.
#include "support/fakes/fake_process.hpp"

#include <stdexcept>

namespace berth::testing {
namespace {

constexpr std::size_t kMaxAnswer = 64U << 20U;

}  // namespace

http::Response FakeProcess::send(
    const std::string& method, const std::string& path, std::string body
) {
    http::Request request;
    request.method = method;
    request.url = url() + "/_fake/" + path;
    request.body = std::move(body);
    request.max_response = kMaxAnswer;
    auto response = client_.send(request);
    if (!response)
        throw std::runtime_error("the fake does not answer: " + response.error().describe());
    return std::move(*response);
}

Json FakeProcess::look(const std::string& path) {
    const http::Response response = send("GET", path, {});
    if (response.status != 200)
        throw std::runtime_error("the fake refused " + path + ": " + response.body);
    return Json::parse(response.body, {kMaxAnswer, 64}).value();
}

Json FakeProcess::tell(const std::string& path, const std::string& body) {
    const http::Response response = send("POST", path, body);
    if (response.status != 200)
        throw std::runtime_error("the fake refused " + path + ": " + response.body);
    return Json::parse(response.body, {kMaxAnswer, 64}).value();
}

std::string FakeProcess::complaints() {
    const Json state = look("state");
    std::string out;
    for (const char* what : {"violations", "flaws"}) {
        const Json* list = state.find(what);
        if (list == nullptr || list->as_array() == nullptr) {
            // Slack's counts what it refused among its flaws.
            if (std::string_view(what) == "flaws") out += "the fake does not tell its flaws";
        } else if (!list->as_array()->empty()) {
            out += std::string(what) + ": " + list->dump() + "\n";
        }
    }
    return out;
}

int FakeProcess::try_tell(const std::string& path, const std::string& body) {
    return send("POST", path, body).status;
}

std::optional<Json> eventually_one(
    const std::function<std::vector<Json>()>& look,
    const std::function<bool(const Json&)>& wanted,
    milliseconds patience
) {
    std::optional<Json> found;
    eventually(
        [&] {
            for (Json& one : look()) {
                if (!wanted(one)) continue;
                found = std::move(one);
                return true;
            }
            return false;
        },
        patience
    );
    return found;
}

}  // namespace berth::testing
