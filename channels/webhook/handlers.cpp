// SPDX-License-Identifier: Apache-2.0
// add, change, remove, rotate, test, replay, and the questions.
#include "webhook/handlers.hpp"

#include <charconv>

#include "core/id.hpp"
#include "identity/box.hpp"
#include "identity/seal.hpp"
#include "service/event_pattern.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"
#include "webhook/signature.hpp"

namespace berth::webhook {
namespace {

using service::Decision;
using service::reply_with;

/// The message, from an admin of an org; nobody else manages webhooks.
template <typename T>
Result<T> of_admin(const std::string& payload) {
    BERTH_ASSIGN(T message, service::decode<T>(payload));
    if (!is_subject_token(message.actor().org()) || !service::has_role(message.actor(), "admin"))
        return forbidden("role_missing", "webhooks are an admin's to manage");
    return message;
}

Result<std::vector<std::string>> read_subjects(
    const google::protobuf::RepeatedPtrField<std::string>& given, const std::string& org
) {
    if (given.empty()) return std::vector<std::string>{"berth.evt." + org + ".>"};
    if (given.size() > kMaxSubjects)
        return invalid("bad_subject", "a webhook has at most 16 subjects", "subjects");
    std::vector<std::string> out;
    for (const auto& pattern : given) {
        BERTH_TRY(service::check_event_pattern(pattern, org, "subjects"));
        out.push_back(pattern);
    }
    return out;
}

Result<void> check_description(const std::string& text) {
    if (text.size() <= kMaxDescription) return {};
    return invalid("bad_description", "the description is longer than 256 bytes", "description");
}

Result<std::int64_t> read_number(const std::string& text, const char* code, const char* field) {
    std::int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size() || out <= 0)
        return invalid(code, std::string("'") + field + "' is none of this log", field);
    return out;
}

Error disabled() {
    return conflict("webhook_disabled", "the webhook is disabled; enable it first");
}

}  // namespace

store::OutboxMessage changed(
    const service::Context& context, std::string_view fact, const SubscriberRow& row
) {
    v1::SubscriberChanged event;
    *event.mutable_subscriber() = to_proto(row);
    const auto target = parse_target(row.url, true);
    event.mutable_subscriber()->set_url(target ? target->origin : std::string());
    event.mutable_subscriber()->clear_pending();
    return service::make_event(
        context,
        "webhook",
        row.org,
        "subscriber",
        fact,
        row.id,
        static_cast<std::uint64_t>(row.revision),
        event
    );
}

void WebhookHandlers::bind(service::Handlers& handlers) {
    handlers.command("add", this, &WebhookHandlers::add);
    handlers.command("change", this, &WebhookHandlers::change);
    handlers.command("remove", this, &WebhookHandlers::remove);
    handlers.command("rotate", this, &WebhookHandlers::rotate);
    handlers.command("test", this, &WebhookHandlers::test);
    handlers.command("replay", this, &WebhookHandlers::replay);
    handlers.query("subscriber", this, &WebhookHandlers::find);
    handlers.query("subscribers", this, &WebhookHandlers::list);
    handlers.query("deliveries", this, &WebhookHandlers::deliveries);
}

Result<void> WebhookHandlers::check_url(const std::string& url) const {
    BERTH_ASSIGN(const Target target, parse_target(url, settings_.allow_http));
    // A name is asked for when it is sent to; an address can be told now.
    if (target.is_address) BERTH_TRY(AddressGuard(settings_.allowed_networks).check(target.host));
    return {};
}

Result<std::string> WebhookHandlers::new_secret(SubscriberRow& row, const std::string& box_key)
    const {
    const Secret secret = make_secret();
    BERTH_ASSIGN(std::string sealed, identity::seal_for(box_key, secret));
    row.secret = identity::seal(key_, secret);
    return sealed;
}

