// SPDX-License-Identifier: Apache-2.0
// create, destroy, renew.
#include "provisioner/handlers.hpp"

#include "berth/common/v1/common.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "provisioner/settings.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"

namespace berth::prov {
namespace {

using service::Decision;
using service::reply_with;

constexpr std::string_view kToken = "prov";

template <typename Request>
bool signed_by(
    const std::string& key,
    const std::string& encoded,
    const std::string& purpose,
    const Request& request
) {
    const auto signature = decode_base64url(encoded);
    return signature &&
           identity::verify(key, purpose + request.machine() + ":" + request.nonce(), *signature);
}

// What a provider says is text of a stranger: kept short, and whole characters only.
std::string told_words(const std::string& words) {
    if (!is_utf8(words)) return {};
    if (words.size() <= kMostAttemptWords) return words;
    return clipped(words, kMostAttemptWords) + "...";
}

bool may_have_user(const Resource& resource) {
    return resource.state == ResourceState::kReady || resource.state == ResourceState::kCreating;
}

}  // namespace

store::OutboxMessage fact(
    const service::Context& context,
    const Resource& resource,
    std::string_view code,
    const Attempts& attempts,
    bool cleanable
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
    for (const Attempt& attempt : attempts) {
        if (event.attempts_size() == kMostAttemptsTold) break;
        lease::v1::Attempt& told = *event.add_attempts();
        told.set_provider(resource.driver);
        told.set_target(attempt.target);
        told.set_code(attempt.code);
        told.set_message(told_words(attempt.message));
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
        create.machine(),
        create.org(),
        create.lease(),
        create.slug(),
        create.profile(),
        create.command()};
}

void ProvHandlers::bind(service::Handlers& handlers) {
    handlers.command("create", this, &ProvHandlers::create);
    handlers.command("destroy", this, &ProvHandlers::destroy);
    handlers.command("renew", this, &ProvHandlers::renew);
    handlers.command("enrol", this, &ProvHandlers::enrol);
    handlers.query("drift", this, &ProvHandlers::drift);
}

ProvHandlers::Outcome ProvHandlers::create(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(auto request, service::decode<v1::Create>(payload));
    if (!is_id("m", request.machine()) || !is_subject_token(request.org()))
        return invalid("bad_id", "machine or org is malformed", "machine");
    Resource resource;
    resource.machine = request.machine();
    resource.org = request.org();
    resource.lease = request.lease();
    resource.driver = request.profile().driver();
    request.set_command(context.command_id);
    resource.spec = request.SerializeAsString();
    resource.next_at = context.now;
    const auto driver = drivers_.find(resource.driver);
    std::string_view code;
    if (driver == drivers_.end()) {
        resource.state = ResourceState::kFailed;
        resource.error = "profile '" + request.profile().name() + "' names driver '" +
                         resource.driver + "', which this provisioner does not have";
        resource.driver.clear(
        );  // nobody has anything of it: its removal is a matter of the record
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
        decision.messages.push_back(fact(
            context,
            resource,
            code,
            {},
            driver != drivers_.end() && driver->second->cleanable(request.profile())
        ));
    } else {
        wake_();
    }
    return decision;
}

ProvHandlers::Outcome ProvHandlers::destroy(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, service::decode<v1::Destroy>(payload));
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
    // Asked again although it is gone: whoever asks has not heard so.
    if (resource->state == ResourceState::kGone)
        decision.messages.push_back(fact(context, *resource, {}));
    if (!want_destroyed(*resource, context.now)) return decision;
    const auto driver = drivers_.find(resource->driver);
    const bool nowhere =
        driver != drivers_.end() ? driver->second->instant() : resource->driver.empty();
    if (nowhere) {
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
    BERTH_ASSIGN(const auto request, service::decode<v1::Renew>(payload));
    // The machine's rights name its own subject only, so the subject is who asks.
    const auto tokens = split(context.subject, '.');
    if (tokens.size() != 5 || tokens[4] != request.machine())
        return forbidden("not_this_machine", "a machine renews its own credential only");
    if (!signed_by(request.user_public_key(), request.signature(), "berth-renew:", request))
        return forbidden("bad_signature", "the request is not signed by the key it names");
    BERTH_ASSIGN(const auto resource, repo::lock(tx, request.machine()));
    if (!resource || !may_have_user(*resource))
        return conflict("machine_gone", "the machine is not live any more");
    return credential(*resource, request.user_public_key(), context.now);
}

ProvHandlers::Outcome ProvHandlers::enrol(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const auto request, service::decode<v1::Enrol>(payload));
    if (!is_id("m", request.machine())) return invalid("bad_id", "machine is malformed", "machine");
    if (!signed_by(request.user_public_key(), request.signature(), "berth-enrol:", request))
        return forbidden("bad_signature", "the request is not signed by the key it names");
    BERTH_ASSIGN(const auto resource, repo::lock(tx, request.machine()));
    BERTH_ASSIGN(auto row, repo::lock_enrolment(tx, request.machine()));
    // One answer for what never was and what is over: a stranger learns nothing of machines.
    if (!resource || !row || !may_have_user(*resource))
        return forbidden("bad_token", "this is not the token of this machine");
    BERTH_TRY(may_enrol(*row, request.token_hash(), request.user_public_key(), context.now));
    row->public_key = request.user_public_key();
    BERTH_TRY(repo::use_enrolment(tx, *row));
    return credential(*resource, request.user_public_key(), context.now);
}

ProvHandlers::Outcome ProvHandlers::credential(
    const Resource& resource, const std::string& public_key, WallTime now
) {
    v1::NodeCredential reply;
    BERTH_ASSIGN(
        *reply.mutable_jwt(), enrolment_.mint(resource.machine, resource.org, public_key, now)
    );
    *reply.mutable_expires_at() = service::to_timestamp(now + kNodeCredentialLife);
    return reply_with(reply);
}

ProvHandlers::Outcome ProvHandlers::drift(const Context&, const std::string&) {
    std::vector<std::string> names;
    for (const auto& [name, driver] : drivers_) {
        if (!driver->instant()) names.push_back(name);
    }
    BERTH_ASSIGN(const DriftReport report, repo::read_drift(pool_, names));
    v1::Drift reply;
    std::optional<WallTime> oldest;
    bool all = true;
    for (const DriverLook& look : report.looks) {
        v1::DriverLook& told = *reply.add_drivers();
        told.set_driver(look.driver);
        told.set_ok(look.ok);
        told.set_machines(static_cast<std::uint32_t>(look.machines));
        told.set_error(look.error);
        if (!look.looked_at) {
            all = false;
            continue;
        }
        *told.mutable_looked_at() = service::to_timestamp(*look.looked_at);
        oldest = oldest ? std::min(*oldest, *look.looked_at) : *look.looked_at;
    }
    if (all && oldest) *reply.mutable_looked_at() = service::to_timestamp(*oldest);
    for (const DriftItem& item : report.items) {
        v1::DriftItem& told = *reply.add_items();
        told.set_kind(static_cast<v1::DriftKind>(item.kind));
        told.set_driver(item.driver);
        told.set_machine(item.machine);
        told.set_lease(item.lease);
        told.set_org(item.org);
        *told.mutable_since() = service::to_timestamp(item.since);
        told.set_message(item.message);
    }
    return reply_with(reply);
}

}  // namespace berth::prov
