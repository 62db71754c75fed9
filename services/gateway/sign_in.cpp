// SPDX-License-Identifier: Apache-2.0
// The device code never leaves the gateway: the client has a handle, the database the code sealed
// by that handle and the gateway's key together.
#include "gateway/sign_in.hpp"

#include <algorithm>

#include "core/id.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "identity/seal.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"

namespace berth::gateway {
namespace {

constexpr std::string_view kHandlePrefix = "login_";
constexpr std::size_t kHandleSize = 49;  // the prefix and 32 bytes in base64url
// RFC 8628, 3.5: slow_down adds 5 s for good.
constexpr int kSlowDown = 5;
constexpr int kLongestInterval = 60;
constexpr std::size_t kMaxName = 64;  // of a subject token

Secret make_handle() {
    const Secret random = identity::make_token();  // "berth_" and the same many letters
    return Secret(std::string(kHandlePrefix) + random.reveal().substr(kHandlePrefix.size()));
}

bool looks_like_handle(const std::string& text) {
    return text.size() == kHandleSize && text.starts_with(kHandlePrefix);
}

Error over() { return not_found("login_expired", "this sign-in is over; begin again"); }

}  // namespace

std::string user_name_of(const std::string& login, const std::string& subject) {
    std::string out;
    for (const char c : login.substr(0, kMaxName)) {
        const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        const bool plain = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                           lower == '_' || lower == '-';
        out += plain ? lower : '-';
    }
    while (out.starts_with('-')) out.erase(0, 1);
    while (out.ends_with('-')) out.pop_back();
    if (!out.empty()) return out;
    return "user-" + hex(identity::sha256(subject)).substr(0, 12);
}

SignIn::SignIn(const SignInSettings& settings, store::Pool& pool, const Secret& key)
    : settings_(settings), pool_(pool), key_(key), workers_(kSignInThreads, kMaxQueuedSignIns) {}

Result<std::unique_ptr<SignIn>> SignIn::create(
    const SignInSettings& settings, store::Pool& pool, const Secret& key, metrics::Registry& metrics
) {
    std::unique_ptr<SignIn> out(new SignIn(settings, pool, key));
    const auto add = [&](const char* name,
                         std::unique_ptr<SignInProvider> provider,
                         const Admission& admission) {
        const auto counter = [&](const char* result) {
            return metrics.counter(
                "berth_gateway_sign_ins_total",
                "Sign-ins that ended, by provider and result.",
                {{"provider", name}, {"result", result}}
            );
        };
        out->providers_.emplace(
            name, Entry{std::move(provider), admission, counter("done"), counter("failed")}
        );
    };
    if (settings.github) add("github", make_github(*settings.github), settings.github->admission);
    if (settings.oidc) {
        BERTH_ASSIGN(auto oidc, make_oidc(*settings.oidc));
        add("oidc", std::move(oidc), settings.oidc->admission);
    }
    return out;
}

std::vector<std::string> SignIn::providers() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : providers_) out.push_back(name);
    return out;
}

Secret SignIn::seal_key(const Secret& login) const {
    return Secret(identity::hmac_sha256(key_.reveal(), "sign-in " + login.reveal()));
}

Result<SignInBegun> SignIn::begin(const std::string& provider) {
    const Secret login = make_handle();
    const std::string nonce = hex(identity::sha256(identity::make_token().reveal())).substr(0, 32);
    BERTH_ASSIGN(DeviceStart device, providers_.at(provider).provider->start(nonce));
    LoginRow row;
    row.id = identity::hash_token(login);
    row.provider = provider;
    const Secret inside(
        Json::object().set("device_code", device.device_code.reveal()).set("nonce", nonce).dump()
    );
    row.sealed = identity::seal(seal_key(login), inside);
    row.interval_s = static_cast<int>(device.interval.count());
    row.expires_at = Clock::system().now() + device.expires_in;
    BERTH_TRY(repo::add_login(pool_, row, kMaxLogins));
    return SignInBegun{login, std::move(device), row.expires_at};
}

Result<SignInPolled> SignIn::poll(const std::string& provider, const Secret& login) {
    if (!looks_like_handle(login.reveal())) return over();
    BERTH_ASSIGN(const auto row, repo::find_login(pool_, identity::hash_token(login)));
    if (!row || row->provider != provider) return over();
    if (row->token_id) return give(*row, login, {});  // the answer before was lost
    BERTH_ASSIGN(const bool turn, repo::take_turn(pool_, row->id));
    if (!turn) return SignInPolled(row->interval_s);
    Entry& entry = providers_.at(provider);
    auto out = ask(entry, *row, login);
    if (!out) {
        entry.failed.add();
        log::info("a sign-in failed", {{"provider", provider}, {"error", out.error()}});
        (void)repo::drop_login(pool_, row->id);  // fails: it expires
    } else if (std::holds_alternative<SignedInToken>(*out)) {
        entry.done.add();
        log::info(
            "signed in", {{"provider", provider}, {"user", std::get<SignedInToken>(*out).row.user}}
        );
    }
    return out;
}

Result<SignInPolled> SignIn::ask(Entry& entry, const LoginRow& row, const Secret& login) {
    BERTH_ASSIGN(const Secret inside, identity::unseal(seal_key(login), row.sealed));
    BERTH_ASSIGN(const Json json, Json::parse(inside.reveal()));
    auto polled = entry.provider->poll(
        Secret(json.string_or("device_code", "")), json.string_or("nonce", "")
    );
    using State = DevicePoll::State;
    int interval = row.interval_s;
    if (!polled) {
        // RFC 8628, 3.5: a provider that cannot be reached is asked half as often.
        if (polled.error().code != "provider_unreachable") return std::move(polled).error();
        interval = std::min(2 * interval, kLongestInterval);
        BERTH_TRY(repo::slow_login(pool_, row.id, interval));
        return SignInPolled(interval);
    }
    switch (polled->state) {
        case State::kPending: return SignInPolled(interval);
        case State::kSlowDown:
            interval = std::max(interval + kSlowDown, static_cast<int>(polled->interval.count()));
            interval = std::min(interval, kLongestInterval);
            BERTH_TRY(repo::slow_login(pool_, row.id, interval));
            return SignInPolled(interval);
        case State::kDenied:
            return forbidden("access_denied", "the sign-in was denied at the provider");
        case State::kExpired: return over();
        case State::kDone: break;
    }
    return finish(entry, row, login, polled->identity);
}

Result<SignInPolled> SignIn::finish(
    Entry& entry, const LoginRow& row, const Secret& login, const ProviderIdentity& identity
) {
    if (identity.refused)
        return forbidden(
            "not_admitted",
            "you are " + identity.login + " at " + row.provider + ", who does not belong to " +
                entry.admission.required
        );
    return give(
        row,
        login,
        {{row.provider, identity.subject, identity.login},
         user_name_of(identity.login, identity.subject),
         entry.admission.roles,
         identity.admitted}
    );
}

// The text follows from the handle, so that an answer that was lost can be given again.
Result<SignInPolled> SignIn::give(
    const LoginRow& row, const Secret& login, const repo::SignedIn& who
) {
    SignedInToken out;
    out.text = identity::derive_token(key_, "sign-in token " + login.reveal());
    TokenRow token;
    token.org = settings_.org;
    token.created_at = Clock::system().now();
    token.expires_at = token.created_at + settings_.token_life;
    token.id = make_id("tk", token.created_at, Random::system());
    BERTH_ASSIGN(
        out.row, repo::finish_login(pool_, row.id, who, token, identity::hash_token(out.text))
    );
    return SignInPolled(std::move(out));
}

}  // namespace berth::gateway
