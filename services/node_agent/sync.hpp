// SPDX-License-Identifier: Apache-2.0
// File sync: an rsync server inside the sandbox, its pipes carried over a byte channel.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/byte_channel.hpp"
#include "node_agent/node_context.hpp"
#include "process/spawn.hpp"

namespace berth::node {

/// The server's arguments. rsync's client sends such a list to its remote shell; Berth never takes
/// it from a client and builds it here. It must be what the CLI's client would have asked for, or
/// the two disagree on the wire: see sync.cpp for the client's command this belongs to.
std::vector<std::string> rsync_server_arguments();
/// The same for a client that fetches files: it may read the workspace and write nothing.
std::vector<std::string> rsync_sender_arguments();

/// One sync, on channel berth.io.<machine>.<channel>. Lives on the loop's thread, ends with the
/// node agent.
class Sync : public std::enable_shared_from_this<Sync> {
public:
    Sync(
        NodeContext context,
        std::string channel,
        std::function<void(const std::string& channel)> finished
    );
    ~Sync();
    /// In the folder `cwd` of inside. Errors: "no_rsync", and those of spawn and the channel.
    Result<void> start(
        bus::Connection& connection,
        const std::vector<std::string>& arguments,
        const std::string& cwd = kInsideWorkspace
    );
    /// The connection is going away: the sync fails, its client asks for another.
    void abandon();

private:
    void on_output();
    void on_writable_pipe();
    void on_complaint();
    void on_exit();
    void take(std::string bytes);
    void close_input();
    void try_finish();
    void end();

    NodeContext context_;
    std::string name_;
    std::function<void(const std::string&)> finished_;
    process::Child child_;
    Fd in_;
    Fd out_;
    Fd err_;
    std::unique_ptr<bus::ByteChannel> channel_;
    std::string to_program_;
    std::string to_client_;
    std::string complaint_;
    bool client_done_ = false;
    bool writing_ = false;
    bool reading_ = true;
    bool told_ = false;
    std::optional<process::ExitStatus> status_;
    Loop::Timer limit_ = 0;
};

}  // namespace berth::node
