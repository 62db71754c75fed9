// SPDX-License-Identifier: Apache-2.0
// The commands, queries and events of lease_broker.
#include "lease_broker/handlers.hpp"

#include <algorithm>

#include "berth/prov/v1/prov.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::make_command;
using service::make_event;
using service::reply_with;

constexpr std::string_view kToken = "lease";
constexpr int kSlugAttempts =
    8;  // with the suffix from the third on, the eighth means a broken generator
constexpr std::size_t kMaxLabel = 200;
constexpr int kMaxPage = 100;
constexpr int kDefaultPage = 50;

bool has_role(const common::v1::Actor& actor, std::string_view role) {
    return std::find(actor.roles().begin(), actor.roles().end(), role) != actor.roles().end();
}

bool may_see(const common::v1::Actor& actor, const Lease& lease) {
    return actor.org() == lease.org && (actor.user() == lease.owner || has_role(actor, "admin"));
}

Error no_such_lease(const std::string& id_or_slug) {
    return not_found(
        "lease_not_found",
        "there is no lease '" + id_or_slug.substr(0, 64) + "'; `berth leases` shows yours"
    );
}

/// An id is taken in any case; a slug as it is.
std::string normal(const std::string& id_or_slug) {
    if (auto id = normalize_id("ls", id_or_slug)) return *id;
    return id_or_slug;
}

template <typename T>
Result<T> decode(const std::string& payload) {
    T message;
    if (!message.ParseFromString(payload)) return service::undecodable(message.GetTypeName());
    return message;
}

store::OutboxMessage lease_event(
    const service::Context& context, const Lease& lease, std::string_view fact
) {
    v1::LeaseChanged event;
    *event.mutable_lease() = to_proto(lease);
    return make_event(
        context,
        kToken,
        lease.org,
        "lease",
        fact,
        lease.id,
        static_cast<std::uint64_t>(lease.revision),
        event
    );
}

store::OutboxMessage machine_event(
    const service::Context& context, const Machine& machine, std::string_view fact
) {
    v1::MachineChanged event;
    *event.mutable_machine() = to_proto(machine);
    return make_event(
        context,
        kToken,
        machine.org,
        "machine",
        fact,
        machine.id,
        static_cast<std::uint64_t>(machine.revision),
        event
    );
}

store::OutboxMessage destroy_command(const service::Context& context, const Machine& machine) {
    prov::v1::Destroy destroy;
    destroy.set_machine(machine.id);
    destroy.set_org(machine.org);
    return make_command(
        context,
        kToken,
        "berth.cmd.prov.destroy",
        "destroy/" + machine.id,
        "machine/" + machine.id,
        destroy,
        kDestroyDeadline
    );
}

}  // namespace

void LeaseHandlers::bind(service::Handlers& handlers) {
    const auto command = [&](const char* verb,
                             Outcome (LeaseHandlers::*handler
                             )(const Context&, const std::string&, store::Transaction&)) {
        handlers.command(
            verb,
            [this, handler](
                const Context& context, const std::string& payload, store::Transaction& tx
            ) { return (this->*handler)(context, payload, tx); }
        );
    };
    command("acquire", &LeaseHandlers::acquire);
    command("heartbeat", &LeaseHandlers::heartbeat);
    command("release", &LeaseHandlers::release);
    command("attach", &LeaseHandlers::attach);
    handlers.query("get", [this](const Context& context, const std::string& payload) {
        return get(context, payload);
    });
    handlers.query("list", [this](const Context& context, const std::string& payload) {
        return list(context, payload);
    });
    handlers.event(
        "lease-prov",
        [this](const Context& context, const std::string& payload, store::Transaction& tx) {
            return machine_fact(context, payload, tx);
        }
    );
    handlers.event(
        "lease-run",
        [this](const Context& context, const std::string& payload, store::Transaction& tx) {
            return run_fact(context, payload, tx);
        }
    );
}

