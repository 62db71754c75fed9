// SPDX-License-Identifier: Apache-2.0
// Sends what is pending, by one replica at a time: the leader takes events in, posts them and
// writes what came of it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bus/connection.hpp"
#include "http/multi_client.hpp"
#include "metrics/metrics.hpp"
#include "store/leader.hpp"
#include "store/outbox.hpp"
#include "webhook/intake.hpp"
#include "webhook/lane.hpp"
#include "webhook/post.hpp"
#include "webhook/resolver.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook {

/// One thread decides everything; requests, names and the intake report to it. A delivery is at
/// least once: what was sent and not yet written when the process dies is sent again, with the same
/// webhook-id.
class Sender {
public:
    struct Parts {
        bus::Connection& bus;
        store::Pool& pool;
        store::PoolSettings database;
        store::Relay& relay;
        metrics::Registry& metrics;
        const WebhookSettings& settings;
        const Secret& key;  ///< opens subscribers' secrets
        const Clock& clock;
        Resolve resolve;
    };
    explicit Sender(Parts parts);
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    void start();
    void stop();
    /// Subscribers or deliveries have changed, or the clock. Any thread.
    void wake();

private:
    struct Subscriber {
        SubscriberRow row;
        Result<Target> target = invalid("unset", "");
        Destination destination;
        Lane lane{Health{}};
        std::int64_t loaded = 0;  ///< the highest delivery that was read
        bool more = true;         ///< there may be some above it
        bool lost = false;        ///< something new may be below it: read from the beginning
        std::int64_t tested = 0;  ///< the newest test that was looked at
        std::string disable;      ///< why it is to be disabled; nothing is sent meanwhile
    };
    using Subscribers = std::map<std::string, Subscriber>;

    /// What another thread tells.
    struct Told {
        std::uint64_t term = 0;
        std::string subscriber;
        std::int64_t restarted = 0;  ///< as its row had it when this began
        std::int64_t delivery = 0;
        bool resolved = false;  ///< else the request ended
        Result<Resolver::Addresses> addresses = Resolver::Addresses{};
        Result<http::Response> response = http::Response{};
        SteadyTime began{};
    };

    void run();
    /// One leadership; returns when it is over.
    void lead(store::LeaderLock& lock);
    void turn();
    void tell(Told told);
    void hear(Told told);
    void post(Subscriber& subscriber, std::int64_t delivery, const Resolver::Addresses& addresses);
    void answered(Subscriber& subscriber, std::int64_t delivery, Answer answer, std::string error);

    void refresh();
    void put(SubscriberRow row);
    void load(Subscriber& subscriber);
    void load_test(Subscriber& subscriber);
    void pump(Subscriber& subscriber);
    void begin(Subscriber& subscriber, Lane::Item& item);
    void flush();
    void disable(Subscriber& subscriber);
    void trim();
    milliseconds patience() const;

    const Parts parts_;
    const AddressGuard guard_;
    metrics::Counter delivered_;
    metrics::Counter failed_;
    metrics::Counter given_up_;
    metrics::Counter disabled_;
    metrics::Gauge leading_;
    metrics::Gauge unwritten_gauge_;
    metrics::Histogram seconds_;

    std::mutex writing_;  ///< of rows that intake and results both count

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Told> told_;       // by mutex_
    std::set<std::string> fresh_;  // by mutex_: subscribers the intake stored something for
    bool woken_ = false;           // by mutex_
    bool stopping_ = false;        // by mutex_

    // The thread's own.
    std::uint64_t term_ = 0;
    Subscribers subscribers_;
    std::vector<ResultRow> unwritten_;
    std::set<std::int64_t> ended_;  ///< of unwritten_: not to be read again
    struct NewHealth {
        std::int64_t restarted = 0;
        Health health;
    };
    std::map<std::string, NewHealth> health_;  ///< to be written with unwritten_
    SteadyTime refresh_at_{};
    SteadyTime flush_at_{};
    SteadyTime trim_at_{};

    Resolver resolver_;
    Intake intake_;
    std::unique_ptr<http::MultiClient> client_;  // made by the first request; ends before the above
    std::thread thread_;
};

}  // namespace berth::webhook
