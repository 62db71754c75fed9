// SPDX-License-Identifier: Apache-2.0
// For tests: a machine's folder, real runs under real supervisors, and a reader that plays the node
// agent.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "node_agent/run_files.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/sandbox.hpp"
#include "node_agent/spool.hpp"
#include "process/process_id.hpp"
#include "process/spawn.hpp"

namespace berth::node::testing {

namespace fs = std::filesystem;
inline constexpr milliseconds kPatience{15'000};

/// Sandboxes refuse root, as Berth does: as root, this process becomes an unprivileged copy of
/// itself with its own copies of the binaries, since the build folder may be closed to others. Call
/// first in main().
inline void become_unprivileged(char** argv) {
    constexpr unsigned kUid = 64'999;  // nobody's
    if (::getuid() != 0) return;
    std::string folder = "/tmp/berth-node-test-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) std::abort();
    const fs::path bin = std::getenv("BERTH_BIN_DIR") != nullptr
                             ? fs::path(std::getenv("BERTH_BIN_DIR"))
                             : fs::read_symlink("/proc/self/exe").parent_path() / "../bin";
    for (const char* name :
         {"berth-init", "berth-supervisor", "berth-node", "berth-shim", "guard_probe"}) {
        std::error_code error;
        fs::copy_file(bin / name, fs::path(folder) / name, error);
    }
    fs::copy_file("/proc/self/exe", fs::path(folder) / "test");
    if (::chown(folder.c_str(), kUid, kUid) != 0) std::abort();
    const pid_t child = ::fork();
    if (child != 0) {
        int status = 0;
        ::waitpid(child, &status, 0);
        // A test that crashed leaves its machines' holders.
        for (const auto& entry : fs::directory_iterator(folder)) {
            if (entry.path().filename().string().starts_with("berth-machine-"))
                (void)Sandbox::destroy(entry.path());
        }
        fs::remove_all(folder);
        ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    ::setenv("BERTH_BIN_DIR", folder.c_str(), 1);
    ::setenv("TMPDIR", folder.c_str(), 1);
    const std::string id = std::to_string(kUid);
    std::vector<std::string> words{
        "setpriv",
        "--reuid=" + id,
        "--regid=" + id,
        "--clear-groups",
        "--pdeathsig=KILL",
        folder + "/test"};
    for (char** word = argv + 1; *word != nullptr; ++word) words.emplace_back(*word);
    std::vector<char*> pointers;
    for (auto& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    ::execvp("setpriv", pointers.data());
    std::abort();
}

inline fs::path binary(const char* name) {
    const char* folder = std::getenv("BERTH_BIN_DIR");
    return (folder != nullptr ? fs::path(folder)
                              : fs::read_symlink("/proc/self/exe").parent_path() / "../bin") /
           name;
}

/// Waits for a fact of another process, for which nothing can be awaited.
inline bool eventually(const std::function<bool()>& fact, milliseconds patience = kPatience) {
    for (const auto until = std::chrono::steady_clock::now() + patience;
         std::chrono::steady_clock::now() < until;) {
        if (fact()) return true;
        std::this_thread::sleep_for(milliseconds{2});
    }
    return fact();
}

/// Plays the node agent towards one supervisor.
class Reader {
public:
    explicit Reader(const fs::path& folder, std::uint64_t from = 0)
        : folder_(folder), spool_(folder / "spool") {
        auto fd = connect_to(folder);
        if (fd) fd_ = std::move(*fd);
        spool_.seek(from);
    }
    bool connected() const { return static_cast<bool>(fd_); }
    void drop() { fd_.reset(); }

    /// Handles words until `enough`, or nothing comes for `patience`.
    bool until(const std::function<bool()>& enough, milliseconds patience = kPatience) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!enough()) {
            const auto left =
                std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
            pollfd wait{fd_.get(), POLLIN, 0};
            if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0)
                return enough();
            bool closed = false;
            const auto word = receive_word(fd_.get(), buffer_, sizeof buffer_, closed);
            if (closed) return enough();
            if (word) take(*word);
        }
        return true;
    }
    bool until_hello() {
        return until([this] { return hello; });
    }
    bool until_ended(milliseconds patience = kPatience) {
        return until([this] { return ended && spool_.offset() == written; }, patience);
    }

    /// Waits for a supervisor that is busy.
    void send(const RunWord& word) {
        SendResult result = SendResult::kFull;
        (void)eventually([&] { return (result = send_word(fd_.get(), word)) != SendResult::kFull; }
        );
        ASSERT_EQ(result, SendResult::kSent);
    }
    void signal(int number) {
        send({Word::kSignal, static_cast<std::uint64_t>(number), 0, 0, 0, {}});
    }
    ExitRecord exit() const {
        const auto text = read_file(folder_ / "exit");
        return text ? ExitRecord::decode(*text).value() : ExitRecord{};
    }
    std::string& out() { return streams[OutStream::kStdout]; }
    std::string& err() { return streams[OutStream::kStderr]; }

    bool confirm = true;  ///< confirm what was read
    bool keep = true;     ///< keep the bytes
    bool reading = true;
    bool hello = false;
    bool ended = false;
    std::uint64_t confirmed = 0;
    std::uint64_t written = 0;
    std::uint64_t stdin_room = 0;
    std::uint64_t read_bytes = 0;
    std::map<OutStream, std::string> streams;

    void read_spool() {
        while (reading) {
            auto record = spool_.next(written);
            ASSERT_TRUE(record) << record.error().describe();
            if (!*record) break;
            read_bytes += (*record)->payload.size();
            if (keep) streams[(*record)->stream].append((*record)->payload);
        }
        if (confirm && reading) send({Word::kConfirm, spool_.offset(), 0, 0, 0, {}});
    }

private:
    void take(const RunWord& word) {
        if (word.word == Word::kHello) {
            hello = true;
            confirmed = word.a;
            ended = word.c != 0;
            stdin_room = word.d;
        }
        if (word.word == Word::kStdinRoom) stdin_room += word.a;
        if (word.word == Word::kEnded) ended = true;
        if (word.word != Word::kStdinRoom) written = word.b;
        read_spool();
    }
    fs::path folder_;
    SpoolReader spool_;
    Fd fd_;
    char buffer_[kWordBytes];
};

/// A machine's folder with its sandbox; everything it started is gone after the test.
class Machine {
public:
    explicit Machine(bool network = false) {
        std::string folder = (fs::temp_directory_path() / "berth-machine-XXXXXX").string();
        if (::mkdtemp(folder.data()) == nullptr) std::abort();
        dir = folder;
        for (const char* name : {"node", "workspace", "home", "tmp", "runs"})
            fs::create_directories(dir / name);
        sandbox = Sandbox::prepare({dir, binary("berth-init"), "calm-otter", network});
    }
    ~Machine() {
        for (auto& child : supervisors) child.kill();
        (void)Sandbox::destroy(dir);
        for (int status = 0; ::waitpid(-1, &status, WNOHANG) > 0;) {
        }
        std::error_code error;
        fs::remove_all(dir, error);
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    /// Whether this kernel lets us; sets the reason otherwise.
    bool usable() {
        if (!sandbox) return false;
        auto holder = sandbox->ensure_holder();
        if (!holder) why = holder.error().describe();
        return static_cast<bool>(holder);
    }

    fs::path folder(const std::string& run) const { return dir / "runs" / run; }

    Launch launch_of(std::vector<std::string> argv) {
        Launch launch;
        launch.holder = sandbox->ensure_holder()->to_text();
        launch.sandbox = sandbox->run_command();
        launch.argv = std::move(argv);
        launch.env = {"PATH=/usr/bin:/bin", "HOME=/home/berth"};
        launch.cwd = kInsideWorkspace;
        return launch;
    }

    process::Child& start(const std::string& run, const Launch& launch) {
        fs::create_directories(folder(run));
        std::ofstream(folder(run) / "launch", std::ios::binary) << launch.encode();
        Fd listener = listen_in(folder(run)).value();
        process::SpawnSpec spec;
        spec.argv = {binary("berth-supervisor").string(), "--dir", folder(run).string()};
        spec.fds = {{listener.get(), kSupervisorListenFd}};
        spec.stdin_fd = process::kNull;
        spec.new_session = true;
        supervisors.push_back(process::spawn(spec).value());
        return supervisors.back();
    }
    process::Child& start_argv(const std::string& run, std::vector<std::string> argv) {
        return start(run, launch_of(std::move(argv)));
    }
    process::Child& shell(const std::string& run, const std::string& script) {
        return start_argv(run, {"sh", "-c", script});
    }

    /// Runs a script to its end.
    Reader& finish(const std::string& run, const std::string& script) {
        shell(run, script);
        readers.push_back(std::make_unique<Reader>(folder(run)));
        EXPECT_TRUE(readers.back()->until_ended()) << "the run did not end: " << script;
        return *readers.back();
    }

    fs::path dir;
    Result<Sandbox> sandbox = internal("unset", "");
    std::string why;
    std::vector<process::Child> supervisors;
    std::vector<std::unique_ptr<Reader>> readers;
};

}  // namespace berth::node::testing

/// Skips where the kernel forbids what the sandbox is made of: loudly, since nothing is proven
/// then.
#define BERTH_NEEDS_SANDBOX(machine) \
    if (!(machine).usable())         \
    GTEST_SKIP() << "NOTHING PROVEN: no user namespaces here: " << (machine).why