Result<Lease> LeaseHandlers::new_lease(const v1::Acquire& request, const Context& context) {
    const std::string profile_name = request.profile().empty() ? "default" : request.profile();
    const auto profile = settings_.profiles.find(profile_name);
    if (profile == settings_.profiles.end()) {
        std::string known;
        for (const auto& [name, unused] : settings_.profiles)
            known += (known.empty() ? "" : ", ") + name;
        return invalid(
            "unknown_profile",
            "there is no profile '" + profile_name.substr(0, 64) + "'; known are " + known,
            "profile"
        );
    }
    Lease lease;
    lease.ttl = service::to_milliseconds(request.has_ttl() ? request.ttl() : profile->second.ttl());
    lease.idle_timeout = service::to_milliseconds(
        request.has_idle_timeout() ? request.idle_timeout() : profile->second.idle_timeout()
    );
    BERTH_TRY(check_duration(lease.ttl, "ttl"));
    BERTH_TRY(check_duration(lease.idle_timeout, "idle_timeout"));
    if (request.label().size() > kMaxLabel)
        return invalid("bad_label", "label is longer than 200 bytes", "label");
    if (request.actor().user().empty() || !is_subject_token(request.actor().org())) {
        return invalid("no_actor", "the command names nobody it acts for", "actor");
    }
    lease.id = make_id("ls", context.now, random_);
    lease.machine = make_id("m", context.now, random_);
    lease.org = request.actor().org();
    lease.owner = request.actor().user();
    lease.profile = profile_name;
    lease.created_at = context.now;
    lease.touched_at = context.now;
    lease.label = request.label();
    lease.one_shot = request.one_shot();
    return lease;
}

LeaseHandlers::Outcome LeaseHandlers::acquire(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Acquire request, decode<v1::Acquire>(payload));
    BERTH_ASSIGN(Lease lease, new_lease(request, context));
    if (request.reuse()) {
        BERTH_ASSIGN(
            auto held, repo::lock_reusable(tx, lease.org, lease.owner, lease.profile, lease.label)
        );
        if (held && touch(*held, context.now)) {
            BERTH_TRY(repo::update_lease(tx, *held));
            return reply_with(to_proto(*held));
        }
    }
    bool inserted = false;
    for (int attempt = 0; attempt < kSlugAttempts && !inserted; ++attempt) {
        lease.slug = make_slug(random_, attempt);
        BERTH_ASSIGN(inserted, repo::insert_lease(tx, lease));
    }
    if (!inserted) return internal("no_slug", "no free slug was found");

    const v1::Profile& profile = settings_.profiles.at(lease.profile);
    const Machine machine{
        lease.machine,
        lease.org,
        lease.profile,
        profile.driver(),
        MachineState::MACHINE_STATE_PROVISIONING,
        lease.id,
        context.now,
        1};
    BERTH_TRY(repo::insert_machine(tx, machine));
    prov::v1::Create create;
    create.set_machine(machine.id);
    create.set_org(machine.org);
    create.set_lease(lease.id);
    create.set_slug(lease.slug);
    *create.mutable_profile() = profile;
    Decision decision = reply_with(to_proto(lease));
    decision.messages.push_back(lease_event(context, lease, "created"));
    decision.messages.push_back(make_command(
        context,
        kToken,
        "berth.cmd.prov.create",
        "create/" + machine.id,
        "machine/" + machine.id,
        create,
        kCreateDeadline
    ));
    return decision;
}

Result<Lease> LeaseHandlers::owned(
    store::Transaction& tx, const common::v1::Actor& actor, const std::string& id_or_slug
) {
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, actor.org(), normal(id_or_slug)));
    if (!lease || !may_see(actor, *lease)) return no_such_lease(id_or_slug);
    return std::move(*lease);
}

LeaseHandlers::Outcome LeaseHandlers::heartbeat(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Heartbeat request, decode<v1::Heartbeat>(payload));
    BERTH_ASSIGN(Lease lease, owned(tx, request.actor(), request.lease()));
    BERTH_TRY(touch(lease, context.now));
    BERTH_TRY(repo::update_lease(tx, lease));
    return reply_with(to_proto(lease));
}

