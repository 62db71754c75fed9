// SPDX-License-Identifier: Apache-2.0
// Start in order, stop in reverse: the composition root that all services share.
#include "service/runtime.hpp"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>

#include "berth/gateway/v1/gateway.pb.h"
#include "core/fd.hpp"
#include "log/log.hpp"
#include "net/http_server.hpp"
#include "service/proto_time.hpp"

namespace berth::service {
namespace {

// How long a service waits at start for NATS and PostgreSQL, which may be starting too.
constexpr seconds kStartPatience{30};
constexpr milliseconds kStartRetry{50};
constexpr seconds kHealthEvery{1};
constexpr seconds kPresenceEvery{5};
constexpr milliseconds kFlushOnStop{3'000};
constexpr seconds kInboxAge{24 * 3'600};
constexpr seconds kPurgeEvery{600};
constexpr const char* kVersion = "0.1.0";

class RuntimeImpl final : public Runtime {
public:
    RuntimeImpl(const Service& service, Settings settings)
        : service_(service),
          settings_(std::move(settings)),
          registry_(service.token),
          pool_(pool_settings()) {}
    ~RuntimeImpl() override { stop(); }

    const Settings& settings() const override { return settings_; }
    const std::string& token() const override { return service_.token; }
    bus::Connection& bus() override { return *connection_; }
    store::Pool& pool() override { return pool_; }
    store::Relay& relay() override { return *relay_; }
    metrics::Registry& metrics() override { return registry_; }
    store::PoolSettings database() const override { return pool_settings(); }
    std::unique_ptr<Handlers> make_handlers() override {
        return std::make_unique<Handlers>(Handlers::Parts{
            *connection_,
            pool_,
            *relay_,
            registry_,
            service_.token,
            settings_.instance,
            static_cast<std::size_t>(settings_.workers),
            static_cast<std::size_t>(settings_.max_in_flight)});
    }

    /// Everything up to, not including, the app.
    Result<void> open() {
        BERTH_TRY(migrate());
        bus::ConnectSettings connect;
        connect.url = settings_.nats_url;
        connect.ca_file = settings_.nats_ca_file;
        connect.server_name = settings_.nats_name;
        connect.name = settings_.instance;
        connect.inbox_prefix = "_INBOX." + service_.token;
        if (!settings_.creds_file.empty())
            connect.credentials = bus::credentials_from_file(settings_.creds_file);
        connect.connect_deadline = kStartPatience;
        connect.on_closed = [] {
            log::error("the bus closed the connection for good; exiting to be restarted");
            kill(getpid(), SIGUSR1);
        };
        BERTH_ASSIGN(connection_, bus::connect(std::move(connect)));
        relay_ = std::make_unique<store::Relay>(
            pool_,
            [this](const store::OutboxMessage& row, std::function<void(Result<void>)> done) {
                publish(row, std::move(done));
            }
        );
        relay_->start();
        add_metrics();
        BERTH_TRY(start_health());
        return {};
    }

    /// Tells the world that the service works.
    void ready(App& app) {
        app_ = &app;
        check_health();
        presence();
        ticker_ = std::thread([this] { tick(); });
    }

    /// Not ready from here on, and the app is asked nothing any more: it may go.
    void leave() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            not_ready_ = "stopping";
        }
        changed_.notify_all();
        if (ticker_.joinable()) ticker_.join();
        app_ = nullptr;
    }

    void stop() {
        leave();
        if (relay_) relay_->stop(kFlushOnStop);
        if (health_) health_->stop(milliseconds{200});
        health_.reset();
        relay_.reset();
        connection_.reset();
    }

private:
    store::PoolSettings pool_settings() const {
        store::PoolSettings pool;
        pool.conninfo = settings_.postgres;
        pool.schema = service_.token;
        // One per worker, and some for queries, relay and timers.
        pool.max_connections = static_cast<std::size_t>(settings_.workers) * 2 + 4;
        return pool;
    }

    Result<void> migrate() {
        const SteadyTime until = std::chrono::steady_clock::now() + kStartPatience;
        for (;;) {
            const auto applied = store::migrate(pool_, service_.token, service_.migrations);
            if (applied) return {};
            if (applied.error().fault != Fault::kUnavailable ||
                std::chrono::steady_clock::now() > until)
                return applied.error();
            std::this_thread::sleep_for(kStartRetry);
        }
    }

    void publish(const store::OutboxMessage& row, std::function<void(Result<void>)> done) {
        bus::Message message{row.subject, row.headers, row.payload};
        message.set_header(bus::kMsgId, row.message_id);
        const SteadyTime began = std::chrono::steady_clock::now();
        connection_->publish(
            std::move(message),
            [this, began, done = std::move(done)](Result<bus::PubAck> stored) {
                publish_seconds_.observe(std::chrono::steady_clock::now() - began);
                done(stored ? Result<void>{} : Result<void>{std::move(stored).error()});
            }
        );
    }

    void add_metrics() {
        const std::string prefix = "berth_" + service_.token + "_";
        publish_seconds_ = registry_.histogram(
            prefix + "publish_seconds",
            "Time from publish to the stored confirmation.",
            metrics::latency_buckets()
        );
        outbox_depth_ = registry_.gauge(prefix + "outbox_depth", "Rows waiting in the outbox.");
        outbox_age_ =
            registry_.gauge(prefix + "outbox_age_seconds", "Age of the oldest row in the outbox.");
        ready_gauge_ = registry_.gauge(prefix + "service_ready", "1 while the service is ready.");
        const bus::BusStats& stats = connection_->stats();
        const std::pair<const char*, const std::atomic<std::uint64_t>*> counters[] = {
            {"bus_published_total", &stats.published},
            {"bus_publish_errors_total", &stats.publish_errors},
            {"bus_deliveries_total", &stats.delivered},
            {"bus_redeliveries_total", &stats.redelivered},
            {"bus_acks_total", &stats.acked},
            {"bus_naks_total", &stats.nacked},
            {"bus_terms_total", &stats.termed},
            {"bus_unsettled_total", &stats.dropped_unsettled},
            {"bus_reconnects_total", &stats.reconnects},
            {"bus_permission_violations_total", &stats.permission_violations},
            {"bus_slow_consumer_total", &stats.slow_consumer},
        };
        for (const auto& [name, value] : counters)
            mirrored_.push_back(
                {registry_.counter(prefix + name, "See libs/bus, BusStats."), value, 0}
            );
    }

    std::string render_metrics() {
        const std::lock_guard lock(mutex_);
        for (Mirror& mirror : mirrored_) {
            const std::uint64_t now = mirror.source->load();
            mirror.counter.add(static_cast<double>(now - mirror.last));
            mirror.last = now;
        }
        return registry_.render();
    }

    Result<void> start_health() {
        net::HttpServerSettings http;
        http.listen = settings_.listen;
        http.max_connections = 100;
        BERTH_ASSIGN(
            health_,
            net::HttpServer::start(
                http,
                [this](net::Request request, net::Responder responder) {
                    if (request.path == "/healthz") {
                        responder.respond({200, "text/plain", {}, "ok\n"});
                    } else if (request.path == "/readyz") {
                        const std::string reason = not_ready();
                        responder.respond(
                            {reason.empty() ? 200 : 503,
                             "text/plain",
                             {},
                             (reason.empty() ? "ready" : reason) + "\n"}
                        );
                    } else if (request.path == "/metrics") {
                        responder.respond({200, "text/plain; version=0.0.4", {}, render_metrics()});
                    } else {
                        responder.respond(
                            {404, "text/plain", {}, "try /healthz, /readyz or /metrics\n"}
                        );
                    }
                }
            )
        );
        if (!settings_.addr_file.empty())
            BERTH_TRY(write_file_atomic(settings_.addr_file, health_->address() + "\n"));
        return {};
    }

    std::string not_ready() {
        const std::lock_guard lock(mutex_);
        return not_ready_;
    }

    void check_health() {
        std::string reason;
        if (!connection_->connected()) reason = "the bus is away";
        if (const bool healthy = pool_.healthy(); reason.empty() && !healthy)
            reason = "the database is away";
        if (reason.empty() && app_ != nullptr) reason = app_->not_ready();
        ready_gauge_.set(reason.empty() ? 1 : 0);
        const std::lock_guard lock(mutex_);
        not_ready_ = stopping_ ? "stopping" : reason;
    }

    void presence() {
        gateway::v1::ServicePresence presence;
        presence.set_service(service_.token);
        presence.set_instance(settings_.instance);
        presence.set_reason(not_ready());
        presence.set_ready(presence.reason().empty());
        *presence.mutable_time() = to_timestamp(Clock::system().now());
        presence.set_version(kVersion);
        presence.set_health_url(health_->url());
        (void)connection_->publish_plain(
            "berth.live." + service_.token + "." + settings_.instance, presence.SerializeAsString()
        );
    }

    void tick() {
        SteadyTime next_presence = std::chrono::steady_clock::now() + kPresenceEvery;
        SteadyTime next_purge = std::chrono::steady_clock::now() + kPurgeEvery;
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, kHealthEvery, [this] { return stopping_; })) {
            lock.unlock();
            check_health();
            const SteadyTime now = std::chrono::steady_clock::now();
            if (now >= next_presence) {
                next_presence = now + kPresenceEvery;
                presence();
                if (const auto depth = store::Outbox::depth(pool_)) {
                    outbox_depth_.set(static_cast<double>(depth->rows));
                    outbox_age_.set(std::chrono::duration<double>(depth->oldest).count());
                }
            }
            if (now >= next_purge) {
                next_purge = now + kPurgeEvery;
                (void)store::Inbox::purge_older_than(pool_, kInboxAge, 1'000);
            }
            lock.lock();
        }
    }

