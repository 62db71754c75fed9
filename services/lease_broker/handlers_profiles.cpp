// SPDX-License-Identifier: Apache-2.0
// Kinds of machines as admins change them while the deployment runs.
#include "core/text.hpp"
#include "lease_broker/handlers.hpp"
#include "lease_broker/request.hpp"
#include "store/advisory.hpp"

namespace berth::lease {
namespace {

using service::Decision;
using service::reply_with;

Error no_such_profile(const std::string& name) {
    return not_found(
        "unknown_profile",
        "there is no profile '" + clipped(name, 64) + "'; `berth profiles` shows them"
    );
}

Result<void> check_admin(const common::v1::Actor& actor) {
    if (!has_role(actor, "admin"))
        return forbidden("role_missing", "profiles are changed by admins");
    if (!is_subject_token(actor.org()))
        return invalid("no_actor", "the command names nobody it acts for", "actor");
    return {};
}

Error in_file(const std::string& name) {
    return conflict(
        "profile_in_file",
        "profile '" + name +
            "' is written in the deployment's settings file (berth.yaml), where it is changed"
    );
}

store::OutboxMessage profile_event(
    const service::Context& context,
    const common::v1::Actor& actor,
    const v1::Profile& profile,
    std::string_view fact
) {
    v1::ProfileChanged event;
    *event.mutable_profile() = profile;
    event.set_by(actor.user());
    return service::make_event(
        context, "lease", actor.org(), "profile", fact, profile.name(), profile.revision(), event
    );
}

}  // namespace

LeaseHandlers::Outcome LeaseHandlers::set_profile(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::SetProfile request, decode<v1::SetProfile>(payload));
    BERTH_TRY(check_admin(request.actor()));
    BERTH_ASSIGN(v1::Profile profile, parse_profile(request.profile(), request.recipe()));
    BERTH_TRY(check_lists(profile));
    if (profiles_.in_file(request.profile())) return in_file(request.profile());
    BERTH_TRY(repo::lock_limit(tx, "profiles", ""));
    BERTH_ASSIGN(const auto before, repo::stored_profile(tx, request.profile()));
    BERTH_ASSIGN(const std::int64_t count, repo::count_profiles(tx));
    if (!before && count >= kMostProfiles)
        return limit("too_many_profiles", "1000 profiles are stored already; remove one");
    BERTH_ASSIGN(
        const auto revision,
        repo::put_profile(tx, {request.profile(), request.recipe(), 0}, request.actor().user())
    );
    profile.set_source("api");
    profile.set_revision(static_cast<std::uint64_t>(
        revision ? *revision
        : before ? before->revision
                 : 0
    ));
    Decision decision = reply_with(profile);
    if (revision)
        decision.messages.push_back(profile_event(context, request.actor(), profile, "set"));
    profiles_.read_soon();
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::remove_profile(
    const Context& context, const std::string& payload, store::Transaction& tx
) {
    BERTH_ASSIGN(const v1::RemoveProfile request, decode<v1::RemoveProfile>(payload));
    BERTH_TRY(check_admin(request.actor()));
    if (profiles_.in_file(request.profile())) return in_file(request.profile());
    BERTH_ASSIGN(const auto before, repo::stored_profile(tx, request.profile()));
    if (!before) return no_such_profile(request.profile());
    BERTH_ASSIGN(
        const auto revision, repo::remove_profile(tx, request.profile(), request.actor().user())
    );
    v1::Profile profile;
    if (auto parsed = parse_profile(before->name, before->text)) profile = std::move(*parsed);
    profile.set_name(request.profile());
    profile.set_source("api");
    profile.set_revision(static_cast<std::uint64_t>(revision ? *revision : before->revision));
    Decision decision = reply_with(common::v1::Empty{});
    // Who waits for a machine of it waits in vain, unless a profile of that name is built in.
    const Work work{context, tx, decision.messages};
    if (request.profile() != kDefaultProfile)
        BERTH_TRY(fleet_.fail_line(work, request.profile(), "profile_removed"));
    decision.messages.push_back(profile_event(context, request.actor(), profile, "removed"));
    profiles_.read_soon();
    return decision;
}

LeaseHandlers::Outcome LeaseHandlers::list_profiles(const Context&, const std::string& payload) {
    BERTH_TRY(decode<v1::ListProfiles>(payload));
    v1::ProfilesReply reply;
    // From the database: who has just changed one sees it, whichever replica answers.
    BERTH_TRY(profiles_.read());
    for (const auto& [name, recipe] : *profiles_.all()) *reply.add_profiles() = recipe->profile;
    return reply_with(reply);
}

LeaseHandlers::Outcome LeaseHandlers::get_profile(const Context&, const std::string& payload) {
    BERTH_ASSIGN(const v1::GetProfile request, decode<v1::GetProfile>(payload));
    BERTH_TRY(profiles_.read());
    const RecipePtr found = profiles_.find(request.profile());
    if (found == nullptr) return no_such_profile(request.profile());
    return reply_with(found->profile);
}

}  // namespace berth::lease