Result<bool> LeaseHandlers::finish(
    const Context& context,
    store::Transaction& tx,
    Lease& lease,
    LeaseState to,
    std::string_view reason,
    std::vector<store::OutboxMessage>& out
) {
    if (!end(lease, to, reason, context.now)) return false;
    BERTH_TRY(repo::update_lease(tx, lease));
    out.push_back(lease_event(context, lease, state_name(lease.state)));
    BERTH_ASSIGN(auto machine, repo::lock_machine(tx, lease.machine));
    if (!machine || machine->state == MachineState::MACHINE_STATE_GONE ||
        machine->state == MachineState::MACHINE_STATE_DRAINING)
        return true;
    machine->state = MachineState::MACHINE_STATE_DRAINING;
    ++machine->revision;
    BERTH_TRY(repo::update_machine(tx, *machine));
    out.push_back(machine_event(context, *machine, "draining"));
    out.push_back(destroy_command(context, *machine));
    return true;
}

LeaseHandlers::Outcome LeaseHandlers::release(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Release request, decode<v1::Release>(payload));
    BERTH_ASSIGN(Lease lease, owned(tx, request.actor(), request.lease()));
    Decision decision;
    // Idempotent: releasing what has ended says how it ended.
    BERTH_TRY(
        finish(context, tx, lease, LeaseState::LEASE_STATE_RELEASED, "released", decision.messages)
    );
    Decision reply = reply_with(to_proto(lease));
    reply.messages = std::move(decision.messages);
    return reply;
}

LeaseHandlers::Outcome LeaseHandlers::attach(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Attach request, decode<v1::Attach>(payload));
    BERTH_ASSIGN(Lease lease, owned(tx, request.actor(), request.lease()));
    if (request.transient()) {
        if (lease.state == LeaseState::LEASE_STATE_PENDING) {
            return conflict(
                "lease_pending",
                "lease " + lease.slug + " has no machine yet; wait until it is active"
            );
        }
        BERTH_TRY(touch(lease, context.now));
    } else {
        if (!is_id("rn", request.work())) return invalid("bad_id", "work must be a run id", "work");
        Lease attached = lease;
        BERTH_TRY(lease::attach(attached, context.now));
        BERTH_ASSIGN(
            const bool added, repo::insert_attachment(tx, lease.id, request.work(), context.now)
        );
        if (added) lease = attached;
    }
    BERTH_TRY(repo::update_lease(tx, lease));
    v1::Attached reply;
    *reply.mutable_lease() = to_proto(lease);
    if (const auto profile = settings_.profiles.find(lease.profile);
        profile != settings_.profiles.end())
        *reply.mutable_profile() = profile->second;
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::get(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::Get request, decode<v1::Get>(payload));
    BERTH_ASSIGN(
        const auto lease, repo::find_lease(pool_, request.actor().org(), normal(request.lease()))
    );
    if (!lease || !may_see(request.actor(), *lease)) return no_such_lease(request.lease());
    return reply_with(to_proto(*lease));
}

