// SPDX-License-Identifier: Apache-2.0
// The checks of `berth doctor`: each looks, none changes anything.
#include "cli/doctor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <set>

#include "cli/capture.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "cli/version.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

using Verdict = Finding::Verdict;

constexpr milliseconds kQuestionPatience{5'000};  // of each question
// Tokens and leases compare times of two machines; a minute is within what they forgive.
constexpr long long kForgivenSkew = 60;
// Without these no lease and no run; by the names of GET /v1/status.
constexpr std::array kNeeded = {"gateway", "lease", "prov", "run", "warden"};
constexpr std::pair<int, int> kLeastRsync{3, 2};  // the first with --delete-missing-args' protocol

Finding ok(std::string name, std::string detail) {
    return {std::move(name), Verdict::kOk, std::move(detail), ""};
}
Finding failure(std::string name, std::string detail, std::string remedy) {
    return {std::move(name), Verdict::kFailure, std::move(detail), std::move(remedy)};
}
Finding warning(std::string name, std::string detail, std::string remedy) {
    return {std::move(name), Verdict::kWarning, std::move(detail), std::move(remedy)};
}

Result<std::string> output_of(std::vector<std::string> argv) {
    process::SpawnSpec spec;
    spec.argv = std::move(argv);
    BERTH_ASSIGN(const Captured result, capture(std::move(spec), kQuestionPatience));
    if (result.code == 0) return result.out;
    return unavailable("failed", result.err.empty() ? "it failed" : result.err);
}

std::string first_line(const std::string& text) {
    return printable(text.substr(0, text.find('\n')));
}

bool is_here(std::string_view server) {
    for (const char* each : {"unix:", "http://127.", "http://localhost", "http://[::1]"}) {
        if (server.starts_with(each)) return true;
    }
    return false;
}

void check_clock(const net::HttpResponse& answer, Findings& out) {
    const auto skew = clock_skew(answer.headers.get("Date"), Clock::system().now());
    if (!skew) return;
    const long long size = *skew < 0 ? -*skew : *skew;
    if (size <= kForgivenSkew) {
        out.push_back(ok("clock", fmt::format("within {} s of the gateway's", size + 1)));
    } else {
        out.push_back(failure(
            "clock",
            fmt::format(
                "this machine's clock is {} s {} the gateway's",
                size,
                *skew > 0 ? "before" : "behind"
            ),
            "set it by NTP (timedatectl set-ntp true); tokens and leases are judged by the clock"
        ));
    }
}

void check_services(Api& api, Findings& out) {
    const auto status = api.status();
    if (!status) {
        out.push_back(failure("services", status.error().message, "see 'berth status'"));
        return;
    }
    std::string away;
    std::set<std::string> versions;
    std::set<std::string> heard;
    for (const auto& service : status->services()) {
        heard.insert(service.name());
        if (!service.ready() && !service.leaving())
            away += fmt::format(
                "{}{} ({})", away.empty() ? "" : ", ", service.name(), service.reason()
            );
        if (!service.version().empty()) versions.insert(service.version());
    }
    if (away.empty()) {
        out.push_back(ok("services", fmt::format("{} ready", status->services_size())));
    } else {
        out.push_back(failure(
            "services", "not ready: " + printable(away), "see 'berth status' and their logs"
        ));
    }
    std::string silent;
    for (const char* name : kNeeded)
        if (!heard.contains(name)) silent += fmt::format("{}{}", silent.empty() ? "" : ", ", name);
    if (!silent.empty())
        out.push_back(warning(
            "services",
            "not heard of yet: " + silent,
            "just after a start this passes in some seconds; else see 'berth status'"
        ));
    versions.insert(std::string(kVersion));
    if (versions.size() == 1) {
        out.push_back(ok("versions", fmt::format("{} everywhere", kVersion)));
        return;
    }
    std::string all;
    for (const auto& version : versions) all += (all.empty() ? "" : ", ") + version;
    out.push_back(warning(
        "versions",
        fmt::format("this berth is {}, in use are {}", kVersion, printable(all)),
        "install the gateway's version here"
    ));
}

void check_program(Findings& out, const char* name, const char* package, bool needed) {
    if (process::find_program(name)) return out.push_back(ok(name, "found"));
    Finding missing{
        name,
        needed ? Verdict::kFailure : Verdict::kWarning,
        "not installed",
        fmt::format("install the package {}", package)};
    out.push_back(std::move(missing));
}

}  // namespace

