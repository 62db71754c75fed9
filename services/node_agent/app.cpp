// SPDX-License-Identifier: Apache-2.0
// Arguments, settings, lock, loop, signals.
#include "node_agent/app.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "log/log.hpp"
#include "node_agent/container.hpp"
#include "node_agent/enrol.hpp"
#include "node_agent/node.hpp"
#include "node_agent/sandbox.hpp"
#include "process/file_lock.hpp"

namespace berth::node {
namespace {

struct Arguments {
    std::filesystem::path dir;
    std::filesystem::path programs;
    bool destroy = false;
    bool allow_root = false;
    bool good = false;
};

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--dir" && i + 1 < argc)
            arguments.dir = argv[++i];
        else if (word == "--programs" && i + 1 < argc)
            arguments.programs = argv[++i];
        else if (word == "--destroy")
            arguments.destroy = true;
        else if (word == "--allow-root")
            arguments.allow_root = true;
        else
            return arguments;
    }
    arguments.good = !arguments.dir.empty();
    std::error_code error;
    arguments.dir = std::filesystem::absolute(arguments.dir, error);
    return arguments;
}

int fail(const Error& error) {
    log::warning("the node agent cannot go on", {{"error", error}});
    std::fprintf(stderr, "berth-node: %s\n", error.describe().c_str());
    return error.code == "locked" ? 3 : 1;
}

bus::ConnectSettings bus_settings(const Settings& settings) {
    bus::ConnectSettings bus;
    bus.url = settings.nats_url;
    bus.ca_file = settings.nats_ca_file.string();
    bus.server_name = settings.nats_name;
    bus.name = "berth-node/" + settings.machine;
    bus.inbox_prefix = "_INBOX.node." + settings.machine;
    if (!settings.creds_file.empty())
        bus.credentials = bus::credentials_from_file(settings.creds_file.string());
    return bus;
}

/// SIGTERM and SIGINT as a descriptor. Blocked before any thread begins, so that no thread takes
/// them.
Fd open_signals() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Result<std::unique_ptr<Place>> make_place(const Settings& settings) {
    const std::filesystem::path init = settings.programs / "berth-init";
    if (settings.container) {
        BERTH_ASSIGN(Container container, Container::prepare({settings.dir, init}));
        return std::unique_ptr<Place>(std::make_unique<Container>(std::move(container)));
    }
    BERTH_ASSIGN(
        Sandbox sandbox, Sandbox::prepare({settings.dir, init, settings.slug, settings.network})
    );
    return std::unique_ptr<Place>(std::make_unique<Sandbox>(std::move(sandbox)));
}

/// Until this machine has a credential, or is asked to stop (false).
bool enrol_first(const Settings& settings, int signals) {
    constexpr int kFirstPauseMs = 500;
    constexpr int kLongestPauseMs = 30'000;  // a machine that waits for its gateway costs nothing
    for (int pause = kFirstPauseMs; must_enrol(settings, Clock::system().now());
         pause = std::min(pause * 2, kLongestPauseMs)) {
        const auto done = enrol(settings);
        if (done) break;
        log::warning("not enrolled; trying again", {{"error", done.error()}, {"pause_ms", pause}});
        pollfd stop{signals, POLLIN, 0};
        if (::poll(&stop, 1, pause) == 1) return false;
    }
    return true;
}

Result<void> serve(const Settings& settings) {
    if (!settings.nats_ca_file.empty())
        BERTH_TRY(bus::believe_only(settings.nats_ca_file.string()));
    const Fd signals = open_signals();
    BERTH_ASSIGN(
        const process::FileLock lock, process::FileLock::acquire(settings.dir / "node" / "lock")
    );
    BERTH_TRY(write_file_atomic(
        settings.dir / "node" / "pid", process::ProcessId::self().to_text() + "\n", 0600
    ));
    if (!enrol_first(settings, signals.get())) return {};
    BERTH_ASSIGN(const std::unique_ptr<Place> place, make_place(settings));
    BERTH_ASSIGN(const std::unique_ptr<Loop> loop, Loop::create());
    Node node(*loop, settings, *place, bus_settings(settings));
    bool stopping = false;
    loop->watch(signals.get(), EPOLLIN, [&](std::uint32_t) {
        signalfd_siginfo info;
        if (::read(signals.get(), &info, sizeof info) <= 0) return;
        if (stopping) ::_exit(130);  // the second one is meant
        stopping = true;
        loop->stop();
    });
    node.start();
    log::info(
        "the node agent serves", {{"machine", settings.machine}, {"network", settings.network}}
    );
    loop->run();
    log::info("the node agent stops; its runs go on");
    return {};
}

}  // namespace

int node_main(int argc, char** argv) {
    const Arguments arguments = parse(argc, argv);
    if (!arguments.good) {
        std::fprintf(
            stderr,
            "usage: berth-node [--destroy] [--allow-root] [--programs <folder>] --dir "
            "<machine folder>\n"
        );
        return 2;
    }
    ::umask(0077);
    // The credential is in this process's memory, and commands run under the same uid.
    ::prctl(PR_SET_DUMPABLE, 0);
    if (arguments.destroy) {
        const auto destroyed = destroy_machine(arguments.dir);
        return destroyed ? 0 : fail(destroyed.error());
    }
    if (::geteuid() == 0 && !arguments.allow_root) {
        return fail(forbidden(
            "is_root", "the node agent does not run as root; start it as the machine's own user"
        ));
    }
    auto settings = load_settings(arguments.dir);
    if (!settings) return fail(settings.error());
    if (!arguments.programs.empty()) settings->programs = arguments.programs;
    log::set_service("node", settings->machine);
    const auto served = serve(*settings);
    return served ? 0 : fail(served.error());
}

}  // namespace berth::node
