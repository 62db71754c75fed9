// SPDX-License-Identifier: Apache-2.0
// `berth approvals`, `approve`, `deny` and `grants`.
#include <fmt/format.h>

#include "berth/warden/v1/warden.pb.h"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

using warden::v1::Approval;
using warden::v1::Grant;

constexpr std::size_t kCardWidth = 60;

std::string state_of(const Approval& approval) {
    return enum_word(warden::v1::ApprovalState_Name(approval.state()), "APPROVAL_STATE_");
}

// What is to be executed: the card's line of arguments.
std::string card_line(std::string_view shown) {
    constexpr std::string_view kArguments = "\narguments: ";
    if (const auto at = shown.find(kArguments); at != std::string_view::npos) {
        shown.remove_prefix(at + kArguments.size());
        shown = shown.substr(0, shown.find('\n'));
    }
    std::string out = printable(shown);
    if (out.size() > kCardWidth) out = clipped(out, kCardWidth - 3) + "...";
    return out;
}

std::string until_of(const Approval& approval, WallTime now) {
    if (approval.state() != warden::v1::APPROVAL_STATE_PENDING) return approval.decided_by();
    return approval.has_deadline() ? age(approval.deadline(), now) : std::string("waits");
}

void show_one(const Context& context, const Approval& approval) {
    if (context.json()) return context.print(to_json(approval) + "\n");
    const WallTime now = Clock::system().now();
    std::string out = fmt::format(
        "{}  {}{}\n",
        approval.id(),
        state_of(approval),
        approval.decided_by().empty() ? "" : " by " + printable(approval.decided_by())
    );
    out += approval.shown();
    if (!out.ends_with('\n')) out += '\n';
    const auto line = [&](std::string_view name, const std::string& value) {
        if (!value.empty()) out += fmt::format("{:<10} {}\n", name, printable(value));
    };
    line("asked by", approval.origin().user());
    line("run", approval.origin().run());
    line(
        "machine",
        approval.origin().machine() + " (" +
            enum_word(warden::v1::GuardLevel_Name(approval.origin().level()), "GUARD_LEVEL_") + ")"
    );
    line(
        "rule",
        approval.terms().rule() +
            (approval.terms().reason().empty() ? "" : ": " + approval.terms().reason())
    );
    if (approval.state() == warden::v1::APPROVAL_STATE_PENDING)
        line("deadline", until_of(approval, now));
    if (approval.terms().quorum() > 1)
        line("quorum", fmt::format("{} of {}", approval.votes_size(), approval.terms().quorum()));
    for (const auto& group : approval.group()) line("for", group);
    line("comment", approval.comment());
    line("grant", approval.grant());
    line("edited as", approval.replaced_by());
    context.print(out);
}

