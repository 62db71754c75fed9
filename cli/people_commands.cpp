// SPDX-License-Identifier: Apache-2.0
// `berth users` and `tokens`: an admin's view of who may do what, and everybody's of their tokens.
#include <fmt/format.h>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

Error usage_of(const char* command, const std::string& what) {
    return invalid("usage", fmt::format("{}; see 'berth help {}'", what, command));
}

template <typename Words>
std::string joined(const Words& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : ", ") + std::string(word);
    return out;
}

void show_user(const Context& context, const gateway::v1::User& user) {
    if (context.json()) return context.print(to_json(user) + "\n");
    context.print(fmt::format(
        "{} {}{}\n", user.name(), joined(user.roles()), user.disabled() ? " (disabled)" : ""
    ));
}

Result<void> list_users(const Context& context, Api& api) {
    gateway::v1::ListUsers all;
    for (int page = 0; page < kMaxPages; ++page) {
        std::string path = "/v1/users?limit=100";
        if (!all.next_cursor().empty()) path += "&cursor=" + net::percent_encode(all.next_cursor());
        BERTH_ASSIGN(const auto reply, api.ask<gateway::v1::ListUsers>("GET", path));
        all.mutable_users()->MergeFrom(reply.users());
        all.set_next_cursor(reply.next_cursor());
        if (reply.next_cursor().empty()) break;
    }
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    std::vector<std::vector<std::string>> rows = {{"USER", "ROLES", "STATE", "SIGNS IN AS"}};
    for (const auto& user : all.users()) {
        std::string identities;
        for (const auto& each : user.identities())
            identities += fmt::format(
                "{}{} {}",
                identities.empty() ? "" : ", ",
                each.provider(),
                printable(each.login().empty() ? each.subject() : each.login())
            );
        rows.push_back(
            {user.name(),
             joined(user.roles()),
             user.disabled() ? "disabled" : "enabled",
             identities.empty() ? "-" : identities}
        );
    }
    context.print(table(rows, context.color()));
    return {};
}

// One action on one user; the user as it is then, or nothing where it is not told.
Result<void> act_on_user(const Context& context, Api& api, const Arguments& arguments) {
    const auto& words = arguments.operands;
    const std::string& action = words[0];
    const bool links = action == "link" || action == "unlink";
    const std::size_t wanted = action == "link" ? 4 : action == "unlink" ? 3 : 2;
    if (words.size() != wanted)
        return usage_of(
            "users",
            fmt::format(
                "berth users {} takes <user>{}",
                action,
                action == "link" ? " github|oidc <id>"
                : links          ? " github|oidc"
                                 : ""
            )
        );
    const std::string path = path_of("users", words[1]);
    const auto ask = [&](std::string_view method, const std::string& where, const Json& body) {
        auto user = api.ask<gateway::v1::User>(method, where, body.dump());
        if (user) show_user(context, *user);
        return user ? Result<void>() : Result<void>(user.error());
    };
    const Json roles = Json::strings(arguments.all("role"));
    if (roles.as_array()->empty() && (action == "add" || action == "set"))
        return usage_of("users", "say the roles: --role viewer, operator, approver or admin");
    if (action == "add")
        return ask("POST", "/v1/users", Json::object().set("name", words[1]).set("roles", roles));
    if (action == "set") return ask("PATCH", path, Json::object().set("roles", roles));
    if (action == "disable" || action == "enable")
        return ask("PATCH", path, Json::object().set("disabled", action == "disable"));
    const std::string identity = path + "/identities/" + net::percent_encode(words[2]);
    if (action == "link") return ask("PUT", identity, Json::object().set("subject", words[3]));
    BERTH_TRY(api.text("DELETE", identity));
    context.progress(fmt::format("{} no longer signs in by {}", words[1], words[2]));
    return {};
}

Result<void> list_tokens(const Context& context, Api& api, const std::string& user) {
    gateway::v1::ListTokens all;
    for (int page = 0; page < kMaxPages; ++page) {
        std::string path = "/v1/tokens?limit=100";
        if (!user.empty()) path += "&user=" + net::percent_encode(user);
        if (!all.next_cursor().empty()) path += "&cursor=" + net::percent_encode(all.next_cursor());
        BERTH_ASSIGN(const auto reply, api.ask<gateway::v1::ListTokens>("GET", path));
        all.mutable_tokens()->MergeFrom(reply.tokens());
        all.set_next_cursor(reply.next_cursor());
        if (reply.next_cursor().empty()) break;
    }
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {
        {"TOKEN", "USER", "ROLES", "USED", "EXPIRES", "LABEL"}};
    for (const auto& token : all.tokens()) {
        const std::string used = age(token.last_used_at(), now);
        rows.push_back(
            {token.id(),
             token.user(),
             joined(token.roles()),
             used == "-" ? "never" : used + " ago",
             token.has_expires_at() ? age(token.expires_at(), now) : "never",
             printable(token.label())}
        );
    }
    context.print(table(rows, context.color()));
    return {};
}

Result<void> create_token(const Context& context, Api& api, const Arguments& arguments) {
    Json body = Json::object();
    if (arguments.has("user")) body.set("user", arguments.get("user"));
    if (arguments.has("label")) body.set("label", arguments.get("label"));
    if (arguments.has("role")) body.set("roles", Json::strings(arguments.all("role")));
    if (arguments.has("life")) {
        const auto life = parse_duration(arguments.get("life"));
        if (!life || life->count() <= 0)
            return usage_of("tokens", "--life must be a duration like 12h or 30d");
        body.set("expires_at", to_rfc3339(Clock::system().now() + *life));
    }
    BERTH_ASSIGN(const auto token, api.ask<gateway::v1::Token>("POST", "/v1/tokens", body.dump()));
    if (context.json()) {
        context.print(to_json(token) + "\n");
        return {};
    }
    context.progress(fmt::format(
        "token {} of {} ({}); its text is shown this once:",
        token.id(),
        token.user(),
        joined(token.roles())
    ));
    context.print(token.text() + "\n");
    return {};
}

}  // namespace

int run_users(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    Result<void> done;
    const std::string action = arguments.operands.empty() ? "list" : arguments.operands[0];
    if (action == "list") {
        done = list_users(context, api);
    } else if (
        action == "add" || action == "set" || action == "disable" || action == "enable" ||
        action == "link" || action == "unlink"
    ) {
        done = act_on_user(context, api, arguments);
    } else {
        done = usage_of("users", fmt::format("berth users does not know '{}'", action));
    }
    return done ? 0 : fail(context, done.error());
}

int run_tokens(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    Result<void> done;
    const auto& words = arguments.operands;
    const std::string action = words.empty() ? "list" : words[0];
    if (action == "list" && words.size() < 2) {
        done = list_tokens(context, api, arguments.get("user"));
    } else if (action == "create" && words.size() == 1) {
        done = create_token(context, api, arguments);
    } else if (action == "revoke" && words.size() == 2) {
        const auto gone = api.text("DELETE", path_of("tokens", words[1]));
        done = gone ? Result<void>() : Result<void>(gone.error());
        if (gone) context.progress("revoked " + words[1]);
    } else {
        done = usage_of("tokens", "berth tokens takes list, create, or revoke <token>");
    }
    return done ? 0 : fail(context, done.error());
}

}  // namespace berth::cli
