// SPDX-License-Identifier: Apache-2.0
// Inside of a run's supervisor: what supervisor.cpp (life and output) and supervisor_words.cpp (its
// node agent) share.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/time.hpp"
#include "node_agent/guarding.hpp"
#include "node_agent/init_link.hpp"
#include "node_agent/run_files.hpp"
#include "node_agent/run_socket.hpp"
#include "node_agent/spool.hpp"
#include "node_agent/supervisor.hpp"
#include "process/file_lock.hpp"
#include "process/spawn.hpp"

namespace berth::node {

/// What the node agent's socket did not take is tried again after this.
inline constexpr milliseconds kSocketRetry{20};

/// A descriptor's worth of output.
struct Source {
    Fd fd;
    OutStream stream = OutStream::kStdout;
    bool drained = false;  ///< read until nothing was left
};

class Supervisor final : private GuardHost {
public:
    using Time = std::chrono::steady_clock::time_point;

    Supervisor(std::filesystem::path folder, Fd listener)
        : folder_(std::move(folder)), listener_(std::move(listener)) {}
    SupervisorEnd run();

private:
    Result<void> begin();
    Result<void> start_sandbox();
    void loop();
    int poll_timeout() const;
    void on_timers();
    void read_control();
    void on_init_message(InitReport& report);
    void start_guarding(const InitReport& report);
    void stop_tree(std::string_view words);
    void tell_stopped(std::size_t count);
    void tell_init(char kind, int value);
    bool send_word(const RunWord& word) override;
    bool has_listener() const override { return static_cast<bool>(client_); }
    void on_child(pid_t pid, int wait_status) override;
    void tell_user(const std::string& line) override { notices_ += line; }
    void on_command_ended(const std::string& why) override { ended_by_ = why; }
    void read_output(Source& source);
    bool store(OutStream stream, std::string_view bytes);
    void store_capped(OutStream stream, std::string_view bytes);
    void note_early_error(OutStream stream, std::string_view bytes);
    void accept_client();
    void read_client();
    void on_word(const RunWord& word);
    void write_stdin();
    void tell_client();
    void drop_client();
    void signal_command(int number);
    void kill_all();
    void try_finish();
    void finish(ExitRecord record);

    std::filesystem::path folder_;
    Fd listener_;
    Fd client_;
    process::FileLock lock_;
    Launch launch_;
    std::optional<SpoolWriter> spool_;
    std::unique_ptr<Guarding> guard_;  // where the org has a policy
    process::Child sandbox_;
    std::optional<process::ExitStatus> sandbox_end_;
    Fd control_;
    Fd init_;  // pidfd
    process::ProcessId init_id_;
    Source out_[2];
    Fd stdin_;  // write end of the pipe; with a terminal, its master (a copy)
    std::string stdin_buffer_;
    bool stdin_end_ = false;
    std::uint64_t stdin_taken_ = 0;  // not yet told
    bool started_ = false;
    std::optional<process::ExitStatus> command_end_;
    std::string no_folder_;  // why the command's folder could not be entered
    bool canceled_ = false;
    bool timed_out_ = false;
    std::string memory_notice_;  // the kernel killed for want of memory
    bool memory_notice_due_ = false;
    std::string ended_by_;  // the rule that ended the command
    std::string notices_;   // lines of Berth's own that are to be stored
    bool capped_ = false;
    bool cap_notice_due_ = false;
    bool ended_ = false;
    bool done_ = false;
    bool told_end_ = false;
    bool audited_ = false;
    bool halting_ = false;
    std::string halt_;  // whose processes are being stopped elsewhere
    std::uint64_t told_written_ = 0;
    std::uint64_t command_bytes_ = 0;
    std::optional<Time> deadline_;
    std::optional<Time> kill_at_;
    std::optional<Time> cut_at_;   // a relayed run that was told to end
    std::optional<Time> wake_at_;  // to try again what the disk or the socket did not take
    std::string pending_;          // read, but the disk did not take it yet
    OutStream pending_stream_ = OutStream::kStdout;
    std::string early_error_;
    char buffer_[kRecordBytes];
    char word_buffer_[kWordBytes];
};

}  // namespace berth::node