std::optional<long long> clock_skew(std::string_view http_date, WallTime now) {
    std::tm parts{};
    const char* end =
        ::strptime(std::string(http_date).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (end == nullptr) return std::nullopt;
    return to_unix_micros(now) / 1'000'000 - static_cast<long long>(::timegm(&parts));
}

std::pair<int, int> rsync_version(std::string_view text) {
    std::pair<int, int> out{0, 0};
    const auto at = text.find("version ");
    if (at == std::string_view::npos) return out;
    const std::string rest(text.substr(at + 8, 20));
    char* end = nullptr;
    out.first = static_cast<int>(std::strtol(rest.c_str(), &end, 10));
    if (*end == '.') out.second = static_cast<int>(std::strtol(end + 1, nullptr, 10));
    return out;
}

void check_tools(Findings& out) {
    const auto text = output_of({"rsync", "--version"});
    const std::string remedy = "install the package rsync; without it use --no-sync";
    if (!text) {
        out.push_back(failure("rsync", "not installed", remedy));
    } else if (const auto version = rsync_version(*text); version < kLeastRsync) {
        out.push_back(failure(
            "rsync",
            fmt::format("version {}.{} is too old", version.first, version.second),
            "install rsync 3.2 or later"
        ));
    } else {
        out.push_back(ok("rsync", fmt::format("{}.{}", version.first, version.second)));
    }
    check_program(out, "git", "git", false);
}

bool check_gateway(const Context& context, Findings& out) {
    net::HttpClient client(context.server());
    net::HttpRequest request;
    request.path = "/healthz";
    request.timeout = kQuestionPatience;
    const auto health = client.send(request);
    if (!health || health->status != 200) {
        const std::string why =
            health ? fmt::format("it answered {}", health->status) : health.error().message;
        out.push_back(failure(
            "gateway",
            fmt::format("{}: {}", context.server(), why),
            "start one here with 'berth up', or name yours: --server, BERTH_SERVER, or server: in "
            "berth.yaml"
        ));
        return false;
    }
    out.push_back(ok("gateway", context.server()));
    check_clock(*health, out);
    const auto token = context.token();
    if (!token || token->empty()) {
        out.push_back(failure(
            "token",
            token ? "there is none for this gateway" : token.error().message,
            "log in: 'berth login --github', 'berth login --oidc' or 'berth login --token-file "
            "<file>'"
        ));
        return false;
    }
    Api api(context.server(), *token);
    api.set_patience(kQuestionPatience);
    const auto who = api.whoami();
    if (!who) {
        out.push_back(failure("token", who.error().message, "log in again with 'berth login'"));
        return false;
    }
    std::string roles;
    for (const auto& role : who->roles()) roles += (roles.empty() ? "" : ", ") + role;
    out.push_back(ok("token", fmt::format("{} of {} ({})", who->user(), who->org(), roles)));
    check_services(api, out);
    return true;
}

void check_host(const Context& context, Findings& out) {
    if (!is_here(context.server())) return;
    check_program(out, "nats-server", "nats-server", true);
    if (!process::find_program("bwrap")) {
        out.push_back(failure("sandbox", "bwrap is not installed", "install the package bubblewrap")
        );
    } else if (const auto tried = output_of(
                   {"bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"}
               );
               !tried) {
        out.push_back(failure(
            "sandbox",
            "no unprivileged user namespaces: " + first_line(tried.error().message),
            "machines of the local driver need them; a chroot or a default container forbids them. "
            "Use the docker driver there, or allow them (kernel.unprivileged_userns_clone, "
            "kernel.apparmor_restrict_unprivileged_userns)"
        ));
    } else {
        out.push_back(ok("sandbox", "user namespaces work"));
    }
    // Profiles with network are an option: what they lack is no failure.
    const bool tools = process::find_program("pasta") && process::find_program("nft");
    const Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (tools && tun) {
        out.push_back(ok("network", "profiles with network work"));
    } else {
        out.push_back(warning(
            "network",
            tools ? "/dev/net/tun cannot be opened by this user" : "pasta or nft is not installed",
            tools ? "profiles with network need it: chmod 0666 /dev/net/tun (udev's default)"
                  : "profiles with network need the packages passt and nftables"
        ));
    }
}

Findings findings_of_drift(const Json& drift) {
    Findings out;
    const auto each = [&](std::string_view key, const auto& take) {
        const Json* list = drift.find(key);
        if (list == nullptr || list->as_array() == nullptr) return;
        for (const Json& item : *list->as_array()) take(item);
    };
    std::size_t drivers = 0;
    each("drivers", [&](const Json& driver) {
        ++drivers;
        if (driver.bool_or("ok", true)) return;
        const std::string error = driver.string_or("error", "");
        // What is only away comes back; a host that is another or lets nobody in does not.
        const bool wrong = error.find("host_key_mismatch: ") != std::string::npos ||
                           error.find("ssh_denied: ") != std::string::npos;
        out.push_back((wrong ? failure : warning)(
            "driver " + printable(driver.string_or("driver", "?")),
            "cannot be listed: " + printable(error),
            wrong ? "its machines cannot be used or removed until that is mended"
                  : "nothing is removed there meanwhile; see the provisioner's settings and the "
                    "provider"
        ));
    });
    each("items", [&](const Json& item) {
        const std::string kind = enum_word(item.string_or("kind", ""), "DRIFT_KIND_");
        std::string remedy = "the provisioner mends it by itself; look again in a minute";
        if (kind == "foreign")
            remedy = "it carries a name of ours but not our marks and is never touched; look there";
        if (kind == "stuck") remedy = "removing it keeps failing; look at the provider";
        out.push_back(warning(
            "drift",
            fmt::format(
                "{} {} at {}{}",
                kind,
                printable(item.string_or("machine", "?")),
                printable(item.string_or("driver", "?")),
                item.string_or("message", "").empty()
                    ? ""
                    : ": " + printable(item.string_or("message", ""))
            ),
            remedy
        ));
    });
    if (out.empty() && drift.string_or("looked_at", "").empty()) {
        out.push_back(
            warning("drift", "the provisioner has not looked yet", "look again in a minute")
        );
    } else if (out.empty()) {
        out.push_back(
            ok("drift", fmt::format("none at {} driver{}", drivers, drivers == 1 ? "" : "s"))
        );
    }
    return out;
}

void check_drift(const Context& context, Findings& out) {
    const auto token = context.token();
    if (!token) return;
    Api api(context.server(), *token);
    api.set_patience(kQuestionPatience);
    const auto text = api.text("GET", "/v1/drift");
    if (!text) {
        // An older gateway does not know it, and only an admin may see it.
        if (text.error().fault == Fault::kNotFound || text.error().fault == Fault::kForbidden)
            return;
        out.push_back(warning("drift", text.error().message, "see 'berth status'"));
        return;
    }
    const auto drift = Json::parse(*text);
    if (!drift) return out.push_back(warning("drift", drift.error().message, "see 'berth status'"));
    for (auto& finding : findings_of_drift(*drift)) out.push_back(std::move(finding));
}

namespace {

std::string_view word_of(Verdict verdict) {
    return verdict == Verdict::kOk ? "ok" : verdict == Verdict::kWarning ? "warning" : "failure";
}

void show(const Context& context, const Findings& findings) {
    std::size_t width = 0;
    for (const auto& each : findings) width = std::max(width, each.name.size());
    for (const auto& each : findings) {
        const char* color = each.verdict == Verdict::kOk        ? "\x1b[32m"
                            : each.verdict == Verdict::kWarning ? "\x1b[33m"
                                                                : "\x1b[31m";
        context.print(fmt::format(
            "{}{:<7}{}  {:<{}}  {}\n",
            context.color() ? color : "",
            word_of(each.verdict),
            context.color() ? "\x1b[0m" : "",
            each.name,
            width,
            each.detail
        ));
        if (!each.remedy.empty())
            context.print(fmt::format("{:{}}-> {}\n", "", width + 11, each.remedy));
    }
}

}  // namespace

int run_doctor(Context& context, const Arguments&) {
    Findings findings;
    check_tools(findings);
    if (check_gateway(context, findings)) check_drift(context, findings);
    check_host(context, findings);
    bool well = true;
    Json list = Json::array();
    for (const auto& each : findings) {
        well = well && each.verdict != Verdict::kFailure;
        list.push(Json::object()
                      .set("name", each.name)
                      .set("verdict", word_of(each.verdict))
                      .set("detail", each.detail)
                      .set("remedy", each.remedy));
    }
    if (context.json()) {
        context.print(
            Json::object().set("well", well).set("findings", std::move(list)).dump() + "\n"
        );
    } else {
        show(context, findings);
    }
    return well ? 0 : 1;
}

}  // namespace berth::cli
