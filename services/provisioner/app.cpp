// SPDX-License-Identifier: Apache-2.0
// provisioner put together: drivers, handlers, actors, and the keeper that one of its replicas
// leads.
#include "provisioner/app.hpp"

#include "provisioner/actors.hpp"
#include "provisioner/drivers/docker/docker_driver.hpp"
#include "provisioner/drivers/local/local_driver.hpp"
#include "provisioner/drivers/simulated/simulated_driver.hpp"
#include "provisioner/settings.hpp"
#include "service/leader_loop.hpp"

namespace berth::prov {
namespace {

class ProvApp final : public service::App {
public:
    ProvApp(
        service::Runtime& runtime,
        const ProvSettings& settings,
        identity::KeyPair account,
        std::unique_ptr<Presences> presences
    )
        : enrolment_(runtime.bus(), std::move(account)),
          presences_(std::move(presences)),
          drivers_(make_drivers(runtime, settings)),
          actors_({runtime.pool(), runtime.database(), runtime.relay(), runtime.metrics(), drivers_}
          ),
          handlers_(drivers_, enrolment_, [this] { actors_.wake(); }),
          keeper_(
              runtime.database(),
              "keeper",
              settings.tend_every,
              [this](std::int64_t fence) { return actors_.tend(fence); }
          ),
          bound_(runtime.make_handlers()) {
        handlers_.bind(*bound_);
    }

    Result<void> start() override {
        actors_.start();
        BERTH_TRY(bound_->start());
        keeper_.start();
        return {};
    }
    void stop() override {
        bound_->stop();
        keeper_.stop();
        actors_.stop();
    }

private:
    Drivers make_drivers(service::Runtime& runtime, const ProvSettings& settings) {
        Drivers drivers;
        drivers.emplace("simulated", std::make_unique<SimulatedDriver>());
        if (!settings.machines_dir.empty()) {
            LocalDriverSettings local{
                settings.machines_dir,
                settings.node_binary,
                settings.node_nats_url.empty() ? runtime.settings().nats_url
                                               : settings.node_nats_url,
                // The account's key is what makes a deployment this one and no other.
                enrolment_.account_public_key()};
            drivers.emplace(
                "local", std::make_unique<LocalDriver>(std::move(local), enrolment_, *presences_)
            );
        }
        if (!settings.docker.socket.empty()) {
            LocalDriverSettings node{
                settings.docker.dir,
                settings.node_binary,
                settings.node_nats_url.empty() ? runtime.settings().nats_url
                                               : settings.node_nats_url,
                enrolment_.account_public_key(),
                "place: container\n"};
            DockerDriverSettings docker{
                settings.docker.socket,
                settings.docker.dir,
                settings.docker.engine_dir,
                std::filesystem::path(settings.node_binary).parent_path() / "berth-init",
                settings.docker.resolvers,
                enrolment_.account_public_key()};
            drivers.emplace(
                "docker",
                std::make_unique<DockerDriver>(
                    std::move(docker),
                    std::make_unique<LocalDriver>(std::move(node), enrolment_, *presences_)
                )
            );
        }
        return drivers;
    }

    Enrolment enrolment_;
    std::unique_ptr<Presences> presences_;
    Drivers drivers_;
    Actors actors_;
    ProvHandlers handlers_;
    service::LeaderLoop keeper_;
    std::unique_ptr<service::Handlers> bound_;  // last: consumers stop before what they use goes
};

}  // namespace

namespace {

void read_docker_settings(config::Reader& reader, ProvSettings& settings) {
    if (!reader.has("docker")) return;
    config::Reader section = reader.get_section("docker");
    DockerSettings& docker = settings.docker;
    docker.socket = section.require_string("socket");
    docker.dir = section.get_string(
        "dir", settings.machines_dir.empty() ? "" : settings.machines_dir + "/docker"
    );
    docker.engine_dir = section.get_string("engine_dir", docker.dir);
    const auto resolv_conf = read_file("/etc/resolv.conf");
    docker.resolvers = section.get_list(
        "resolvers", resolv_conf ? usable_resolvers(*resolv_conf) : std::vector<std::string>{}
    );
    if (docker.dir.empty()) section.reject("dir", "is needed where there is no machines_dir");
    if (settings.node_binary.empty())
        reader.reject("node_binary", "is needed for machines of the docker driver");
}

/// Where machines have their folders.
Result<void> make_machines_folder(const std::string& path) {
    std::error_code error;
    if (path.empty()) return {};
    std::filesystem::create_directories(path, error);
    if (error) return invalid("bad_setting", "the folder " + path + ": " + error.message());
    return {};
}

}  // namespace

ProvSettings read_prov_settings(config::Reader& reader) {
    ProvSettings settings;
    settings.account_seed_file = reader.require_string("account_seed_file");
    settings.machines_dir = reader.get_string("machines_dir");
    settings.node_binary = reader.get_string("node_binary");
    settings.node_nats_url = reader.get_string("node_nats_url");
    read_docker_settings(reader, settings);
    settings.tend_every = reader.get_duration("tend_every", settings.tend_every);
    if (!settings.machines_dir.empty() && settings.node_binary.empty())
        reader.reject("node_binary", "is needed with machines_dir");
    return settings;
}

service::Service service() {
    return {
        "prov",
        "makes and removes machines",
        migrations(),
        [](service::Runtime& runtime,
           config::Reader& reader) -> Result<std::unique_ptr<service::App>> {
            const ProvSettings settings = read_prov_settings(reader);
            if (settings.account_seed_file.empty()) return reader.finish().error();
            BERTH_ASSIGN(const Secret seed, identity::read_seed(settings.account_seed_file));
            BERTH_ASSIGN(identity::KeyPair account, identity::KeyPair::from_seed(seed));
            BERTH_TRY(make_machines_folder(settings.machines_dir));
            BERTH_TRY(make_machines_folder(settings.docker.dir));
            BERTH_ASSIGN(auto presences, Presences::listen(runtime.bus()));
            return std::unique_ptr<service::App>(std::make_unique<ProvApp>(
                runtime, settings, std::move(account), std::move(presences)
            ));
        }};
}

}  // namespace berth::prov
