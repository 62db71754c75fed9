// SPDX-License-Identifier: Apache-2.0
// `berth policy`: writing, checking and trying out the rules of an org, most of it without a
// server.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/policy_online.hpp"
#include "cli/policy_source.hpp"
#include "cli/text_diff.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "policy/policy.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;
using policy::Action;
using policy::Policy;

constexpr std::string_view kWorkspace = "/workspace";  // of every machine

Error usage_of_policy(const std::string& what) {
    return invalid("usage", what + "; see 'berth help policy'");
}

Result<std::shared_ptr<const Policy>> load(const Context& context, const std::string& source) {
    BERTH_ASSIGN(const auto text, read_policy(context, source));
    return Policy::parse(text.text, text.name);
}

Result<void> lint(const Context& context, const Arguments& arguments) {
    std::string problems;
    Json::Array checked;
    for (std::size_t i = 1; i < arguments.operands.size(); ++i) {
        const std::string& file = arguments.operands[i];
        const auto policy = load(context, file);
        if (!policy) {
            problems += (problems.empty() ? "" : "\n") + policy.error().message;
            continue;
        }
        if (!context.json())
            context.print(fmt::format("{}: right, {} rules\n", file, (*policy)->rules()));
        checked.push_back(Json::object()
                              .set("file", file)
                              .set("rules", static_cast<std::int64_t>((*policy)->rules()))
                              .set("tools", Json::strings((*policy)->tools())));
    }
    if (!problems.empty()) return invalid("bad_policy", problems);
    if (context.json()) context.print(Json(std::move(checked)).dump() + "\n");
    return {};
}

/// What this host would run, for a policy that is tried out here; a machine may have another. A
/// path in a folder is the machine's.
std::string resolve(const std::string& name, const std::string& cwd) {
    std::error_code none;
    const auto real = [&](const fs::path& path) {
        const auto found = fs::canonical(path, none);
        return none || ::access(found.c_str(), X_OK) != 0 ? std::string() : found.string();
    };
    if (name.find('/') != std::string::npos && name[0] != '/')
        return policy::lexical_path(cwd, name);
    if (name[0] == '/') {
        const std::string found = real(name);
        return found.empty() ? name : found;
    }
    const char* path = std::getenv("PATH");
    for (const auto folder : split(path == nullptr ? "" : path, ':')) {
        if (folder.empty()) continue;
        const std::string found = real(fs::path(folder) / name);
        if (!found.empty()) return found;
    }
    return "/usr/bin/" + name;
}

/// By its words alone: whether the machine has such a file, and where in its PATH, is not known.
std::string script_of(const policy::Plan& plan) {
    const policy::ScriptWord word = policy::script_word(plan.executable.path, plan.argv);
    if (!word.interpreter || word.at == 0) return {};
    const std::string name = plan.argv[word.at].substr(word.from);
    return policy::lexical_path(policy::lexical_path(plan.cwd, word.folder), name);
}

Result<policy::Plan> plan_of(const Arguments& arguments) {
    policy::Plan plan;
    plan.argv.assign(arguments.operands.begin() + 2, arguments.operands.end());
    if (plan.argv.empty()) return usage_of_policy("say the command: -- git push");
    plan.cwd = arguments.get("cwd", kWorkspace);
    if (plan.cwd.empty() || plan.cwd[0] != '/')
        return usage_of_policy("--cwd takes an absolute path");
    plan.executable.path = arguments.get("exec");
    if (plan.executable.path.empty()) plan.executable.path = resolve(plan.argv[0], plan.cwd);
    if (plan.executable.path[0] != '/') return usage_of_policy("--exec takes an absolute path");
    plan.script.path = arguments.has("script") ? arguments.get("script") : script_of(plan);
    for (const auto& change : arguments.all("env")) {
        const auto equals = change.find('=');
        if (equals == 0) return usage_of_policy("--env takes NAME=VALUE");
        plan.env.push_back(
            {change.substr(0, equals),
             equals == std::string::npos ? "" : change.substr(equals + 1),
             false}
        );
    }
    return plan;
}

Result<policy::Origin> origin_of(const Arguments& arguments) {
    policy::Origin origin;
    origin.user = arguments.get("user");
    origin.org = arguments.get("org", "default");
    origin.profile = arguments.get("profile", "default");
    origin.agent = arguments.get("agent");
    const auto level = policy::level_of(arguments.get("level", "enforce"));
    if (!level) return usage_of_policy("--level is none, observe, shim or enforce");
    origin.level = *level;
    return origin;
}

std::string_view to_string(policy::DeadlineOutcome outcome) {
    switch (outcome) {
        case policy::DeadlineOutcome::kWait: return "wait";
        case policy::DeadlineOutcome::kEscalate: return "escalate";
        case policy::DeadlineOutcome::kDeny: break;
    }
    return "deny";
}

