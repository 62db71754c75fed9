// SPDX-License-Identifier: Apache-2.0
// Machines that are hosts somebody has already: the node agent is installed over ssh, and taken
// away again. One machine a host at a time.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "core/guarded.hpp"
#include "core/secret.hpp"
#include "provisioner/driver.hpp"

namespace berth::prov {

struct SshHost {
    std::string name;  ///< what a profile's `locations` and attempts call it
    std::string address;
    int port = 22;
    std::string user = "root";  ///< another one must be allowed `sudo -n sh`
    std::string host_key;       ///< "ssh-ed25519 AAAA…": nobody else is spoken to
};

struct SshSettings {
    std::vector<SshHost> hosts;
    std::string key_file;    ///< the private key, 0600
    std::string deployment;  ///< what makes a deployment this one and no other
    milliseconds create_deadline{180'000};
    milliseconds destroy_deadline{90'000};
    milliseconds connect_patience{10'000};
    milliseconds list_every{30'000};  ///< how old what list() and tend() say may be
};

/// What a script said on a host.
struct SshAnswer {
    int code = 0;
    std::string out;
    std::string err;
};
/// Runs a shell script as root on a host; the script travels on stdin, never in arguments. Errors:
/// unavailable "unreachable", forbidden "host_key_mismatch" and "ssh_denied", each with a sentence
/// that says of which host, and what to do.
using SshRun = std::function<
    Result<SshAnswer>(const SshHost& host, const Secret& script, milliseconds patience)>;
/// By OpenSSH's client, with nothing of this user's ssh configuration.
SshRun openssh(const SshSettings& settings);

/// Thread-safe as Driver asks. A host is ours while /etc/berth-machine on it says which deployment
/// and machine: it is made atomically before anything else and removed last. A host with that file
/// of somebody else, or with a user `berth`, /opt/berth or /var/lib/berth that we did not make, is
/// never touched.
class SshDriver final : public Driver {
public:
    SshDriver(SshSettings settings, Boot& boot, SshRun run, const Clock& clock = Clock::system())
        : settings_(std::move(settings)), boot_(boot), run_(std::move(run)), clock_(clock) {}

    std::string_view name() const override { return "ssh"; }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override;
    Result<std::vector<std::string>> list() override;
    std::string unseen() override;
    void interrupt() override { *stopping_.lock() = true; }

private:
    /// Who a host belongs to.
    struct Mark {
        std::string deployment;  ///< empty: nobody's
        std::string machine;
    };
    struct Snapshot {
        std::optional<SteadyTime> taken;
        std::map<std::string, std::string> machines;  ///< host → machine
        std::map<std::string, std::string> foreign;   ///< the same of another deployment's marks
        /// Hosts that could not be asked, and why; their entry in `machines` is what was known.
        std::map<std::string, std::string> away;
    };
    Result<SshAnswer> run(const SshHost& host, const std::string& script, SteadyTime until);
    Result<Mark> mark_of(const SshHost& host, SteadyTime until);
    /// The host that is this machine's already, or was free and is now.
    Result<const SshHost*> claim(const MachineSpec& spec, Attempts& attempts, SteadyTime until);
    Result<void> remove(const SshHost& host, const std::string& machine, SteadyTime until);
    /// All hosts at once: one that is away holds up no other.
    Result<Snapshot> snapshot();
    /// The hosts on which something of a machine may be, first the one that is known to be it. One
    /// that it never touched holds up no end of it.
    Result<std::vector<const SshHost*>> hosts_for(const std::string& machine);
    Error not_ours(const SshHost& host, const std::string& machine) const;

    const SshSettings settings_;
    Boot& boot_;
    const SshRun run_;
    const Clock& clock_;
    Guarded<Snapshot> snapshot_;
    Guarded<bool> stopping_{false};
};

}  // namespace berth::prov
