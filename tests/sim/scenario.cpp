// SPDX-License-Identifier: Apache-2.0
// The cast, the troubles and the invariants.
#include "scenario.hpp"

#include "client.hpp"

namespace berth::sim {
namespace {

using lease::LeaseState;

constexpr std::chrono::minutes kTrouble{2};
// Long enough for every deadline that still binds somebody: re-asks, start_by, unconfirmed
// attachments, retries.
constexpr std::chrono::minutes kQuiet{12};
constexpr milliseconds kForEver{std::chrono::hours{24}};

/// An event's reader as rule 1 has it: what is not newer than what it has seen is dropped.
class Reader {
public:
    Reader(World& world, Bus& bus) : world_(world) {
        bus.add_durable(
            "reader",
            "EVT",
            [](const Message& m) {
                return m.verb.starts_with("lease.") || m.verb.starts_with("run.");
            },
            [this](const Delivery& delivery) {
                const Message& message = delivery.message();
                delivery.ack();
                Seen& seen = seen_[message.entity];
                if (message.body.revision <= seen.revision)
                    return world_.count("a reader dropped an older revision");
                if (seen.over)
                    world_.violated(
                        "a newer event of the ended " + message.entity + ": " + message.verb
                    );
                seen = {message.body.revision, message.body.state, is_over(message)};
            }
        );
    }
    int state_of(const std::string& entity) const {
        const auto found = seen_.find(entity);
        return found == seen_.end() ? 0 : found->second.state;
    }

private:
    struct Seen {
        std::int64_t revision = 0;
        int state = 0;
        bool over = false;
    };
    static bool is_over(const Message& message) {
        return message.verb.starts_with("lease.")
                   ? message.body.state > LeaseState::LEASE_STATE_ACTIVE
                   : message.body.state >= run::RunState::RUN_STATE_SUCCEEDED;
    }
    World& world_;
    std::map<std::string, Seen> seen_;
};

class Scenario {
public:
    Scenario(std::uint64_t seed, Counters& counters, bool tell_story)
        : world_(seed, counters),
          bus_(world_),
          host_(world_, bus_),
          broker_(world_, bus_),
          provisioner_(world_, bus_, host_),
          runs_(world_, bus_),
          reader_(world_, bus_) {
        world_.tell_story(tell_story);
        host_.set_watcher(runs_);
    }

