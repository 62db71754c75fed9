// SPDX-License-Identifier: Apache-2.0
// What a fake cloud does not do: machines that boot their user data.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "support/cloud/fake_cloud.hpp"

namespace berth::testing {

/// A machine while it runs; its end is the object's.
class Booted {
public:
    virtual ~Booted() = default;
};
using Boot = std::function<std::unique_ptr<Booted>(const std::string& user_data)>;

/// Boots each machine that the cloud has, and ends it when the cloud has it no more.
class CloudHost {
public:
    CloudHost(FakeCloud& cloud, Boot boot);
    ~CloudHost();
    CloudHost(const CloudHost&) = delete;
    CloudHost& operator=(const CloudHost&) = delete;

private:
    void run();
    FakeCloud& cloud_;
    const Boot boot_;
    std::atomic<bool> stopping_{false};
    std::map<std::string, std::unique_ptr<Booted>> machines_;  // the thread's
    std::thread thread_;
};

/// `name='value'` at the top of the boot script; empty where it is not.
std::string assigned(const std::string& user_data, const std::string& name);

/// The quick kind: it enrols at the gateway with its token and a key of its own, as the node agent
/// does, and says on the bus that it is there. Null when it could not enrol.
std::unique_ptr<Booted> boot_presence(const std::string& user_data);

/// The real kind: the script is run by root in a Debian of its own (mounts, processes, IPC, host
/// name; the network is this host's), made once by debootstrap in `cache`.
class RealRoots {
public:
    explicit RealRoots(std::string cache) : cache_(std::move(cache)) {}
    /// Why it cannot be done here; empty where it can. Makes the root at the first call.
    std::string why_not();
    /// The same with an ssh server on a free port of loopback before anything else: a host as
    /// people have them. `user_data` is what it runs at its start.
    struct Host {
        std::unique_ptr<Booted> machine;
        int port = 0;
        std::string host_key;  ///< one line, "ssh-ed25519 …"
        std::string key_file;  ///< root may log in with it
    };
    Host boot_host();
    /// The machine's files are below `cache`/machines/<number> while it runs.
    std::unique_ptr<Booted> boot(const std::string& user_data);

private:
    const std::string cache_;
    std::atomic<int> next_{0};
};
/// The program's own, kept in BERTH_ROOT_CACHE or beside the build's programs.
RealRoots& real_roots();

}  // namespace berth::testing
