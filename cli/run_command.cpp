// SPDX-License-Identifier: Apache-2.0
// `berth run`, `warmup`, `shell`, `ssh` and `attach`.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "cli/api.hpp"
#include "cli/attachment.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupts.hpp"
#include "cli/lease_choice.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"

namespace berth::cli {
namespace {

// The user's own shell where the machine names one, else the best it has, as a login shell.
std::vector<std::string> login_shell() {
    return {
        "sh",
        "-c",
        "for s in \"$SHELL\" bash sh; do p=$(command -v -- \"$s\" 2>/dev/null) && "
        "exec \"$p\" -l; done; exit 127"};
}

// As ssh: one line for a shell, whatever the words were.
std::vector<std::string> as_shell_command(const std::vector<std::string>& words) {
    std::string line;
    for (const auto& word : words) line += (line.empty() ? "" : " ") + word;
    if (line.starts_with('-') || line.starts_with('+')) line.insert(0, " ");  // no option of sh's
    return {"sh", "-c", line};
}

/// Where `berth ssh` goes, and what it runs there.
struct SshCall {
    std::string lease;
    std::vector<std::string> command;
};

Result<SshCall> read_ssh(const Context& context, const Arguments& arguments) {
    SshCall out{context.settings().text("lease"), arguments.operands};
    const bool named = !arguments.operands.empty() && !arguments.dashed && !arguments.has("lease");
    if (named) {  // as ssh: the first word is the place
        out.lease = out.command.front();
        out.command.erase(out.command.begin());
        if (!out.command.empty() && out.command.front() == "--") {
            out.command.erase(out.command.begin());
        } else if (!out.command.empty() && out.command.front().starts_with('-')) {
            return invalid(
                "usage",
                fmt::format(
                    "flags stand before the lease: '{}' does not; see 'berth help ssh'",
                    printable(out.command.front())
                )
            );
        }
    }
    // A script's variable that is not set is not the lease of this working tree.
    if (out.lease.empty() && (named || arguments.has("lease")))
        return invalid("usage", "the lease's name is empty; see 'berth help ssh'");
    return out;
}

bool take_wait(const Context& context, const Arguments& arguments, SessionOptions& options) {
    auto wait = read_wait(arguments);
    if (wait) {
        options.wait = std::move(*wait);
    } else {
        context.complain(wait.error());
    }
    return wait.has_value();
}

bool on_terminal() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1; }

}  // namespace

int run_run(Context& context, const Arguments& arguments) {
    SessionOptions options;
    options.argv = arguments.operands;
    options.env = arguments.all("env");
    options.timeout = arguments.get("timeout");
    options.result_file = arguments.get("result-file");
    options.wanted = wanted_results(context.settings());
    options.fail_on_test_failures = arguments.has("fail-on-test-failures");
    if (!take_wait(context, arguments, options)) return kExitRunUsage;
    options.keep = arguments.has("keep");
    options.sync = !arguments.has("no-sync");
    options.force_sync = arguments.has("force-sync");
    options.tty = arguments.has("tty");
    options.detach = arguments.has("detach");
    if (options.fail_on_test_failures && options.wanted.junit.empty()) {
        context.complain(invalid(
            "usage",
            "--fail-on-test-failures needs reports: name them with --junit or results.junit in "
            "berth.yaml"
        ));
        return kExitRunUsage;
    }
    return run_session(context, std::move(options));
}

int run_shell(Context& context, const Arguments& arguments) {
    SessionOptions options;
    options.argv = login_shell();
    options.env = arguments.all("env");
    if (!take_wait(context, arguments, options)) return kExitRunUsage;
    options.keep = arguments.has("keep");
    options.sync = !arguments.has("no-sync");
    options.force_sync = arguments.has("force-sync");
    options.tty = on_terminal();
    return run_session(context, std::move(options));
}

int run_warmup(Context& context, const Arguments& arguments) {
    SessionOptions options;
    // Without a command of its own the machine only proves that it runs one.
    options.argv =
        arguments.operands.empty() ? std::vector<std::string>{"true"} : arguments.operands;
    options.env = arguments.all("env");
    options.keep = true;
    options.sync = !arguments.has("no-sync");
    options.force_sync = arguments.has("force-sync");
    if (!take_wait(context, arguments, options)) return kExitRunUsage;
    options.announce = true;
    return run_session(context, std::move(options));
}

int run_ssh(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) {
        context.complain(token.error());
        return kExitRunUsage;
    }
    auto call = read_ssh(context, arguments);
    if (!call) {
        context.complain(call.error());
        return kExitRunUsage;
    }
    Api api(context.server(), *token);
    auto lease = chosen_lease(context, api, call->lease);
    if (!lease) {
        const Outcome outcome = outcome_of(lease.error(), kExitNoLease);
        context.complain(*outcome.error);
        return outcome.code;
    }
    if (const auto set = context.use_lease(lease->id()); !set) {
        context.complain(set.error());
        return kExitRunUsage;
    }
    SessionOptions options;
    options.tty = arguments.has("tty") || (call->command.empty() && on_terminal());
    options.sync = false;
    options.here = false;  // the lease may be another tree's
    options.env = arguments.all("env");
    options.argv = call->command.empty() ? login_shell() : as_shell_command(call->command);
    return run_session(context, std::move(options));
}

int run_attach(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) {
        context.complain(token.error());
        return kExitRunUsage;
    }
    AttachmentOptions options;
    const std::string offset = arguments.get("offset", "0");
    const auto [end, error] =
        std::from_chars(offset.data(), offset.data() + offset.size(), options.offset);
    if (error != std::errc() || end != offset.data() + offset.size()) {
        context.complain(invalid(
            "usage",
            fmt::format(
                "--offset must be a number of bytes, not '{}'; see 'berth help attach'", offset
            )
        ));
        return kExitRunUsage;
    }
    Interrupts interrupts(context.server(), *token);
    Api api(context.server(), *token);
    const auto run = api.run(arguments.operands[0]);
    if (!run) {
        const bool none = run.error().fault == Fault::kNotFound;
        const Outcome outcome = outcome_of(run.error(), none ? kExitRunUsage : kExitLost);
        context.complain(*outcome.error);
        return outcome.code;
    }
    options.server = context.server();
    options.token = *token;
    options.run = run->id();
    options.tty = run->tty() && ::isatty(STDIN_FILENO) == 1;
    options.forward_stdin =
        options.tty;  // input of another client may be under way: only terminals mix it
    if (context.json()) options.stdout_fd = STDERR_FILENO;
    Attachment attachment(std::move(options));
    interrupts.set_run(run->id(), &attachment);
    if (run->tty()) attachment.resize();
    Outcome outcome;
    {
        const RawMode raw(run->tty());
        outcome = attachment.follow();
    }
    interrupts.clear_run();
    if (context.json()) {
        const auto last = api.wait_ended(run->id(), kRecordPatience);
        if (last) context.print(to_json(*last) + "\n");
    }
    if (outcome.error) context.complain(*outcome.error);
    return outcome.code;
}

}  // namespace berth::cli