WebhookHandlers::Outcome WebhookHandlers::add(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::AddSubscriber>(payload));
    BERTH_TRY(check_url(request.url()));
    BERTH_TRY(check_description(request.description()));
    SubscriberRow row;
    row.org = request.actor().org();
    BERTH_ASSIGN(row.subjects, read_subjects(request.subjects(), row.org));
    row.id = "wh_" + service::child_command_id(context.command_id, "webhook");
    row.url = request.url();
    row.binary = request.mode() == v1::CONTENT_MODE_BINARY;
    row.description = request.description();
    row.created_by = request.actor().user();
    row.created_at = context.now;
    v1::SubscriberSecret reply;
    BERTH_ASSIGN(*reply.mutable_sealed_secret(), new_secret(row, request.box_key()));
    BERTH_TRY(repo::add(tx, row));
    *reply.mutable_subscriber() = to_proto(row);
    Decision decision = reply_with(reply);
    decision.messages.push_back(changed(context, "added", row));
    wake_();
    return decision;
}

WebhookHandlers::Outcome WebhookHandlers::change(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::ChangeSubscriber>(payload));
    BERTH_ASSIGN(auto row, repo::lock(tx, request.actor().org(), request.subscriber()));
    bool anew = false;  // what waits waits for what is no more
    if (!request.url().empty()) {
        BERTH_TRY(check_url(request.url()));
        anew = row.url != request.url();
        row.url = request.url();
    }
    if (!request.subjects().empty()) {
        BERTH_ASSIGN(row.subjects, read_subjects(request.subjects(), row.org));
    }
    if (request.mode() != v1::CONTENT_MODE_UNSPECIFIED)
        row.binary = request.mode() == v1::CONTENT_MODE_BINARY;
    if (request.has_description()) {
        BERTH_TRY(check_description(request.description()));
        row.description = request.description();
    }
    const char* fact = "changed";
    if (request.has_enabled() && request.enabled() != row.enabled) {
        fact = request.enabled() ? "enabled" : "disabled";
        row.enabled = request.enabled();
        row.reason = row.enabled ? "" : "admin";
        row.health = {};
        anew = anew || row.enabled;
    }
    if (anew) BERTH_TRY(repo::restart(tx, row, context.now));
    BERTH_TRY(repo::update(tx, row));
    Decision decision = reply_with(to_proto(row));
    decision.messages.push_back(changed(context, fact, row));
    wake_();
    return decision;
}

WebhookHandlers::Outcome WebhookHandlers::remove(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::RemoveSubscriber>(payload));
    BERTH_ASSIGN(auto row, repo::lock(tx, request.actor().org(), request.subscriber()));
    BERTH_TRY(repo::remove(tx, row.id));
    ++row.revision;
    Decision decision = reply_with(common::v1::Empty{});
    decision.messages.push_back(changed(context, "removed", row));
    wake_();
    return decision;
}

WebhookHandlers::Outcome WebhookHandlers::rotate(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::RotateSecret>(payload));
    BERTH_ASSIGN(auto row, repo::lock(tx, request.actor().org(), request.subscriber()));
    row.old_secret = row.secret;
    row.old_secret_until = context.now + kOldSecretLife;
    v1::SubscriberSecret reply;
    BERTH_ASSIGN(*reply.mutable_sealed_secret(), new_secret(row, request.box_key()));
    BERTH_TRY(repo::update(tx, row));
    *reply.mutable_subscriber() = to_proto(row);
    Decision decision = reply_with(reply);
    decision.messages.push_back(changed(context, "rotated", row));
    wake_();
    return decision;
}

WebhookHandlers::Outcome WebhookHandlers::test(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::TestSubscriber>(payload));
    BERTH_ASSIGN(const auto row, repo::lock(tx, request.actor().org(), request.subscriber()));
    if (!row.enabled) return disabled();
    v1::SubscriberTested event;
    event.set_subscriber(row.id);
    event.set_user(request.actor().user());
    store::OutboxMessage message =
        service::make_event(context, "webhook", row.org, "subscriber", "tested", row.id, 0, event);
    IncomingRow incoming;
    incoming.ce_id = message.message_id;
    incoming.org = row.org;
    incoming.event = {message.subject, message.headers, message.payload};
    incoming.subscribers = {row.id};
    BERTH_TRY(repo::take_in(tx, {&incoming, 1}));
    BERTH_ASSIGN(const auto delivery, repo::delivery_of(tx, row.id, incoming.ce_id));
    BERTH_ASSIGN(const auto number, read_number(delivery.id(), "bad_delivery", "delivery"));
    BERTH_TRY(repo::set_test(tx, row.id, number));
    wake_();
    return reply_with(delivery);
}

