// SPDX-License-Identifier: Apache-2.0
// GET /v1/leases/{id}/sync (WebSocket): the bytes of an rsync client to the rsync server of a
// machine and back.
#include <atomic>

#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "gateway/channel_feed.hpp"

namespace berth::gateway {
namespace {

// Small enough that a slow client sees steady progress, large enough that frames cost nothing.
constexpr std::size_t kSlice = 64U << 10U;
// A close code says how the machine's rsync ended: kExitClose + its exit code, of the range that
// RFC 6455 leaves to applications.
constexpr int kExitClose = 4000;

/// One bridge. Dies on a worker: its channel is joined then.
class SyncBridge : public std::enable_shared_from_this<SyncBridge> {
public:
    SyncBridge(Api& api, OpenStreams::SlotPtr slot) : api_(api), slot_(std::move(slot)) {}

    void open(const CallPtr& call, const run::v1::SyncOpened& opened) {
        socket_ = call->web_socket();
        feed_ = std::make_unique<ChannelFeed>(socket_);
        ChannelFeed::Events events;
        // Plain pointers: the channel is this object's and ends before it.
        events.on_data = [this](std::string_view bytes) {
            {
                const std::lock_guard lock(mutex_);
                pending_.append(bytes);
            }
            drain();
        };
        events.on_closed = [this](const Result<void>& how, int exit_code) {
            {
                const std::lock_guard lock(mutex_);
                ended_ = true;
                if (!how) {
                    code_ = 1011;
                    reason_ = how.error().message;
                } else if (exit_code != 0) {
                    code_ = exit_code > 0 && exit_code < 256 ? kExitClose + exit_code : 1011;
                    reason_ = "exit code " + std::to_string(exit_code);
                }
            }
            drain();
        };
        if (const auto done =
                feed_->open(api_.bus, opened.machine(), opened.channel(), std::move(events));
            !done) {
            return socket_.close(1011, done.error().message);
        }
        net::WebSocketEvents hooks;
        hooks.on_message = [self = shared_from_this()](std::string_view bytes, bool is_text) {
            // The one text there is: a half-close, which a WebSocket has no frame for.
            if (!is_text) return self->feed_->push(bytes);
            if (bytes == "eof") return self->feed_->finish();
            self->socket_.close(1003, "only binary messages and the text 'eof' are understood");
        };
        hooks.on_writable = [self = shared_from_this()] { self->drain(); };
        hooks.on_closed = [self = shared_from_this()](int code, const std::string&) mutable {
            auto& workers = self->api_.workers;
            if (code != 1000) self->feed_->abort("the client went away");
            self->feed_->finish();
            self->drain();
            // The machine's side gets the time to end in order.
            if (!self->ended() && code == 1000) workers.after(kChannelWindDown, [kept = self] {});
            workers.dispose(std::move(self));
        };
        socket_.start(std::move(hooks));
        slot_->on_revoked([weak = weak_from_this()](const Error& why) {
            if (const auto self = weak.lock()) self->revoke(why);
        });
        look_again(call);
    }

private:
    // On a worker.
    void revoke(const Error& why) {
        socket_.close(1008, why.message);
        feed_->abort(why.message);
    }

    // Whether the lease is still lent to the caller. Any thread.
    void look_again(const CallPtr& call) {
        if (socket_.closed()) return;
        lease::v1::Get query;
        fill_actor(call->principal, *query.mutable_actor());
        query.set_lease(call->param("id"));
        const std::weak_ptr<SyncBridge> weak = weak_from_this();
        ask_raw(
            api_,
            call,
            "berth.qry.lease.get",
            query,
            {},
            [weak, call, &api = api_](const Result<std::string>& bytes) {
                auto self = weak.lock();
                if (!self) return;
                const auto known = read_reply<lease::v1::Lease>(bytes);
                // A bus thread must not become the last owner.
                api.workers.after(milliseconds{0}, [self, call, known] {
                    self->looked(call, known);
                });
                api.workers.dispose(std::move(self));
            }
        );
    }

