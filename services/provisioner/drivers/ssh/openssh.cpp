// SPDX-License-Identifier: Apache-2.0
// OpenSSH's client as a child: the one program every host's ssh server understands.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "process/spawn.hpp"
#include "provisioner/drivers/ssh/ssh_driver.hpp"

namespace berth::prov {
namespace {

namespace fs = std::filesystem;

// What a host says is a few lines; an installation's package manager may say more.
constexpr std::size_t kMostOutput = 1U << 20U;
constexpr int kSshFailed = 255;
constexpr std::size_t kMostWords = 200;  // of ssh's own

/// A folder with the one host key that is believed, gone at the end.
class KnownHost {
public:
    static Result<KnownHost> write(const SshHost& host) {
        KnownHost known;
        std::string folder = (fs::temp_directory_path() / "berth-ssh-XXXXXX").string();
        if (::mkdtemp(folder.data()) == nullptr)
            return system_error("cannot make a folder for a host key", errno);
        known.folder_ = folder;
        const std::string name =
            host.port == 22 ? host.address : "[" + host.address + "]:" + std::to_string(host.port);
        BERTH_TRY(write_file_atomic(known.file(), name + " " + host.host_key + "\n", 0600));
        return known;
    }
    KnownHost(KnownHost&& other) noexcept : folder_(std::exchange(other.folder_, {})) {}
    KnownHost& operator=(KnownHost&&) = delete;
    KnownHost(const KnownHost&) = delete;
    KnownHost& operator=(const KnownHost&) = delete;
    ~KnownHost() {
        std::error_code ignored;
        if (!folder_.empty()) fs::remove_all(folder_, ignored);
    }
    fs::path file() const { return folder_ / "known_hosts"; }

private:
    KnownHost() = default;
    fs::path folder_;
};

std::vector<std::string> command(
    const SshSettings& settings, const SshHost& host, const fs::path& known
) {
    const auto connect_seconds =
        std::chrono::duration_cast<seconds>(settings.connect_patience).count();
    std::vector<std::string> argv{"ssh", "-F", "/dev/null", "-T", "-p", std::to_string(host.port)};
    for (const std::string& option :
         {std::string("BatchMode=yes"),
          std::string("StrictHostKeyChecking=yes"),
          "UserKnownHostsFile=" + known.string(),
          std::string("GlobalKnownHostsFile=/dev/null"),
          std::string("IdentitiesOnly=yes"),
          "IdentityFile=" + settings.key_file,
          std::string("IdentityAgent=none"),
          std::string("ForwardAgent=no"),
          std::string("ControlMaster=no"),
          "ConnectTimeout=" + std::to_string(connect_seconds),
          std::string("ServerAliveInterval=5"),
          std::string("ServerAliveCountMax=3"),
          std::string("LogLevel=ERROR")}) {
        argv.insert(argv.end(), {"-o", option});
    }
    argv.insert(argv.end(), {"-l", host.user, "--", host.address});
    argv.push_back(host.user == "root" ? "sh -s" : "sudo -n sh -s");
    return argv;
}

/// Feeds stdin and gathers both outputs until they end or the time is over.
struct Pump {
    Fd in;
    Fd out;
    Fd err;
    std::string_view input;
    SshAnswer answer{};

    void run(SteadyTime until) {
        while (out || err) {
            pollfd fds[3] = {
                {out ? out.get() : -1, POLLIN, 0},
                {err ? err.get() : -1, POLLIN, 0},
                {in ? in.get() : -1, POLLOUT, 0}};
            const auto left =
                std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
            if (left.count() <= 0 || ::poll(fds, 3, static_cast<int>(left.count())) == 0) return;
            if (fds[0].revents != 0) take(out, answer.out);
            if (fds[1].revents != 0) take(err, answer.err);
            if (fds[2].revents != 0) feed();
        }
    }
    static void take(Fd& from, std::string& into) {
        char buffer[8192];
        const ssize_t got = ::read(from.get(), buffer, sizeof buffer);
        if (got > 0 && into.size() < kMostOutput)
            into.append(buffer, static_cast<std::size_t>(got));
        else if (got == 0 || (got < 0 && errno != EINTR))
            from.reset();
    }
    void feed() {
        // A pipe that polls writable takes this much without blocking.
        const std::size_t piece = std::min<std::size_t>(input.size(), 4096);
        const ssize_t put = ::write(in.get(), input.data(), piece);
        if (put > 0) input.remove_prefix(static_cast<std::size_t>(put));
        if (input.empty() || (put < 0 && errno != EINTR)) in.reset();
    }
};

/// Without the line ends that ssh writes for a terminal.
std::string last_line(std::string_view text) {
    std::string last;
    for (const std::string_view line : split(text, '\n')) {
        if (auto words = trimmed(line); !words.empty()) last = std::move(words);
    }
    return last.empty() ? "the connection was closed" : last;
}

Result<SshAnswer> judge(const SshHost& host, SshAnswer answer) {
    if (answer.code != kSshFailed) return answer;
    const std::string name = "host " + host.name;
    if (answer.err.find("Host key verification failed") != std::string::npos ||
        answer.err.find("REMOTE HOST IDENTIFICATION HAS CHANGED") != std::string::npos)
        return forbidden(
            "host_key_mismatch",
            name +
                " shows another host key than the settings': it was installed anew, or somebody "
                "is in between; compare on the host and set provisioner.ssh.hosts." +
                host.name + ".host_key"
        );
    if (answer.err.find("Permission denied") != std::string::npos)
        return forbidden(
            "ssh_denied",
            name + " does not let '" + host.user +
                "' in with the key of provisioner.ssh.key_file; add it to its authorized_keys"
        );
    return unavailable(
        "unreachable",
        name + " does not answer at " + host.address + ":" + std::to_string(host.port) + ": " +
            clipped(last_line(answer.err), kMostWords)
    );
}

}  // namespace

SshRun openssh(const SshSettings& settings) {
    return [settings](
               const SshHost& host, const Secret& script, milliseconds patience
           ) -> Result<SshAnswer> {
        const SteadyTime until = std::chrono::steady_clock::now() + patience;
        BERTH_ASSIGN(const KnownHost known, KnownHost::write(host));
        BERTH_ASSIGN(process::Pipe in, process::make_pipe());
        BERTH_ASSIGN(process::Pipe out, process::make_pipe());
        BERTH_ASSIGN(process::Pipe err, process::make_pipe());
        process::SpawnSpec spec;
        spec.argv = command(settings, host, known.file());
        spec.stdin_fd = in.read.get();
        spec.stdout_fd = out.write.get();
        spec.stderr_fd = err.write.get();
        spec.death_signal = SIGKILL;
        auto child = process::spawn(spec);
        if (!child) return unavailable("no_ssh", "ssh cannot be run: " + child.error().message);
        in.read.reset();
        out.write.reset();
        err.write.reset();
        Pump pump{std::move(in.write), std::move(out.read), std::move(err.read), script.reveal()};
        pump.run(until);
        const auto left =
            std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        const auto end = child->wait(std::max(left, milliseconds{100}));
        if (!end) {
            child->kill();
            return deadline("ssh_slow", host.name + " did not end in time");
        }
        pump.answer.code = end->code;
        return judge(host, std::move(pump.answer));
    };
}

}  // namespace berth::prov
