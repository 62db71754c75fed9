// SPDX-License-Identifier: Apache-2.0
// provisioner put together: drivers, handlers, actors, and a keeper for each driver that one of the
// replicas leads.
#include "provisioner/app.hpp"

#include "provisioner/actors.hpp"
#include "provisioner/make_drivers.hpp"
#include "provisioner/readers.hpp"
#include "provisioner/reconciler.hpp"
#include "service/leader_loop.hpp"

namespace berth::prov {
namespace {

/// Made before the app, because it may fail.
struct Ground {
    std::unique_ptr<Enrolment> enrolment;
    std::unique_ptr<Presences> presences;
    std::unique_ptr<CloudBoot> boot;
    NodeBus bus;
};

class ProvApp final : public service::App {
public:
    ProvApp(service::Runtime& runtime, const ProvSettings& settings, Ground ground)
        : ground_(std::move(ground)),
          drivers_(make_drivers(
              settings, ground_.bus, *ground_.enrolment, *ground_.presences, ground_.boot.get()
          )),
          actors_({runtime.pool(), runtime.database(), runtime.relay(), runtime.metrics(), drivers_}
          ),
          handlers_(drivers_, *ground_.enrolment, runtime.pool(), [this] { actors_.wake(); }),
          readers_(
              *ground_.enrolment,
              runtime.pool(),
              settings.public_nats_url.empty() ? ground_.bus.url : settings.public_nats_url
          ),
          bound_(runtime.make_handlers()) {
        for (const auto& [name, driver] : drivers_) {
            if (!driver->instant()) add_keeper(runtime, settings, name, *driver);
        }
        handlers_.bind(*bound_);
        readers_.bind(*bound_);
    }

    Result<void> start() override {
        actors_.start();
        BERTH_TRY(bound_->start());
        for (const auto& keeper : keepers_) keeper->start();
        return {};
    }
    void stop() override {
        bound_->stop();
        // A server that starts takes minutes: whoever comes next goes on from where it is.
        for (const auto& [name, driver] : drivers_) driver->interrupt();
        for (const auto& keeper : keepers_) keeper->stop();
        actors_.stop();
    }

private:
    void add_keeper(
        service::Runtime& runtime,
        const ProvSettings& settings,
        const std::string& name,
        Driver& driver
    ) {
        reconcilers_.push_back(std::make_unique<Reconciler>(
            name,
            driver,
            Reconciler::Parts{
                runtime.pool(), runtime.database(), runtime.relay(), runtime.metrics()}
        ));
        keepers_.push_back(std::make_unique<service::LeaderLoop>(
            runtime.database(),
            "keeper-" + name,
            settings.tend_every,
            [reconciler = reconcilers_.back().get()](std::int64_t) { return reconciler->look(); }
        ));
    }

    Ground ground_;
    Drivers drivers_;
    Actors actors_;
    ProvHandlers handlers_;
    ReaderHandlers readers_;
    std::vector<std::unique_ptr<Reconciler>> reconcilers_;
    std::vector<std::unique_ptr<service::LeaderLoop>> keepers_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

/// Where machines have their folders.
Result<void> make_machines_folder(const std::string& path) {
    std::error_code error;
    if (path.empty()) return {};
    std::filesystem::create_directories(path, error);
    if (error) return invalid("bad_setting", "the folder " + path + ": " + error.message());
    return {};
}

Result<std::unique_ptr<service::App>> compose(service::Runtime& runtime, config::Reader& reader) {
    const ProvSettings settings = read_prov_settings(reader);
    BERTH_TRY(reader.finish());
    BERTH_ASSIGN(const Secret seed, identity::read_seed(settings.account_seed_file));
    BERTH_ASSIGN(identity::KeyPair account, identity::KeyPair::from_seed(seed));
    BERTH_TRY(make_machines_folder(settings.machines_dir));
    BERTH_TRY(make_machines_folder(settings.docker.dir));
    Ground ground;
    ground.bus = {
        settings.node_nats_url.empty() ? runtime.settings().nats_url : settings.node_nats_url,
        runtime.settings().nats_ca_file,
        runtime.settings().nats_name};
    ground.enrolment = std::make_unique<Enrolment>(runtime.bus(), std::move(account));
    BERTH_ASSIGN(ground.presences, Presences::listen(runtime.bus()));
    BERTH_ASSIGN(
        ground.boot,
        make_boot(settings, ground.bus, seed, runtime.pool(), *ground.enrolment, *ground.presences)
    );
    return std::unique_ptr<service::App>(
        std::make_unique<ProvApp>(runtime, settings, std::move(ground))
    );
}

}  // namespace

service::Service service() { return {"prov", "makes and removes machines", migrations(), compose}; }

}  // namespace berth::prov
