// SPDX-License-Identifier: Apache-2.0
// Starts a real container engine for the tests of a program, with an image to make machines of.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "process/file_lock.hpp"
#include "process/spawn.hpp"

namespace berth::testing {

/// dockerd by hand: its own socket, folders and pid, nothing of a running engine's is touched. One
/// at a time of one build (a lock waits), because the data with the image is kept below the build
/// folder. Ends with the thread that started it. One thread at a time.
class ContainerEngine {
public:
    /// The name of the image: Debian, made by debootstrap once and kept.
    static constexpr const char* kImage = "debian:bookworm-slim";

    /// Check why_not() first: where it is not empty there is no engine.
    ContainerEngine();
    ~ContainerEngine();
    ContainerEngine(const ContainerEngine&) = delete;
    ContainerEngine& operator=(const ContainerEngine&) = delete;

    /// Empty: it runs. Else what is missing and how to have it, for the skip's line.
    const std::string& why_not() const { return why_not_; }
    const std::string& socket() const { return socket_; }
    /// SIGKILL and wait; containers die with it or go on, as the engine has it. start() again.
    void kill9();
    void start();

    /// An API call; null where there is no body. Throws where the engine answers an error.
    Json get(const std::string& path) { return call("GET", path); }
    Json call(const std::string& method, const std::string& path, const Json& body = {});
    /// Containers, volumes and networks that carry a label ("name" or "name=value"), as
    /// "container <name>" and so on.
    std::vector<std::string> labelled(const std::string& label);
    /// Removes everything that carries the label.
    void clear(const std::string& label);

private:
    void launch();
    bool answers();
    void make_image();

    std::string why_not_;
    process::FileLock lock_;
    std::filesystem::path data_;   // kept: the image
    std::filesystem::path short_;  // a socket's path is limited to 107 bytes
    std::string socket_;
    process::Child engine_;
};

}  // namespace berth::testing
