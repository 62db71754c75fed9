// SPDX-License-Identifier: Apache-2.0
// webhook for tests: a real PostgreSQL, the bus in memory, a sink on a real socket, a clock and a
// resolver that the test plays.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "bus/asker.hpp"
#include "bus/memory_bus.hpp"
#include "core/id.hpp"
#include "identity/box.hpp"
#include "net/http_server.hpp"
#include "store/outbox.hpp"
#include "support/postgres/postgres_server.hpp"
#include "webhook/handlers.hpp"
#include "webhook/sender.hpp"

namespace berth::webhook {

inline testing::PostgresServer& postgres() {
    static testing::PostgresServer server;
    static const auto started = server.start();
    if (!started) throw std::runtime_error(started.error().describe());
    return server;
}

/// The system's clock, some time ahead.
class AheadClock final : public Clock {
public:
    WallTime now() const override { return Clock::system().now() + milliseconds{ahead_.load()}; }
    SteadyTime steady() const override { return Clock::system().steady(); }
    void advance(milliseconds by) { ahead_ += by.count(); }

private:
    std::atomic<long long> ahead_{0};
};

/// Takes what is posted and answers by path: "/ok" 200, "/status/<n>" n, "/silent" never.
class Sink {
public:
    struct Post {
        std::string path;
        net::HeaderMap headers;
        std::string body;
    };
    Sink() {
        server_ = std::move(net::HttpServer::start(
                                {},
                                [this](net::Request request, net::Responder responder) {
                                    take(std::move(request), std::move(responder));
                                }
        ).value());
    }
    ~Sink() { server_->stop(milliseconds{10}); }

    std::string url(const std::string& path, const std::string& host = "127.0.0.1") const {
        const auto own = server_->url();
        return "http://" + host + own.substr(own.rfind(':')) + path;
    }
    /// Waits until `count` posts came to `path`.
    bool wait(const std::string& path, std::size_t count, milliseconds limit = seconds{20}) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, limit, [&] { return count_of(path) >= count; });
    }
    std::vector<Post> posts(const std::string& path) {
        const std::lock_guard lock(mutex_);
        std::vector<Post> out;
        for (const auto& post : posts_) {
            if (post.path == path) out.push_back(post);
        }
        return out;
    }
    /// Answers what was posted to "/silent".
    void release(int with) {
        std::vector<net::Responder> kept;
        {
            const std::lock_guard lock(mutex_);
            kept.swap(kept_);
        }
        for (auto& responder : kept) responder.respond({with, {}, {}, {}});
    }
    std::atomic<int> status{0};       ///< not 0: the answer to every path but "/other"
    std::atomic<int> retry_after{0};  ///< not 0: said with it

private:
    // What is answered is settled before the post is seen: a test that saw it may then change
    // `status` for the next one.
    void take(net::Request request, net::Responder responder) {
        net::Response response;
        response.status = status != 0 && request.path != "/other" ? status.load()
                          : request.path.starts_with("/status/") ? std::stoi(request.path.substr(8))
                                                                 : 200;
        if (retry_after != 0)
            response.headers.add("Retry-After", std::to_string(retry_after.load()));
        const bool silent = request.path == "/silent";
        {
            const std::lock_guard lock(mutex_);
            posts_.push_back({request.path, request.headers, request.body});
            if (silent) kept_.push_back(std::move(responder));
        }
        changed_.notify_all();
        if (!silent) responder.respond(std::move(response));
    }
    std::size_t count_of(const std::string& path) const {
        return static_cast<std::size_t>(std::count_if(
            posts_.begin(), posts_.end(), [&](const Post& post) { return post.path == path; }
        ));
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Post> posts_;           // by mutex_
    std::vector<net::Responder> kept_;  // by mutex_
    std::unique_ptr<net::HttpServer> server_;
};

class WebhookTest : public ::testing::Test {
protected:
    static inline int schemas = 0;