std::string list(const std::vector<std::string>& names) {
    std::string out;
    for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

std::string words_of(const policy::Verdict& verdict) {
    std::string out =
        fmt::format("{}: {} ({})\n", to_string(verdict.action), verdict.rule, verdict.reason);
    if (verdict.action == Action::kAsk) {
        out += fmt::format(
            "    asks {}, {} of them, for {}; then: {}\n",
            verdict.ask.approvers.empty() ? "every approver" : list(verdict.ask.approvers),
            verdict.ask.quorum,
            format_duration(verdict.ask.timeout),
            to_string(verdict.ask.outcome)
        );
    }
    return out;
}

Json json_of(
    const policy::Verdict& verdict, const policy::Plan& plan, const std::vector<policy::Step>& steps
) {
    Json::Array looked;
    for (const auto& step : steps)
        looked.push_back(Json::object()
                             .set("rule", step.rule)
                             .set("where", step.where)
                             .set("matched", step.matched)
                             .set("why", step.why));
    return Json::object()
        .set("action", std::string(to_string(verdict.action)))
        .set("rule", verdict.rule)
        .set("reason", verdict.reason)
        .set("executable", policy::show_text(plan.executable.path))
        .set("script", plan.script.path.empty() ? "" : policy::show_text(plan.script.path))
        .set("arguments", policy::show_masked_argv(plan.argv))
        .set("steps", Json(std::move(looked)));
}

/// `test` tells what decided; `explain` every rule that was looked at.
Result<void> judge(const Context& context, const Arguments& arguments, bool all) {
    if (arguments.operands.size() < 3)
        return usage_of_policy("say the policy and the command: FILE -- git push");
    BERTH_ASSIGN(const auto policy, load(context, arguments.operands[1]));
    BERTH_ASSIGN(const auto plan, plan_of(arguments));
    BERTH_ASSIGN(const auto origin, origin_of(arguments));
    WallTime now = Clock::system().now();
    if (arguments.has("at")) {
        const auto at = parse_rfc3339(arguments.get("at"));
        if (!at) return usage_of_policy("--at takes a time like 2026-01-31T09:05:00Z");
        now = *at;
    }
    std::vector<policy::Step> steps;
    const auto verdict = policy->explain(plan, origin, now, steps);
    if (context.json()) {
        context.print(json_of(verdict, plan, steps).dump() + "\n");
    } else {
        std::string out = fmt::format("executable: {}\n", policy::show_text(plan.executable.path));
        if (!plan.script.path.empty())
            out += fmt::format("script: {}\n", policy::show_text(plan.script.path));
        out += fmt::format("arguments: {}\n", policy::show_masked_argv(plan.argv));
        for (std::size_t i = all || steps.empty() ? 0 : steps.size() - 1; i < steps.size(); ++i) {
            out += fmt::format(
                "{} {}{}{}: {}\n",
                steps[i].matched ? "=>" : "  ",
                steps[i].where,
                steps[i].where.empty() ? "" : " ",
                steps[i].rule,
                policy::show_text(steps[i].why)
            );
        }
        context.print(out + words_of(verdict));
    }
    const std::string expected = arguments.get("expect");
    if (expected.empty() || expected == to_string(verdict.action)) return {};
    if (expected != "allow" && expected != "deny" && expected != "ask")
        return usage_of_policy("--expect is allow, deny or ask");
    return conflict(
        "not_expected", fmt::format("{} was expected, not {}", expected, to_string(verdict.action))
    );
}

Result<void> diff(const Context& context, const Arguments& arguments) {
    const auto& words = arguments.operands;
    if (words.size() != 2 && words.size() != 3)
        return usage_of_policy("diff takes one or two policies");
    // One: what applying this file would change.
    BERTH_ASSIGN(
        const auto before, read_policy(context, words.size() == 3 ? words[1] : "@current")
    );
    BERTH_ASSIGN(const auto after, read_policy(context, words.back()));
    const std::string text = unified_diff(before.text, after.text, before.name, after.name);
    if (context.json()) {
        context.print(Json::object().set("same", text.empty()).set("diff", text).dump() + "\n");
    } else if (text.empty()) {
        context.progress(fmt::format("{} and {} are the same", before.name, after.name));
    } else {
        context.print(text);
    }
    return {};
}

Result<void> init(const Context& context, const Arguments& arguments) {
    const std::string name = arguments.get("template", "developer");
    const auto text = policy::template_text(name);
    if (text.empty()) return usage_of_policy("--template is strict, developer or observe-only");
    if (arguments.operands.size() < 2) {
        context.print_text(text);
        return {};
    }
    const std::string& file = arguments.operands[1];
    std::error_code none;
    if (fs::exists(fs::symlink_status(file, none)))
        return conflict("file_exists", file + " is there already");
    BERTH_TRY(write_file_atomic(file, text));
    context.progress(fmt::format("wrote {}; 'berth policy apply {}' puts it in force", file, file));
    return {};
}

Result<void> act(const Context& context, const Arguments& arguments) {
    const auto& words = arguments.operands;
    const std::string& verb = words[0];
    const auto takes = [&](std::size_t least, std::size_t most) {
        return words.size() > least && words.size() <= most + 1;
    };
    if (verb == "lint" && words.size() > 1) return lint(context, arguments);
    if (verb == "test") return judge(context, arguments, false);
    if (verb == "explain") return judge(context, arguments, true);
    if (verb == "diff") return diff(context, arguments);
    if (verb == "init" && takes(0, 1)) return init(context, arguments);
    if (verb == "apply" && takes(1, 1)) return apply_policy(context, arguments);
    if (verb == "show" && takes(0, 1)) return show_policy(context, arguments);
    if (verb == "history" && takes(0, 0)) return list_policies(context);
    if (verb == "rollback" && takes(1, 1)) return roll_back_policy(context, arguments);
    return usage_of_policy(
        fmt::format("berth policy does not take '{}' like this", policy::show_text(verb))
    );
}

}  // namespace

int run_policy(Context& context, const Arguments& arguments) {
    const auto done = act(context, arguments);
    if (done) return 0;
    context.complain(done.error());
    return done.error().code == "usage" ? kExitUsage : 1;
}

}  // namespace berth::cli
