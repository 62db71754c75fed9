// SPDX-License-Identifier: Apache-2.0
// A second process of a service beside the one `berth up` supervises: same settings, same database,
// same bus, nobody who starts it again.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "support/suite/suite.hpp"

namespace berth::testing {

class Replica {
public:
    /// Throws when it does not become ready.
    Replica(Suite& suite, const std::string& part) : suite_(suite), part_(part) {
        static int number = 1;
        const std::string name = part + "-" + std::to_string(++number);
        const std::filesystem::path from = suite.data() / "etc" / (part + ".yaml");
        const std::filesystem::path settings = suite.data() / "etc" / (name + ".yaml");
        address_ = suite.data() / "run" / (name + ".addr");
        api_address_ = suite.data() / "run" / (name + ".http");
        std::stringstream lines(read_file(from).value());
        std::ofstream out(settings);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("addr_file:")) line = "addr_file: " + address_.string();
            if (line.starts_with("http_listen:"))
                line = "http_listen: \"127.0.0.1:0\"\nhttp_addr_file: " + api_address_.string();
            out << line << "\n";
        }
        out.close();
        start(from, settings, name);
    }
    ~Replica() { kill9(); }
    Replica(const Replica&) = delete;
    Replica& operator=(const Replica&) = delete;

    pid_t pid() const { return child_.pid(); }
    bool runs() { return !child_.poll(); }
    void kill9() { child_.kill(); }
    /// Of a gateway's API.
    std::string url() const { return trimmed(read_file(api_address_).value_or("")); }

private:
    static std::string trimmed(std::string text) {
        while (!text.empty() && text.back() == '\n') text.pop_back();
        return text;
    }

    void start(
        const std::filesystem::path& from,
        const std::filesystem::path& settings,
        const std::string& name
    ) {
        struct stat owner {};
        ::stat(from.c_str(), &owner);
        ::chmod(settings.c_str(), 0600);
        const std::filesystem::path log = suite_.folder() / (name + ".log");
        const Fd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
        process::SpawnSpec spec;
        spec.argv = {bin("berth-" + part_), "--config", settings.string()};
        spec.stdin_fd = process::kNull;
        spec.stdout_fd = output.get();
        spec.stderr_fd = output.get();
        spec.cwd = "/";
        spec.death_signal = SIGTERM;  // of the thread that makes it: a test's own
        if (::geteuid() == 0) {       // as root the deployment lives as another user
            if (::chown(settings.c_str(), owner.st_uid, owner.st_gid) != 0)
                throw std::runtime_error("chown failed");
            spec.user = process::SpawnSpec::User{owner.st_uid, owner.st_gid};
        }
        auto child = process::spawn(spec);
        if (!child) throw std::runtime_error(child.error().describe());
        child_ = std::move(*child);
        const bool ready = suite_.eventually(
            [&] {
                const auto address = read_file(address_);
                return address &&
                       suite_.api_at("http://" + trimmed(*address), "GET", "/readyz").status == 200;
            },
            seconds{30}
        );
        if (!ready)
            throw std::runtime_error(name + " is not ready: " + read_file(log).value_or(""));
    }

    Suite& suite_;
    std::string part_;
    process::Child child_;
    std::filesystem::path address_;
    std::filesystem::path api_address_;
};

}  // namespace berth::testing
