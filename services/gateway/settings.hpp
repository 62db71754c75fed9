// SPDX-License-Identifier: Apache-2.0
// What the gateway is told by its settings file, and its named limits.
#pragma once

#include <string>

#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::gateway {

struct GatewaySettings {
    std::string http_listen = "127.0.0.1:0";  ///< the API: "host:port" or "unix:/path"
    std::string http_addr_file;               ///< the bound API address is written here
    std::string
        bootstrap_token_file;  ///< its token becomes that of org default, user admin, role admin
    /// What machines elsewhere install; default: berth-node.tar.gz beside this program.
    std::string node_bundle_file;
    milliseconds ask_timeout{10'000};  ///< for an owner's answer; after it 504
    milliseconds token_cache{
        10'000};  ///< a verified token is trusted this long: revocation takes effect within it
    std::size_t streams_per_user = 100;  ///< open event streams and WebSockets
};

GatewaySettings read_gateway_settings(config::Reader& reader);

/// Threads for what may wait: the database, opening readers and channels, ending them.
inline constexpr std::size_t kWorkerThreads = 4;
/// More waiting tasks than this and a request is answered 503 instead of growing the queue.
inline constexpr std::size_t kMaxQueuedTasks = 4'096;
/// Verified tokens remembered at once.
inline constexpr std::size_t kMaxCachedTokens = 10'000;
/// A long poll answers at the latest after this; proxies commonly give up at 60 s.
inline constexpr milliseconds kMaxWait{55'000};
inline constexpr milliseconds kDefaultWait{30'000};
/// Events wake a waiter; plain subscriptions may lose one, so a waiter also looks by itself this
/// often.
inline constexpr milliseconds kWaitRecheck{5'000};
/// Comments on a quiet event stream keep proxies from cutting it.
inline constexpr milliseconds kSseKeepAlive{15'000};
/// A run known to have ended whose output has been silent this long lost its last frame.
inline constexpr milliseconds kLostEndFrame{3'000};
/// The same where the bus says that more of its output is stored: it comes, if only after the
/// reader was made anew.
inline constexpr milliseconds kStoredOutput{60'000};
/// The same where the command never started: there was never anything to come.
inline constexpr milliseconds kNeverStarted{300};
/// A reader of stored output that is given nothing for this long has nothing to read.
inline constexpr milliseconds kNoOutput{1'500};
/// A service that is silent this long is shown as away, and forgotten after kForgetPresence.
inline constexpr seconds kSilentPresence{20};
inline constexpr seconds kForgetPresence{300};
/// After a client closed its side of a sync, the machine's side may take this long to end.
inline constexpr milliseconds kChannelWindDown{10'000};

}  // namespace berth::gateway