    WebhookTest() {
        settings.allow_http = true;
        settings.allowed_networks = {parse_network("127.0.0.1").value()};
        settings.timeout = milliseconds{30'000};
        store::PoolSettings database;
        database.conninfo = postgres().conninfo();
        database.schema = "webhook_" + std::to_string(++schemas);
        pool = std::make_unique<store::Pool>(database);
        const auto migrated = store::migrate(*pool, database.schema, migrations());
        if (!migrated) throw std::runtime_error(migrated.error().describe());
        relay = std::make_unique<store::Relay>(
            *pool,
            [this](const store::OutboxMessage& row, std::function<void(Result<void>)> done) {
                bus::Message message{row.subject, row.headers, row.payload};
                message.set_header(bus::kMsgId, row.message_id);
                bus->publish(std::move(message), [done](Result<bus::PubAck> stored) {
                    done(stored ? Result<void>{} : Result<void>{std::move(stored).error()});
                });
            }
        );
        relay->start();
        asker = std::move(*bus::Asker::create(*asker_bus, {"gateway", "g1", seconds{5}}));
        start();
    }
    ~WebhookTest() override {
        stop();
        asker.reset();
        relay.reset();
    }

    void start() {
        sender = std::make_unique<Sender>(Sender::Parts{
            *bus,
            *pool,
            pool->settings(),
            *relay,
            metrics,
            settings,
            key,
            clock,
            [this](const std::string& host) { return resolve(host); }});
        handlers =
            std::make_unique<WebhookHandlers>(settings, key, *pool, [this] { sender->wake(); });
        bound = std::make_unique<service::Handlers>(service::Handlers::Parts{
            *bus, *pool, *relay, metrics, "webhook", "w1", 2, std::size_t{16}});
        handlers->bind(*bound);
        if (!bound->start()) throw std::runtime_error("no handlers");
        sender->start();
    }
    void stop() {
        if (bound) bound->stop();
        if (sender) sender->stop();
        bound.reset();
        handlers.reset();
        sender.reset();
    }

    template <typename Reply, typename Message>
    Result<Reply> ask(
        const std::string& subject, Message message, const std::string& org = "acme"
    ) {
        message.mutable_actor()->set_org(org);
        message.mutable_actor()->set_user("ada");
        message.mutable_actor()->add_roles("admin");
        bus::Ask out;
        out.subject = subject;
        out.type = message.GetTypeName();
        out.payload = message.SerializeAsString();
        BERTH_ASSIGN(const auto answer, asker->ask_wait(std::move(out)));
        Reply reply;
        if (!reply.ParseFromString(answer.payload)) return internal("test", "undecodable");
        return reply;
    }
    /// The id of a new subscriber; its secret is in `secret`.
    std::string add(
        const std::string& url, std::vector<std::string> subjects = {}, bool binary = false
    ) {
        v1::AddSubscriber command;
        command.set_url(url);
        for (auto& subject : subjects) command.add_subjects(std::move(subject));
        if (binary) command.set_mode(v1::CONTENT_MODE_BINARY);
        command.set_box_key(box.public_key());
        const auto made = ask<v1::SubscriberSecret>("berth.cmd.webhook.add", command);
        if (!made) throw std::runtime_error(made.error().describe());
        secret = box.open(made->sealed_secret()).value();
        return made->subscriber().id();
    }
    Result<v1::Delivery> try_out(const std::string& id) {
        v1::TestSubscriber command;
        command.set_subscriber(id);
        return ask<v1::Delivery>("berth.cmd.webhook.test", command);
    }
    Result<v1::Subscriber> enable(const std::string& id, bool enabled = true) {
        v1::ChangeSubscriber command;
        command.set_subscriber(id);
        command.set_enabled(enabled);
        return ask<v1::Subscriber>("berth.cmd.webhook.change", command);
    }
    v1::Subscriber look(const std::string& id) {
        v1::GetSubscriber query;
        query.set_subscriber(id);
        auto found = ask<v1::Subscriber>("berth.qry.webhook.subscriber", query);
        return found ? *found : v1::Subscriber();
    }
    std::vector<v1::Delivery> log(
        const std::string& id, v1::DeliveryState state = v1::DELIVERY_STATE_UNSPECIFIED
    ) {
        v1::ListDeliveries query;
        query.set_subscriber(id);
        query.set_state(state);
        query.mutable_page()->set_limit(100);
        const auto found = ask<v1::DeliveriesReply>("berth.qry.webhook.deliveries", query);
        if (!found) return {};
        return {found->deliveries().begin(), found->deliveries().end()};
    }
    /// Publishes an event about `entity`; its ce-id, which is `chosen` where that is given.
    std::string publish(
        const std::string& entity = "rn_1",
        const std::string& org = "acme",
        const std::string& fact = "changed",
        const std::string& chosen = {}
    ) {
        v1::SubscriberTested payload;
        payload.set_user("n" + std::to_string(++published));
        const std::string own = make_ulid(Clock::system().now(), Random::system());
        const std::string id = chosen.empty() ? own : chosen;
        bus::Message message{
            "berth.evt." + org + ".run.run." + fact + "." + entity,
            {{"ce-specversion", "1.0"},
             {"ce-id", id},
             {"ce-type", payload.GetTypeName()},
             {"ce-source", "berth/run"},
             {"ce-time", to_rfc3339(Clock::system().now())},
             {std::string(bus::kMsgId), own}},
            payload.SerializeAsString()};
        const auto stored = asker_bus->publish_wait(std::move(message));
        if (!stored) throw std::runtime_error(stored.error().describe());
        return id;
    }
    virtual Result<std::vector<std::string>> resolve(const std::string& host) {
        const std::lock_guard lock(names_mutex);
        ++resolved[host];
        const auto it = names.find(host);
        if (it == names.end()) return unavailable("unresolved", host + ": no such name");
        return it->second;
    }

    bus::MemoryServer server{
        1,
        {},
        {{"CMD_WEBHOOK", {"berth.cmd.webhook.>"}, true},
         {"QRY_WEBHOOK", {"berth.qry.webhook.>"}, true},
         {"RPL", {"berth.rpl.>"}},
         {"EVT", {"berth.evt.>"}}},
        {{"CMD_WEBHOOK", "webhook", "berth.cmd.webhook.>"},
         {"QRY_WEBHOOK", "webhook", "berth.qry.webhook.>"},
         {"EVT", "webhook", "berth.evt.>"}}};
    std::unique_ptr<bus::Connection> bus = server.connect();
    std::unique_ptr<bus::Connection> asker_bus = server.connect();
    metrics::Registry metrics{"webhook"};
    WebhookSettings settings;
    const Secret key{"a key for tests that is long enough"};
    AheadClock clock;
    Sink sink;
    std::mutex names_mutex;
    std::map<std::string, std::vector<std::string>> names;  // by names_mutex
    std::map<std::string, int> resolved;                    // by names_mutex
    std::atomic<int> published{0};
    identity::Box box{Secret("a seed for tests that is long enough"), "test"};
    Secret secret;
    std::unique_ptr<store::Pool> pool;
    std::unique_ptr<store::Relay> relay;
    std::unique_ptr<bus::Asker> asker;
    std::unique_ptr<Sender> sender;
    std::unique_ptr<WebhookHandlers> handlers;
    std::unique_ptr<service::Handlers> bound;
};

}  // namespace berth::webhook
