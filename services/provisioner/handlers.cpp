// SPDX-License-Identifier: Apache-2.0
// create, destroy, renew.
#include "provisioner/handlers.hpp"

#include "berth/common/v1/common.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "provisioner/settings.hpp"
#include "service/proto_time.hpp"

namespace berth::prov {
namespace {

using service::Decision;
using service::reply_with;

constexpr std::string_view kToken = "prov";

}  // namespace

store::OutboxMessage fact(
    const service::Context& context, const Resource& resource, std::string_view code, bool cleanable
) {
    v1::MachineFact event;
    event.set_machine(resource.machine);
    event.set_org(resource.org);
    event.set_lease(resource.lease);
    event.set_driver(resource.driver);
    event.set_revision(static_cast<std::uint64_t>(resource.revision));
    event.set_cleanable(cleanable && resource.state == ResourceState::kReady);
    if (resource.state == ResourceState::kFailed) {
        event.set_reason(resource.error);
        event.set_code(std::string(code));
    }
    return service::make_event(
        context,
        kToken,
        resource.org,
        "machine",
        state_name(resource.state),
        resource.machine,
        event.revision(),
        event
    );
}

Result<MachineSpec> spec_of(const Resource& resource) {
    v1::Create create;
    if (!create.ParseFromString(resource.spec))
        return internal(
            "bad_spec", "the stored command of " + resource.machine + " cannot be read"
        );
    return MachineSpec{
        create.machine(), create.org(), create.lease(), create.slug(), create.profile()};
}

void ProvHandlers::bind(service::Handlers& handlers) {
    const auto command = [&](const char* verb,
                             Outcome (ProvHandlers::*handler
                             )(const Context&, const std::string&, store::Transaction&)) {
        handlers.command(
            verb,
            [this, handler](
                const Context& context, const std::string& payload, store::Transaction& tx
            ) { return (this->*handler)(context, payload, tx); }
        );
    };
    command("create", &ProvHandlers::create);
    command("destroy", &ProvHandlers::destroy);
    command("renew", &ProvHandlers::renew);
}

ProvHandlers::Outcome ProvHandlers::create(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    v1::Create request;
    if (!request.ParseFromString(payload)) return service::undecodable(request.GetTypeName());
    if (!is_id("m", request.machine()) || !is_subject_token(request.org()))
        return invalid("bad_id", "machine or org is malformed", "machine");
    Resource resource;
    resource.machine = request.machine();
    resource.org = request.org();
    resource.lease = request.lease();
    resource.driver = request.profile().driver();
    resource.spec = payload;
    resource.next_at = context.now;
    const auto driver = drivers_.find(resource.driver);
    std::string_view code;
    if (driver == drivers_.end()) {
        resource.state = ResourceState::kFailed;
        resource.error = "profile '" + request.profile().name() + "' names driver '" +
                         resource.driver + "', which this provisioner does not have";
        code = "unknown_driver";
    } else if (driver->second->instant()) {
        resource.state = ResourceState::kReady;
    }
    Decision decision = reply_with(common::v1::Empty{});
    // Known already: a destroy came first, or the same machine under another command. Either way it
    // stands.
    BERTH_ASSIGN(const bool inserted, repo::insert(tx, resource));
    if (!inserted) return decision;
    if (resource.state != ResourceState::kCreating) {
        decision.messages.push_back(
            fact(context, resource, code, driver != drivers_.end() && driver->second->cleanable())
        );
    } else {
        wake_();
    }
    return decision;
}

ProvHandlers::Outcome ProvHandlers::destroy(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    v1::Destroy request;
    if (!request.ParseFromString(payload)) return service::undecodable(request.GetTypeName());
    if (!is_id("m", request.machine())) return invalid("bad_id", "machine is malformed", "machine");
    Decision decision = reply_with(common::v1::Empty{});
    BERTH_ASSIGN(auto resource, repo::lock(tx, request.machine()));
    if (!resource) {
        // Its create has not come, and must not have an effect when it does.
        Resource tombstone;
        tombstone.machine = request.machine();
        tombstone.org = request.org();
        tombstone.state = ResourceState::kGone;
        tombstone.next_at = context.now;
        BERTH_ASSIGN(const bool inserted, repo::insert(tx, tombstone));
        if (!inserted)
            return unavailable("raced", "the machine is being created at this very moment");
        decision.messages.push_back(fact(context, tombstone, {}));
        return decision;
    }
    if (!want_destroyed(*resource, context.now)) return decision;
    const auto driver = drivers_.find(resource->driver);
    if (driver == drivers_.end() || driver->second->instant()) {
        destroyed(*resource);
        decision.messages.push_back(fact(context, *resource, {}));
    }
    BERTH_TRY(repo::update(tx, *resource));
    wake_();
    return decision;
}

ProvHandlers::Outcome ProvHandlers::renew(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    v1::Renew request;
    if (!request.ParseFromString(payload)) return service::undecodable(request.GetTypeName());
    // The machine's rights name its own subject only, so the subject is who asks.
    const auto tokens = split(context.subject, '.');
    if (tokens.size() != 5 || tokens[4] != request.machine())
        return forbidden("not_this_machine", "a machine renews its own credential only");
    const auto signature = decode_base64url(request.signature());
    if (!signature || !identity::verify(
                          request.user_public_key(),
                          "berth-renew:" + request.machine() + ":" + request.nonce(),
                          *signature
                      )) {
        return forbidden("bad_signature", "the request is not signed by the key it names");
    }
    BERTH_ASSIGN(const auto resource, repo::lock(tx, request.machine()));
    if (!resource ||
        (resource->state != ResourceState::kReady && resource->state != ResourceState::kCreating)) {
        return conflict("machine_gone", "the machine is not live any more");
    }
    v1::NodeCredential reply;
    BERTH_ASSIGN(
        *reply.mutable_jwt(),
        enrolment_.mint(request.machine(), resource->org, request.user_public_key(), context.now)
    );
    *reply.mutable_expires_at() = service::to_timestamp(context.now + kNodeCredentialLife);
    return reply_with(reply);
}

}  // namespace berth::prov
