// SPDX-License-Identifier: Apache-2.0
// What every endpoint works with: one request under way, the shared parts, and asking an owner.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "berth/common/v1/common.pb.h"
#include "berth/gateway/v1/gateway.pb.h"
#include "bus/asker.hpp"
#include "gateway/address_limit.hpp"
#include "gateway/auth.hpp"
#include "gateway/event_hub.hpp"
#include "gateway/json_body.hpp"
#include "gateway/open_streams.hpp"
#include "gateway/presences.hpp"
#include "gateway/settings.hpp"
#include "gateway/sign_in.hpp"
#include "gateway/workers.hpp"
#include "net/http_server.hpp"
#include "net/router.hpp"
#include "service/refusal_count.hpp"
#include "store/outbox.hpp"

namespace berth::gateway {

/// The parts endpoints share; all thread-safe.
struct Api {
    const GatewaySettings& settings;
    bus::Connection& bus;
    bus::Asker& asker;
    store::Pool& pool;
    Workers& workers;
    EventHub& hub;
    OpenStreams& streams;
    Presences& presences;
    Authenticator& auth;
    SignIn& sign_in;
    const Secret& key;                 ///< the gateway's own: repo::load_key
    AddressLimit& enrolments;          ///< of addresses: POST /v1/nodes/enrol
    AddressLimit& bundles;             ///< GET /v1/nodes/bundle
    AddressLimit& sign_ins;            ///< POST /v1/sign_in/{provider}
    service::RefusalCount& strangers;  ///< as the audit is told of them
    store::Relay* relay;               ///< for rows just committed; may be none
};

/// One authenticated request. Shared by the callbacks that may answer it; it is answered once.
struct Call {
    net::Request request;
    net::Responder responder;
    Principal principal;
    std::map<std::string, std::string> params;
    std::function<void(int status)> on_answer;  ///< for metrics

