// SPDX-License-Identifier: Apache-2.0
// Where the shims of a run ask: the supervisor's end of shim_protocol.hpp.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"

namespace berth::node {

/// The path that a shim would execute; nullopt for anything that no shim says.
std::optional<std::string> parse_shim_question(std::string_view datagram);

class ShimEvents {
public:
    virtual ~ShimEvents() = default;
    /// Answer now or later by answer(). `pid` is in this process's own numbers.
    virtual void on_question(pid_t pid, const std::string& path) = 0;
    /// It went before it was answered.
    virtual void on_hung_up(pid_t pid) = 0;
};

/// Single-threaded; never waits. At most kMostShims wait at once; more are closed unheard, which
/// refuses them.
class ShimDoor {
public:
    /// Hears processes of `user` alone.
    ShimDoor(ShimEvents& events, uid_t user) : events_(events), user_(user) {}
    /// Makes <folder>/sock. Error "system".
    Result<void> open(const std::filesystem::path& folder);
    /// Instead of open(): the connections come as descriptors over `channel`. Error "system".
    Result<void> adopt(Fd channel);
    /// Readable when there is something to do.
    int descriptor() const { return epoll_.get(); }
    void on_ready();
    /// A kind of shim_protocol.hpp; all but kShimWait close the connection.
    void answer(pid_t pid, char kind, std::string_view text = {});
    bool has(pid_t pid) const { return shims_.contains(pid); }

private:
    static constexpr std::size_t kMostShims = 512;
    Result<void> watch_source();
    void accept_all();
    Fd next_connection();
    void read(pid_t pid);

    ShimEvents& events_;
    uid_t user_;
    Fd epoll_;
    Fd source_;  ///< a listener, or a channel that connections come over
    bool listens_ = true;
    struct Shim {
        Fd fd;
        bool asked = false;
    };
    std::map<pid_t, Shim> shims_;
};

}  // namespace berth::node