    void looked(const CallPtr& call, const Result<lease::v1::Lease>& known) {
        if (!known && known.error().code == "lease_not_found") return revoke(known.error());
        const std::weak_ptr<SyncBridge> weak = weak_from_this();
        const auto again = [weak, call, &api = api_] {
            if (auto self = weak.lock()) {
                self->look_again(call);
                api.workers.dispose(std::move(self));
            }
        };
        if (known) {
            const std::lock_guard lock(mutex_);
            if (!watch_) watch_ = api_.hub.watch(known->org(), "share", known->id(), again);
        }
        if (!timed_.exchange(true)) {
            api_.workers.after(kRequery, [weak, again] {
                if (const auto self = weak.lock()) self->timed_ = false;
                again();
            });
        }
    }

    bool ended() {
        const std::lock_guard lock(mutex_);
        return ended_;
    }

    // What the client has room for; the machine may send on for as much.
    void drain() {
        const std::lock_guard lock(mutex_);
        std::size_t done = 0;
        const bool gone = socket_.closed();
        if (gone) done = pending_.size();
        while (done < pending_.size()) {
            const auto slice = std::string_view(pending_).substr(done, kSlice);
            if (!socket_.send_binary(slice)) break;
            done += slice.size();
        }
        pending_.erase(0, done);
        if (done > 0) feed_->consume(done);
        if (ended_ && pending_.empty() && !gone) socket_.close(code_, reason_);
    }

    Api& api_;
    const OpenStreams::SlotPtr slot_;
    net::WebSocket socket_;
    std::mutex mutex_;
    std::string pending_;                // by mutex_; at most the channel's window
    bool ended_ = false;                 // by mutex_
    int code_ = 1000;                    // by mutex_
    std::string reason_;                 // by mutex_
    std::shared_ptr<void> watch_;        // by mutex_; of the lease's shares
    std::atomic<bool> timed_{false};     // the next look has its time
    std::unique_ptr<ChannelFeed> feed_;  // last: ended first
};

}  // namespace

void sync_lease(Api& api, const CallPtr& call) {
    if (!call->request.is_upgrade()) {
        return call->respond(to_problem(
            426,
            invalid("upgrade_required", "this is a WebSocket: connect with an upgrade"),
            call->request.id
        ));
    }
    if (!plausible_id(call->param("id")))
        return call->fail(not_found("lease_not_found", "there is no such lease"));
    auto slot = api.streams.take(call->principal);
    if (!slot) return call->fail(slot.error());
    run::v1::OpenSync command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_lease(call->param("id"));
    command.set_delete_extraneous(call->request.query.flag("delete"));
    command.set_fetch(call->request.query.flag("fetch"));
    command.set_beside_runs(call->request.query.flag("beside_runs"));
    command.set_tree(call->request.query.get_or("tree", ""));
    command.set_had(call->request.query.get_or("had", ""));
    command.set_sync(call->request.query.get_or("sync", ""));
    command.set_run(call->request.query.get_or("run", ""));
    for (const auto& [name, value] :
         {std::pair("tree", command.tree()),
          std::pair("had", command.had()),
          std::pair("sync", command.sync()),
          std::pair("run", command.run())}) {
        if (!value.empty() && !plausible_id(value))
            return call->fail(
                invalid("bad_tree", "trees, syncs and runs are named by their ids", name)
            );
    }
    const auto bridge = std::make_shared<SyncBridge>(api, std::move(*slot));
    ask<run::v1::SyncOpened>(
        api,
        call,
        "berth.cmd.run.open_sync",
        command,
        {},
        [&api, call, bridge](const run::v1::SyncOpened& opened) {
            if (!is_subject_token(opened.channel()) || !is_subject_token(opened.machine())) {
                return call->fail(bad_reply());
            }
            if (!api.workers.run([call, bridge, opened] { bridge->open(call, opened); })) {
                call->fail(
                    unavailable("overloaded", "too much is waiting already; try again in a moment")
                );
            }
        }
    );
}

void get_tree(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id")))
        return call->fail(not_found("lease_not_found", "there is no such lease"));
    run::v1::GetTree query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_lease(call->param("id"));
    ask<run::v1::Tree>(
        api,
        call,
        "berth.qry.run.tree",
        query,
        {},
        [call](const run::v1::Tree& tree) { call->json(200, tree); }
    );
}

}  // namespace berth::gateway
