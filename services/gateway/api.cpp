// SPDX-License-Identifier: Apache-2.0
// The shared half of the endpoints.
#include "gateway/api.hpp"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>

#include <charconv>

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "service/request.hpp"

namespace berth::gateway {

void Call::respond(net::Response response) {
    if (!responder) return;
    if (auto done = std::exchange(on_answer, nullptr)) done(response.status);
    responder.respond(std::move(response));
}

void Call::json(int status, const google::protobuf::Message& message, net::HeaderMap headers) {
    respond({status, "application/json", std::move(headers), to_json(message)});
}

net::Stream Call::stream(std::string_view content_type, net::HeaderMap headers) {
    if (auto done = std::exchange(on_answer, nullptr)) done(200);
    return responder.start_stream(200, content_type, std::move(headers));
}

net::WebSocket Call::web_socket() {
    if (auto done = std::exchange(on_answer, nullptr)) done(101);
    return responder.upgrade(accepted_protocol(request));
}

void fill_actor(const Principal& principal, common::v1::Actor& actor) {
    actor.set_user(principal.user);
    actor.set_org(principal.org);
    for (const auto& role : principal.roles) actor.add_roles(role);
}

Error bad_reply() { return internal("bad_reply", "the owner's answer could not be read"); }

Error no_such_lease() { return not_found("lease_not_found", "there is no such lease"); }

Result<void> read_page(const net::Query& query, common::v1::Page& page) {
    if (const auto limit = query.get("limit")) {
        unsigned value = 0;
        const auto [end, error] =
            std::from_chars(limit->data(), limit->data() + limit->size(), value);
        if (error != std::errc() || end != limit->data() + limit->size() || value < 1 ||
            value > service::kMaxPage)
            return service::bad_limit();
        page.set_limit(value);
    }
    page.set_cursor(query.get_or("cursor", ""));
    if (!is_utf8(page.cursor()))
        return invalid(
            "bad_cursor", "'cursor' must be a next_cursor of an earlier answer", "cursor"
        );
    return {};
}

Result<std::string> command_id_of(const Call& call) {
    if (!call.request.headers.has("Idempotency-Key")) return std::string();
    const auto key = call.request.headers.get("Idempotency-Key");
    bool printable = !key.empty() && key.size() <= 255;
    for (const char c : key) printable = printable && c > 0x20 && c < 0x7f;
    if (!printable)
        return invalid(
            "bad_idempotency_key",
            "Idempotency-Key must be 1 to 255 visible ASCII characters",
            "Idempotency-Key"
        );
    return identity::derive_command_id(call.principal.org, call.principal.user, key);
}

Result<milliseconds> read_duration(const std::string& text, const std::string& field) {
    auto duration = parse_duration(text);
    if (!duration)
        return invalid("bad_duration", "'" + field + "' must be a duration such as \"90m\"", field);
    if (duration->count() <= 0)
        return invalid("bad_duration", "'" + field + "' must be longer than nothing", field);
    return duration;
}

std::string serialize(const google::protobuf::Message& message) {
    std::string out;
    {
        google::protobuf::io::StringOutputStream bytes(&out);
        google::protobuf::io::CodedOutputStream coded(&bytes);  // writes its rest as it dies
        coded.SetSerializationDeterministic(true);
        (void)message.SerializeToCodedStream(&coded);
    }
    return out;
}

void ask_raw(
    Api& api,
    const CallPtr& call,
    std::string subject,
    const google::protobuf::Message& payload,
    std::string command_id,
    std::function<void(Result<std::string> reply)> then
) {
    bus::Ask ask;
    ask.subject = std::move(subject);
    ask.type = payload.GetTypeName();
    ask.payload = serialize(payload);
    ask.command_id = command_id.empty() ? make_ulid(Clock::system().now(), Random::system())
                                        : std::move(command_id);
    ask.correlation_id = call->request.id;
    ask.timeout = api.settings.ask_timeout;
    api.asker.ask(std::move(ask), [then = std::move(then)](Result<bus::Answer> answer) {
        if (!answer) return then(std::move(answer).error());
        then(std::move(answer->payload));
    });
}

bool plausible_id(const std::string& name) { return is_subject_token(name); }

const std::vector<Endpoint>& endpoints() {
    static const std::vector<Endpoint> list = {
        {"GET", "/", Need::kNobody, get_page},
        {"GET", "/healthz", Need::kNobody, get_health},
        {"GET", "/v1/openapi.json", Need::kNobody, get_openapi},
        {"GET", "/v1/whoami", Need::kViewer, whoami},
        {"GET", "/v1/status", Need::kViewer, get_status},
        {"GET", "/v1/events", Need::kViewer, stream_events},
        {"POST", "/v1/leases", Need::kOperator, acquire_lease},
        {"GET", "/v1/leases", Need::kViewer, list_leases},
        {"GET", "/v1/leases/{id}", Need::kViewer, get_lease},
        {"DELETE", "/v1/leases/{id}", Need::kOperator, release_lease},
        {"POST", "/v1/leases/{id}/heartbeat", Need::kOperator, heartbeat_lease},
        {"POST", "/v1/leases/{id}/release", Need::kOperator, release_lease},
        {"GET", "/v1/leases/{id}/sync", Need::kOperator, sync_lease},
        {"GET", "/v1/leases/{id}/tree", Need::kOperator, get_tree},
        {"GET", "/v1/leases/{id}/shares", Need::kViewer, list_shares},
        {"PUT", "/v1/leases/{id}/shares/{user}", Need::kOperator, share_lease},
        {"DELETE", "/v1/leases/{id}/shares/{user}", Need::kOperator, unshare_lease},
        {"GET", "/v1/profiles", Need::kViewer, list_profiles},
        {"GET", "/v1/profiles/{profile}", Need::kViewer, get_profile},
        {"PUT", "/v1/profiles/{profile}", Need::kAdmin, set_profile},
        {"DELETE", "/v1/profiles/{profile}", Need::kAdmin, remove_profile},
        {"GET", "/v1/pools", Need::kViewer, list_pools},
        {"POST", "/v1/pools/{profile}/drain", Need::kAdmin, drain_pool},
        {"POST", "/v1/pools/{profile}/resume", Need::kAdmin, resume_pool},
        {"POST", "/v1/fleet/drain", Need::kAdmin, drain_fleet},
        {"POST", "/v1/fleet/resume", Need::kAdmin, resume_fleet},
        {"GET", "/v1/machines", Need::kViewer, list_machines},
        {"GET", "/v1/machines/{id}", Need::kViewer, get_machine},
        {"POST", "/v1/machines/{id}/drain", Need::kAdmin, drain_machine},
        {"POST", "/v1/machines/{id}/resume", Need::kAdmin, resume_machine},
        {"GET", "/v1/usage", Need::kViewer, get_usage},
        {"POST", "/v1/runs", Need::kOperator, start_run},
        {"GET", "/v1/runs", Need::kViewer, list_runs},
        {"GET", "/v1/runs/{id}", Need::kViewer, get_run},
        {"POST", "/v1/runs/{id}/cancel", Need::kOperator, cancel_run},
        {"POST", "/v1/runs/{id}/signal", Need::kOperator, signal_run},
        {"GET", "/v1/runs/{id}/output", Need::kViewer, read_output},
        {"GET", "/v1/runs/{id}/attach", Need::kViewer, attach_run},
        // Who may decide, halt and read the audit is warden's to say: it records whom it refuses.
        {"GET", "/v1/approvals", Need::kViewer, list_approvals},
        {"GET", "/v1/approvals/{id}", Need::kViewer, get_approval},
        {"POST", "/v1/approvals/{id}/decide", Need::kViewer, decide_approval},
        {"GET", "/v1/grants", Need::kViewer, list_grants},
        {"DELETE", "/v1/grants/{id}", Need::kViewer, revoke_grant},
        {"GET", "/v1/policy", Need::kViewer, get_policy},
        {"PUT", "/v1/policy", Need::kAdmin, put_policy},
        {"GET", "/v1/policies", Need::kViewer, list_policies},
        {"GET", "/v1/policies/{version}", Need::kViewer, get_policy_version},
        {"POST", "/v1/policies/{version}/rollback", Need::kAdmin, rollback_policy},
        {"POST", "/v1/halts", Need::kViewer, press_halt},
        {"GET", "/v1/halts", Need::kViewer, list_halts},
        {"POST", "/v1/halts/{id}/resume", Need::kViewer, resume_halt},
        {"GET", "/v1/audit", Need::kViewer, query_audit},
        {"GET", "/v1/audit/verify", Need::kViewer, verify_audit},
        {"GET", "/v1/audit/export", Need::kViewer, export_audit},
        {"GET", "/v1/nodes/bundle", Need::kNobody, get_node_bundle},
        {"POST", "/v1/nodes/enrol", Need::kNobody, enrol_node},
        {"GET", "/v1/drift", Need::kAdmin, get_drift},
        {"POST", "/v1/tokens", Need::kOperator, create_token},
        {"GET", "/v1/tokens", Need::kViewer, list_tokens},
        {"DELETE", "/v1/tokens/{id}", Need::kViewer, delete_token},
        {"GET", "/v1/users", Need::kAdmin, list_users},
        {"POST", "/v1/users", Need::kAdmin, create_user},
        {"GET", "/v1/users/{name}", Need::kAdmin, get_user},
        {"PATCH", "/v1/users/{name}", Need::kAdmin, change_user},
        {"PUT", "/v1/users/{name}/identities/{provider}", Need::kAdmin, link_identity},
        {"DELETE", "/v1/users/{name}/identities/{provider}", Need::kAdmin, unlink_identity},
        {"POST", "/v1/chat/codes", Need::kViewer, create_chat_code},
        {"GET", "/v1/chat/links", Need::kViewer, list_chat_links},
        {"DELETE", "/v1/chat/links/{platform}", Need::kViewer, drop_chat_link},
        {"POST", "/v1/event_readers", Need::kAdmin, create_event_reader},
        {"GET", "/v1/event_readers", Need::kAdmin, list_event_readers},
        {"DELETE", "/v1/event_readers/{name}", Need::kAdmin, drop_event_reader},
        {"POST", "/v1/webhooks", Need::kAdmin, create_webhook},
        {"GET", "/v1/webhooks", Need::kAdmin, list_webhooks},
        {"GET", "/v1/webhooks/{id}", Need::kAdmin, get_webhook},
        {"PATCH", "/v1/webhooks/{id}", Need::kAdmin, change_webhook},
        {"DELETE", "/v1/webhooks/{id}", Need::kAdmin, remove_webhook},
        {"POST", "/v1/webhooks/{id}/rotate", Need::kAdmin, rotate_webhook},
        {"POST", "/v1/webhooks/{id}/test", Need::kAdmin, test_webhook},
        {"POST", "/v1/webhooks/{id}/replay", Need::kAdmin, replay_webhook},
        {"GET", "/v1/webhooks/{id}/deliveries", Need::kAdmin, list_webhook_deliveries},
        {"GET", "/v1/sign_in", Need::kNobody, list_sign_in},
        {"POST", "/v1/sign_in/{provider}", Need::kNobody, begin_sign_in},
        {"POST", "/v1/sign_in/{provider}/token", Need::kNobody, poll_sign_in},
    };
    return list;
}

}  // namespace berth::gateway
