// SPDX-License-Identifier: Apache-2.0
// Starts a fake and reads its port from its first line.
#include "support/fakes/fake_server.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "core/time.hpp"

namespace berth::testing {
namespace {

constexpr milliseconds kStartPatience{120'000};

std::string first_line(int descriptor, const std::string& script) {
    std::string line;
    pollfd ready{descriptor, POLLIN, 0};
    while (line.find('\n') == std::string::npos) {
        char buffer[256];
        if (::poll(&ready, 1, static_cast<int>(kStartPatience.count())) != 1)
            throw std::runtime_error(script + " did not start in time");
        const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
        if (got <= 0)
            throw std::runtime_error(script + " ended: are the Python packages it uses installed?");
        line.append(buffer, static_cast<std::size_t>(got));
    }
    return line.substr(0, line.find('\n'));
}

}  // namespace

FakeServer::FakeServer(const std::string& script, const std::vector<std::string>& arguments) {
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    if (source == nullptr) throw std::runtime_error("BERTH_SOURCE_DIR is not set");
    const std::string folder = std::string(source) + "/tests/fakes/";
    fake_.emplace(folder + script, arguments);
    url_ = api_url_ = "http://127.0.0.1:" + std::to_string(fake_->port);
    if (const char* proxy = std::getenv("BERTH_FAKE_PROXY")) {
        proxy_.emplace(folder + proxy, std::vector<std::string>{url_});
        api_url_ = "http://127.0.0.1:" + std::to_string(proxy_->port);
    }
}

FakeServer::Part::Part(const std::string& script, const std::vector<std::string>& arguments) {
    auto in = process::make_pipe().value();
    auto out = process::make_pipe().value();
    process::SpawnSpec spec;
    // Debian's own Python, which has the distribution's libraries. -B: the source tree stays as it
    // is.
    spec.argv = {"/usr/bin/python3", "-B", script};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.stdin_fd = in.read.get();
    spec.stdout_fd = out.write.get();
    spec.death_signal = SIGKILL;
    child = process::spawn(spec).value();
    standard_in = std::move(in.write);
    out.write.reset();
    const std::string line = first_line(out.read.get(), script);
    port = std::stoi(line.substr(line.find_first_of("0123456789")));
}

}  // namespace berth::testing
