// SPDX-License-Identifier: Apache-2.0
// `berth share` and `unshare`: lending a lease to somebody of the org.
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

std::string share_path(const Arguments& arguments) {
    return path_of(
        "leases", arguments.operands[0], "/shares/" + net::percent_encode(arguments.operands[1])
    );
}

Result<void> list(const Context& context, Api& api, const std::string& lease) {
    BERTH_ASSIGN(
        const auto reply,
        api.ask<lease::v1::SharesReply>("GET", path_of("leases", lease, "/shares"))
    );
    if (context.json()) {
        context.print(to_json(reply) + "\n");
        return {};
    }
    if (reply.shares().empty()) {
        context.progress(
            fmt::format("{} is shared with nobody; 'berth share {} <user>' shares it", lease, lease)
        );
        return {};
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {{"USER", "RIGHT", "BY", "SINCE"}};
    for (const auto& share : reply.shares())
        rows.push_back({share.user(), share.right(), share.by(), age(share.at(), now) + " ago"});
    context.print(table(rows, context.color()));
    return {};
}

}  // namespace

int run_share(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    if (arguments.operands.size() == 1) {
        const auto done = list(context, api, arguments.operands[0]);
        return done ? 0 : fail(context, done.error());
    }
    const Json body = Json::object().set("right", arguments.get("right", "use"));
    const auto share = api.ask<lease::v1::Share>("PUT", share_path(arguments), body.dump());
    if (!share) return fail(context, share.error());
    if (context.json()) {
        context.print(to_json(*share) + "\n");
    } else {
        context.progress(
            fmt::format("{} may {} {}", share->user(), share->right(), arguments.operands[0])
        );
    }
    return 0;
}

int run_unshare(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto done = api.text("DELETE", share_path(arguments));
    if (!done) return fail(context, done.error());
    context.progress(
        fmt::format("{} is not shared with {}", arguments.operands[0], arguments.operands[1])
    );
    return 0;
}

}  // namespace berth::cli
