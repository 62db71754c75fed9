// SPDX-License-Identifier: Apache-2.0
// Addresses of names, asked for by a few threads and believed for a while: the system's resolver
// waits, and the sender must not.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "core/time.hpp"
#include "webhook/target.hpp"

namespace berth::webhook {

/// Thread-safe. Gives what the name resolves to, unchecked.
class Resolver {
public:
    using Addresses = std::vector<std::string>;
    using Done = std::function<void(Result<Addresses>)>;

    explicit Resolver(Resolve ask);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    /// What is believed; asked for anew where that is some time ago, while it still serves.
    std::optional<Addresses> known(const std::string& host);
    /// Asks, once for all who want to know of a name; `done` is called on a thread of this object,
    /// or not at all when it is destroyed.
    void ask(std::string host, Done done);

private:
    struct Believed {
        Addresses addresses;
        SteadyTime at;
    };
    void want(const std::string& host);  // under mutex_
    void run();
    void remember(const std::string& host, const Addresses& addresses);

    const Resolve ask_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> waiting_;                 // by mutex_
    std::map<std::string, std::vector<Done>> asked_;  // by mutex_: waiting or being asked for
    std::map<std::string, Believed> believed_;        // by mutex_
    std::size_t idle_ = 0;                            // by mutex_: threads that wait for a name
    bool stopping_ = false;                           // by mutex_
    std::vector<std::thread> threads_;                // by mutex_, started when first needed
};

}  // namespace berth::webhook
