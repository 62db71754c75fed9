// SPDX-License-Identifier: Apache-2.0
// The JetStream side of a machine's coming and going.
#include "provisioner/enrolment.hpp"

#include "core/text.hpp"
#include "provisioner/settings.hpp"
#include "topology/apply.hpp"
#include "topology/rights.hpp"

namespace berth::prov {
namespace {

constexpr seconds kApiTimeout{5};

}  // namespace

Result<std::string> Enrolment::api(std::string_view subject, std::string_view json) {
    return connection_.request(subject, json, kApiTimeout);
}

Result<void> Enrolment::make(const std::vector<topology::Consumer>& consumers) {
    topology::ApplyReport report;
    for (const topology::Consumer& consumer : consumers) {
        BERTH_TRY(topology::apply_consumer(
            consumer, [this](auto subject, auto json) { return api(subject, json); }, {}, report
        ));
    }
    return {};
}

Result<void> Enrolment::open(const std::string& machine, const std::string& org) {
    const topology::Machine holder{machine, org};
    BERTH_ASSIGN(const auto consumers, topology::consumers_of(topology::builtin(), holder));
    return make(consumers);
}

Result<void> Enrolment::open_reader(const topology::EventReader& reader) {
    BERTH_ASSIGN(const auto consumers, topology::consumers_of(topology::builtin(), reader));
    return make(consumers);
}

Result<std::string> Enrolment::mint_reader(
    const topology::EventReader& reader,
    const std::string& user_public_key,
    WallTime now,
    milliseconds life
) {
    return topology::mint_reader_user(
        topology::builtin(), account_, reader, user_public_key, now, life
    );
}

Result<void> Enrolment::close_reader(const topology::EventReader& reader) {
    BERTH_ASSIGN(const auto consumers, topology::consumers_of(topology::builtin(), reader));
    for (const topology::Consumer& consumer : consumers) {
        BERTH_TRY(topology::delete_consumer(consumer, [this](auto subject, auto json) {
            return api(subject, json);
        }));
    }
    return {};
}

Result<std::string> Enrolment::mint(
    const std::string& machine,
    const std::string& org,
    const std::string& user_public_key,
    WallTime now
) {
    return topology::mint_machine_user(
        topology::builtin(), account_, {machine, org}, user_public_key, now, kNodeCredentialLife
    );
}

Result<void> Enrolment::close(const std::string& machine, const std::string& org) {
    BERTH_ASSIGN(
        const auto consumers,
        topology::consumers_of(
            topology::builtin(), topology::Machine{machine, org.empty() ? "none" : org}
        )
    );
    for (const topology::Consumer& consumer : consumers) {
        BERTH_TRY(topology::delete_consumer(consumer, [this](auto subject, auto json) {
            return api(subject, json);
        }));
        const auto purged =
            topology::purge(consumer.stream, consumer.filter, [this](auto subject, auto json) {
                return api(subject, json);
            });
        if (!purged) return purged.error();
    }
    return {};
}

Result<std::unique_ptr<Presences>> Presences::listen(bus::Connection& connection) {
    auto presences = std::make_unique<Presences>();
    BERTH_ASSIGN(
        presences->receiver_,
        connection.subscribe(
            "berth.live.node.*",
            [self = presences.get()](bus::Message message) {
                const auto tokens = split(message.subject, '.');
                {
                    const std::lock_guard lock(self->mutex_);
                    self->heard_[std::string(tokens.back())] = std::chrono::steady_clock::now();
                }
                self->changed_.notify_all();
            }
        )
    );
    return presences;
}

bool Presences::wait_heard(const std::string& machine, SteadyTime since, milliseconds patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] {
        const auto it = heard_.find(machine);
        return it != heard_.end() && it->second >= since;
    });
}

void Presences::forget(const std::string& machine) {
    const std::lock_guard lock(mutex_);
    heard_.erase(machine);
}

}  // namespace berth::prov