int show_list(const Context& context, Api& api, const Arguments& arguments) {
    std::string path = "/v1/approvals?limit=" + net::percent_encode(arguments.get("limit", "50"));
    const std::string state =
        arguments.get("state", arguments.has("all") ? std::string_view() : "pending");
    if (!state.empty()) path += "&state=" + net::percent_encode(state);
    if (arguments.has("cursor")) path += "&cursor=" + net::percent_encode(arguments.get("cursor"));
    const auto reply = api.ask<warden::v1::ApprovalsReply>("GET", path);
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    if (reply->approvals().empty()) {
        context.progress("nothing waits for a decision");
        return 0;
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {
        {"APPROVAL", "STATE", "BY/LEFT", "ASKED BY", "AGE", "COMMAND"}};
    for (const auto& approval : reply->approvals()) {
        rows.push_back(
            {approval.id(),
             state_of(approval),
             until_of(approval, now),
             printable(approval.origin().user()),
             age(approval.created_at(), now),
             card_line(approval.shown())}
        );
    }
    context.print(table(rows, context.color()));
    tell_more(context, reply->next_cursor());
    return 0;
}

// One line for each change that an event stream tells.
struct Changes {
    const Context& context;
    std::string pending;

    bool take(std::string_view chunk) {
        pending += chunk;
        std::size_t begin = 0;
        for (std::size_t end = pending.find('\n'); end != std::string::npos;
             end = pending.find('\n', begin)) {
            tell(std::string_view(pending).substr(begin, end - begin));
            begin = end + 1;
        }
        pending.erase(0, begin);
        return true;
    }
    void tell(std::string_view line) const {
        if (!line.starts_with("data:")) return;
        const auto event = Json::parse(line.substr(5));
        if (!event) return;
        if (context.json()) return context.print(event->dump() + "\n");
        const Json* data = event->find("data");
        const Json* approval = data == nullptr ? nullptr : data->find("approval");
        if (approval == nullptr) return;
        const std::string subject = event->string_or("subject", "");
        const std::string fact = subject.substr(0, subject.rfind('.'));
        const Json* origin = approval->find("origin");
        context.print(fmt::format(
            "{:<10} {}  {}  {}\n",
            fact.substr(fact.rfind('.') + 1),
            approval->string_or("id", ""),
            printable(origin == nullptr ? "" : origin->string_or("user", "")),
            card_line(approval->string_or("shown", ""))
        ));
    }
};

int watch(const Context& context, Api& api) {
    const auto who = api.whoami();
    if (!who) return fail(context, who.error());
    Changes changes{context, {}};
    const auto done = api.stream(
        "/v1/events?subject=" +
            net::percent_encode("berth.evt." + who->org() + ".warden.approval.>"),
        [&](std::string_view chunk) { return changes.take(chunk); }
    );
    return done ? 0 : fail(context, done.error());
}

Result<std::string> time_of(const std::string& text, std::string_view flag, bool past) {
    const WallTime now = Clock::system().now();
    if (const auto duration = parse_duration(text))
        return to_rfc3339(past ? now - *duration : now + *duration);
    if (const auto time = parse_rfc3339(text)) return to_rfc3339(*time);
    return invalid(
        "usage",
        fmt::format("--{} takes a duration like 2h, or a time like 2026-01-31T09:00:00Z", flag)
    );
}

// The scope that the flags ask for, as members of the body.
Result<void> fill_scope(const Arguments& arguments, Json& body) {
    const int scopes = static_cast<int>(arguments.has("session")) +
                       static_cast<int>(arguments.has("times")) +
                       static_cast<int>(arguments.has("until"));
    if (scopes > 1) return invalid("usage", "say one of --session, --times and --until");
    if (arguments.has("session")) body.set("scope", "session");
    if (arguments.has("times")) {
        std::int64_t times = 0;
        for (const char c : arguments.get("times")) {
            if (c < '0' || c > '9' || times > 1'000'000)
                return invalid("usage", "--times takes a number");
            times = times * 10 + (c - '0');
        }
        body.set("scope", "times").set("times", times);
    }
    if (arguments.has("until")) {
        BERTH_ASSIGN(const std::string until, time_of(arguments.get("until"), "until", false));
        body.set("scope", "until").set("until", until);
    }
    if (arguments.has("pattern")) {
        if (scopes == 0)
            return invalid("usage", "--pattern needs one of --session, --times and --until");
        body.set("argv_pattern", Json::strings(arguments.all("pattern")));
    }
    return {};
}

int decide(Context& context, const Arguments& arguments, bool approve) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Json body = Json::object().set("approve", approve).set("surface", "cli");
    if (arguments.has("comment")) body.set("comment", arguments.get("comment"));
    if (arguments.has("revision")) body.set("revision", arguments.get("revision"));
    if (approve) {
        if (const auto filled = fill_scope(arguments, body); !filled)
            return fail(context, filled.error());
        const std::vector<std::string> edited(
            arguments.operands.begin() + 1, arguments.operands.end()
        );
        if (!edited.empty()) body.set("edited_argv", Json::strings(edited));
    }
    Api api(context.server(), *token);
    const auto approval = api.ask<Approval>(
        "POST", path_of("approvals", arguments.operands[0], "/decide"), body.dump()
    );
    if (!approval) return fail(context, approval.error());
    if (context.json()) {
        context.print(to_json(*approval) + "\n");
        return 0;
    }
    std::string said = fmt::format("{} {}", approval->id(), state_of(*approval));
    if (approval->state() == warden::v1::APPROVAL_STATE_PENDING)
        said += fmt::format(
            ": your vote counts, {} of {}", approval->votes_size(), approval->terms().quorum()
        );
    if (!approval->grant().empty())
        said += fmt::format(", and remembered as {}", approval->grant());
    context.print(said + "\n");
    return 0;
}

std::string ends(const Grant& grant, WallTime now) {
    if (grant.has_revoked_at()) return "revoked by " + printable(grant.revoked_by());
    if (grant.scope() == warden::v1::GRANT_SCOPE_TIMES)
        return fmt::format("{} left", grant.times_left());
    if (grant.scope() == warden::v1::GRANT_SCOPE_UNTIL) return age(grant.until(), now);
    return "with " + grant.lease();
}

std::string what(const Grant& grant) {
    if (!grant.digest().empty()) return "exactly " + grant.digest().substr(0, 19);
    std::string out = printable(grant.executable());
    for (int i = 1; i < grant.argv_pattern_size(); ++i)
        out += " " + printable(grant.argv_pattern(i));
    return out;
}

}  // namespace

int run_approvals(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    if (!arguments.operands.empty()) {
        const auto one = api.ask<Approval>("GET", path_of("approvals", arguments.operands[0]));
        if (!one) return fail(context, one.error());
        show_one(context, *one);
        return 0;
    }
    return arguments.has("watch") ? watch(context, api) : show_list(context, api, arguments);
}

int run_approve(Context& context, const Arguments& arguments) {
    return decide(context, arguments, true);
}
int run_deny(Context& context, const Arguments& arguments) {
    return decide(context, arguments, false);
}

int run_grants(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    if (arguments.has("revoke")) {
        const auto grant = api.ask<Grant>("DELETE", path_of("grants", arguments.get("revoke")));
        if (!grant) return fail(context, grant.error());
        context.print(
            context.json() ? to_json(*grant) + "\n" : fmt::format("{} revoked\n", grant->id())
        );
        return 0;
    }
    std::string path = "/v1/grants?limit=" + net::percent_encode(arguments.get("limit", "50"));
    if (arguments.has("all")) path += "&all=true";
    if (arguments.has("cursor")) path += "&cursor=" + net::percent_encode(arguments.get("cursor"));
    const auto reply = api.ask<warden::v1::GrantsReply>("GET", path);
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    if (reply->grants().empty()) {
        context.progress("nothing is remembered");
        return 0;
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {{"GRANT", "USER", "ENDS", "MADE BY", "WHAT"}};
    for (const auto& grant : reply->grants()) {
        rows.push_back(
            {grant.id(),
             printable(grant.user()),
             ends(grant, now),
             printable(grant.made_by()),
             what(grant)}
        );
    }
    context.print(table(rows, context.color()));
    tell_more(context, reply->next_cursor());
    return 0;
}

}  // namespace berth::cli
