// SPDX-License-Identifier: Apache-2.0
// `berth policy apply`, `show`, `history` and `rollback`: the versions that the server keeps.
#include "cli/policy_online.hpp"

#include <fmt/format.h>

#include <charconv>

#include "cli/policy_source.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"
#include "policy/policy.hpp"

namespace berth::cli {
namespace {

using warden::v1::PolicyVersion;

Result<Api> api_of(const Context& context) {
    BERTH_ASSIGN(auto token, context.token());
    return Api(context.server(), token);
}

void show_version(const Context& context, const PolicyVersion& version, std::string_view what) {
    if (context.json()) return context.print(to_json(version) + "\n");
    context.print(fmt::format("policy version {} {}\n", version.version(), what));
}

}  // namespace

Result<std::uint64_t> parse_version(std::string_view text) {
    const std::string_view digits = text.substr(text.starts_with('@') ? 1 : 0);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc() && end == digits.data() + digits.size() && value > 0) return value;
    return invalid(
        "usage", fmt::format("'{}' is no version; 'berth policy history' lists them", text)
    );
}

Result<PolicyVersion> fetch_policy(Api& api, std::uint64_t version) {
    return api.ask<PolicyVersion>(
        "GET",
        version == 0 ? std::string("/v1/policy") : path_of("policies", std::to_string(version))
    );
}

Result<PolicyText> read_policy(const Context& context, const std::string& source) {
    if (!source.starts_with('@')) {
        BERTH_ASSIGN(std::string text, read_file(source, policy::kMaxPolicyBytes));
        return PolicyText{source, std::move(text)};
    }
    std::uint64_t version = 0;
    if (source != "@current") {
        BERTH_ASSIGN(version, parse_version(source));
    }
    BERTH_ASSIGN(Api api, api_of(context));
    BERTH_ASSIGN(auto found, fetch_policy(api, version));
    if (found.version() == 0)
        return not_found(
            "no_policy",
            "the org has no policy; 'berth policy init' and 'berth policy apply' make one"
        );
    return PolicyText{fmt::format("@{}", found.version()), std::move(*found.mutable_text())};
}

Result<void> apply_policy(const Context& context, const Arguments& arguments) {
    const std::string& file = arguments.operands[1];
    BERTH_ASSIGN(const std::string text, read_file(file, policy::kMaxPolicyBytes));
    // Mistakes are told without the server, too, and with this file's name.
    BERTH_TRY(policy::Policy::parse(text, file));
    Json body = Json::object().set("text", text).set("name", file);
    if (arguments.has("comment")) body.set("comment", arguments.get("comment"));
    if (arguments.has("expect-version")) {
        BERTH_ASSIGN(const auto version, parse_version(arguments.get("expect-version")));
        body.set("expected_version", std::to_string(version));
    }
    BERTH_ASSIGN(Api api, api_of(context));
    BERTH_ASSIGN(const auto version, api.ask<PolicyVersion>("PUT", "/v1/policy", body.dump()));
    show_version(context, version, "is in force");
    return {};
}

Result<void> show_policy(const Context& context, const Arguments& arguments) {
    std::uint64_t version = 0;
    if (arguments.operands.size() > 1 && arguments.operands[1] != "@current") {
        BERTH_ASSIGN(version, parse_version(arguments.operands[1]));
    }
    BERTH_ASSIGN(Api api, api_of(context));
    BERTH_ASSIGN(const auto found, fetch_policy(api, version));
    if (context.json()) {
        context.print(to_json(found) + "\n");
    } else if (found.version() == 0) {
        context.progress("the org has no policy: nothing is guarded");
    } else {
        context.progress(fmt::format(
            "version {}, applied by {} at {}{}{}",
            found.version(),
            printable(found.applied_by()),
            when(found.applied_at()),
            found.comment().empty() ? "" : ": ",
            printable(found.comment())
        ));
        context.print(found.text());
    }
    return {};
}

Result<void> list_policies(const Context& context) {
    BERTH_ASSIGN(Api api, api_of(context));
    warden::v1::PoliciesReply all;
    for (int page = 0; page < kMaxPages; ++page) {
        std::string path = "/v1/policies?limit=100";
        if (!all.next_cursor().empty()) path += "&cursor=" + net::percent_encode(all.next_cursor());
        BERTH_ASSIGN(const auto reply, api.ask<warden::v1::PoliciesReply>("GET", path));
        all.mutable_policies()->MergeFrom(reply.policies());
        all.set_next_cursor(reply.next_cursor());
        if (reply.next_cursor().empty()) break;
    }
    if (context.json()) {
        context.print(to_json(all) + "\n");
        return {};
    }
    std::vector<std::vector<std::string>> rows = {{"VERSION", "APPLIED", "BY", "COMMENT"}};
    for (const auto& version : all.policies()) {
        const std::string back = version.rolled_back_to() == 0
                                     ? ""
                                     : fmt::format("back to {}", version.rolled_back_to());
        rows.push_back(
            {std::to_string(version.version()),
             when(version.applied_at()),
             printable(version.applied_by()),
             back.empty() ? printable(version.comment()) : back}
        );
    }
    context.print(table(rows, context.color()));
    return {};
}

Result<void> roll_back_policy(const Context& context, const Arguments& arguments) {
    BERTH_ASSIGN(const auto version, parse_version(arguments.operands[1]));
    BERTH_ASSIGN(Api api, api_of(context));
    BERTH_ASSIGN(
        const auto made,
        api.ask<PolicyVersion>(
            "POST", path_of("policies", std::to_string(version), "/rollback"), "{}"
        )
    );
    show_version(context, made, fmt::format("is in force, with the text of version {}", version));
    return {};
}

}  // namespace berth::cli