WebhookHandlers::Outcome WebhookHandlers::replay(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, of_admin<v1::Replay>(payload));
    BERTH_ASSIGN(const auto row, repo::lock(tx, request.actor().org(), request.subscriber()));
    std::optional<std::int64_t> delivery;
    std::optional<WallTime> since;
    std::int64_t waiting = 0;
    if (!request.delivery().empty()) {
        BERTH_ASSIGN(delivery, read_number(request.delivery(), "bad_delivery", "delivery"));
        BERTH_ASSIGN(const auto state, repo::state_of(tx, row.id, *delivery));
        if (!state)
            return not_found("delivery_not_found", "this webhook's log has no such delivery");
        if (*state == v1::DELIVERY_STATE_PENDING) waiting = 1;
    } else if (request.has_since()) {
        since = service::to_wall_time(request.since());
        if (!request.failed_only()) {
            BERTH_ASSIGN(waiting, repo::count_pending(tx, row.id, *since));
        }
    } else {
        return invalid("bad_replay", "say which 'delivery', or 'since' when", "delivery");
    }
    if (!row.enabled) return disabled();
    v1::Replayed reply;
    reply.set_waiting(static_cast<std::uint64_t>(waiting));
    BERTH_ASSIGN(
        const auto count,
        repo::replay(tx, row.id, delivery, since, !delivery && request.failed_only(), context.now)
    );
    reply.set_deliveries(static_cast<std::uint64_t>(count));
    wake_();
    return reply_with(reply);
}

WebhookHandlers::Outcome WebhookHandlers::find(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const auto request, of_admin<v1::GetSubscriber>(payload));
    BERTH_ASSIGN(const auto row, repo::find(pool_, request.actor().org(), request.subscriber()));
    if (!row) return not_found("webhook_not_found", "there is no such webhook");
    return reply_with(to_proto(*row));
}

WebhookHandlers::Outcome WebhookHandlers::list(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const auto request, of_admin<v1::ListSubscribers>(payload));
    BERTH_ASSIGN(const int most, service::page_limit(request.page()));
    BERTH_ASSIGN(
        const auto rows, repo::list(pool_, request.actor().org(), request.page().cursor(), most + 1)
    );
    v1::SubscribersReply reply;
    for (const auto& row : rows) {
        if (reply.subscribers_size() == most) {
            reply.set_next_cursor(reply.subscribers(most - 1).id());
            break;
        }
        *reply.add_subscribers() = to_proto(row);
    }
    return reply_with(reply);
}

WebhookHandlers::Outcome WebhookHandlers::deliveries(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const auto request, of_admin<v1::ListDeliveries>(payload));
    BERTH_ASSIGN(const int most, service::page_limit(request.page()));
    BERTH_ASSIGN(const auto row, repo::find(pool_, request.actor().org(), request.subscriber()));
    if (!row) return not_found("webhook_not_found", "there is no such webhook");
    std::int64_t cursor = 0;
    if (!request.page().cursor().empty()) {
        BERTH_ASSIGN(cursor, read_number(request.page().cursor(), "bad_cursor", "cursor"));
    }
    BERTH_ASSIGN(const auto rows, repo::log(pool_, row->id, request.state(), cursor, most + 1));
    v1::DeliveriesReply reply;
    for (const auto& each : rows) {
        if (reply.deliveries_size() == most) {
            reply.set_next_cursor(reply.deliveries(most - 1).id());
            break;
        }
        *reply.add_deliveries() = each;
    }
    return reply_with(reply);
}

}  // namespace berth::webhook
