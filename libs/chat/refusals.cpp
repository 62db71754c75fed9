// SPDX-License-Identifier: Apache-2.0
// By the outbox: what was refused is recorded as surely as what was done.
#include "chat/refusals.hpp"

#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/sha256.hpp"
#include "log/log.hpp"
#include "store/outbox.hpp"

namespace berth::chat {

Result<void> Refusals::tell(
    store::Transaction& tx,
    const std::string& cause,
    const std::string& org,
    warden::v1::Refused refused
) {
    service::Context context;
    context.command_id = cause;
    context.correlation_id = cause;
    context.now = parts_.now();
    refused.set_org(org);
    refused.set_surface(parts_.token());
    auto message = service::make_command(
        context,
        parts_.token(),
        "berth.cmd.warden.refused",
        "refused/" + org,
        "",
        refused,
        milliseconds{0}
    );
    return store::Outbox::add(tx, message);
}

Result<void> Refusals::person(
    store::Transaction& tx, const InboundRow& row, const std::string& org, const std::string& reason
) {
    const Inbound& said = row.inbound;
    const bool click = said.kind == InboundKind::kClick;
    if (!click) {
        const WallTime now = parts_.now();
        BERTH_ASSIGN(
            const bool due,
            repo::may_refuse(tx, "audit/" + said.person.id, now, now - kRefusalEvery)
        );
        if (!due) return {};
    }
    warden::v1::Refused refused;
    refused.set_user(said.person.id);
    refused.set_from(said.conversation.chat);
    refused.set_reason(reason + (click ? ", clicked" : ", spoke"));
    if (click) {
        BERTH_ASSIGN(
            const auto button, repo::find_button(parts_.pool(), hex(identity::sha256(said.token)))
        );
        constexpr std::string_view kApproval = "approval/";
        if (button && button->follows.starts_with(kApproval))
            refused.set_subject(button->follows.substr(kApproval.size()));
    }
    for (const OrgSettings& each : parts_.settings.orgs) {
        if (org.empty() || org == each.org) BERTH_TRY(tell(tx, row.command_id, each.org, refused));
    }
    return {};
}

void Refusals::request(const WebRequest& request, const std::string& reason) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (requests_.add(request.peer, reason, now)) record({{request.peer, reason, 0}});
}

void Refusals::tell_counted() { record(requests_.take_due(std::chrono::steady_clock::now())); }

void Refusals::tell_rest() { record(requests_.take_all(std::chrono::steady_clock::now())); }

void Refusals::record(const std::vector<service::RefusalCount::Counted>& all) {
    if (all.empty()) return;
    const auto told = parts_.pool().transact([&](store::Transaction& tx) -> Result<void> {
        for (const auto& counted : all) {
            warden::v1::Refused refused;
            refused.set_from(counted.address);
            refused.set_reason(counted.text());
            const std::string cause = make_ulid(parts_.now(), Random::system());
            for (const OrgSettings& org : parts_.settings.orgs)
                BERTH_TRY(tell(tx, cause, org.org, refused));
        }
        return {};
    });
    if (told) return;
    for (const auto& counted : all) {
        log::warning(
            "refused requests are not recorded",
            {{"from", counted.address}, {"reason", counted.text()}, {"error", told.error()}}
        );
        requests_.put_back(counted, std::chrono::steady_clock::now());
    }
}

}  // namespace berth::chat