    struct Mirror {
        metrics::Counter counter;
        const std::atomic<std::uint64_t>* source;
        std::uint64_t last;
    };

    const Service& service_;
    const Settings settings_;
    metrics::Registry registry_;
    store::Pool pool_;
    std::unique_ptr<bus::Connection> connection_;
    std::unique_ptr<store::Relay> relay_;
    std::unique_ptr<net::HttpServer> health_;
    App* app_ = nullptr;  // changed only while there is no ticker
    metrics::Histogram publish_seconds_;
    metrics::Gauge outbox_depth_;
    metrics::Gauge outbox_age_;
    metrics::Gauge ready_gauge_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Mirror> mirrored_;        // by mutex_
    std::string not_ready_ = "starting";  // by mutex_
    bool stopping_ = false;               // by mutex_
    std::thread ticker_;
};

/// SIGTERM and SIGINT stop, a second one exits at once; SIGUSR1 is our own "stop, and it is a
/// failure".
int wait_for_stop(const sigset_t& set) {
    int signal = 0;
    sigwait(&set, &signal);
    std::thread([set] {
        int again = 0;
        sigwait(&set, &again);
        _exit(1);
    }).detach();
    return signal == SIGUSR1 ? 1 : 0;
}

int complain(const Service& service, const Error& error) {
    std::fprintf(stderr, "berth-%s: %s\n", service.token.c_str(), error.describe().c_str());
    return 1;
}

int serve(const Service& service, const std::string& path, const sigset_t& signals) {
    const auto document = config::Document::load(path);
    if (!document) return complain(service, document.error());
    config::Reader reader(document->root());
    const Settings settings = read_settings(reader);
    log::set_service(service.token, settings.instance);
    RuntimeImpl runtime(service, settings);
    // A wrong file is better told before the database is waited for; the app's keys are read by
    // compose.
    if (settings.nats_url.empty() || settings.postgres.empty())
        return complain(service, reader.finish().error());
    if (const auto opened = runtime.open(); !opened) return complain(service, opened.error());
    auto app = service.compose(runtime, reader);
    if (!app) return complain(service, app.error());
    if (const auto valid = reader.finish(); !valid) return complain(service, valid.error());
    if (const auto started = (*app)->start(); !started) return complain(service, started.error());
    runtime.ready(**app);
    ::malloc_trim(0);  // what only the start needed goes back to the system
    log::info("ready", {{"bus", settings.nats_url}});
    const int code = wait_for_stop(signals);
    log::info("stopping");
    runtime.leave();
    (*app)->stop();
    app->reset();
    runtime.stop();
    return code;
}

}  // namespace

int run(const Service& service, int argc, char** argv) {
    const std::string option = argc > 1 ? argv[1] : "";
    if (option == "--version" || option == "--help" || option == "-h") {
        std::printf(
            "berth-%s %s: %s\nusage: berth-%s --config FILE\n",
            service.token.c_str(),
            kVersion,
            service.summary.c_str(),
            service.token.c_str()
        );
        return 0;
    }
    if (argc != 3 || option != "--config") {
        std::fprintf(
            stderr,
            "berth-%s: usage: berth-%s --config FILE\n",
            service.token.c_str(),
            service.token.c_str()
        );
        return 2;
    }
    // Blocked in every thread, taken by wait_for_stop alone.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    try {
        return serve(service, argv[2], signals);
    } catch (const std::exception& exception) {
        return complain(service, internal("bug", exception.what()));
    }
}

}  // namespace berth::service
