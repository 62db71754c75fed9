// SPDX-License-Identifier: Apache-2.0
// Claiming a host, installing, taking away.
#include "provisioner/drivers/ssh/ssh_driver.hpp"

#include <algorithm>
#include <future>

#include "core/id.hpp"
#include "core/text.hpp"
#include "log/log.hpp"

namespace berth::prov {
namespace {

constexpr milliseconds kHeardSlice{1'000};  // between two looks at whether the process stops
constexpr milliseconds kLookPatience{20'000};
constexpr std::size_t kLooksAtOnce = 16;  // each is an ssh client
constexpr std::string_view kOccupied = "occupied";
constexpr std::string_view kTaken = "taken";

// A link of a finished file is there whole or not at all, and only for the first.
constexpr const char* kClaim = R"SH(
mark=/etc/berth-machine
if [ ! -e "$mark" ]; then
    if id berth >/dev/null 2>&1 || [ -e /opt/berth ] || [ -e /var/lib/berth ]; then echo occupied; exit 0; fi
    new=$(mktemp /etc/berth-machine.XXXXXX)
    printf '%s\n' "$want" >"$new"
    chmod 600 "$new"
    ln "$new" "$mark" 2>/dev/null || true
    rm -f "$new"
fi
cat "$mark"
)SH";

constexpr const char* kLook = "cat /etc/berth-machine 2>/dev/null || true\n";

// The mark goes last: as long as anything is left, a list shows it. The user is ours alone, so
// whatever runs as it is ours to end.
constexpr const char* kRemove = R"SH(
mark=/etc/berth-machine
[ -e "$mark" ] || exit 0
[ "$(cat "$mark")" = "$want" ] || { cat "$mark"; exit 3; }
if [ -d /run/systemd/system ]; then systemctl disable --now berth-node >/dev/null 2>&1 || true; fi
if id berth >/dev/null 2>&1; then
    uid=$(id -u berth)
    ended=''
    for look in $(seq 100); do
        left=''
        for status in /proc/[0-9]*/status; do
            who=$(awk '$1 == "Uid:" { print $2 }' "$status" 2>/dev/null) || continue
            [ "$who" = "$uid" ] || continue
            pid=${status#/proc/}
            grep -q '^State:.*Z' "$status" 2>/dev/null && continue
            left=1
            kill -KILL "${pid%/status}" 2>/dev/null || true
        done
        [ -n "$left" ] || { ended=1; break; }
        sleep 0.1
    done
    [ -n "$ended" ] || { echo "processes of the user berth do not end" >&2; exit 4; }
    userdel berth 2>/dev/null || { echo "the user berth cannot be removed" >&2; exit 4; }
    getent group berth >/dev/null 2>&1 && groupdel berth 2>/dev/null || true
fi
rm -f /etc/systemd/system/berth-node.service /var/log/berth-node.log
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
rm -rf /opt/berth /var/lib/berth /etc/berth-machine.??????
rm -f "$mark"
)SH";

/// The error of a create() that got none of the hosts it asked. Waiting for one that is another
/// machine may help; for one that cannot be used somebody has to do something.
Error no_host(const std::string& profile, const Attempts& attempts) {
    if (attempts.empty()) return conflict("no_such_host", "no host fits profile '" + profile + "'");
    std::string tried;
    bool taken = false;
    for (const Attempt& attempt : attempts) {
        tried += (tried.empty() ? "" : "; ") + attempt.target + ": " + attempt.code;
        taken = taken || attempt.code == kTaken;
    }
    if (taken) return unavailable(std::string(kCapacityExhausted), "no host is free: " + tried);
    return conflict(attempts.front().code, "no host can be used: " + tried);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// Why hosts are away, each with its code.
std::string words_of(const std::map<std::string, std::string>& away) {
    std::string out;
    for (const auto& [host, why] : away) out += (out.empty() ? "" : "; ") + why;
    return out;
}

}  // namespace

Error SshDriver::not_ours(const SshHost& host, const std::string& machine) const {
    return conflict(
        std::string(kNotOurs),
        "host " + host.name + " says in /etc/berth-machine that it is " + machine +
            " of another deployment; it is left alone"
    );
}

Result<SshAnswer> SshDriver::run(const SshHost& host, const std::string& script, SteadyTime until) {
    if (*stopping_.lock()) return unavailable(std::string(kInterrupted), "the provisioner stops");
    const auto left = std::chrono::duration_cast<milliseconds>(until - clock_.steady());
    if (left.count() <= 0) return deadline("ssh_slow", "no time is left for " + host.name);
    return run_(host, Secret("set -u\numask 077\n" + script), left);
}

Result<SshDriver::Mark> SshDriver::mark_of(const SshHost& host, SteadyTime until) {
    BERTH_ASSIGN(const SshAnswer answer, run(host, kLook, until));
    if (answer.code != 0)
        return unavailable(
            "no_root", "host " + host.name + " runs no script as root: " + first_line(answer.err)
        );
    const std::string line = first_line(answer.out);
    const auto words = split(line, ' ');
    if (words.size() != 2) return Mark{};
    return Mark{std::string(words[0]), std::string(words[1])};
}

Result<const SshHost*> SshDriver::claim(
    const MachineSpec& spec, Attempts& attempts, SteadyTime until
) {
    const auto& wished = spec.profile.locations();
    std::vector<const SshHost*> free;
    // First where it is already: a create cut short goes on with the same host.
    for (const SshHost& host : settings_.hosts) {
        if (!wished.empty() && std::find(wished.begin(), wished.end(), host.name) == wished.end())
            continue;
        const auto mark = mark_of(host, until);
        if (!mark) {
            if (mark.error().code == kInterrupted) return mark.error();
            attempts.push_back({host.name, mark.error().code, mark.error().message});
        } else if (mark->machine == spec.machine) {
            if (mark->deployment != settings_.deployment) return not_ours(host, spec.machine);
            BERTH_TRY(boot_.touch(spec.machine, host.name));
            attempts.push_back({host.name, "adopted", {}});
            return &host;
        } else if (mark->machine.empty()) {
            free.push_back(&host);
        } else {
            attempts.push_back({host.name, std::string(kTaken), "it is " + mark->machine});
        }
    }
    const std::string want = settings_.deployment + " " + spec.machine;
    for (const SshHost* host : free) {
        BERTH_TRY(boot_.touch(spec.machine, host->name));
        BERTH_ASSIGN(const SshAnswer answer, run(*host, "want='" + want + "'\n" + kClaim, until));
        const std::string said = first_line(answer.out);
        if (answer.code == 0 && said == want) {
            attempts.push_back({host->name, "created", {}});
            return host;
        }
        if (answer.code != 0) {
            attempts.push_back({host->name, "claim_failed", first_line(answer.err)});
        } else if (said == kOccupied) {
            attempts.push_back(
                {host->name,
                 std::string(kOccupied),
                 "it has a user berth, /opt/berth or /var/lib/berth that is not ours; remove them "
                 "there, or take it out of provisioner.ssh.hosts"}
            );
        } else {
            attempts.push_back({host->name, std::string(kTaken), "another machine was faster"});
        }
    }
    return no_host(spec.profile.name(), attempts);
}

Result<void> SshDriver::create(const MachineSpec& spec, Attempts& attempts) {
    if (!is_id("m", spec.machine)) return invalid("bad_id", "the machine's id is malformed");
    const SteadyTime until = clock_.steady() + settings_.create_deadline;
    BERTH_ASSIGN(const SshHost* host, claim(spec, attempts, until));
    BERTH_ASSIGN(const Secret script, boot_.user_data(spec));
    const SteadyTime since = clock_.steady();
    BERTH_ASSIGN(const SshAnswer answer, run(*host, script.reveal(), until));
    if (answer.code != 0) {
        // What was installed so far is removed with the next create's failure or the destroy.
        return unavailable(
            "not_installed",
            "the node agent could not be installed on " + host->name + ": " +
                answer.err.substr(answer.err.size() - std::min<std::size_t>(answer.err.size(), 512))
        );
    }
    for (;;) {
        BERTH_ASSIGN(const bool heard, boot_.wait_heard(spec.machine, since, kHeardSlice));
        if (heard) break;
        if (*stopping_.lock())
            return unavailable(std::string(kInterrupted), "the provisioner stops");
        if (clock_.steady() >= until)
            return unavailable(
                "node_silent",
                "the node agent on " + host->name +
                    " was not heard in time: can the host reach the gateway and the bus?"
            );
    }
    auto known = snapshot_.lock();
    if (known->taken) known->machines[host->name] = spec.machine;
    return {};
}

Result<void> SshDriver::remove(const SshHost& host, const std::string& machine, SteadyTime until) {
    const std::string want = settings_.deployment + " " + machine;
    BERTH_ASSIGN(const SshAnswer answer, run(host, "want='" + want + "'\n" + kRemove, until));
    if (answer.code == 3) return not_ours(host, machine);
    if (answer.code != 0)
        return unavailable("not_removed", host.name + ": " + clipped(answer.err, 512));
    return {};
}

Result<std::vector<const SshHost*>> SshDriver::hosts_for(const std::string& machine) {
    BERTH_ASSIGN(const auto touched, boot_.touched(machine));
    const auto is_touched = [&touched](std::string_view place) {
        return std::find(touched.begin(), touched.end(), place) != touched.end();
    };
    const bool anywhere = is_touched(kAnyPlace);
    std::vector<const SshHost*> out;
    auto known = snapshot_.lock();
    const auto bears = [&machine](const std::map<std::string, std::string>& seen, auto& host) {
        const auto found = seen.find(host.name);
        return found != seen.end() && found->second == machine;
    };
    for (const SshHost& host : settings_.hosts) {
        if (bears(known->machines, host)) {
            out.insert(out.begin(), &host);
        } else if (anywhere || is_touched(host.name) || bears(known->foreign, host)) {
            out.push_back(&host);
        }
    }
    return out;
}

Result<void> SshDriver::destroy(const std::string& machine) {
    if (!is_id("m", machine)) return invalid("bad_id", "the machine's id is malformed");
    const SteadyTime until = clock_.steady() + settings_.destroy_deadline;
    bool removed = false;
    std::optional<Error> failed;
    std::optional<Error> foreign;
    BERTH_ASSIGN(const auto hosts, hosts_for(machine));
    for (const SshHost* host : hosts) {
        const auto mark = mark_of(*host, until);
        if (!mark) {
            failed = mark.error();
        } else if (mark->machine == machine && mark->deployment != settings_.deployment) {
            foreign = not_ours(*host, machine);
        } else if (mark->machine == machine) {
            BERTH_TRY(remove(*host, machine, until));
            removed = true;
            break;
        }
    }
    {
        auto known = snapshot_.lock();
        std::erase_if(known->machines, [&](const auto& entry) { return entry.second == machine; });
    }
    if (foreign) return *foreign;
    // A machine has one host. Should there be another claim on one that is not reached now, list()
    // shows it when that is back.
    if (removed || !failed) return {};
    return failed->code == kInterrupted
               ? *failed
               : unavailable("unreachable", "not every host could be asked: " + failed->message);
}

Result<SshDriver::Snapshot> SshDriver::snapshot() {
    Snapshot before;
    {
        auto known = snapshot_.lock();
        if (known->taken && clock_.steady() < *known->taken + settings_.list_every) return *known;
        before = *known;
    }
    Snapshot now;
    now.taken = clock_.steady();
    const SteadyTime until = *now.taken + kLookPatience;
    std::optional<Error> failed;
    for (std::size_t from = 0; from < settings_.hosts.size(); from += kLooksAtOnce) {
        const std::size_t to = std::min(from + kLooksAtOnce, settings_.hosts.size());
        std::vector<std::future<Result<Mark>>> looks;
        for (std::size_t i = from; i < to; ++i)
            looks.push_back(std::async(std::launch::async, [this, i, until] {
                return mark_of(settings_.hosts[i], until);
            }));
        for (std::size_t i = from; i < to; ++i) {
            const std::string& name = settings_.hosts[i].name;
            const auto mark = looks[i - from].get();
            if (mark) {
                const bool ours = mark->deployment == settings_.deployment;
                (ours ? now.machines : now.foreign)[name] = mark->machine;
                continue;
            }
            failed = mark.error();
            now.away[name] = mark.error().describe();
            if (const auto was = before.machines.find(name); was != before.machines.end())
                now.machines[name] = was->second;
        }
    }
    if (failed && failed->code == kInterrupted) return *failed;
    if (failed && now.away.size() == settings_.hosts.size())
        return unavailable("no_host_answers", words_of(now.away));
    *snapshot_.lock() = now;
    return now;
}

Result<Condition> SshDriver::tend(const MachineSpec& spec) {
    BERTH_ASSIGN(const Snapshot known, snapshot());
    for (const auto& [host, machine] : known.machines) {
        if (machine != spec.machine) continue;
        const auto away = known.away.find(host);
        if (away == known.away.end()) return Condition::kWorking;
        return unavailable("unreachable", away->second);
    }
    for (const SshHost& host : settings_.hosts) {
        const auto other = known.foreign.find(host.name);
        if (other != known.foreign.end() && other->second == spec.machine)
            return not_ours(host, spec.machine);
    }
    // It may be on one that is away and was never seen.
    if (!known.away.empty()) return unavailable("unreachable", known.away.begin()->second);
    return Condition::kMissing;
}

Result<std::vector<std::string>> SshDriver::list() {
    BERTH_ASSIGN(const Snapshot known, snapshot());
    std::vector<std::string> found;
    for (const auto& [host, machine] : known.machines) {
        if (is_id("m", machine) && !known.away.contains(host)) found.push_back(machine);
    }
    return found;
}

std::string SshDriver::unseen() { return words_of(snapshot_.lock()->away); }

}  // namespace berth::prov
