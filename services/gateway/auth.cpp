// SPDX-License-Identifier: Apache-2.0
// Bearer tokens and roles.
#include "gateway/auth.hpp"

#include "core/text.hpp"
#include "gateway/settings.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"

namespace berth::gateway {
namespace {

constexpr std::string_view kBearerProtocol = "berth.bearer.";
constexpr std::string_view kProtocol = "berth.v1";

Error unauthenticated() {
    return {
        Fault::kUnauthenticated,
        "unauthenticated",
        "a valid token is needed: Authorization: Bearer <token>",
        {}};
}

std::vector<std::string_view> protocols_of(const net::Request& request) {
    std::vector<std::string_view> out;
    for (auto word : split(request.headers.get("Sec-WebSocket-Protocol"), ',')) {
        while (word.starts_with(' ')) word.remove_prefix(1);
        while (word.ends_with(' ')) word.remove_suffix(1);
        out.push_back(word);
    }
    return out;
}

}  // namespace

std::optional<Secret> token_of(const net::Request& request) {
    const auto header = request.headers.get("Authorization");
    if (header.size() > 7 && net::equal_no_case(header.substr(0, 7), "Bearer "))
        return Secret(std::string(header.substr(7)));
    if (!request.is_upgrade()) return std::nullopt;
    for (const auto word : protocols_of(request)) {
        if (word.starts_with(kBearerProtocol))
            return Secret(std::string(word.substr(kBearerProtocol.size())));
    }
    return std::nullopt;
}

std::string accepted_protocol(const net::Request& request) {
    std::string bearer;
    for (const auto word : protocols_of(request)) {
        if (word == kProtocol) return std::string(word);
        if (word.starts_with(kBearerProtocol)) bearer = std::string(word);
    }
    return bearer;
}

Authenticator::Authenticator(
    store::Pool& pool, Workers& workers, metrics::Registry& metrics, milliseconds life
)
    : pool_(pool),
      workers_(workers),
      life_(life),
      hits_(metrics.counter("berth_gateway_token_cache_hits_total", "Tokens that were remembered.")
      ),
      misses_(metrics.counter(
          "berth_gateway_token_cache_misses_total", "Tokens looked up in the database."
      )),
      refused_(
          metrics.counter("berth_gateway_unauthenticated_total", "Requests without a valid token.")
      ) {}

void Authenticator::authenticate(const std::optional<Secret>& token, Done done) {
    // What cannot be a token costs no look-up.
    if (!token || !identity::looks_like_token(token->reveal())) {
        refused_.add();
        return done(unauthenticated());
    }
    const std::string hash = identity::hash_token(*token);
    std::optional<Entry> known;
    {
        const std::lock_guard lock(mutex_);
        const auto it = cache_.find(hash);
        if (it != cache_.end() && it->second.until > std::chrono::steady_clock::now())
            known = it->second;
    }
    if (known) {
        hits_.add();
        const bool live =
            known->principal && (!known->expires_at || *known->expires_at > Clock::system().now());
        if (!live) {
            refused_.add();
            return done(unauthenticated());
        }
        return done(std::move(*known->principal));
    }
    misses_.add();
    if (!workers_.run([this, hash, done] { look_up(hash, done); })) {
        done(unavailable("overloaded", "too much is waiting already; try again in a moment"));
    }
}

void Authenticator::look_up(const std::string& hash, const Done& done) {
    // The time before the look-up: a revocation after it is seen within `life_` of it.
    const auto until = std::chrono::steady_clock::now() + life_;
    auto row = repo::find_token(pool_, hash);
    if (!row) return done(std::move(row).error());
    if (!*row) {
        remember(hash, {std::nullopt, until, std::nullopt});
        refused_.add();
        return done(unauthenticated());
    }
    const auto& token = **row;
    Principal principal{
        token.user,
        token.org,
        effective_roles(token.roles, token.user_roles),
        token.id,
        token.expires_at,
        until};
    remember(hash, {principal, until, token.expires_at});
    done(std::move(principal));
    if (const auto touched = repo::touch_token(pool_, token.id); !touched) {
        log::debug(
            "a token's last use was not noted", {{"token", token.id}, {"error", touched.error()}}
        );
    }
}

void Authenticator::remember(const std::string& hash, Entry entry) {
    const std::lock_guard lock(mutex_);
    if (cache_.size() >= kMaxCachedTokens) {
        const auto now = std::chrono::steady_clock::now();
        std::erase_if(cache_, [&](const auto& item) { return item.second.until <= now; });
        if (cache_.size() >= kMaxCachedTokens) cache_.clear();
    }
    cache_[hash] = std::move(entry);
}

void Authenticator::forget_user(const std::string& org, const std::string& user) {
    const std::lock_guard lock(mutex_);
    // A token that was refused may be the user's, too: disabled then, enabled now.
    std::erase_if(cache_, [&](const auto& item) {
        return !item.second.principal ||
               (item.second.principal->org == org && item.second.principal->user == user);
    });
}

void Authenticator::forget(const std::string& token_id) {
    const std::lock_guard lock(mutex_);
    std::erase_if(cache_, [&](const auto& item) {
        return item.second.principal && item.second.principal->token_id == token_id;
    });
}

}  // namespace berth::gateway
