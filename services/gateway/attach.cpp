// SPDX-License-Identifier: Apache-2.0
// GET /v1/runs/{id}/attach (WebSocket): a run's output from its first byte and on, and its stdin.
#include "berth/node/v1/node.pb.h"
#include "core/id.hpp"
#include "gateway/channel_feed.hpp"
#include "gateway/output_source.hpp"
#include "log/log.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kEndRetry{200};

// A frame that must not wait, to a client that may be slow: tried again until there is room or
// nobody.
void send_then_close(Api& api, net::WebSocket socket, const std::string& bytes) {
    if (socket.closed()) return;
    if (bytes.empty() || socket.send_binary(bytes)) return socket.close(1000, "");
    api.workers.after(kEndRetry, [&api, socket, bytes] { send_then_close(api, socket, bytes); });
}

/// One attached client. Dies on a worker: its reader and its channel are joined then.
class Attachment : public std::enable_shared_from_this<Attachment> {
public:
    Attachment(Api& api, OpenStreams::SlotPtr slot) : api_(api), slot_(std::move(slot)) {}

    void open(const CallPtr& call, const run::v1::Run& run, std::uint64_t offset, bool input) {
        socket_ = call->web_socket();
        if (input) {
            feed_ = std::make_unique<ChannelFeed>(socket_);
            ChannelFeed::Events events;
            // Output comes by the stream, which keeps it; nothing of worth comes back this way.
            events.on_data = [feed = feed_.get()](std::string_view bytes) {
                feed->consume(bytes.size());
            };
            events.on_closed = [id = run.id()](const Result<void>& how, int) {
                if (!how)
                    log::info("an input channel failed", {{"run", id}, {"error", how.error()}});
            };
            if (const auto opened =
                    feed_->open(api_.bus, run.machine(), run.id(), std::move(events));
                !opened) {
                return refuse(opened.error());
            }
        }
        // The source knows the socket only, so that its callbacks never own what they would have to
        // join.
        source_ = std::make_shared<OutputSource>(
            api_,
            call,
            run,
            OutputSource::Options{offset, true},
            [socket = socket_](const run::v1::OutputFrame&, const std::string& bytes) mutable {
                while (!socket.send_binary_wait(bytes, kWriteTurn)) {
                    if (socket.closed()) return false;
                }
                return true;
            },
            [&api = api_, socket = socket_](const OutputSource::Ending& ending) {
                if (ending.refused)
                    return net::WebSocket(socket).close(1008, ending.refused->message);
                send_then_close(api, socket, ending.synthetic);
            }
        );
        listen();
        slot_->on_revoked([socket = socket_](const Error& why) mutable {
            socket.close(1008, why.message);
        });
        if (const auto started = source_->start(); !started) refuse(started.error());
    }

private:
    void listen() {
        net::WebSocketEvents events;
        events.on_message = [self = shared_from_this()](std::string_view bytes, bool) {
            self->hear(bytes);
        };
        events.on_closed = [self = shared_from_this()](int, const std::string&) mutable {
            auto& workers = self->api_.workers;
            workers.dispose(std::move(self));
        };
        socket_.start(std::move(events));
    }

    void refuse(const Error& error) { socket_.close(1011, error.message); }

    void hear(std::string_view bytes) {
        if (socket_.closed()) return;  // what arrives after our close has no right to
        node::v1::ChannelFrame frame;
        if (!frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
            return socket_.close(1007, "not a ChannelFrame");
        if (!feed_)
            return socket_.close(1008, "this attachment takes no input; attach with ?stdin=1");
        if (frame.rows() > 0 && frame.cols() > 0) feed_->resize(frame.rows(), frame.cols());
        if (!frame.data().empty()) feed_->push(frame.data());
        if (frame.eof()) feed_->finish();
    }

    Api& api_;
    const OpenStreams::SlotPtr slot_;
    net::WebSocket socket_;
    std::unique_ptr<ChannelFeed> feed_;
    std::shared_ptr<OutputSource> source_;
};

}  // namespace

void attach_run(Api& api, const CallPtr& call) {
    if (!call->request.is_upgrade()) {
        return call->respond(to_problem(
            426,
            invalid("upgrade_required", "this is a WebSocket: connect with an upgrade"),
            call->request.id
        ));
    }
    const auto offset = read_offset(call->request.query);
    if (!offset) return call->fail(offset.error());
    const bool input = call->request.query.flag("stdin");
    if (input) {
        if (const auto role = check_role(call->principal.roles, Need::kOperator); !role)
            return call->fail(role.error());
    }
    auto slot = api.streams.take(call->principal);
    if (!slot) return call->fail(slot.error());
    const auto attachment = std::make_shared<Attachment>(api, std::move(*slot));
    with_run(api, call, [call, attachment, offset = *offset, input](const run::v1::Run& run) {
        if (input && !is_subject_token(run.machine())) {
            return call->fail(conflict(
                "run_has_no_machine",
                "the run has no machine yet: attach its input when it has started"
            ));
        }
        attachment->open(call, run, offset, input);
    });
}

}  // namespace berth::gateway
