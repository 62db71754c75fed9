// SPDX-License-Identifier: Apache-2.0
// /v1/leases: JSON in, a command to lease_broker, JSON out.
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "gateway/long_poll.hpp"
#include "service/proto_time.hpp"

namespace berth::gateway {
namespace {

using lease::v1::Lease;

// A command that names a lease and answers with it.
template <typename Command>
void change_lease(Api& api, const CallPtr& call, const char* subject) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_lease());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    Command command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_lease(call->param("id"));
    ask<Lease>(api, call, subject, command, std::move(*id), [call](const Lease& lease) {
        call->json(200, lease);
    });
}

// ?wait=active: nothing where it is absent.
Result<std::optional<milliseconds>> read_wait_active(const net::Query& query) {
    const auto wait = query.get("wait");
    if (!wait) return std::optional<milliseconds>();
    if (*wait != "active") return invalid("bad_wait", "'wait' must be 'active'", "wait");
    BERTH_ASSIGN(const auto timeout, read_wait(query));
    return std::optional(timeout);
}

// Whoever waits for a machine is told that there is none, with what the provider was asked for.
void answer_no_machine(const CallPtr& call, const Lease& lease) {
    const std::string& code = lease.end_reason();
    const bool passes = code == "capacity_exhausted" || code == "pool_exhausted";
    const Error error = exhausted(
        code.empty() ? "no_machine" : code,
        "lease " + lease.slug() +
            " has no machine: " + (lease.end_detail().empty() ? code : lease.end_detail()) +
            (passes ? "; try again later, or with another profile" : "")
    );
    call->respond(
        to_problem(error, call->request.id, {lease.attempts().begin(), lease.attempts().end()})
    );
}

void answer_lease(const CallPtr& call, const Lease& lease) {
    if (lease.state() == lease::v1::LEASE_STATE_FAILED) return answer_no_machine(call, lease);
    call->json(200, lease);
}

void answer_acquired(const CallPtr& call, const Lease& lease) {
    if (lease.state() == lease::v1::LEASE_STATE_FAILED) return answer_no_machine(call, lease);
    call->json(
        lease.state() == lease::v1::LEASE_STATE_PENDING ? 202 : 201,
        lease,
        {{"Location", "/v1/leases/" + lease.id()}}
    );
}

void await_lease(
    Api& api,
    const CallPtr& call,
    const std::string& id,
    milliseconds timeout,
    void (*conclude)(const CallPtr&, const Lease&)
) {
    lease::v1::Get query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_lease(id);
    // Any state past pending: a lease that failed will never be active.
    const auto settled = [](const Lease& lease) {
        return lease.state() != lease::v1::LEASE_STATE_PENDING;
    };
    std::make_shared<LongPoll<Lease, lease::v1::Get>>(
        api, call, "berth.qry.lease.get", "lease", query, settled, timeout, conclude
    )
        ->start();
}

}  // namespace

Result<milliseconds> read_wait(const net::Query& query) {
    const auto text = query.get("timeout");
    if (!text) return kDefaultWait;
    BERTH_ASSIGN(const auto timeout, read_duration(*text, "timeout"));
    return std::min(timeout, kMaxWait);
}

void acquire_lease(Api& api, const CallPtr& call) {
    v1::AcquireBody body;
    if (auto read = read_body(call->request, body); !read) return call->fail(read.error());
    auto id = command_id_of(*call);
    if (!id) return call->fail(id.error());
    lease::v1::Acquire command;
    fill_actor(call->principal, *command.mutable_actor());
    command.set_profile(body.profile());
    command.set_label(body.label());
    command.set_one_shot(body.one_shot());
    command.set_reuse(body.reuse());
    if (!body.ttl().empty()) {
        const auto ttl = read_duration(body.ttl(), "ttl");
        if (!ttl) return call->fail(ttl.error());
        *command.mutable_ttl() = service::to_duration(*ttl);
    }
    if (!body.idle_timeout().empty()) {
        const auto idle = read_duration(body.idle_timeout(), "idle_timeout");
        if (!idle) return call->fail(idle.error());
        *command.mutable_idle_timeout() = service::to_duration(*idle);
    }
    if (!body.wait().empty()) {
        const auto wait = read_duration(body.wait(), "wait");
        if (!wait) return call->fail(wait.error());
        *command.mutable_wait() = service::to_duration(*wait);
    }
    const auto wait = read_wait_active(call->request.query);
    if (!wait) return call->fail(wait.error());
    ask<Lease>(
        api,
        call,
        "berth.cmd.lease.acquire",
        command,
        std::move(*id),
        [&api, call, wait = *wait](const Lease& lease) {
            if (!wait) return answer_acquired(call, lease);
            await_lease(api, call, lease.id(), *wait, answer_acquired);
        }
    );
}

void list_leases(Api& api, const CallPtr& call) {
    lease::v1::List query;
    fill_actor(call->principal, *query.mutable_actor());
    if (auto page = read_page(call->request.query, *query.mutable_page()); !page)
        return call->fail(page.error());
    query.set_all(call->request.query.flag("all"));
    ask<lease::v1::ListReply>(
        api,
        call,
        "berth.qry.lease.list",
        query,
        {},
        [call](const lease::v1::ListReply& reply) { call->json(200, reply); }
    );
}

void get_lease(Api& api, const CallPtr& call) {
    if (!plausible_id(call->param("id"))) return call->fail(no_such_lease());
    const auto wait = read_wait_active(call->request.query);
    if (!wait) return call->fail(wait.error());
    if (*wait) return await_lease(api, call, call->param("id"), **wait, answer_lease);
    lease::v1::Get query;
    fill_actor(call->principal, *query.mutable_actor());
    query.set_lease(call->param("id"));
    ask<Lease>(api, call, "berth.qry.lease.get", query, {}, [call](const Lease& lease) {
        call->json(200, lease);
    });
}

void heartbeat_lease(Api& api, const CallPtr& call) {
    change_lease<lease::v1::Heartbeat>(api, call, "berth.cmd.lease.heartbeat");
}
void release_lease(Api& api, const CallPtr& call) {
    change_lease<lease::v1::Release>(api, call, "berth.cmd.lease.release");
}

}  // namespace berth::gateway
