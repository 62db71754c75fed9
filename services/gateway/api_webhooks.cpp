// SPDX-License-Identifier: Apache-2.0
// /v1/webhooks: who is told of the org's events by HTTP. Admins only: it sends the org's events to
// anybody.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/webhook/v1/webhook.pb.h"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "identity/box.hpp"

namespace berth::gateway {
namespace {

namespace wh = berth::webhook::v1;

Result<wh::ContentMode> read_mode(const std::string& text) {
    if (text.empty()) return wh::CONTENT_MODE_UNSPECIFIED;
    if (text == "structured") return wh::CONTENT_MODE_STRUCTURED;
    if (text == "binary") return wh::CONTENT_MODE_BINARY;
    return invalid("bad_mode", "'mode' must be structured or binary", "mode");
}

// The id of the path as its owner spells it; else the call is answered.
std::optional<std::string> id_of(const CallPtr& call) {
    const auto id = normalize_id("wh", call->param("id"));
    if (id) return *id;
    call->fail(not_found("webhook_not_found", "there is no such webhook"));
    return std::nullopt;
}

template <typename Reply, typename Message>
void ask_about(
    Api& api,
    const CallPtr& call,
    const char* subject,
    Message message,
    std::string command_id,
    int status
) {
    fill_actor(call->principal, *message.mutable_actor());
    ask<Reply>(
        api,
        call,
        subject,
        message,
        std::move(command_id),
        [call, status](const Reply& reply) {
            if constexpr (std::is_same_v<Reply, common::v1::Empty>) {
                call->respond({status});
            } else {
                call->json(status, reply);
            }
        }
    );
}

// The secret comes sealed for a key that this command id alone gives: a request that is repeated
// with its Idempotency-Key is the same command and can open the same answer.
template <typename Message>
void ask_secret(
    Api& api, const CallPtr& call, const char* subject, Message message, std::string command_id
) {
    if (command_id.empty()) command_id = make_ulid(Clock::system().now(), Random::system());
    const identity::Box box(api.key, command_id);
    fill_actor(call->principal, *message.mutable_actor());
    message.set_box_key(box.public_key());
    ask<wh::SubscriberSecret>(
        api,
        call,
        subject,
        message,
        command_id,
        [call, box](const wh::SubscriberSecret& reply) {
            const auto secret = box.open(reply.sealed_secret());
            if (!secret) return call->fail(internal("bad_reply", "the secret could not be opened"));
            v1::WebhookSecret out;
            *out.mutable_webhook() = reply.subscriber();
            out.set_secret(secret->reveal());
            call->json(
                201,
                out,
                {{"Cache-Control", "no-store"},
                 {"Location", "/v1/webhooks/" + reply.subscriber().id()}}
            );
        }
    );
}

}  // namespace

void create_webhook(Api& api, const CallPtr& call) {
    v1::WebhookBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    const auto mode = read_mode(body.mode());
    if (!mode) return call->fail(mode.error());
    wh::AddSubscriber command;
    command.set_url(body.url());
    *command.mutable_subjects() = body.subjects();
    command.set_mode(*mode);
    command.set_description(body.description());
    ask_secret(api, call, "berth.cmd.webhook.add", std::move(command), std::move(*id));
}

void list_webhooks(Api& api, const CallPtr& call) {
    wh::ListSubscribers query;
    if (auto read = read_page(call->request.query, *query.mutable_page()); !read)
        return call->fail(read.error());
    ask_about<wh::SubscribersReply>(
        api, call, "berth.qry.webhook.subscribers", std::move(query), {}, 200
    );
}

void get_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    wh::GetSubscriber query;
    query.set_subscriber(*id);
    ask_about<wh::Subscriber>(api, call, "berth.qry.webhook.subscriber", std::move(query), {}, 200);
}

void change_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    v1::WebhookChange body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    const auto mode = read_mode(body.mode());
    if (!mode) return call->fail(mode.error());
    wh::ChangeSubscriber command;
    command.set_subscriber(*id);
    command.set_url(body.url());
    *command.mutable_subjects() = body.subjects();
    command.set_mode(*mode);
    if (body.has_enabled()) command.set_enabled(body.enabled());
    if (body.has_description()) command.set_description(body.description());
    ask_about<wh::Subscriber>(api, call, "berth.cmd.webhook.change", std::move(command), {}, 200);
}

void remove_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    wh::RemoveSubscriber command;
    command.set_subscriber(*id);
    ask_about<common::v1::Empty>(
        api, call, "berth.cmd.webhook.remove", std::move(command), {}, 204
    );
}

void rotate_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    auto command_id = command_id_of(*call);
    if (!command_id) return call->fail(command_id.error());
    wh::RotateSecret command;
    command.set_subscriber(*id);
    ask_secret(api, call, "berth.cmd.webhook.rotate", std::move(command), std::move(*command_id));
}

void test_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    wh::TestSubscriber command;
    command.set_subscriber(*id);
    ask_about<wh::Delivery>(api, call, "berth.cmd.webhook.test", std::move(command), {}, 202);
}

void replay_webhook(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    v1::ReplayBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto command_id = command_id_of(*call);
    if (!command_id) return call->fail(command_id.error());
    wh::Replay command;
    command.set_subscriber(*id);
    command.set_delivery(body.delivery());
    if (body.has_since()) *command.mutable_since() = body.since();
    command.set_failed_only(body.failed_only());
    ask_about<wh::Replayed>(
        api, call, "berth.cmd.webhook.replay", std::move(command), std::move(*command_id), 202
    );
}

void list_webhook_deliveries(Api& api, const CallPtr& call) {
    const auto id = id_of(call);
    if (!id) return;
    wh::ListDeliveries query;
    query.set_subscriber(*id);
    if (auto read = read_page(call->request.query, *query.mutable_page()); !read)
        return call->fail(read.error());
    const std::string state = call->request.query.get_or("state", "");
    if (state == "pending") query.set_state(wh::DELIVERY_STATE_PENDING);
    if (state == "delivered") query.set_state(wh::DELIVERY_STATE_DELIVERED);
    if (state == "failed") query.set_state(wh::DELIVERY_STATE_FAILED);
    if (!state.empty() && query.state() == wh::DELIVERY_STATE_UNSPECIFIED)
        return call->fail(
            invalid("bad_state", "'state' must be pending, delivered or failed", "state")
        );
    ask_about<wh::DeliveriesReply>(
        api, call, "berth.qry.webhook.deliveries", std::move(query), {}, 200
    );
}

}  // namespace berth::gateway
