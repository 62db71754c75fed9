// SPDX-License-Identifier: Apache-2.0
// GET /v1/leases/{id}/sync (WebSocket): the bytes of an rsync client to the rsync server of a
// machine and back.
#include "berth/run/v1/run.pb.h"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "gateway/channel_feed.hpp"

namespace berth::gateway {
namespace {

// Small enough that a slow client sees steady progress, large enough that frames cost nothing.
constexpr std::size_t kSlice = 64U << 10U;

/// One bridge. Dies on a worker: its channel is joined then.
class SyncBridge : public std::enable_shared_from_this<SyncBridge> {
public:
    SyncBridge(Api& api, std::shared_ptr<void> slot) : api_(api), slot_(std::move(slot)) {}

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
                code_ = how && exit_code == 0 ? 1000 : 1011;
                if (how && exit_code != 0) reason_ = "exit code " + std::to_string(exit_code);
                if (!how) reason_ = how.error().message;
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
    }

private:
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
    const std::shared_ptr<void> slot_;
    net::WebSocket socket_;
    std::mutex mutex_;
    std::string pending_;                // by mutex_; at most the channel's window
    bool ended_ = false;                 // by mutex_
    int code_ = 1000;                    // by mutex_
    std::string reason_;                 // by mutex_
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
    auto slot = api.streams.take(call->principal.org, call->principal.user);
    if (!slot)
        return call->fail(
            {Fault::kLimit,
             "too_many_streams",
             "you hold too many open streams; close one first",
             {}}
        );
    run::v1::OpenSync command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_lease(call->param("id"));
    command.set_delete_extraneous(call->request.query.flag("delete"));
    command.set_fetch(call->request.query.flag("fetch"));
    command.set_beside_runs(call->request.query.flag("beside_runs"));
    command.set_tree(call->request.query.get_or("tree", ""));
    command.set_had(call->request.query.get_or("had", ""));
    command.set_run(call->request.query.get_or("run", ""));
    for (const auto& [name, value] :
         {std::pair("tree", command.tree()),
          std::pair("had", command.had()),
          std::pair("run", command.run())}) {
        if (!value.empty() && !plausible_id(value))
            return call->fail(invalid("bad_tree", "trees and runs are named by their ids", name));
    }
    const auto bridge = std::make_shared<SyncBridge>(api, std::move(slot));
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
