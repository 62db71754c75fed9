// SPDX-License-Identifier: Apache-2.0
// A new lease: what may be asked for, what it may cost, and where its machine comes from.
#include "core/text.hpp"
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"
#include "service/proto_time.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::reply_with;

constexpr int kSlugAttempts =
    8;  // with the suffix from the third on, the eighth means a broken generator
constexpr std::size_t kMaxLabel = 200;

Error too_many(const std::string& whose, std::int64_t most) {
    return limit(
        "lease_limit",
        whose + " may have " + std::to_string(most) +
            " live leases at once and has them; release one (`berth leases`)"
    );
}

Error unknown_profile(const std::string& name, const Profiles::All& all) {
    std::string known;
    for (const auto& [each, value] : all) known += (known.empty() ? "" : ", ") + each;
    return invalid(
        "unknown_profile",
        "there is no profile '" + clipped(name, 64) + "'; known are " + known,
        "profile"
    );
}

}  // namespace

Result<Lease> LeaseHandlers::new_lease(
    const v1::Acquire& request, const Context& context, const Recipe& recipe
) {
    const v1::Profile* const profile = &recipe.profile;
    Lease lease;
    lease.ttl = service::to_milliseconds(request.has_ttl() ? request.ttl() : profile->ttl());
    lease.idle_timeout = service::to_milliseconds(
        request.has_idle_timeout() ? request.idle_timeout() : profile->idle_timeout()
    );
    BERTH_TRY(check_duration(lease.ttl, "ttl"));
    const milliseconds most = service::to_milliseconds(profile->ttl());
    if (request.has_ttl() && lease.ttl > most)
        return invalid(
            "bad_duration",
            "ttl must be at most " + format_duration(most) + ", the ttl of profile '" +
                profile->name() + "'",
            "ttl"
        );
    BERTH_TRY(check_duration(lease.idle_timeout, "idle_timeout"));
    if (request.has_wait())
        BERTH_TRY(check_duration(service::to_milliseconds(request.wait()), "wait", kMostWait));
    if (request.label().size() > kMaxLabel)
        return invalid("bad_label", "label is longer than 200 bytes", "label");
    if (request.actor().user().empty() || !is_subject_token(request.actor().org())) {
        return invalid("no_actor", "the command names nobody it acts for", "actor");
    }
    lease.id = make_id("ls", context.now, random_);
    lease.org = request.actor().org();
    lease.owner = request.actor().user();
    lease.profile = profile->name();
    lease.recipe = recipe.digest;
    lease.created_at = context.now;
    lease.touched_at = context.now;
    lease.label = request.label();
    lease.one_shot = request.one_shot();
    lease.price_per_hour = static_cast<std::int64_t>(profile->price_micros_per_hour());
    lease.reserved = price_of(lease.price_per_hour, lease.ttl);
    return lease;
}

Result<void> LeaseHandlers::check_limits(const Work& work, const Lease& lease) {
    const LeaseSettings& most = settings_;
    const std::int64_t own_leases = most.leases_of(lease.owner);
    const std::int64_t own_budget = most.budget_of(lease.owner);
    const bool budgeted = lease.reserved > 0;
    // Whoever counts, counts alone; the owner's lock before the org's, always.
    if (own_leases > 0 || (budgeted && own_budget > 0))
        BERTH_TRY(repo::lock_limit(work.tx, "owner", lease.org + "/" + lease.owner));
    if (most.leases_per_org > 0 || most.leases_per_profile > 0 ||
        (budgeted && most.budget_per_org > 0))
        BERTH_TRY(repo::lock_limit(work.tx, "org", lease.org));
    const auto count = [&](const std::string& owner, const std::string& profile) {
        return repo::count_live(work.tx, lease.org, owner, profile);
    };
    if (own_leases > 0) {
        BERTH_ASSIGN(const auto live, count(lease.owner, ""));
        if (live >= own_leases) return too_many(lease.owner, own_leases);
    }
    if (most.leases_per_profile > 0) {
        BERTH_ASSIGN(const auto live, count("", lease.profile));
        if (live >= most.leases_per_profile)
            return too_many("profile '" + lease.profile + "'", most.leases_per_profile);
    }
    if (most.leases_per_org > 0) {
        BERTH_ASSIGN(const auto live, count("", ""));
        if (live >= most.leases_per_org) return too_many("org " + lease.org, most.leases_per_org);
    }
    if (!budgeted) return {};
    const std::string month = month_of(lease.created_at);
    const auto check = [&](std::int64_t limit, const std::string& owner, const std::string& whose
                       ) -> Result<void> {
        if (limit == 0) return {};
        BERTH_ASSIGN(Budget budget, repo::month_money(&work.tx, lease.org, owner, month));
        budget.limit = limit;
        return check_budget(budget, lease.reserved, whose, most.currency);
    };
    BERTH_TRY(check(own_budget, lease.owner, lease.owner));
    return check(most.budget_per_org, "", "org " + lease.org);
}

