// SPDX-License-Identifier: Apache-2.0
// What machines that boot elsewhere ask for, before they have a place on the bus: the programs of a
// node, and a first credential. And what an admin sees of all machines: drift.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "berth/gateway/v1/gateway.pb.h"
#include "berth/prov/v1/prov.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "core/fd.hpp"
#include "core/id.hpp"
#include "gateway/api.hpp"
#include "gateway/repo.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "net/peer.hpp"
#include "service/handlers.hpp"
#include "store/outbox.hpp"

namespace berth::gateway {
namespace {

// A fleet that boots at once waits a little longer; its downloads hold no thread.
constexpr int kMaxDownloads = 64;
constexpr std::size_t kPiece = 64U << 10U;

/// One download: the file is read as fast as the client takes it.
class Download : public std::enable_shared_from_this<Download> {
public:
    Download(Fd file, std::atomic<int>& count) : file_(std::move(file)), count_(count) {}
    ~Download() { --count_; }
    Download(const Download&) = delete;
    Download& operator=(const Download&) = delete;

    /// The stream's callback holds this object until the stream closes.
    void start(net::Stream stream) {
        stream_ = std::move(stream);
        stream_.on_writable([self = shared_from_this()] { self->pump(); });
        pump();
    }

private:
    // First on the thread of the request, then on the server's I/O thread alone: a refused write is
    // what starts the latter.
    void pump() {
        while (true) {
            if (held_ == 0) {
                const ssize_t got = ::read(file_.get(), piece_.data(), piece_.size());
                if (got < 0) return stream_.abort();
                if (got == 0) return stream_.close();
                held_ = static_cast<std::size_t>(got);
            }
            if (!stream_.write({piece_.data(), held_})) return;
            held_ = 0;
        }
    }

    const Fd file_;
    std::atomic<int>& count_;
    net::Stream stream_;
    std::array<char, kPiece> piece_{};
    std::size_t held_ = 0;
};

std::atomic<int>& downloads() {
    static std::atomic<int> count{0};
    return count;
}

/// Addresses, and what of them. Whose machine it would be a stranger does not say: every org's
/// audit has it.
Result<void> record_strangers(
    Api& api, const std::vector<std::pair<std::string, std::string>>& strangers
) {
    std::vector<store::OutboxMessage> messages;
    const auto told = [&]() -> Result<void> {
        BERTH_ASSIGN(const auto orgs, repo::list_orgs(api.pool));
        for (const auto& [address, reason] : strangers) {
            warden::v1::Refused refused;
            refused.set_surface("gateway");
            refused.set_from(address);
            refused.set_reason(reason);
            service::Context cause;
            cause.now = Clock::system().now();
            cause.command_id = make_ulid(cause.now, Random::system());
            cause.correlation_id = cause.command_id;
            for (const std::string& org : orgs) {
                refused.set_org(org);
                messages.push_back(service::make_command(
                    cause,
                    "gateway",
                    "berth.cmd.warden.refused",
                    "refused/" + org,
                    "",
                    refused,
                    milliseconds{0}
                ));
            }
        }
        return api.pool.transact([&](store::Transaction& tx) {
            return store::Outbox::add_all(tx, messages);
        });
    }();
    if (told && api.relay != nullptr) api.relay->publish_committed(std::move(messages));
    for (const auto& [address, reason] : strangers) {
        if (!told)
            log::warning(
                "strangers' enrolments are not recorded",
                {{"from", address}, {"reason", reason}, {"error", told.error()}}
            );
    }
    return told;
}

/// A machine that is none; the audit is told by a worker. `why` is one of a few fixed texts.
void audit_stranger(
    Api& api, const CallPtr& call, const std::string& machine, const std::string& why
) {
    const service::RefusalCount::Counted first{
        net::peer_address(call->request), "enrolment: " + why, 0};
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!api.strangers.add(first.address, first.reason, now)) return;
    const bool taken = api.workers.run([&api, first, now, machine, why] {
        if (!record_strangers(api, {{first.address, "enrolment of " + machine + ": " + why}}))
            api.strangers.put_back(first, now);
    });
    if (!taken) api.strangers.put_back(first, now);
}

}  // namespace

void tell_strangers(Api& api, const std::vector<service::RefusalCount::Counted>& all) {
    if (all.empty()) return;
    std::vector<std::pair<std::string, std::string>> strangers;
    for (const auto& counted : all) strangers.emplace_back(counted.address, counted.text());
    if (record_strangers(api, strangers)) return;
    for (const auto& counted : all)
        api.strangers.put_back(counted, std::chrono::steady_clock::now());
}

void get_node_bundle(Api& api, const CallPtr& call) {
    if (!api.bundles.take(net::peer_address(call->request), std::chrono::steady_clock::now()))
        return call->fail(too_often());
    if (++downloads() > kMaxDownloads) {
        --downloads();
        return call->fail(
            unavailable("overloaded", "too many machines install at once; try again in a moment")
        );
    }
    Fd file(::open(api.settings.node_bundle_file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        --downloads();
        return call->fail(not_found(
            "no_bundle", "this gateway has no node bundle: its setting node_bundle_file names none"
        ));
    }
    const auto download = std::make_shared<Download>(std::move(file), downloads());
    download->start(call->stream("application/gzip", {{"X-Content-Type-Options", "nosniff"}}));
}

void enrol_node(Api& api, const CallPtr& call) {
    if (!api.enrolments.take(net::peer_address(call->request), std::chrono::steady_clock::now()))
        return call->fail(too_often());
    v1::EnrolBody body;
    if (const auto read = read_body(call->request, body); !read) return call->fail(read.error());
    const auto machine = normalize_id("m", body.machine());
    if (!machine)
        return call->fail(invalid("bad_id", "'machine' must be a machine's id", "machine"));
    if (!body.token().empty() && !identity::looks_like_token(body.token())) {
        const Error error = forbidden("bad_token", "this is not the token of this machine");
        audit_stranger(api, call, *machine, error.message);
        return call->fail(error);
    }
    prov::v1::Enrol command;
    command.set_machine(*machine);
    // The token ends here: the bus carries its digest.
    if (!body.token().empty()) command.set_token_hash(identity::hash_token(Secret(body.token())));
    command.set_user_public_key(body.user_public_key());
    command.set_signature(body.signature());
    command.set_nonce(body.nonce());
    ask_raw(
        api,
        call,
        "berth.cmd.prov.enrol",
        command,
        {},
        [&api, call, machine = *machine](const Result<std::string>& bytes) {
            if (!bytes && bytes.error().fault == Fault::kForbidden)
                audit_stranger(api, call, machine, bytes.error().message);
            const auto credential = read_reply<prov::v1::NodeCredential>(bytes);
            if (!credential) return call->fail(credential.error());
            call->json(200, *credential, {{"Cache-Control", "no-store"}});
        }
    );
}

void get_drift(Api& api, const CallPtr& call) {
    ask<prov::v1::Drift>(
        api,
        call,
        "berth.qry.prov.drift",
        prov::v1::GetDrift{},
        {},
        [call](const prov::v1::Drift& drift) { call->json(200, drift); }
    );
}

}  // namespace berth::gateway
