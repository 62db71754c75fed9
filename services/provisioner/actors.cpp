// SPDX-License-Identifier: Apache-2.0
// Intent, act, result.
#include "provisioner/actors.hpp"

#include "log/log.hpp"
#include "provisioner/settings.hpp"

namespace berth::prov {
namespace {

// Without a wake (another replica's handler recorded it) a due machine is noticed after this.
constexpr milliseconds kPoll{250};
constexpr int kDueBatch = 32;

bool is_passing(const Error& error) {
    if (error.code == kCapacityExhausted) return false;  // every type and place has refused
    return error.fault == Fault::kUnavailable || error.fault == Fault::kDeadline;
}

/// The context of something that no message caused: the resource's revision makes the ids
/// repeatable.
service::Context context_of(const Resource& resource, std::string_view what) {
    service::Context context;
    context.command_id = service::child_command_id(
        resource.machine, std::string(what) + "/" + std::to_string(resource.revision)
    );
    context.correlation_id = context.command_id;
    context.now = Clock::system().now();
    return context;
}

}  // namespace

Actors::Actors(Parts parts) : parts_(std::move(parts)) {
    created_ = parts_.metrics.counter("berth_prov_machines_created_total", "Machines made.");
    destroyed_ = parts_.metrics.counter("berth_prov_machines_destroyed_total", "Machines removed.");
    failures_ =
        parts_.metrics.counter("berth_prov_driver_failures_total", "Driver calls that failed.");
}
Actors::~Actors() { stop(); }

void Actors::start() {
    for (const auto& [name, driver] : parts_.drivers) {
        for (int i = 0; i < driver->parallel() && !driver->instant(); ++i)
            threads_.emplace_back([this, name = name] { run(name); });
    }
}

void Actors::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

void Actors::wake() {
    {
        const std::lock_guard lock(mutex_);
        ++wakes_;
    }
    changed_.notify_all();
}

void Actors::run(const std::string& driver) {
    std::optional<store::Connection> connection;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const std::uint64_t seen = wakes_;
        lock.unlock();
        if (!connection || !connection->usable()) {
            connection.reset();
            if (auto opened = store::Connection::open(parts_.database))
                connection.emplace(std::move(*opened));
        }
        bool acted = false;
        if (connection) {
            if (const auto due = repo::due(parts_.pool, driver, Clock::system().now(), kDueBatch)) {
                for (const std::string& machine : *due) acted = act(*connection, machine) || acted;
            }
        }
        lock.lock();
        // A wake comes from inside the handler's transaction: the row may appear a moment later,
        // hence the short first wait after one.
        if (!acted)
            changed_.wait_for(lock, wakes_ != seen ? milliseconds{2} : kPoll, [this, seen] {
                return stopping_ || wakes_ != seen;
            });
    }
}

bool Actors::act(store::Connection& connection, const std::string& machine) {
    const auto locked = repo::try_act(connection, machine);
    if (!locked || !*locked) return false;
    bool acted = false;
    // Read again under the lock: another actor may have just finished it.
    std::optional<Resource> resource;
    auto read = parts_.pool.transact([&](store::Transaction& tx) -> Result<void> {
        BERTH_ASSIGN(resource, repo::lock(tx, machine));
        return {};
    });
    const bool due = read && resource && resource->next_at <= Clock::system().now() &&
                     (resource->state == ResourceState::kCreating ||
                      resource->state == ResourceState::kDestroying);
    if (due) {
        acted = true;
        if (const auto done = carry_out(*resource); !done)
            log::warning(
                "a machine could not be dealt with", {{"machine", machine}, {"error", done.error()}}
            );
    }
    (void)repo::end_act(connection, machine);
    return acted;
}

Result<void> Actors::carry_out(const Resource& resource) {
    const auto driver = parts_.drivers.find(resource.driver);
    if (driver == parts_.drivers.end())
        return internal("no_driver", "no driver " + resource.driver);
    if (resource.state == ResourceState::kDestroying)
        return carry_out_destroy(resource, *driver->second);
    BERTH_ASSIGN(const MachineSpec spec, spec_of(resource));
    Attempts attempts;
    const auto done = driver->second->create(spec, attempts);
    if (!done && done.error().code == kInterrupted) return {};
    const bool waits = !done && done.error().code == kImagePulling;
    if (!waits) (done ? created_ : failures_).add();
    const auto change = [&](Resource& current) -> std::optional<std::string> {
        if (done)
            return created(current) ? std::optional<std::string>(std::string()) : std::nullopt;
        if (waits) {
            create_waits(current, done.error().message, Clock::system().now());
            return std::nullopt;
        }
        create_failed(
            current,
            done.error().message,
            !is_passing(done.error()),
            kCreateAttempts,
            Clock::system().now()
        );
        return current.state == ResourceState::kFailed
                   ? std::optional<std::string>(done.error().code)
                   : std::nullopt;
    };
    return record(
        parts_.pool,
        parts_.relay,
        resource.machine,
        attempts,
        change,
        driver->second->cleanable(spec.profile)
    );
}

Result<void> Actors::carry_out_destroy(const Resource& resource, Driver& driver) {
    const auto done = driver.destroy(resource.machine);
    if (!done && done.error().code == kInterrupted) return {};
    (done ? destroyed_ : failures_).add();
    const auto change = [&](Resource& current) -> std::optional<std::string> {
        if (!done) {
            destroy_failed(current, done.error().describe(), kSlowestRetry, Clock::system().now());
            return std::nullopt;
        }
        destroyed(current);
        return std::string();
    };
    return record(parts_.pool, parts_.relay, resource.machine, {}, change);
}

Result<void> record(
    store::Pool& pool,
    store::Relay& relay,
    const std::string& machine,
    const Attempts& attempts,
    const std::function<std::optional<std::string>(Resource&)>& change,
    bool cleanable
) {
    auto messages =
        pool.transact([&](store::Transaction& tx) -> Result<std::vector<store::OutboxMessage>> {
            std::vector<store::OutboxMessage> out;
            BERTH_ASSIGN(auto resource, repo::lock(tx, machine));
            if (!resource) return out;
            if (const auto code = change(*resource))
                out.push_back(fact(
                    context_of(*resource, state_name(resource->state)),
                    *resource,
                    *code,
                    attempts,
                    cleanable
                ));
            BERTH_TRY(repo::update(tx, *resource));
            if (!out.empty()) BERTH_TRY(store::Outbox::add_all(tx, out));
            return out;
        });
    if (!messages) return std::move(messages).error();
    relay.publish_committed(std::move(*messages));
    return {};
}

}  // namespace berth::prov
