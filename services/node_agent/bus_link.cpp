// SPDX-License-Identifier: Apache-2.0
// The connecting thread behind BusLink.
#include "node_agent/bus_link.hpp"

#include <algorithm>

#include "log/log.hpp"

namespace berth::node {
namespace {
constexpr milliseconds kFirstPause{200};
constexpr milliseconds kLongestPause{10'000};  // a machine should be back soon after the bus is
}  // namespace

BusLink::BusLink(Loop& loop, bus::ConnectSettings settings, Events events)
    : loop_(loop), settings_(std::move(settings)), events_(std::move(events)) {}

BusLink::~BusLink() { stop(); }

void BusLink::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (connection_ != nullptr) {
        events_.on_down();
        reconnects_.reset();
        connection_.reset();
    }
}

void BusLink::start() {
    wanted_ = true;
    wanted_generation_ = generation_ = 1;
    thread_ = std::thread([this] { connect_thread(); });
}

void BusLink::publish(bus::Message message, Done done) {
    if (connection_ == nullptr) {
        loop_.post([done = std::move(done)] { done(unavailable("bus_away", "the bus is away")); });
        return;
    }
    connection_->publish(
        std::move(message),
        [this, done = std::move(done)](Result<bus::PubAck> result) {
            loop_.post([done, result = std::move(result)]() mutable { done(std::move(result)); });
        }
    );
}

void BusLink::connect_thread() {
    milliseconds pause = kFirstPause;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        changed_.wait(lock, [this] { return stopping_ || wanted_ || to_close_ != nullptr; });
        if (stopping_) return;
        const std::uint64_t generation = wanted_generation_;
        auto closing = std::move(to_close_);
        lock.unlock();
        closing.reset();
        bus::ConnectSettings settings = settings_;
        settings.on_closed = [this, generation] {
            loop_.post([this, generation] { lose(generation); });
        };
        auto connection = bus::connect(std::move(settings));
        lock.lock();
        if (connection) {
            wanted_ = false;
            pause = kFirstPause;
            // std::function wants copyable captures.
            auto shared =
                std::make_shared<std::unique_ptr<bus::Connection>>(std::move(*connection));
            loop_.post([this, shared, generation] { take(std::move(*shared), generation); });
            continue;
        }
        log::warning(
            "the bus cannot be reached; trying again",
            {{"error", connection.error()}, {"pause", pause}}
        );
        changed_.wait_for(lock, pause, [this] { return stopping_; });
        pause = std::min(pause * 2, kLongestPause);
    }
}

void BusLink::take(std::unique_ptr<bus::Connection> connection, std::uint64_t generation) {
    if (generation != generation_) return;  // closed again meanwhile; another is on its way
    connection_ = std::move(connection);
    log::info("connected to the bus");
    reconnects_ = connection_->on_reconnect([this, generation] {
        loop_.post([this, generation] {
            if (generation == generation_) events_.on_again();
        });
    });
    events_.on_up(*connection_);
    events_.on_again();
}

void BusLink::lose(std::uint64_t generation) {
    if (generation != generation_) return;
    log::warning("the connection to the bus closed; making a new one");
    if (connection_ != nullptr) events_.on_down();
    reconnects_.reset();
    ++generation_;
    {
        const std::lock_guard lock(mutex_);
        to_close_ = std::move(connection_);
        wanted_ = true;
        wanted_generation_ = generation_;
    }
    changed_.notify_all();
}

}  // namespace berth::node
