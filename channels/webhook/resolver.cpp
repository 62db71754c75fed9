// SPDX-License-Identifier: Apache-2.0
// A failure is not remembered: the subscriber backs off by itself. Nor does it end what is
// believed.
#include "webhook/resolver.hpp"

#include "webhook/settings.hpp"

namespace berth::webhook {

Resolver::Resolver(Resolve ask) : ask_(std::move(ask)) {}

Resolver::~Resolver() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
}

std::optional<Resolver::Addresses> Resolver::known(const std::string& host) {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    const auto it = believed_.find(host);
    if (it == believed_.end() || it->second.at + kStale <= now) return std::nullopt;
    if (it->second.at + kResolved <= now) want(host);
    return it->second.addresses;
}

void Resolver::ask(std::string host, Done done) {
    const std::lock_guard lock(mutex_);
    want(host);
    asked_[host].push_back(std::move(done));
}

void Resolver::want(const std::string& host) {
    if (!asked_.try_emplace(host).second) return;
    waiting_.push_back(host);
    // One that is busy may stay so for seconds: it is none for this name.
    if (idle_ < waiting_.size() && threads_.size() < kResolverThreads)
        threads_.emplace_back([this] { run(); });
    changed_.notify_one();
}

void Resolver::remember(const std::string& host, const Addresses& addresses) {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(mutex_);
    if (believed_.size() >= kMaxResolved) {
        std::erase_if(believed_, [&](const auto& each) {
            return each.second.at + kResolved <= now;
        });
        if (believed_.size() >= kMaxResolved) believed_.clear();
    }
    believed_[host] = {addresses, now};
}

void Resolver::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        --idle_;
        if (stopping_) return;
        const std::string host = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        const auto addresses = ask_(host);
        if (addresses) remember(host, *addresses);
        lock.lock();
        const auto told = asked_.extract(host);
        lock.unlock();
        for (const Done& done : told.mapped()) done(addresses);
        lock.lock();
    }
}

}  // namespace berth::webhook
