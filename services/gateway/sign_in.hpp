// SPDX-License-Identifier: Apache-2.0
// Sign-ins at other providers, from the first request to a token of ours.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "gateway/device_flow.hpp"
#include "gateway/repo_users.hpp"
#include "gateway/workers.hpp"
#include "metrics/metrics.hpp"

namespace berth::gateway {

/// A sign-in that has begun: what the one signing in is told.
struct SignInBegun {
    Secret login;  ///< whoever has it gets the token
    DeviceStart device;
    WallTime expires_at{};
};

/// A token and its text.
struct SignedInToken {
    TokenRow row;
    Secret text;
};

/// How a poll went: a token, or how many seconds to wait before the next.
using SignInPolled = std::variant<SignedInToken, int>;

/// Thread-safe. State is in the database, so that any replica may go on with a sign-in.
class SignIn {
public:
    /// `key` is the gateway's (repo::load_key). Error "unreadable" of a client secret's file.
    static Result<std::unique_ptr<SignIn>> create(
        const SignInSettings& settings,
        store::Pool& pool,
        const Secret& key,
        metrics::Registry& metrics
    );

    /// "github", "oidc": what is configured.
    std::vector<std::string> providers() const;
    bool has(const std::string& provider) const { return providers_.contains(provider); }

    /// These two wait for a provider: they are for a task of run(). Errors of begin: those of the
    /// provider, "too_many_logins". Errors of poll: "login_expired", "access_denied",
    /// "not_admitted", "not_linked", "user_name_taken", "user_disabled", "provider_error", and the
    /// database's.
    Result<SignInBegun> begin(const std::string& provider);
    Result<SignInPolled> poll(const std::string& provider, const Secret& login);

    /// Threads of their own. False where too much is waiting already.
    [[nodiscard]] bool run(std::function<void()> task) { return workers_.run(std::move(task)); }
    void stop() { workers_.stop(); }

private:
    struct Entry {
        std::unique_ptr<SignInProvider> provider;
        Admission admission;
        metrics::Counter done;
        metrics::Counter failed;
    };
    SignIn(const SignInSettings& settings, store::Pool& pool, const Secret& key);
    Result<SignInPolled> ask(Entry& entry, const LoginRow& row, const Secret& login);
    Result<SignInPolled> finish(
        Entry& entry, const LoginRow& row, const Secret& login, const ProviderIdentity& identity
    );
    Result<SignInPolled> give(const LoginRow& row, const Secret& login, const repo::SignedIn& who);
    Secret seal_key(const Secret& login) const;

    const SignInSettings settings_;
    store::Pool& pool_;
    const Secret key_;
    std::map<std::string, Entry> providers_;
    Workers workers_;
};

/// A user's name for somebody's login elsewhere: lower case, what a name cannot hold as '-'.
std::string user_name_of(const std::string& login, const std::string& subject);

}  // namespace berth::gateway
