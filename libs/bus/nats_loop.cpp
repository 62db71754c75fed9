// SPDX-License-Identifier: Apache-2.0
// The epoll adapter for natsOptions_SetEventLoop.
#include "bus/nats_loop.hpp"

#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

// On an event loop libnats keeps a connection's parser over a reconnect (nats.c issue 1007, in
// every release so far): one that was in the middle of a message takes the new connection's first
// bytes for the rest of it, calls them an error, and does so at every reconnect after. Only libnats
// knows where that parser is, so its function that makes one is found here first and asked.
extern "C" {
void natsParser_Destroy(NatsParser* parser);
natsStatus natsParser_Create(NatsParser** place);
}

namespace {
thread_local NatsParser** parser_made_at = nullptr;
}

natsStatus natsParser_Create(NatsParser** place) {
    using Create = natsStatus (*)(NatsParser**);
    static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "natsParser_Create"));
    parser_made_at = place;
    return create(place);
}

namespace berth::bus {
namespace {

// Publishes that follow each other closer than this on average are gathered. A lone command and its
// reply, or frames of bulk output, are further apart, and leave at once.
constexpr std::int64_t kBusyGapNanos = 60'000;
// How long the loop lets them gather. Compared with libnats' flusher, which always waits 1 ms.
constexpr std::chrono::microseconds kGather{200};

// The loop whose write this thread looks after, and which of its writes that is (0: none yet).
thread_local NatsLoop* turn_of = nullptr;
thread_local std::uint64_t turn_write = 0;

std::int64_t now_nanos() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

Result<void> NatsLoop::attach_to(natsOptions* options, bool tls) {
    tls_ = tls;
    epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_ || !wake_)
        return unavailable("bus_loop", std::string("epoll: ") + std::strerror(errno));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = wake_.get();
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
        return unavailable("bus_loop", std::string("epoll: ") + std::strerror(errno));
    const natsStatus status =
        natsOptions_SetEventLoop(options, this, on_attach, on_read, on_write, on_detach);
    if (status != NATS_OK) return unavailable("bus_loop", natsStatus_GetText(status));
    return {};
}

NatsLoop::~NatsLoop() {
    stop();
    listeners_.lock()->reset();
    free_buried();
}

void NatsLoop::start() {
    thread_ = std::thread([this] { run(); });
}

void NatsLoop::stop() {
    if (!thread_.joinable()) return;
    stopping_.store(true);
    wake();
    thread_.join();
    free_buried();
}

void NatsLoop::wake() {
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
}

class NatsLoop::Listener {
public:
    Listener(natsSubscription* subscription, std::function<void(natsMsg*)> handler)
        : subscription_(subscription), handler_(std::move(handler)) {}
    ~Listener() { natsSubscription_Destroy(subscription_); }  // null once it has ended
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    void hand_out() {
        const std::lock_guard lock(mutex_);
        std::uint64_t queued = 0;
        while (handler_ && natsSubscription_QueuedMsgs(subscription_, &queued) == NATS_OK &&
               queued > 0) {
            natsMsg* message = nullptr;
            // It is there: this does not wait. A slow consumer is told so once, before its
            // messages.
            const natsStatus status = natsSubscription_NextMsg(&message, subscription_, 1);
            if (status == NATS_OK || status == NATS_NO_RESPONDERS)
                handler_(message);
            else if (status != NATS_SLOW_CONSUMER)
                return;
        }
    }
    /// Returns the subscription, of which nothing is handed out any more; null the second time.
    natsSubscription* end() {
        const std::lock_guard lock(mutex_);
        handler_ = nullptr;
        return std::exchange(subscription_, nullptr);
    }

private:
    std::mutex mutex_;                       // held while the handler runs
    natsSubscription* subscription_;         // by mutex_
    std::function<void(natsMsg*)> handler_;  // by mutex_; empty: ended
};

std::shared_ptr<NatsLoop::Listener> NatsLoop::listen(
    natsSubscription* subscription, std::function<void(natsMsg*)> handler
) {
    auto listener = std::make_shared<Listener>(subscription, std::move(handler));
    {
        auto lock = listeners_.lock();
        auto next = std::make_shared<Listeners>(**lock);
        next->push_back(listener);
        *lock = std::move(next);
    }
    wake();
    return listener;
}

void NatsLoop::forget(const std::shared_ptr<Listener>& listener) {
    {
        auto lock = listeners_.lock();
        auto next = std::make_shared<Listeners>(**lock);
        std::erase(*next, listener);
        *lock = std::move(next);
    }
    bury(listener->end());
}

void NatsLoop::bury(natsSubscription* subscription) {
    if (subscription == nullptr) return;
    natsSubscription_Unsubscribe(subscription);
    buried_.lock()->push_back(subscription);
    wake();
}

void NatsLoop::free_buried() {
    std::vector<natsSubscription*> buried;
    buried.swap(*buried_.lock());
    for (natsSubscription* subscription : buried) natsSubscription_Destroy(subscription);
}

void NatsLoop::hand_out() {
    const std::shared_ptr<const Listeners> listeners = *listeners_.lock();
    for (const auto& listener : *listeners) listener->hand_out();
}

// libnats calls these with its connection locked: they only note and tell the kernel.
natsStatus NatsLoop::on_attach(
    void** user, void* loop, natsConnection* connection, natsSock socket
) {
    auto& self = *static_cast<NatsLoop*>(loop);
    *user = loop;
    const std::lock_guard lock(self.arm_mutex_);
    self.connection_.store(connection);
    self.socket_.store(socket);
    // What was asked for on an earlier socket is forgotten by libnats too.
    self.emptied_.store(self.asked_.load());
    self.armed_.store(false);
    self.renewed_.store(true);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    if (::epoll_ctl(self.epoll_.get(), EPOLL_CTL_ADD, socket, &event) != 0) return NATS_ERR;
    // Whoever found no socket to write to took the loop for woken, which it was not: nobody would
    // ask for the next write.
    self.wake();
    return NATS_OK;
}

natsStatus NatsLoop::on_read(void* user, bool add) {
    auto& self = *static_cast<NatsLoop*>(user);
    if (add) {
        self.arm(false);
    } else {
        // The socket is given up; a new one comes by on_attach.
        const std::lock_guard lock(self.arm_mutex_);
        (void)::epoll_ctl(self.epoll_.get(), EPOLL_CTL_DEL, self.socket_.exchange(-1), nullptr);
    }
    return NATS_OK;
}

natsStatus NatsLoop::on_write(void* user, bool add) {
    auto& self = *static_cast<NatsLoop*>(user);
    if (!add) {
        self.emptied_.store(self.asked_.load());
        return NATS_OK;
    }
    const std::uint64_t write = self.asked_.fetch_add(1) + 1;
    // One of libnats' own (a ping, a subscription): not written from here, under its lock.
    if (turn_of == &self) {
        turn_write = write;
    } else if (self.waiting_.load()) {
        self.arm(true);
    }
    return NATS_OK;
}

natsStatus NatsLoop::on_detach(void* user) {
    auto& self = *static_cast<NatsLoop*>(user);
    (void)on_read(user, false);
    self.connection_.store(nullptr);
    return NATS_OK;
}

void NatsLoop::arm(bool write) {
    // What is noted and what the kernel was told must not differ: the loop would sleep for ever.
    const std::lock_guard lock(arm_mutex_);
    const int socket = socket_.load();
    if (socket < 0) return;
    epoll_event event{};
    event.events = EPOLLIN | (write ? EPOLLOUT : 0U);
    event.data.fd = socket;
    armed_.store(write);
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, socket, &event);
}

