// SPDX-License-Identifier: Apache-2.0
// `berth halt`, the resuming of a halt, and `berth audit`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "berth/warden/v1/warden.pb.h"
#include "cli/api.hpp"
#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/words.hpp"
#include "core/json.hpp"
#include "net/http_types.hpp"

namespace berth::cli {
namespace {

using warden::v1::Halt;

constexpr milliseconds kHaltLook{100};
constexpr seconds kHaltWait{5};
constexpr milliseconds kVerifyPatience{120'000};  // every record is read and hashed

std::string scope_of(const Halt& halt) {
    std::string out = enum_word(warden::v1::HaltScope_Name(halt.scope()), "HALT_SCOPE_");
    if (!halt.target().empty()) out += " " + printable(halt.target());
    return out;
}

std::string list_of(const google::protobuf::RepeatedPtrField<std::string>& names) {
    std::string out;
    for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

int list_halts(const Context& context, Api& api, bool all) {
    const auto reply = api.ask<warden::v1::HaltsReply>(
        "GET", all ? std::string("/v1/halts?all=true") : std::string("/v1/halts")
    );
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    if (reply->halts().empty()) {
        context.progress("no halt is in force");
        return 0;
    }
    const WallTime now = Clock::system().now();
    std::vector<std::vector<std::string>> rows = {
        {"HALT", "SCOPE", "BY", "AGE", "CONFIRMED", "WAITING FOR", "RESUMED BY", "REASON"}};
    for (const auto& halt : reply->halts()) {
        rows.push_back(
            {halt.id(),
             scope_of(halt),
             printable(halt.pressed_by()),
             age(halt.pressed_at(), now),
             std::to_string(halt.answers_size()),
             halt.waiting_for().empty() ? "-" : list_of(halt.waiting_for()),
             halt.resumed_by().empty() ? "-" : printable(halt.resumed_by()),
             printable(halt.reason())}
        );
    }
    context.print(table(rows, context.color()));
    return 0;
}

// The halt as it is once every machine has confirmed, or the time is up.
Result<Halt> await_confirmed(Api& api, Halt halt, milliseconds wait) {
    const SteadyTime until = std::chrono::steady_clock::now() + wait;
    while (!halt.waiting_for().empty() && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(kHaltLook);
        BERTH_ASSIGN(const auto reply, api.ask<warden::v1::HaltsReply>("GET", "/v1/halts"));
        bool found = false;
        for (const auto& each : reply.halts()) {
            if (each.id() != halt.id()) continue;
            halt = each;
            found = true;
        }
        if (!found) break;  // resumed meanwhile
    }
    return halt;
}

// A name is not checked as a machine's is: who has nothing running may be halted in advance. A name
// that was mistyped looks the same, so it must be seen that nothing was stopped.
bool stopped_nothing(const Halt& halt) {
    if (halt.scope() != warden::v1::HALT_SCOPE_OWNER &&
        halt.scope() != warden::v1::HALT_SCOPE_AGENT)
        return false;
    return halt.waiting_for().empty() &&
           std::all_of(halt.answers().begin(), halt.answers().end(), [](const auto& answer) {
               return answer.frozen() == 0 && answer.killed() == 0;
           });
}

void show_halt(const Context& context, const Halt& halt) {
    const std::string nothing = fmt::format(
        "NOTHING WAS STOPPED: no machine runs anything of {}. If the name is right, nothing of it "
        "starts from now on",
        scope_of(halt)
    );
    if (context.json()) {
        context.print(to_json(halt) + "\n");
        if (stopped_nothing(halt)) context.complain(nothing);
        return;
    }
    std::string out = stopped_nothing(halt)
                          ? nothing + "\n"
                          : fmt::format("{} {} is halted\n", halt.id(), scope_of(halt));
    std::vector<std::vector<std::string>> rows = {
        {"MACHINE", "FROZE BY", "FROZEN", "ENDED", "ERROR"}};
    for (const auto& answer : halt.answers()) {
        rows.push_back(
            {answer.machine(),
             printable(answer.mechanism()),
             std::to_string(answer.frozen()),
             std::to_string(answer.killed()),
             answer.error().empty() ? "-" : printable(answer.error())}
        );
    }
    if (rows.size() > 1) out += table(rows, context.color());
    for (const auto& machine : halt.waiting_for())
        out += fmt::format("NOT CONFIRMED  {}\n", machine);
    out += fmt::format("somebody else resumes it: berth resume {}\n", halt.id());
    context.print(out);
}

Result<Json> halt_body(const Arguments& arguments) {
    Json body = Json::object();
    int scopes = 0;
    for (const char* scope : {"owner", "agent", "machine"}) {
        if (!arguments.has(scope)) continue;
        ++scopes;
        body.set("scope", scope).set("target", arguments.get(scope));
    }
    if (scopes > 1) return invalid("usage", "say one of --owner, --agent and --machine");
    if (scopes == 0) body.set("scope", "org");
    if (arguments.has("reason")) body.set("reason", to_utf8(arguments.get("reason")));
    return body;
}

Result<std::string> audit_query(const Arguments& arguments) {
    std::string path = "/v1/audit?limit=" + net::percent_encode(arguments.get("limit", "50"));
    for (const char* name : {"user", "run", "fact", "cursor"}) {
        if (arguments.has(name))
            path += fmt::format("&{}={}", name, net::percent_encode(arguments.get(name)));
    }
    for (const char* name : {"since", "until"}) {
        if (!arguments.has(name)) continue;
        std::string time = arguments.get(name);
        if (const auto duration = parse_duration(time))
            time = to_rfc3339(Clock::system().now() - *duration);
        path += fmt::format("&{}={}", name, net::percent_encode(time));
    }
    return path;
}

int query_audit(const Context& context, Api& api, const Arguments& arguments) {
    const auto path = audit_query(arguments);
    if (!path) return fail(context, path.error());
    const auto reply = api.ask<warden::v1::AuditReply>("GET", *path);
    if (!reply) return fail(context, reply.error());
    if (context.json()) {
        context.print(to_json(*reply) + "\n");
        return 0;
    }
    std::vector<std::vector<std::string>> rows = {
        {"#", "AT", "FACT", "USER", "FROM", "RULE", "EXIT", "WHAT"}};
    for (const auto& record : reply->records()) {
        std::string what = record.command().empty() ? record.subject() : record.command();
        if (!record.reason().empty()) what += (what.empty() ? "" : "  ") + record.reason();
        rows.push_back(
            {std::to_string(record.sequence()),
             when(record.at()),
             printable(record.fact()),
             printable(record.user()),
             record.surface().empty() ? "-" : printable(record.surface()),
             record.rule().empty() ? "-" : printable(record.rule()),
             record.has_exit_code() ? std::to_string(record.exit_code()) : "-",
             printable(what)}
        );
    }
    if (rows.size() == 1) context.progress("nothing is recorded of that");
    if (rows.size() > 1) context.print(table(rows, context.color()));
    tell_more(context, reply->next_cursor());
    return 0;
}

int verify_audit(const Context& context, Api& api) {
    const auto verdict =
        api.ask<warden::v1::AuditVerdict>("GET", "/v1/audit/verify", {}, kVerifyPatience);
    if (!verdict) return fail(context, verdict.error());
    if (context.json()) {
        context.print(to_json(*verdict) + "\n");
    } else if (verdict->whole()) {
        context.print(
            fmt::format("whole: {} records, head {}\n", verdict->records(), verdict->head())
        );
    } else {
        context.print(
            fmt::format("BROKEN at record {}: {}\n", verdict->first_bad(), verdict->reason())
        );
    }
    return verdict->whole() ? 0 : 1;
}

}  // namespace

int run_halt(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    if (arguments.has("list")) return list_halts(context, api, arguments.has("all"));
    const auto body = halt_body(arguments);
    if (!body) return fail(context, body.error());
    milliseconds wait = kHaltWait;
    if (arguments.has("wait")) {
        const auto given = parse_duration(arguments.get("wait"));
        if (!given) return fail(context, invalid("usage", "--wait takes a duration like 5s"));
        wait = *given;
    }
    const auto pressed = api.ask<Halt>("POST", "/v1/halts", body->dump());
    if (!pressed) return fail(context, pressed.error());
    const auto halt = await_confirmed(api, *pressed, wait);
    // Pressed it is, whatever becomes of looking at it.
    if (!halt) context.complain(halt.error());
    const Halt& known = halt ? *halt : *pressed;
    show_halt(context, known);
    return known.waiting_for().empty() && halt && !stopped_nothing(known) ? 0 : 1;
}

int resume_halt(Context& context, const Arguments& arguments) {
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    const auto halt =
        api.ask<Halt>("POST", path_of("halts", arguments.operands[0], "/resume"), "{}");
    if (!halt) return fail(context, halt.error());
    context.print(
        context.json() ? to_json(*halt) + "\n"
                       : fmt::format("{} {} is resumed\n", halt->id(), scope_of(*halt))
    );
    return 0;
}

int run_audit(Context& context, const Arguments& arguments) {
    const std::string& what = arguments.operands[0];
    if (what != "query" && what != "verify" && what != "export")
        return fail(
            context, invalid("usage", "say query, verify or export; see 'berth help audit'")
        );
    auto token = context.token();
    if (!token) return fail(context, token.error());
    Api api(context.server(), *token);
    if (what == "query") return query_audit(context, api, arguments);
    if (what == "verify") return verify_audit(context, api);
    std::string path = "/v1/audit/export";
    if (arguments.has("from"))
        path += "?from_sequence=" + net::percent_encode(arguments.get("from"));
    context.begin_stream();
    const auto done =
        api.stream(path, [&](std::string_view chunk) { return context.stream(chunk); });
    return done ? 0 : fail(context, done.error());
}

}  // namespace berth::cli
