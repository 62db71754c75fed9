// SPDX-License-Identifier: Apache-2.0
// From a request to its endpoint: route, token, role, and the numbers about it.
#include "gateway/gateway.hpp"

#include <array>
#include <optional>

#include "core/fd.hpp"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"

namespace berth::gateway {
namespace {

constexpr milliseconds kStopGrace{5'000};
constexpr std::size_t kMaxTokenFile = 4'096;
constexpr milliseconds kCountedEvery{5'000};  // looks for what is due of RefusalCount

struct RouteMetrics {
    std::array<metrics::Counter, 6> by_class;  // 1xx to 5xx
    metrics::Histogram seconds;
};

}  // namespace

struct Gateway::Impl {
    Impl(GatewaySettings s, Parts p)
        : settings(std::move(s)),
          parts(p),
          workers(kWorkerThreads, kMaxQueuedTasks),
          streams(
              settings.streams_per_user,
              p.metrics.gauge(
                  "berth_gateway_open_streams", "Event streams and WebSockets held open."
              ),
              p.pool,
              workers,
              settings.token_cache
          ),
          auth(p.pool, workers, p.metrics, settings.token_cache) {
        for (const auto& endpoint : endpoints()) {
            router.add(endpoint.method, endpoint.pattern);
            RouteMetrics numbers;
            const std::string route = std::string(endpoint.method) + " " + endpoint.pattern;
            for (std::size_t i = 1; i < numbers.by_class.size(); ++i) {
                numbers.by_class[i] = p.metrics.counter(
                    "berth_gateway_requests_total",
                    "Requests by route and class of status.",
                    {{"route", route}, {"status", std::to_string(i) + "xx"}}
                );
            }
            numbers.seconds = p.metrics.histogram(
                "berth_gateway_request_seconds",
                "Time from a request to its answer, long polls included.",
                metrics::latency_buckets(),
                {{"route", route}}
            );
            route_metrics.push_back(numbers);
        }
        unrouted = p.metrics.counter(
            "berth_gateway_unrouted_total", "Requests for a path or method that is not there."
        );
    }

    void handle(net::Request request, net::Responder responder);
    void serve(const CallPtr& call, const Endpoint& endpoint);
    /// What needs the database; before anything is served.
    Result<void> prepare();
    Result<void> import_bootstrap_token();
    void keep_telling_strangers();

    const GatewaySettings settings;
    const Parts parts;
    net::Router router;
    std::vector<RouteMetrics> route_metrics;  // by index of endpoints()
    metrics::Counter unrouted;
    Workers workers;
    EventHub hub;
    OpenStreams streams;
    AddressLimit enrolments{kEnrolBurst, kEnrolPerMinute};
    AddressLimit bundles{kBundleBurst, kBundlePerMinute};
    AddressLimit sign_ins{kSignInBurst, kSignInPerMinute};
    service::RefusalCount strangers;
    Presences presences;
    Authenticator auth;
    Secret key;
    std::unique_ptr<SignIn> sign_in;          // by prepare()
    std::optional<Api> api;                   // by prepare()
    std::unique_ptr<net::HttpServer> server;  // last: it calls into all of the above
};

void Gateway::Impl::handle(net::Request request, net::Responder responder) {
    const auto match = router.match(request.method, request.path);
    if (match.kind == net::RouteMatch::Kind::kNotFound) {
        unrouted.add();
        return responder.respond(to_problem(
            not_found("no_such_path", "there is nothing at this path; see /v1/openapi.json"),
            request.id
        ));
    }
    if (request.method == "OPTIONS") return responder.respond({204, "", {{"Allow", match.allow}}});
    if (match.kind == net::RouteMatch::Kind::kMethodNotAllowed) {
        unrouted.add();
        auto response = to_problem(
            405, invalid("method_not_allowed", "this path takes " + match.allow), request.id
        );
        response.headers.add("Allow", match.allow);
        return responder.respond(std::move(response));
    }
    const auto call = std::make_shared<Call>();
    const auto token = token_of(request);
    call->request = std::move(request);
    call->responder = std::move(responder);
    call->params = match.params;
    const auto begun = std::chrono::steady_clock::now();
    const auto& numbers = route_metrics[match.index];
    const auto& endpoint = endpoints()[match.index];
    call->on_answer = [&numbers, &endpoint, begun, id = call->request.id](int status) {
        numbers.by_class[static_cast<std::size_t>(std::min(5, std::max(1, status / 100)))].add();
        numbers.seconds.observe(std::chrono::steady_clock::now() - begun);
        if (status >= 500)
            log::info(
                "a request failed",
                {{"route", endpoint.pattern}, {"status", status}, {"request", id}}
            );
    };
    if (endpoint.need == Need::kNobody) return serve(call, endpoint);
    auth.authenticate(token, [this, call, &endpoint](Result<Principal> principal) {
        if (!principal) return call->fail(principal.error());
        if (const auto role = check_role(principal->roles, endpoint.need); !role)
            return call->fail(role.error());
        call->principal = std::move(*principal);
        serve(call, endpoint);
    });
}

void Gateway::Impl::serve(const CallPtr& call, const Endpoint& endpoint) {
    try {
        endpoint.handle(*api, call);
    } catch (const std::exception& bug) {
        log::error("an endpoint threw", {{"route", endpoint.pattern}, {"what", bug.what()}});
        call->fail(internal("internal", "this is a bug in berth; the request id helps to find it"));
    }
}

Result<void> Gateway::Impl::prepare() {
    BERTH_ASSIGN(key, repo::load_key(parts.pool));
    BERTH_ASSIGN(sign_in, SignIn::create(settings.sign_in, parts.pool, key, parts.metrics));
    api.emplace(Api{
        settings,
        parts.bus,
        parts.asker,
        parts.pool,
        workers,
        hub,
        streams,
        presences,
        auth,
        *sign_in,
        key,
        enrolments,
        bundles,
        sign_ins,
        strangers,
        parts.relay});
    return import_bootstrap_token();
}

void Gateway::Impl::keep_telling_strangers() {
    workers.after(kCountedEvery, [this] {
        tell_strangers(*api, strangers.take_due(std::chrono::steady_clock::now()));
        keep_telling_strangers();
    });
}

Result<void> Gateway::Impl::import_bootstrap_token() {
    if (settings.bootstrap_token_file.empty()) return {};
    BERTH_ASSIGN(auto text, read_file(settings.bootstrap_token_file, kMaxTokenFile));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    const Secret token(std::move(text));
    if (!identity::looks_like_token(token.reveal())) {
        return invalid(
            "bad_bootstrap_token",
            settings.bootstrap_token_file + " holds no token; remove it to have a new one made"
        );
    }
    TokenRow row;
    row.org = "default";
    row.user = "admin";
    row.roles = {"admin"};
    row.label = "bootstrap";
    row.created_at = Clock::system().now();
    row.id = make_id("tk", row.created_at, Random::system());
    return repo::add_token(parts.pool, row, identity::hash_token(token));
}

Gateway::Gateway(GatewaySettings settings, Parts parts)
    : impl_(std::make_unique<Impl>(std::move(settings), parts)) {}

Gateway::~Gateway() { stop(); }

Result<void> Gateway::start() {
    BERTH_TRY(impl_->prepare());
    BERTH_TRY(impl_->presences.start(impl_->parts.bus));
    BERTH_TRY(impl_->hub.start(impl_->parts.bus));
    impl_->streams.keep_looking();
    impl_->keep_telling_strangers();
    net::HttpServerSettings http;
    http.listen = impl_->settings.http_listen;
    BERTH_ASSIGN(
        impl_->server,
        net::HttpServer::start(
            http,
            [impl = impl_.get()](net::Request request, net::Responder responder) {
                impl->handle(std::move(request), std::move(responder));
            }
        )
    );
    if (!impl_->settings.http_addr_file.empty()) {
        BERTH_TRY(write_file_atomic(impl_->settings.http_addr_file, impl_->server->url() + "\n"));
    }
    log::info("serving", {{"url", impl_->server->url()}});
    return {};
}

void Gateway::stop() {
    if (impl_->server) impl_->server->stop(kStopGrace);
    impl_->hub.stop();
    impl_->presences.stop();
    if (impl_->sign_in) impl_->sign_in->stop();
    impl_->workers.stop();
    if (impl_->api)
        tell_strangers(*impl_->api, impl_->strangers.take_all(std::chrono::steady_clock::now()));
}

std::string Gateway::url() const { return impl_->server ? impl_->server->url() : std::string(); }

}  // namespace berth::gateway