void NatsLoop::flush() {
    const std::lock_guard lock(write_mutex_);
    // Never with an empty buffer: libnats takes a write of nothing for a closed connection.
    natsConnection* const connection = connection_.load();
    if (connection == nullptr || emptied_.load() == asked_.load()) return;
    natsConnection_ProcessWriteEvent(connection);
    if (emptied_.load() != asked_.load()) arm(true);  // the socket is full
}

void NatsLoop::read(natsConnection* connection) {
    std::unique_lock lock(write_mutex_, std::defer_lock);
    if (tls_) lock.lock();
    if (renewed_.exchange(false) && parser_ != nullptr) {
        natsParser_Destroy(*parser_);
        *parser_ = nullptr;  // libnats makes another
    }
    natsConnection_ProcessReadEvent(connection);
    if (parser_made_at != nullptr) parser_ = std::exchange(parser_made_at, nullptr);
}

bool NatsLoop::busy() const { return mean_gap_.load(std::memory_order_relaxed) < kBusyGapNanos; }

void NatsLoop::run() {
    for (;;) {
        // Who asks for a write after this sees that the loop waits; who asked before is seen here.
        waiting_.store(true);
        if (emptied_.load() != asked_.load() && !armed_.load()) {
            waiting_.store(false);
            if (busy()) std::this_thread::sleep_for(kGather);
            flush();
            continue;
        }
        epoll_event event{};
        const int count = ::epoll_wait(epoll_.get(), &event, 1, -1);
        waiting_.store(false);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 || stopping_.load()) return;
        if (event.data.fd == wake_.get()) {
            std::uint64_t times = 0;
            (void)!::read(wake_.get(), &times, sizeof times);
            hand_out();
            free_buried();
            continue;
        }
        natsConnection* const connection = connection_.load();
        if (count == 0 || connection == nullptr || event.data.fd != socket_.load()) continue;
        if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            read(connection);
            hand_out();
        }
        if ((event.events & EPOLLOUT) != 0) {
            arm(false);
        }
    }
}

NatsLoop::Turn::Turn(NatsLoop& loop) : loop_(loop) {
    turn_of = &loop;
    turn_write = 0;
}
NatsLoop::Turn::~Turn() { turn_of = nullptr; }

void NatsLoop::Turn::finish() {
    turn_of = nullptr;
    const std::int64_t now = now_nanos();
    const std::int64_t gap = now - loop_.last_.exchange(now, std::memory_order_relaxed);
    const std::int64_t mean = loop_.mean_gap_.load(std::memory_order_relaxed);
    // One slow moment ends the gathering at once; eight quick ones begin it.
    loop_.mean_gap_.store(
        (mean * 7 + std::min(gap, 8 * kBusyGapNanos)) / 8, std::memory_order_relaxed
    );
    // Nothing was asked for: the bytes ride on a write that somebody else looks after.
    if (turn_write == 0 || !loop_.waiting_.load()) return;
    if (!loop_.busy()) {
        loop_.flush();
    } else if (loop_.waiting_.exchange(false)) {
        loop_.arm(true);
    }
}

}  // namespace berth::bus
