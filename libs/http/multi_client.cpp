// SPDX-License-Identifier: Apache-2.0
// One thread owns the multi handle; others leave their requests in a queue and wake it.
#include "http/multi_client.hpp"

#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "http/curl.hpp"

namespace berth::http {
namespace {

// The loop looks by itself this often, should a wake-up get lost.
constexpr int kPollMs = 1'000;
// Handles kept for the next requests; each is some 5 KiB.
constexpr std::size_t kSpareHandles = 64;

struct MultiDeleter {
    void operator()(CURLM* handle) const { detail::Curl::get()->multi_cleanup(handle); }
};

Error stopped() { return {Fault::kCanceled, "stopped", "the client was stopped", {}}; }

}  // namespace

struct MultiClient::Impl {
    struct Waiting {
        Request request;
        Done done;
    };
    struct Active {
        detail::Handle handle;
        std::unique_ptr<detail::Exchange> exchange;
        Done done;
    };

    const detail::Curl* lib = detail::Curl::get();
    std::unique_ptr<CURLM, MultiDeleter> multi;
    std::mutex mutex;
    std::vector<Waiting> waiting;       // by mutex
    bool stopping = false;              // by mutex
    std::map<CURL*, Active> active;     // the loop's
    std::vector<detail::Handle> spare;  // the loop's
    std::thread thread;

    void loop() {
        while (begin_waiting()) {
            int running = 0;
            lib->multi_perform(multi.get(), &running);
            end_finished();
            lib->multi_poll(multi.get(), nullptr, 0, kPollMs, nullptr);
        }
        for (auto& [curl, each] : active) {
            lib->multi_remove(multi.get(), curl);
            each.done(stopped());
        }
        active.clear();
        spare.clear();
        for (auto& each : take_waiting()) each.done(stopped());
    }

    std::vector<Waiting> take_waiting() {
        const std::lock_guard lock(mutex);
        return std::exchange(waiting, {});
    }

    /// False when it is time to end.
    bool begin_waiting() {
        {
            const std::lock_guard lock(mutex);
            if (stopping) return false;
        }
        for (auto& each : take_waiting()) {
            Active next;
            if (spare.empty()) {
                next.handle.reset(lib->easy_init());
            } else {
                next.handle = std::move(spare.back());
                spare.pop_back();
                lib->easy_reset(next.handle.get());
            }
            if (!next.handle) {
                each.done(unavailable("no_handle", "libcurl gave no handle"));
                continue;
            }
            next.exchange = std::make_unique<detail::Exchange>(std::move(each.request));
            next.exchange->prepare(next.handle.get());
            next.done = std::move(each.done);
            CURL* const curl = next.handle.get();
            lib->multi_add(multi.get(), curl);
            active.emplace(curl, std::move(next));
        }
        return true;
    }

    void end_finished() {
        int left = 0;
        while (const CURLMsg* message = lib->multi_info(multi.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            CURL* const curl = message->easy_handle;
            const CURLcode code = message->data.result;
            auto node = active.extract(curl);
            lib->multi_remove(multi.get(), curl);
            Active& ended = node.mapped();
            auto response = ended.exchange->finish(curl, code);
            if (spare.size() < kSpareHandles) spare.push_back(std::move(ended.handle));
            ended.done(std::move(response));
        }
    }
};

MultiClient::MultiClient() : impl_(std::make_unique<Impl>()) {
    if (impl_->lib == nullptr) return;
    impl_->multi.reset(impl_->lib->multi_init());
    if (!impl_->multi) return;
    impl_->lib->multi_setopt(impl_->multi.get(), CURLMOPT_MAXCONNECTS, kKeptConnections);
    impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

MultiClient::~MultiClient() {
    if (!impl_->thread.joinable()) return;
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->lib->multi_wakeup(impl_->multi.get());
    impl_->thread.join();
}

void MultiClient::send(Request request, Done done) {
    if (!impl_->thread.joinable()) return done(detail::no_libcurl());
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->waiting.push_back({std::move(request), std::move(done)});
    }
    impl_->lib->multi_wakeup(impl_->multi.get());
}

}  // namespace berth::http
