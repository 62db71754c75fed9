// SPDX-License-Identifier: Apache-2.0
// Private to libs/bus: the socket of a libnats connection on an epoll of our own, so that writes
// that come close together leave in one system call without libnats' flusher, which waits 1 ms, and
// messages reach their handlers without waking a thread of libnats for each.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/fd.hpp"
#include "core/guarded.hpp"
#include "core/result.hpp"

struct NatsParser;  // libnats' own

namespace berth::bus {

/// One per connection. Lives from before natsConnection_Connect until after natsConnection_Close,
/// before which stop() comes: libnats frees subscriptions as it closes, also one that a read under
/// way has just found.
class NatsLoop {
public:
    /// A subscription whose messages the loop hands out.
    class Listener;

    ~NatsLoop();

    /// Makes the options use this loop. With `tls` nothing reads while somebody writes: a session
    /// of libssl is one thread's at a time, and libnats reads without its lock.
    Result<void> attach_to(natsOptions* options, bool tls);
    /// After natsConnection_Connect has succeeded.
    void start();
    void stop();

    /// Calls `handler` in the loop's thread for each message of `subscription`, a synchronous one
    /// that becomes the listener's. The handler owns the message and must not block: nothing is
    /// read meanwhile. It is null where the server says that nobody heard a publish whose answer
    /// this subscription awaits: libnats keeps to itself which. Each read looks at every listener,
    /// which costs some 50 ns.
    std::shared_ptr<Listener> listen(
        natsSubscription* subscription, std::function<void(natsMsg*)> handler
    );
    /// Ends the subscription. Returns when its handler does not run any more; not from the handler.
    void forget(const std::shared_ptr<Listener>& listener);

    /// Ends a subscription that no thread uses any more and leaves freeing it to the loop's thread.
    /// libnats 3.4 looks a message's subscription up, lets go of the lock under which it found it,
    /// and goes on with it: freed by another thread in that moment, it is used after its end.
    void bury(natsSubscription* subscription);

    /// Writes what libnats has; where the socket does not take all of it, the loop goes on. Any
    /// thread that does not hold libnats' lock.
    void flush();

    /// Runs `publish`, a publish on the connection, and sees that its bytes leave: at once from
    /// this thread while the loop waits, else from the loop, together with their neighbours.
    template <typename Publish>
    natsStatus write(Publish&& publish) {
        Turn turn(*this);
        const natsStatus status = publish();
        turn.finish();
        return status;
    }

private:
    // Marks this thread as one that looks after its own write.
    class Turn {
    public:
        explicit Turn(NatsLoop& loop);
        ~Turn();
        void finish();

    private:
        NatsLoop& loop_;
    };

    static natsStatus on_attach(
        void** user, void* loop, natsConnection* connection, natsSock socket
    );
    static natsStatus on_read(void* user, bool add);
    static natsStatus on_write(void* user, bool add);
    static natsStatus on_detach(void* user);

    void run();
    void wake();
    void read(natsConnection* connection);
    void hand_out();
    void free_buried();
    bool busy() const;
    /// Asks the loop to write as soon as the socket takes bytes. Any thread.
    void arm(bool write);

    bool tls_ = false;
    Fd epoll_;
    Fd wake_;  // stop, a listener that may have missed its first message, something to free
    std::atomic<bool> stopping_{false};
    std::thread thread_;
    using Listeners = std::vector<std::shared_ptr<Listener>>;
    Guarded<std::shared_ptr<const Listeners>> listeners_{std::make_shared<const Listeners>()};
    Guarded<std::vector<natsSubscription*>> buried_;
    std::atomic<natsConnection*> connection_{nullptr};
    std::atomic<int> socket_{-1};
    // Writes that libnats asked for and writes that emptied its buffer: the difference is at most
    // one, for libnats does not ask again before its buffer was emptied.
    std::atomic<std::uint64_t> asked_{0};
    std::atomic<std::uint64_t> emptied_{0};
    std::mutex write_mutex_;  // one write at a time, and with TLS no read meanwhile; taken before
                              // libnats' own lock, never inside it
    std::atomic<std::int64_t> last_{0};                  // publish; steady clock, nanoseconds
    std::atomic<std::int64_t> mean_gap_{1'000'000'000};  // of publishes, nanoseconds; a rough mean
    std::atomic<bool> waiting_{false};  // the loop sleeps: it will not see a write by itself
    std::mutex arm_mutex_;              // innermost
    std::atomic<bool> renewed_{false};  // a new socket, of which nothing was read yet
    NatsParser** parser_ = nullptr;     // where libnats keeps it; the loop's thread only
    std::atomic<bool> armed_{false};    // the loop is woken when the socket takes bytes again
};

}  // namespace berth::bus
