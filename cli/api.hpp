// SPDX-License-Identifier: Apache-2.0
// The gateway's REST API as calls on schema types, with errors that say what to do next.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"
#include "net/http_client.hpp"

namespace berth::cli {

/// What providers were asked for in vain.
using Attempts = google::protobuf::RepeatedPtrField<lease::v1::Attempt>;

/// The error of a lease whose machine could not be made, with a line for each attempt.
Error no_machine(std::string code, std::string_view why, const Attempts& attempts);

/// How long a gateway that was there and is away is waited for: a restart takes seconds.
inline constexpr seconds kGatewayPatience{15};

/// One gateway and one caller. One thread at a time: each thread makes its own, which costs one
/// connection. Once the gateway has answered, GETs, heartbeats and releases that do not reach it
/// are repeated for kGatewayPatience; one that never answered is told at once.
class Api {
public:
    Api(std::string server, Secret token);
    /// How long an answer may take; 30 s unless it is said.
    void set_patience(milliseconds patience) { patience_ = patience; }
    /// The gateway has answered somebody of this process before.
    void set_reached() { reached_ = true; }

    Result<lease::v1::Lease> acquire(const gateway::v1::AcquireBody& body);
    Result<lease::v1::Lease> lease(std::string_view id);
    /// Waits until the lease is active or ended, `hold` at most; the lease as it is then.
    Result<lease::v1::Lease> look(std::string_view id, milliseconds hold);
    Result<lease::v1::Lease> heartbeat(std::string_view id);
    Result<lease::v1::Lease> release(std::string_view id);
    /// The newest first, at most `pages` of 100.
    Result<lease::v1::ListReply> leases(bool all, int pages = 100);

    /// Which working tree the lease's workspace holds; "" for none.
    Result<std::string> tree(std::string_view lease);

    Result<run::v1::Run> start(const gateway::v1::RunBody& body);
    Result<run::v1::Run> run(std::string_view id);
    /// Waits, however long it takes, until the run has ended.
    Result<run::v1::Run> wait_ended(std::string_view id);
    /// The run as it is when it has ended, or after `patience`.
    Result<run::v1::Run> wait_ended(std::string_view id, milliseconds patience);
    Result<run::v1::ListReply> runs(
        std::string_view lease, std::string_view cursor, std::string_view limit
    );
    Result<run::v1::Run> cancel(std::string_view id, std::string_view grace);
    Result<void> signal(std::string_view id, int number);

    Result<gateway::v1::Whoami> whoami();
    Result<gateway::v1::Status> status();

    /// Any request whose answer is one message; `body` is JSON. `timeout` 0: the patience.
    template <typename Message>
    Result<Message> ask(
        std::string_view method,
        const std::string& path,
        std::string body = {},
        milliseconds timeout = milliseconds{0}
    ) {
        Message out;
        BERTH_TRY(exchange(method, path, std::move(body), out, timeout));
        return out;
    }
    /// The body of an answer as it is.
    Result<std::string> text(
        std::string_view method, const std::string& path, std::string body = {}
    );
    /// Any GET whose body is taken as it comes.
    Result<void> stream(
        const std::string& path, const std::function<bool(std::string_view)>& on_chunk
    );

    /// Authorization, for WebSocket handshakes.
    net::HeaderMap headers() const;
    const std::string& server() const { return server_; }
    const Secret& token() const { return token_; }
    /// The error of an answer that is not 2xx.
    static Error problem(int status, std::string_view body);
    /// Adds the remedy to a transport error.
    Error explain(Error error) const;

private:
    Result<std::string> call(
        std::string_view method,
        const std::string& path,
        const std::string& body,
        milliseconds timeout = milliseconds{0},
        const std::string& key = {}
    );
    /// A call that may be made twice.
    Result<std::string> insist(
        std::string_view method,
        const std::string& path,
        const std::string& body,
        milliseconds timeout = milliseconds{0}
    );
    Result<lease::v1::Lease> tell_lease(
        std::string_view id, std::string_view verb, milliseconds timeout = milliseconds{0}
    );
    /// A POST that makes what costs something: an answer that was lost is asked for again under the
    /// same Idempotency-Key, for as long as the patience lasts, so that it is made once and known.
    template <typename Message>
    Result<Message> make(const std::string& path, const google::protobuf::Message& body);
    Result<void> exchange(
        std::string_view method,
        const std::string& path,
        std::string body,
        google::protobuf::Message& out,
        milliseconds timeout
    );

    std::string server_;
    Secret token_;
    net::HttpClient client_;
    milliseconds patience_{30'000};
    bool reached_ = false;
};

/// "/v1/<collection>/<id><rest>", the id percent-encoded.
std::string path_of(std::string_view collection, std::string_view id, std::string_view rest = {});

/// The request did not reach the gateway, or its answer not us.
bool is_gateway_away(const Error& error);

/// JSON of a message as the API spells it (snake_case, enums by name), on one line.
std::string to_json(const google::protobuf::Message& message);

}  // namespace berth::cli
