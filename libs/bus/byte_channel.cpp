// SPDX-License-Identifier: Apache-2.0
// The byte channel's threads: one of its own that feeds frames, time and the user's calls to the
// core.
#include "bus/byte_channel.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "bus/channel_core.hpp"

namespace berth::bus {
namespace {

// Frames held between the subscription and the channel's thread: more than two windows is a flood,
// and what is dropped the peer sends again.
constexpr std::size_t kMaxQueuedFrames = 256;

class ByteChannelImpl final : public ByteChannel {
public:
    ByteChannelImpl(Connection& connection, ChannelSettings settings, Events events)
        : connection_(connection),
          settings_(std::move(settings)),
          events_(std::move(events)),
          core_(
              {kChannelFrameBytes,
               kChannelWindowBytes,
               settings_.resend_after,
               settings_.peer_timeout},
              std::chrono::steady_clock::now()
          ) {}

    ~ByteChannelImpl() override {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            if (!core_.closed()) core_.abort("the other side went away");
            flush();
        }
        changed_.notify_all();
        reconnect_.reset();
        incoming_.reset();
        if (thread_.joinable()) thread_.join();
    }

    Result<void> start() {
        BERTH_ASSIGN(
            incoming_,
            connection_.subscribe(
                settings_.receive_subject, [this](Message message) { hear(message); }
            )
        );
        reconnect_ = connection_.on_reconnect([this] {
            {
                const std::lock_guard lock(mutex_);
                reconnected_ = true;
            }
            changed_.notify_one();
        });
        thread_ = std::thread([this] { run(); });
        return {};
    }

    std::size_t send(std::string_view bytes) override {
        const std::lock_guard lock(mutex_);
        const std::size_t taken = core_.send(bytes, std::chrono::steady_clock::now());
        flush();
        changed_.notify_one();  // the resend timer may have started
        return taken;
    }
    void finish(int exit_code) override {
        const std::lock_guard lock(mutex_);
        core_.finish(exit_code, std::chrono::steady_clock::now());
        flush();
        changed_.notify_one();
    }
    void resize(unsigned rows, unsigned cols) override {
        const std::lock_guard lock(mutex_);
        core_.resize(rows, cols);
        flush();
    }
    void consume(std::size_t count) override {
        const std::lock_guard lock(mutex_);
        core_.consume(count, std::chrono::steady_clock::now());
        flush();
        changed_.notify_one();
    }
    void abort(std::string_view reason) override {
        const std::lock_guard lock(mutex_);
        core_.abort(reason);
        flush();
        changed_.notify_one();
    }

private:
    void hear(const Message& message) {
        node::v1::ChannelFrame frame;
        if (!frame.ParseFromString(message.payload))
            return;  // not a frame: nothing a channel can say about it
        {
            const std::lock_guard lock(mutex_);
            if (queue_.size() >= kMaxQueuedFrames) return;
            queue_.push_back(std::move(frame));
        }
        changed_.notify_one();
    }

    /// Under mutex_. Sending keeps the order of frames because every sender holds the lock.
    void flush() {
        for (const node::v1::ChannelFrame& frame : core_.take_frames()) {
            // A failed send is a lost frame: the core sends it again.
            (void)connection_.publish_plain(settings_.send_subject, frame.SerializeAsString());
        }
    }

    void run() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            const SteadyTime now = std::chrono::steady_clock::now();
            while (!queue_.empty()) {
                core_.receive(queue_.front(), now);
                queue_.pop_front();
            }
            core_.tick(now, std::exchange(reconnected_, false));
            flush();
            if (deliver(lock)) continue;  // the callbacks ran without the lock: look again
            if (core_.closed()) return;
            // Not with a predicate: a call of the user may bring the next wake forward.
            changed_.wait_until(lock, core_.next_wake());
        }
    }

    /// Runs what callbacks are due, without the lock. True when there were any.
    bool deliver(std::unique_lock<std::mutex>& lock) {
        const std::string data = core_.take_data();
        const bool writable = core_.take_writable();
        const auto size = core_.take_resize();
        const bool eof = core_.take_eof();
        const bool closed = core_.closed() && !std::exchange(closed_told_, core_.closed());
        if (data.empty() && !writable && !size && !eof && !closed) return false;
        const std::string error = core_.error();
        const int exit_code = core_.peer_exit_code();
        lock.unlock();
        if (size && events_.on_resize) events_.on_resize(size->first, size->second);
        if (!data.empty() && events_.on_data) events_.on_data(data);
        if (eof && events_.on_eof) events_.on_eof();
        if (writable && events_.on_writable) events_.on_writable();
        if (closed && events_.on_closed) {
            events_.on_closed(
                error.empty() ? Result<void>{} : Result<void>{unavailable("channel_failed", error)},
                exit_code
            );
        }
        lock.lock();
        return true;
    }

    Connection& connection_;
    const ChannelSettings settings_;
    const Events events_;
    std::mutex mutex_;
    std::condition_variable changed_;
    ChannelCore core_;                          // by mutex_
    std::deque<node::v1::ChannelFrame> queue_;  // by mutex_
    bool reconnected_ = false;                  // by mutex_
    bool stopping_ = false;                     // by mutex_
    bool closed_told_ = false;                  // the channel's thread, under mutex_
    std::shared_ptr<void> reconnect_;
    std::unique_ptr<Receiver> incoming_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<ByteChannel>> ByteChannel::open(
    Connection& connection, ChannelSettings settings, Events events
) {
    auto channel =
        std::make_unique<ByteChannelImpl>(connection, std::move(settings), std::move(events));
    BERTH_TRY(channel->start());
    return std::unique_ptr<ByteChannel>(std::move(channel));
}

}  // namespace berth::bus