    std::vector<std::string> play() {
        broker_.start();
        provisioner_.start();
        runs_.start();
        invite();
        trouble();
        const WallTime quiet = world_.now() + kTrouble;
        world_.run_until(quiet);
        world_.end_faults();
        world_.run_until(quiet + kQuiet);
        check_clients();
        check_leases();
        check_runs();
        check_quiet();
        return world_.violations();
    }

private:
    Plan plan(const std::string& name) {
        Plan plan;
        plan.acquire_key = name + "/acquire";
        plan.digest = "wish";
        plan.wish.owner = name;
        plan.wish.ttl = world_.dice(30) ? world_.between(3'000, 200'000) : kForEver;
        plan.wish.idle = world_.dice(40) ? world_.between(5'000, 100'000) : kForEver;
        plan.wish.one_shot = world_.dice(20);
        plan.wish.parallel = world_.dice(50) ? 1 : 2;
        const std::uint64_t runs = world_.below(4);
        for (std::uint64_t i = 0; i < runs; ++i) {
            Body body;
            body.owner = name;
            // Some go on until they are signalled; some last longer than the watch waits for a
            // start.
            body.lasts = world_.dice(25)   ? milliseconds{0}
                         : world_.dice(20) ? world_.between(60'000, 150'000)
                                           : world_.between(10, 30'000);
            plan.runs.push_back(body);
        }
        plan.cancels = world_.dice(35);
        plan.patience = world_.dice(50) ? world_.between(0, 50) : world_.between(0, 20'000);
        plan.waits = world_.dice(50);
        plan.releases = world_.dice(60);
        return plan;
    }

    void invite() {
        const std::uint64_t count = 3 + world_.below(4);
        for (std::uint64_t i = 0; i < count; ++i) {
            Plan mine = plan("client" + std::to_string(i));
            if (i > 0 && world_.dice(35)) {
                mine.acquire_key = clients_.back()->plan().acquire_key;
                mine.wish = clients_.back()->plan().wish;
                if (world_.dice(15)) mine.digest = "another wish";
            }
            clients_.push_back(std::make_unique<Client>(
                world_, bus_, broker_, runs_, "client" + std::to_string(i), std::move(mine)
            ));
            world_.after(world_.between(0, 40'000), [client = clients_.back().get()] {
                client->start();
            });
            if (world_.dice(20)) {
                world_.after(world_.between(0, 90'000), [this, client = clients_.back().get()] {
                    world_.count("client lost");
                    client->lose();
                });
            }
        }
    }

    /// Beside the faults of every step and message: machines that fail, agents and services that
    /// die at any time.
    void trouble() {
        for (std::uint64_t i = world_.below(3); i > 0; --i)
            world_.after(world_.between(0, 110'000), [this] { host_.lose_one(); });
        for (std::uint64_t i = world_.below(4); i > 0; --i)
            world_.after(world_.between(0, 110'000), [this] { host_.crash_a_node(); });
        for (std::uint64_t i = world_.below(4); i > 0; --i) {
            Participant* const victims[] = {&broker_, &provisioner_, &runs_};
            world_.after(world_.between(0, 110'000), [victim = victims[world_.below(3)]] {
                victim->crash("at any time");
            });
        }
        if (!world_.dice(25)) return;
        Participant* const victims[] = {&broker_, &provisioner_, &runs_};
        world_.after(world_.between(0, 60'000), [this, victim = victims[world_.below(3)]] {
            victim->crash("for long", world_.between(30'000, 150'000));
        });
    }

    void check_clients() {
        std::map<std::string, std::string> lease_of_key;
        for (const auto& client : clients_) {
            for (const Client::Job& job : client->jobs()) {
                if (!client->lost() && !job.outcome)
                    world_.violated(client->name() + " never heard of its " + job.message.verb);
                if (job.message.verb != "acquire" || !job.outcome || !*job.outcome) continue;
                const auto [known, fresh] =
                    lease_of_key.emplace(job.message.id, (*job.outcome)->lease);
                if (fresh) continue;
                world_.count("one key, two askers, one lease");
                if (known->second != (*job.outcome)->lease)
                    world_.violated("one idempotency key led to two answers");
            }
        }
    }

    void check_leases() {
        std::map<std::string, std::string> made_by;
        for (const auto& [id, lease] : broker_.leases()) {
            // The label is the command that made it.
            if (!made_by.emplace(lease.label, id).second)
                world_.violated("one idempotency key made two leases");
            if (lease.state == LeaseState::LEASE_STATE_PENDING)
                world_.violated(id + " is pending for ever");
            if (lease.state == LeaseState::LEASE_STATE_ACTIVE && !host_.has(lease.machine))
                world_.violated(id + " is active without a machine");
            if (!lease.live() && host_.has(lease.machine))
                world_.violated(id + " has ended and its machine is still there");
            if (reader_.state_of("lease/" + id) != lease.state)
                world_.violated("a reader has another state of lease " + id);
            if (lease.live()) check_attached(lease);
        }
        for (const std::string& machine : host_.list()) {
            if (!provisioner_.resources().contains(machine))
                world_.violated(machine + " is at the provider and nobody knows it");
        }
    }

    void check_attached(const lease::Lease& lease) {
        int live = 0;
        for (const auto& [id, run] : runs_.runs()) {
            if (run.lease != lease.id || !run.live()) continue;
            // Its first event took longer than kUnconfirmedAttachment: the lease goes by its own
            // idle time then.
            if (broker_.dropped().contains(id))
                world_.count("a live run's attachment was dropped");
            else
                ++live;
        }
        if (live > 0) world_.count("lease active with a live run at the end");
        if (live != lease.live_runs)
            world_.violated(
                lease.id + " counts " + std::to_string(lease.live_runs) + " live runs of " +
                std::to_string(live)
            );
    }

    void check_runs() {
        for (const auto& [id, run] : runs_.runs()) {
            const bool real = host_.really_runs(id);
            if (run.live() && run.state != run::RunState::RUN_STATE_QUEUED && !real)
                world_.violated(
                    id + " is " + std::string(run::state_name(run.state)) + " and not there"
                );
            if (run.state == run::RunState::RUN_STATE_QUEUED && !has_placed(run.lease))
                world_.violated(id + " is queued behind nothing");
            if (!run.live() && run.state != run::RunState::RUN_STATE_LOST && real)
                world_.violated(id + " has ended and goes on");
            if (run.live() && runs_.canceled().contains(id))
                world_.violated(id + " was canceled and goes on");
            if (run.reason == "its machine never started it" && host_.starts_of(id) > 0)
                world_.violated(id + " was called never started and was");
            if (reader_.state_of("run/" + id) != run.state &&
                run.state != run::RunState::RUN_STATE_STARTING) {
                const bool queued_since =
                    run.state == run::RunState::RUN_STATE_QUEUED &&
                    reader_.state_of("run/" + id) == run::RunState::RUN_STATE_QUEUED;
                if (!queued_since) world_.violated("a reader has another state of run " + id);
            }
            world_.count("run ended " + std::string(run::state_name(run.state)));
        }
        for (const auto& [run, starts] : host_.starts()) {
            if (!runs_.runs().contains(run))
                world_.violated(run + " was started and nobody knows it");
        }
    }
    bool has_placed(const std::string& lease) const {
        for (const auto& [id, run] : runs_.runs()) {
            if (run.lease == lease && run.placed()) return true;
        }
        return false;
    }

    void check_quiet() {
        for (const Service* service :
             {static_cast<const Service*>(&broker_),
              static_cast<const Service*>(&provisioner_),
              static_cast<const Service*>(&runs_)}) {
            if (!service->outbox_empty())
                world_.violated(
                    "the outbox of " + service->name() + " still holds " + service->stuck()
                );
        }
        for (const std::string& message : bus_.unsettled())
            world_.violated("never settled: " + message);
    }

    World world_;
    Bus bus_;
    Host host_;
    Broker broker_;
    Provisioner provisioner_;
    Runs runs_;
    Reader reader_;
    std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace

std::vector<std::string> play(std::uint64_t seed, Counters& counters, bool tell_story) {
    return Scenario(seed, counters, tell_story).play();
}

}  // namespace berth::sim
