// SPDX-License-Identifier: Apache-2.0
// `berth login` and `logout`: by a token that is there, or by confirming a code at a provider.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <thread>

#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/credentials.hpp"
#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"

namespace berth::cli {
namespace {

// Above what any gateway asks for: a wrong answer must not look like a hang.
constexpr std::int64_t kLongestPause = 60;
// Answers lost in a row before the sign-in is given up.
constexpr int kLostAnswers = 5;

Result<Secret> read_token(const Arguments& arguments) {
    std::string text;
    if (arguments.has("token-stdin")) {
        std::array<char, 4096> buffer;
        for (;;) {
            const auto count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
            if (count <= 0 || text.size() > buffer.size()) break;
            text.append(buffer.data(), static_cast<std::size_t>(count));
        }
    } else if (arguments.has("token-file")) {
        BERTH_ASSIGN(text, read_file(arguments.get("token-file"), 4096));
    } else {
        return invalid("usage", "say where the token is: --token-file <file> or --token-stdin");
    }
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    if (text.empty())
        return invalid(
            "usage", "the token is empty; ask an admin for one (berth tokens create) and try again"
        );
    return Secret(std::move(text));
}

// The provider that is meant: named, or the only one there is.
Result<std::string> chosen_provider(Api& api, const Arguments& arguments) {
    if (arguments.has("github")) return std::string("github");
    if (arguments.has("oidc")) return std::string("oidc");
    const auto offered = api.ask<gateway::v1::SignInProviders>("GET", "/v1/sign_in");
    if (offered && offered->providers_size() == 1) return offered->providers(0);
    std::string ways = "--token-file <file> or --token-stdin";
    if (offered && offered->providers_size() > 1) ways = "--github, --oidc, " + ways;
    return invalid("usage", fmt::format("say how to log in: {}; see 'berth help login'", ways));
}

void show_code(const Context& context, const gateway::v1::SignInStarted& begun) {
    context.complain(fmt::format(
        "open {} and enter the code {}",
        printable(begun.verification_uri()),
        printable(begun.user_code())
    ));
    if (!begun.verification_uri_complete().empty())
        context.complain("or open " + printable(begun.verification_uri_complete()));
    context.progress("waiting until that is done; Ctrl-C stops");
}

bool passes_by_itself(const Error& error) {
    return error.fault == Fault::kDeadline || error.code == "connect_failed" ||
           error.code == "connection_lost" || error.code == "overloaded";
}

Result<Secret> sign_in(const Context& context, Api& api, const std::string& provider) {
    const std::string path = "/v1/sign_in/" + provider;
    BERTH_ASSIGN(const auto begun, api.ask<gateway::v1::SignInStarted>("POST", path));
    show_code(context, begun);
    gateway::v1::PollSignIn body;
    body.set_login(begun.login());
    std::int64_t pause = begun.interval_s();
    int lost = 0;
    for (;;) {
        std::this_thread::sleep_for(seconds{std::clamp<std::int64_t>(pause, 1, kLongestPause)});
        const auto text = api.text("POST", path + "/token", to_json(body));
        if (!text && passes_by_itself(text.error()) && ++lost < kLostAnswers) continue;
        if (!text) return text.error();
        lost = 0;
        BERTH_ASSIGN(const Json answer, Json::parse(*text));
        if (Secret token(answer.string_or("text", "")); !token.empty()) return token;
        pause = answer.int_or("interval_s", pause);
    }
}

}  // namespace

int run_login(Context& context, const Arguments& arguments) {
    const bool by_token = arguments.has("token-file") || arguments.has("token-stdin");
    auto token = Result<Secret>(Secret());
    if (by_token) {
        token = read_token(arguments);
    } else {
        Api nobody(context.server(), Secret());
        const auto provider = chosen_provider(nobody, arguments);
        token = provider ? sign_in(context, nobody, *provider) : Result<Secret>(provider.error());
    }
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto who = api.whoami();
    if (!who) return fail(context, who.error());
    if (const auto stored = store_token(context.server(), *token); !stored)
        return fail(context, stored.error());
    if (arguments.has("server")) {
        if (const auto stored = store_server(context.server(), true); !stored)
            return fail(context, stored.error());
    }
    if (context.json()) {
        context.print(to_json(*who) + "\n");
    } else {
        context.progress(
            fmt::format("logged in at {} as {} of {}", context.server(), who->user(), who->org())
        );
    }
    return 0;
}

int run_logout(Context& context, const Arguments&) {
    const auto path = token_path(context.server());
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        context.progress("there is no stored token for " + context.server());
        return 0;
    }
    auto text = read_file(path, 4096);
    while (text && !text->empty() && text->back() == '\n') text->pop_back();
    if (text) {
        Api api(context.server(), Secret(*text));
        const auto who = api.whoami();
        const auto revoked =
            who ? api.text("DELETE", path_of("tokens", who->token())) : Result<std::string>("");
        if (!revoked)
            context.complain("the token could not be revoked: " + revoked.error().message);
    }
    std::filesystem::remove(path, error);
    if (error) return fail(context, system_error("cannot remove " + path.string(), error.value()));
    context.progress("logged out of " + context.server());
    return 0;
}

}  // namespace berth::cli
