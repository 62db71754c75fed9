// SPDX-License-Identifier: Apache-2.0
// What the gateway is told by its settings file, and its named limits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/time.hpp"

namespace berth::gateway {

/// Where a provider's account admits somebody who has none here yet.
struct Admission {
    std::string required;  ///< GitHub: an organisation; OIDC: a value of the groups claim. Empty:
                           ///< nobody is admitted but those an admin has linked
    std::vector<std::string> roles{"operator"};  ///< of users made by a first sign-in
};

struct GithubSettings {
    std::string client_id;
    std::string url = "https://github.com";          ///< of GitHub Enterprise: https://<host>
    std::string api_url = "https://api.github.com";  ///< there https://<host>/api/v3
    Admission admission;
};

struct OidcSettings {
    std::string issuer;
    std::string client_id;
    std::string client_secret_file;  ///< empty: a public client
    std::string scope = "openid profile email";
    std::string name_claim = "preferred_username";
    std::string groups_claim = "groups";
    Admission admission;
    // Empty: as the issuer's discovery document says.
    std::string device_authorization_endpoint;
    std::string token_endpoint;
    std::string jwks_uri;
};

/// Signing in at somebody else's. Both may be set.
struct SignInSettings {
    std::string org = "default";  ///< of those who sign in
    /// Of the tokens they get, and the longest of those they make for themselves with them: a
    /// membership that was lost is noticed at the latest after it.
    milliseconds token_life = std::chrono::hours{24};
    std::optional<GithubSettings> github;
    std::optional<OidcSettings> oidc;
};

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
    SignInSettings sign_in;
};

GatewaySettings read_gateway_settings(config::Reader& reader);

/// Asked without a token, by one address: at once, and a minute. A machine enrols once and asks
/// again at most each half second while its gateway is slow; a fleet behind one address boots at
/// once.
inline constexpr double kEnrolBurst = 120;
inline constexpr double kEnrolPerMinute = 120;
/// Each is some 20 MiB; curl repeats a 429 by itself.
inline constexpr double kBundleBurst = 40;
inline constexpr double kBundlePerMinute = 40;
/// Each asks the provider for a code and is kept until it is used or over.
inline constexpr double kSignInBurst = 30;
inline constexpr double kSignInPerMinute = 30;
/// Threads and queue for asking sign-in providers, which may be slow: apart from the others, so
/// that a provider that hangs holds up nothing but sign-ins.
inline constexpr std::size_t kSignInThreads = 2;
inline constexpr std::size_t kMaxQueuedSignIns = 64;
/// Sign-ins under way at once. Anybody may begin one: more are 429 instead of a growing table.
inline constexpr int kMaxLogins = 1'000;
/// A code that links a chat identity: long enough to change windows, short enough to be of no use
/// to who finds it later.
inline constexpr milliseconds kChatCodeLife{600'000};
/// Wrong codes of one person on a platform within an hour.
inline constexpr int kMaxWrongCodes = 5;
/// For one exchange with a provider.
inline constexpr milliseconds kProviderTimeout{10'000};
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
/// Likewise what holds a stream of a run or to a lease open: whether it ended, and whether it is
/// still its caller's to have.
inline constexpr milliseconds kRequery{15'000};
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
