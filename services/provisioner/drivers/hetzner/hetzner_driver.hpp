// SPDX-License-Identifier: Apache-2.0
// Machines that are servers of Hetzner Cloud, reached by nothing from outside: they call us.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <variant>

#include "core/guarded.hpp"
#include "provisioner/driver.hpp"
#include "provisioner/drivers/hetzner/api.hpp"

namespace berth::prov {

struct HetznerSettings {
    hetzner::ApiSettings api;
    /// What makes a deployment this one and no other (the account's public key); goes into every
    /// label as a digest.
    std::string deployment;
    // For profiles that name none.
    std::string image = "debian-12";
    std::vector<std::string> types = {"cx22", "cpx11"};
    std::vector<std::string> locations = {"fsn1", "nbg1", "hel1"};
    /// A public IPv4 address costs money, and most package mirrors and git hosts need one.
    bool ipv4 = true;
    bool ipv6 = true;
    /// All of a create, the installation of the node agent by cloud-init included. Servers start in
    /// 10 to 40 s; a package mirror may be slow.
    milliseconds create_deadline{180'000};
    milliseconds destroy_deadline{60'000};
    /// From the request to a running server with an address, for each attempt.
    milliseconds start_patience{75'000};
    /// How often an action or a starting server is looked at: first, and at the slowest.
    milliseconds first_look{500};
    milliseconds slowest_look{3'000};
    /// How old what list() and tend() say may be: each look costs four requests of the account's
    /// hour of 3,600.
    milliseconds list_every{30'000};
    /// How long a firewall that was found to be as it must be is not looked at again.
    milliseconds firewall_every{60'000};
};

/// Thread-safe as Driver asks.
///
/// - A server and its ssh key are named after the machine, so that a second create finds what the
///   first one made; both carry the deployment's and the machine's label, without which nothing is
///   adopted or removed (errors `not_ours`).
/// - Every server gets a key of which nobody holds the private half: without one Hetzner would mail
///   a root password.
/// - Every server stands behind the deployment's firewall, which lets nothing in (of profiles with
///   ssh: port 2222): a machine needs no inbound port, and a fresh image listens on some. It is
///   made on demand and shared by all machines; it costs nothing and stays. One that was deleted is
///   made anew, one with other rules refused.
/// - Types are tried in order within a location, then the next location.
class HetznerDriver final : public Driver {
public:
    HetznerDriver(
        HetznerSettings settings,
        Boot& boot,
        hetzner::Sender http = http::make_sender(),
        const Clock& clock = Clock::system()
    );

    std::string_view name() const override { return "hetzner"; }
    Result<void> create(const MachineSpec& spec, Attempts& attempts) override;
    Result<void> destroy(const std::string& machine) override;
    Result<Condition> tend(const MachineSpec& spec) override;
    Result<std::vector<std::string>> list() override;

    void interrupt() override { api_.interrupt(); }
    int parallel() const override { return 8; }
    /// Requests that the account has left this hour, as far as is known. For a metric.
    double budget_left() { return api_.budget_left(); }

private:
    using Call = hetzner::Call;
    struct Target {
        std::string type;
        std::string location;  ///< empty: Hetzner's choice
        bool delayed = false;  ///< was put back once because of the rate limit
        std::string text() const { return location.empty() ? type : type + " in " + location; }
    };
    /// A server that is ours, and the actions that bring it up where we started them.
    struct Placed {
        std::int64_t server = 0;
        std::vector<std::int64_t> actions;
        std::string target;
        bool adopted = false;
        Json seen;  ///< the running server, once it is
    };
    /// Why a target gave no machine; `capacity` is false for a server that did not come up.
    struct Unfit {
        std::string code;
        std::string message;
        bool capacity = true;
        bool late = false;  ///< it only was not there in time
    };
    template <typename T>
    using Outcome = std::variant<T, Unfit>;
    /// What is needed of a machine's own before its server: made once for a create.
    struct Kit {
        std::string key;
        std::int64_t firewall = 0;
        Secret user_data;
    };
    struct Seen {
        std::string status;  ///< of the server; empty: only a key, an address or a volume is there
    };
    struct Snapshot {
        std::optional<SteadyTime> taken;
        std::optional<SteadyTime> failed;
        std::optional<Error> failure;
        std::map<std::string, Seen> machines;
        std::map<std::string, SteadyTime> destroyed;  ///< by this object, and not long ago
    };

    // hetzner_driver.cpp
    Result<std::optional<Json>> find_server(const std::string& machine, const Call& call);
    Result<Json> make_or_adopt(
        const std::string& kind,
        const std::string& member,
        const Json& body,
        const std::function<bool(const Json&)>& ours,
        const Call& call
    );
    Result<Kit> prepare(const MachineSpec& spec, const Call& call);
    Result<std::int64_t> ensure_firewall(bool ssh, const Call& call);
    std::vector<Target> targets(const lease::v1::Profile& profile) const;
    Json server_request(const MachineSpec& spec, const Kit& kit, const Target& target) const;
    Result<Placed> place(const MachineSpec& spec, Attempts& attempts, const Call& call);
    Result<Outcome<Placed>> ask_for(
        const MachineSpec& spec, const Kit& kit, const Target& target, const Call& call
    );
    Result<std::optional<Placed>> adopt(const std::string& machine, const Call& call);
    Result<std::optional<Unfit>> bring_up(Placed& placed, const Call& call);
    Result<std::optional<Unfit>> await_actions(const Placed& placed, const Call& call);
    Result<std::optional<Unfit>> await_running(Placed& placed, const Call& call);
    Result<void> label_addresses(const MachineSpec& spec, const Json& server, const Call& call);
    Result<void> await_node(const std::string& machine, SteadyTime since, const Call& call);

    // hetzner_removal.cpp
    Result<void> remove_server(std::int64_t server, const Call& call);
    Result<void> remove_rest(const std::string& machine, const Call& call);
    Result<std::vector<Json>> find_all(
        const std::string& kind, const std::string& machine, bool& foreign, const Call& call
    );
    Result<void> remove_kind(
        const std::string& kind, const std::string& machine, bool& foreign, const Call& call
    );
    Result<std::map<std::string, Seen>> look_at_everything(const Call& call);
    Result<std::map<std::string, Seen>> snapshot();
    void remember(const std::string& machine, const std::string& status);
    void forget(const std::string& machine);

    Call call_within(milliseconds span, bool urgent = true) const {
        return {api_.clock().steady() + span, urgent};
    }
    static Error not_ours(const std::string& machine);

    const HetznerSettings settings_;
    const std::string deployment_label_;
    Boot& boot_;
    hetzner::Api api_;
    struct Firewall {
        std::int64_t id = 0;
        SteadyTime seen;
    };
    Guarded<std::map<bool, Firewall>> firewalls_;  // ssh or not
    Guarded<Snapshot> snapshot_;
    std::mutex looking_;  // one look at everything at a time; the others wait for its result
};

}  // namespace berth::prov