    const std::string& param(const std::string& name) const { return params.at(name); }
    void respond(net::Response response);
    void json(int status, const google::protobuf::Message& message, net::HeaderMap headers = {});
    void fail(const Error& error) { respond(to_problem(error, request.id)); }
    /// Starts a stream or a WebSocket (101), which count as answered then.
    net::Stream stream(std::string_view content_type, net::HeaderMap headers = {});
    net::WebSocket web_socket();
};
using CallPtr = std::shared_ptr<Call>;

/// A row of the API: what the router, the description and the role check are made from.
struct Endpoint {
    const char* method;
    const char* pattern;
    Need need;
    void (*handle)(Api& api, const CallPtr& call);
};
const std::vector<Endpoint>& endpoints();

/// What was counted of enrolments that were turned away, for every org's audit. Waits for the
/// database.
void tell_strangers(Api&, const std::vector<service::RefusalCount::Counted>&);  // api_nodes.cpp

// Endpoints by file.
void acquire_lease(Api&, const CallPtr&);  // api_leases.cpp
void list_leases(Api&, const CallPtr&);
void get_lease(Api&, const CallPtr&);
void heartbeat_lease(Api&, const CallPtr&);
void release_lease(Api&, const CallPtr&);
void share_lease(Api&, const CallPtr&);  // api_shares.cpp
void unshare_lease(Api&, const CallPtr&);
void list_shares(Api&, const CallPtr&);
void list_pools(Api&, const CallPtr&);  // api_pools.cpp
void drain_pool(Api&, const CallPtr&);
void resume_pool(Api&, const CallPtr&);
void drain_fleet(Api&, const CallPtr&);
void resume_fleet(Api&, const CallPtr&);
void list_machines(Api&, const CallPtr&);
void get_machine(Api&, const CallPtr&);
void drain_machine(Api&, const CallPtr&);
void resume_machine(Api&, const CallPtr&);
void list_profiles(Api&, const CallPtr&);
void list_approvals(Api&, const CallPtr&);  // api_approvals.cpp
void get_approval(Api&, const CallPtr&);
void decide_approval(Api&, const CallPtr&);
void list_grants(Api&, const CallPtr&);
void revoke_grant(Api&, const CallPtr&);
void get_policy(Api&, const CallPtr&);  // api_policies.cpp
void put_policy(Api&, const CallPtr&);
void list_policies(Api&, const CallPtr&);
void get_policy_version(Api&, const CallPtr&);
void rollback_policy(Api&, const CallPtr&);
void press_halt(Api&, const CallPtr&);
void list_halts(Api&, const CallPtr&);
void resume_halt(Api&, const CallPtr&);
void query_audit(Api&, const CallPtr&);  // api_audit.cpp
void verify_audit(Api&, const CallPtr&);
void export_audit(Api&, const CallPtr&);
void get_profile(Api&, const CallPtr&);
void set_profile(Api&, const CallPtr&);
void remove_profile(Api&, const CallPtr&);
void get_usage(Api&, const CallPtr&);  // api_usage.cpp
void start_run(Api&, const CallPtr&);  // api_runs.cpp
void list_runs(Api&, const CallPtr&);
void get_run(Api&, const CallPtr&);
void cancel_run(Api&, const CallPtr&);
void signal_run(Api&, const CallPtr&);
void read_output(Api&, const CallPtr&);  // output.cpp
void attach_run(Api&, const CallPtr&);   // attach.cpp
void sync_lease(Api&, const CallPtr&);   // sync.cpp
void get_tree(Api&, const CallPtr&);
void stream_events(Api&, const CallPtr&);  // events_stream.cpp
void whoami(Api&, const CallPtr&);         // api_tokens.cpp
void create_token(Api&, const CallPtr&);
void list_tokens(Api&, const CallPtr&);
void delete_token(Api&, const CallPtr&);
void get_node_bundle(Api&, const CallPtr&);  // api_nodes.cpp
void enrol_node(Api&, const CallPtr&);
void get_drift(Api&, const CallPtr&);
void list_users(Api&, const CallPtr&);  // api_users.cpp
void get_user(Api&, const CallPtr&);
void create_user(Api&, const CallPtr&);
void change_user(Api&, const CallPtr&);
void link_identity(Api&, const CallPtr&);
void unlink_identity(Api&, const CallPtr&);
void create_chat_code(Api&, const CallPtr&);  // api_chat.cpp
void list_chat_links(Api&, const CallPtr&);
void drop_chat_link(Api&, const CallPtr&);
void create_event_reader(Api&, const CallPtr&);  // api_readers.cpp
void list_event_readers(Api&, const CallPtr&);
void drop_event_reader(Api&, const CallPtr&);
void create_webhook(Api&, const CallPtr&);  // api_webhooks.cpp
void list_webhooks(Api&, const CallPtr&);
void get_webhook(Api&, const CallPtr&);
void change_webhook(Api&, const CallPtr&);
void remove_webhook(Api&, const CallPtr&);
void rotate_webhook(Api&, const CallPtr&);
void test_webhook(Api&, const CallPtr&);
void replay_webhook(Api&, const CallPtr&);
void list_webhook_deliveries(Api&, const CallPtr&);
void list_sign_in(Api&, const CallPtr&);  // api_sign_in.cpp
void begin_sign_in(Api&, const CallPtr&);
void poll_sign_in(Api&, const CallPtr&);
void get_status(Api&, const CallPtr&);  // api_public.cpp
void get_openapi(Api&, const CallPtr&);
void get_page(Api&, const CallPtr&);
void get_health(Api&, const CallPtr&);
/// The embedded description, for the test that compares it with endpoints().
std::string_view openapi_json();

/// Runs `task` where the database may be waited for; where too much waits already the call fails.
void on_worker(Api& api, const CallPtr& call, std::function<void()> task);
/// A token without its text.
v1::Token to_proto(const TokenRow& row);
void fill_actor(const Principal& principal, common::v1::Actor& actor);
/// ?limit and ?cursor; error "bad_limit".
Result<void> read_page(const net::Query& query, common::v1::Page& page);
Error no_such_lease();
/// The command id of a POST: derived from Idempotency-Key, or empty for a fresh one. Error
/// "bad_idempotency_key".
Result<std::string> command_id_of(const Call& call);
/// A positive duration of a body's or query's text ("90m"); error "bad_duration" at `field`.
Result<milliseconds> read_duration(const std::string& text, const std::string& field);
/// Deterministic bytes: the owner recognises a repeated request by its digest, and maps have no
/// order.
std::string serialize(const google::protobuf::Message& message);

/// Asks `subject` and gives the decoded reply to `then` on a bus thread; a refusal answers the
/// call.
void ask_raw(
    Api& api,
    const CallPtr& call,
    std::string subject,
    const google::protobuf::Message& payload,
    std::string command_id,
    std::function<void(Result<std::string> reply)> then
);
/// An owner's answer that is not what it must be.
Error bad_reply();
template <typename Reply>
Result<Reply> read_reply(const Result<std::string>& bytes) {
    if (!bytes) return bytes.error();
    Reply reply;
    if (!reply.ParseFromString(*bytes)) return bad_reply();
    return reply;
}
template <typename Reply>
void ask(
    Api& api,
    const CallPtr& call,
    std::string subject,
    const google::protobuf::Message& payload,
    std::string command_id,
    std::function<void(const Reply&)> then
) {
    ask_raw(
        api,
        call,
        std::move(subject),
        payload,
        std::move(command_id),
        [call, then = std::move(then)](Result<std::string> bytes) {
            const auto reply = read_reply<Reply>(bytes);
            if (!reply) return call->fail(reply.error());
            then(*reply);
        }
    );
}

/// True where `name` may stand in an id or slug's place: a subject token. Anything else is 404 at
/// once.
bool plausible_id(const std::string& name);

}  // namespace berth::gateway
