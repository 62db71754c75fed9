// SPDX-License-Identifier: Apache-2.0
// `berth chat`: who one is on chat platforms.
#include <fmt/format.h>

#include "berth/gateway/v1/chat.pb.h"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"

namespace berth::cli {
namespace {

Result<void> pair(const Context& context, Api& api) {
    BERTH_ASSIGN(const auto code, api.ask<gateway::v1::ChatCode>("POST", "/v1/chat/codes"));
    if (context.json()) {
        context.print(to_json(code) + "\n");
        return {};
    }
    context.progress("tell the bot, within ten minutes and only there:");
    context.print(fmt::format("/berth pair {}\n", code.code()));
    return {};
}

Result<void> list_links(const Context& context, Api& api) {
    BERTH_ASSIGN(const auto all, api.ask<gateway::v1::ChatLinks>("GET", "/v1/chat/links"));
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    std::vector<std::vector<std::string>> rows = {{"PLATFORM", "NAME", "ID", "SINCE"}};
    for (const auto& link : all.links())
        rows.push_back(
            {link.platform(),
             printable(link.person_name()),
             printable(link.person_id()),
             when(link.linked_at())}
        );
    context.print(table(rows, context.color()));
    return {};
}

}  // namespace

int run_chat(Context& context, const Arguments& arguments) {
    auto token = context.token();
    const auto& words = arguments.operands;
    const std::string action = words.empty() ? "links" : words[0];
    Result<void> done;
    if (!token) {
        done = token.error();
    } else {
        Api api(context.server(), *token);
        if (action == "pair" && words.size() == 1) {
            done = pair(context, api);
        } else if (action == "links" && words.size() < 2) {
            done = list_links(context, api);
        } else if (action == "unlink" && words.size() == 2) {
            const auto gone = api.text("DELETE", path_of("chat/links", words[1]));
            done = gone ? Result<void>() : Result<void>(gone.error());
            if (gone) context.progress("unlinked from " + words[1]);
        } else {
            done = invalid(
                "usage", "berth chat takes pair, links, or unlink <platform>; see 'berth help chat'"
            );
        }
    }
    if (done) return 0;
    context.complain(done.error());
    return done.error().code == "usage" ? kExitUsage : 1;
}

}  // namespace berth::cli
