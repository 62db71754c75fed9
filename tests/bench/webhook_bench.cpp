// SPDX-License-Identifier: Apache-2.0
// Webhooks' numbers: deliveries a second to a local sink through the whole suite, what subscribers
// that do not answer cost the others, and how soon one event arrives.
#include <fstream>
#include <mutex>

#include "berth/lease/v1/lease.pb.h"
#include "bus/connection.hpp"
#include "core/id.hpp"
#include "core/json.hpp"
#include "load.hpp"
#include "net/http_server.hpp"

namespace berth::bench {
namespace {

/// Counts posts by path; "/silent" is never answered.
struct Sink {
    std::mutex mutex;
    std::vector<net::Responder> kept;  // by mutex
    std::atomic<int> taken{0};
    std::unique_ptr<net::HttpServer> server;

    Sink() {
        server = std::move(net::HttpServer::start(
                               {},
                               [this](net::Request request, net::Responder responder) {
                                   if (request.path == "/silent") {
                                       const std::lock_guard lock(mutex);
                                       kept.push_back(std::move(responder));
                                       return;
                                   }
                                   responder.respond({200, "text/plain", {}, ""});
                                   ++taken;
                               }
        ).value());
    }
    ~Sink() { server->stop(milliseconds{10}); }
    bool wait(int count, double limit) {
        const auto began = Steady::now();
        while (taken < count && since(began) < limit) ::usleep(1'000);
        return taken >= count;
    }
};

/// Whoever may tell of leases: events as the broker would publish them.
std::unique_ptr<bus::Connection> teller(const Suite& suite) {
    bus::ConnectSettings settings;
    settings.name = "bench";
    settings.inbox_prefix = "_INBOX.lease";
    const auto file = read_file(suite.data() / "etc" / "lease.yaml").value();
    const auto value = [&](const std::string& key) {
        const auto at = file.find("\n" + key + ": \"") + key.size() + 4;
        return file.substr(at, file.find('"', at) - at);
    };
    settings.url = value("nats_url");
    settings.credentials = bus::credentials_from_file(value("creds_file"));
    auto connection = bus::connect(std::move(settings));
    if (!connection) throw std::runtime_error(connection.error().describe());
    return std::move(*connection);
}

void tell(bus::Connection& bus, const std::string& noun, int count) {
    lease::v1::LeaseChanged changed;
    changed.mutable_lease()->set_slug("calm-otter");
    changed.mutable_lease()->set_org("default");
    changed.mutable_lease()->set_owner("ada");
    std::atomic<int> open{0};
    for (int i = 0; i < count; ++i) {
        const std::string id = make_ulid(Clock::system().now(), Random::system());
        changed.mutable_lease()->set_id("ls_" + id);
        while (open > 500) ::usleep(200);
        ++open;
        bus.publish(
            {"berth.evt.default.lease." + noun + ".activated.ls_" + id,
             {{"ce-specversion", "1.0"},
              {"ce-id", id},
              {"ce-type", changed.GetTypeName()},
              {"ce-source", "berth/lease"},
              {"ce-time", to_rfc3339(Clock::system().now())},
              {std::string(bus::kMsgId), id}},
             changed.SerializeAsString()},
            [&open](Result<bus::PubAck> stored) {
                if (!stored) std::printf("publish: %s\n", stored.error().describe().c_str());
                --open;
            }
        );
    }
    while (open > 0) ::usleep(500);
}

std::string add(Suite& suite, const std::string& url, const std::string& noun) {
    const auto response = suite.api(
        "POST",
        "/v1/webhooks",
        Json::object()
            .set("url", url)
            .set("subjects", Json::strings({"berth.evt.default.lease." + noun + ".>"}))
            .dump()
    );
    if (response.status != 201) throw std::runtime_error(response.body);
    return Json::parse(response.body)->find("webhook")->string_or("id", "");
}

double rate(Sink& sink, bus::Connection& bus, const std::string& noun, int count) {
    const int before = sink.taken;
    const auto began = Steady::now();
    tell(bus, noun, count);
    if (!sink.wait(before + count, 120)) return -1;
    return count / since(began);
}

void run() {
    Suite suite({"webhook: {allow_http: true, allowed_networks: [127.0.0.1]}\n"});
    Sink sink;
    const auto bus = teller(suite);
    constexpr int kEvents = 20'000;
    add(suite, sink.server->url() + "/one", "one");
    tell(*bus, "one", 200);
    sink.wait(200, 30);
    std::printf(
        "one subscriber: %.0f deliveries/s (%d events, from the first publish to the last "
        "answer)\n",
        rate(sink, *bus, "one", kEvents),
        kEvents
    );
    for (int i = 0; i < 4; ++i) add(suite, sink.server->url() + "/many", "many");
    const int before = sink.taken;
    const auto began = Steady::now();
    tell(*bus, "many", kEvents / 4);
    sink.wait(before + kEvents, 120);
    std::printf("four subscribers to each event: %.0f deliveries/s\n", kEvents / since(began));
    for (int i = 0; i < 5; ++i) add(suite, sink.server->url() + "/silent", "dead");
    for (int i = 0; i < 5; ++i) add(suite, "http://127.0.0.1:1/", "dead");
    add(suite, sink.server->url() + "/alive", "dead");
    std::printf(
        "one of eleven answers, five hang and five refuse: %.0f deliveries/s to it\n",
        rate(sink, *bus, "dead", kEvents / 4)
    );
    std::vector<double> times;
    add(suite, sink.server->url() + "/slow", "single");
    ::usleep(500'000);
    for (int i = 0; i < 300; ++i) {
        const int have = sink.taken;
        const auto from = Steady::now();
        tell(*bus, "single", 1);
        while (sink.taken == have && since(from) < 5) ::usleep(100);
        times.push_back(since(from) * 1e3);
        ::usleep(5'000);
    }
    std::sort(times.begin(), times.end());
    std::printf(
        "one event to its subscriber: p50 %.1f ms, p99 %.1f ms\n",
        times[times.size() / 2],
        times[times.size() * 99 / 100]
    );
}

}  // namespace
}  // namespace berth::bench

int main() {
    try {
        berth::bench::run();
        return 0;
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "%s\n", exception.what());
        return 1;
    }
}