LeaseHandlers::Outcome LeaseHandlers::list(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::List request, decode<v1::List>(payload));
    repo::ListFilter filter;
    filter.org = request.actor().org();
    if (!has_role(request.actor(), "admin")) filter.owner = request.actor().user();
    filter.ended = request.all();
    if (!request.page().cursor().empty()) {
        if (!is_id("ls", request.page().cursor()))
            return invalid("bad_cursor", "cursor is not one that a page returned", "cursor");
        filter.before = request.page().cursor();
    }
    if (request.page().limit() > kMaxPage)
        return invalid("bad_limit", "limit must be 1 to 100", "limit");
    const int limit =
        request.page().limit() == 0 ? kDefaultPage : static_cast<int>(request.page().limit());
    filter.limit = limit + 1;  // one more tells whether there is a next page
    BERTH_ASSIGN(const auto leases, repo::list_leases(pool_, filter));
    v1::ListReply reply;
    for (const Lease& lease : leases) {
        if (reply.leases_size() == limit) {
            reply.set_next_cursor(reply.leases(limit - 1).id());
            break;
        }
        *reply.add_leases() = to_proto(lease);
    }
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::machine_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const prov::v1::MachineFact fact, decode<prov::v1::MachineFact>(payload));
    const auto tokens = split(context.subject, '.');
    const std::string_view what = tokens.size() > 5 ? tokens[5] : std::string_view();
    Decision decision = reply_with(common::v1::Empty{});
    // The lease's row before the machine's, as everywhere: one order of locks.
    BERTH_ASSIGN(auto lease, repo::lock_lease_by_machine(tx, fact.machine()));
    BERTH_ASSIGN(auto machine, repo::lock_machine(tx, fact.machine()));
    if (!machine || machine->state == MachineState::MACHINE_STATE_GONE) return decision;
    if (what == "ready") {
        if (!lease || lease->state != LeaseState::LEASE_STATE_PENDING)
            return decision;  // released meanwhile: its destroy is on its way
        if (machine->state != MachineState::MACHINE_STATE_PROVISIONING) return decision;
        machine->state = MachineState::MACHINE_STATE_LEASED;
        BERTH_TRY(activate(*lease, context.now));
        BERTH_TRY(repo::update_lease(tx, *lease));
        decision.messages.push_back(lease_event(context, *lease, "activated"));
    } else if (what == "failed" || what == "gone") {
        if (lease) {
            const std::string_view reason =
                what == "failed" ? std::string_view(fact.code()) : std::string_view("machine_gone");
            if (end(*lease,
                    LeaseState::LEASE_STATE_FAILED,
                    reason.empty() ? "provisioning_failed" : reason,
                    context.now)) {
                BERTH_TRY(repo::update_lease(tx, *lease));
                decision.messages.push_back(lease_event(context, *lease, "failed"));
            }
        }
        machine->state =
            what == "gone" ? MachineState::MACHINE_STATE_GONE : MachineState::MACHINE_STATE_FAILED;
    } else {
        return decision;
    }
    ++machine->revision;
    BERTH_TRY(repo::update_machine(tx, *machine));
    decision.messages.push_back(machine_event(context, *machine, state_name(machine->state)));
    if (what == "failed")
        decision.messages.push_back(destroy_command(context, *machine)
        );  // whatever was half made goes
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::run_fact(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const run::v1::RunChanged changed, decode<run::v1::RunChanged>(payload));
    const run::v1::Run& run = changed.run();
    Decision decision = reply_with(common::v1::Empty{});
    if (run.state() < run::v1::RUN_STATE_SUCCEEDED) {
        BERTH_TRY(repo::confirm_attachment(tx, run.id()));
        return decision;
    }
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, run.org(), run.lease()));
    BERTH_ASSIGN(const auto attached, repo::delete_attachment(tx, run.id()));
    if (!lease || !lease->live()) return decision;
    if (attached) detach(*lease, context.now);
    if (lease->one_shot && lease->live_runs == 0) {
        BERTH_TRY(finish(
            context, tx, *lease, LeaseState::LEASE_STATE_RELEASED, "run_ended", decision.messages
        ));
    } else if (attached) {
        BERTH_TRY(repo::update_lease(tx, *lease));
    }
    return decision;
}

Result<std::vector<store::OutboxMessage>> LeaseHandlers::expire(
    store::Transaction& tx, const std::string& org, const std::string& id, WallTime now
) {
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, org, id));
    if (!lease) return messages;
    const std::string reason(overdue(*lease, now));
    if (reason.empty()) return messages;  // touched meanwhile
    Context context;
    context.command_id = service::child_command_id(id, "expire/" + std::to_string(lease->revision));
    context.correlation_id = context.command_id;
    context.now = now;
    BERTH_TRY(finish(context, tx, *lease, LeaseState::LEASE_STATE_EXPIRED, reason, messages));
    return messages;
}

Result<std::vector<store::OutboxMessage>> LeaseHandlers::drop_attachment(
    store::Transaction& tx, const std::string& work, WallTime now
) {
    std::vector<store::OutboxMessage> messages;
    BERTH_ASSIGN(const auto org, repo::org_of_attachment(tx, work));
    BERTH_ASSIGN(const auto id, repo::delete_attachment(tx, work));
    if (!org || !id) return messages;
    BERTH_ASSIGN(auto lease, repo::lock_lease(tx, *org, *id));
    if (!lease || !lease->live()) return messages;
    detach(*lease, now);
    BERTH_TRY(repo::update_lease(tx, *lease));
    return messages;
}

}  // namespace berth::lease
