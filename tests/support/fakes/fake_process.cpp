// SPDX-License-Identifier: Apache-2.0
// Starts a fake and speaks HTTP to it.
#include "support/fakes/fake_process.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace berth::testing {
namespace {

constexpr milliseconds kStartPatience{15'000};
constexpr std::size_t kMaxAnswer = 64U << 20U;

std::string first_line(int descriptor) {
    std::string line;
    pollfd ready{descriptor, POLLIN, 0};
    while (line.find('\n') == std::string::npos) {
        char buffer[256];
        if (::poll(&ready, 1, static_cast<int>(kStartPatience.count())) != 1)
            throw std::runtime_error("the fake did not start in time");
        const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
        if (got <= 0) throw std::runtime_error("the fake ended: is python3-aiohttp installed?");
        line.append(buffer, static_cast<std::size_t>(got));
    }
    return line.substr(0, line.find('\n'));
}

}  // namespace

FakeProcess::FakeProcess(const std::string& name, const std::vector<std::string>& arguments) {
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    if (source == nullptr) throw std::runtime_error("BERTH_SOURCE_DIR is not set");
    auto in = process::make_pipe().value();
    auto out = process::make_pipe().value();
    process::SpawnSpec spec;
    // Debian's own Python, which has the distribution's libraries. -B: the source tree stays as it
    // is.
    spec.argv = {
        "/usr/bin/python3", "-B", std::string(source) + "/tests/fakes/" + name + "/fake.py"};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.stdin_fd = in.read.get();
    spec.stdout_fd = out.write.get();
    spec.death_signal = SIGKILL;
    child_ = process::spawn(spec).value();
    stdin_ = std::move(in.write);
    out.write.reset();
    const Json started = Json::parse(first_line(out.read.get())).value();
    url_ = "http://127.0.0.1:" + std::to_string(started.int_or("port", 0));
}

http::Response FakeProcess::send(
    const std::string& method, const std::string& path, std::string body
) {
    http::Request request;
    request.method = method;
    request.url = url_ + "/_fake/" + path;
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

bool eventually(const std::function<bool()>& what, milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!what()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(milliseconds{5});
    }
    return true;
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