LeaseHandlers::Outcome LeaseHandlers::acquire(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::Acquire request, decode<v1::Acquire>(payload));
    const std::string name = request.profile().empty() ? kDefaultProfile : request.profile();
    BERTH_ASSIGN(const RecipePtr recipe, profiles_.find(tx, name));
    if (recipe == nullptr) return unknown_profile(name, *profiles_.all());
    BERTH_ASSIGN(Lease lease, new_lease(request, context, *recipe));
    if (request.reuse()) {
        BERTH_ASSIGN(
            auto held_lease,
            repo::lock_reusable(tx, lease.org, lease.owner, lease.profile, lease.label)
        );
        if (held_lease && touch(*held_lease, context.now)) {
            repo::update_lease(tx, *held_lease);
            BERTH_ASSIGN(const v1::Lease answer, fleet_.answer(&tx, *held_lease));
            return reply_with(answer);
        }
    }
    std::vector<store::OutboxMessage> messages;
    const Work work{context, tx, messages};
    BERTH_ASSIGN(const auto drained, repo::drain_of(&tx, lease.org, lease.profile));
    if (drained) {
        return exhausted(
            "draining",
            (drained->profile.empty() ? std::string("the fleet")
                                      : "profile '" + drained->profile + "'") +
                " is being drained by " + drained->by + " and takes no new lease" +
                (drained->reason.empty() ? "" : ": " + drained->reason)
        );
    }
    BERTH_TRY(check_limits(work, lease));
    std::vector<Machine> idle;
    BERTH_ASSIGN(
        const Place place, fleet_.find_place(work, lease, *recipe, request.has_wait(), idle)
    );
    Machine machine =
        place == Place::kIdle ? idle.front() : fleet_.new_machine(work, lease.org, *recipe);
    lease.machine = machine.id;
    if (place == Place::kLine)
        stand_in_line(lease, context.now + service::to_milliseconds(request.wait()));
    const Lease created = lease;
    if (place == Place::kIdle) BERTH_TRY(activate(lease, context.now));

    bool inserted = false;
    for (int attempt = 0; attempt < kSlugAttempts && !inserted; ++attempt) {
        lease.slug = make_slug(random_, attempt);
        BERTH_ASSIGN(inserted, repo::insert_lease(tx, lease));
    }
    if (!inserted) return internal("no_slug", "no free slug was found");
    Lease told = created;
    told.slug = lease.slug;
    messages.push_back(lease_event(context, told, "created"));
    if (place == Place::kIdle) {
        messages.push_back(lease_event(context, lease, "activated"));
        BERTH_TRY(fleet_.hand_over(work, machine, lease));
    } else if (place == Place::kMake) {
        machine.lease = lease.id;
        BERTH_TRY(fleet_.make_machine(work, machine, recipe->profile, &lease));
    }
    BERTH_ASSIGN(const v1::Lease answer, fleet_.answer(&tx, lease));
    Decision decision = reply_with(answer);
    decision.messages = std::move(messages);
    return decision;
}

}  // namespace berth::lease
