// SPDX-License-Identifier: Apache-2.0
// The renewal's protocol: a signature by the machine's own key over a nonce.
#include "node_agent/renewal.hpp"

#include "berth/prov/v1/prov.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "identity/creds.hpp"
#include "identity/jwt.hpp"
#include "log/log.hpp"
#include "node_agent/enrol.hpp"

namespace berth::node {
namespace {

/// When the credential was issued is not kept by every decoder, so its life is taken as what the
/// provisioner gives: 15 minutes. Half of that before its end it is renewed.
constexpr seconds kRenewBefore{450};
constexpr milliseconds kAskTimeout{20'000};

}  // namespace

void Renewal::start() {
    if (context_.settings.creds_file.empty()) return;
    check();
    context_.loop.after(kRenewCheckEvery, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->start();
    });
}

void Renewal::bus_up(bus::Connection& connection) {
    if (context_.settings.creds_file.empty()) return;
    auto asker = bus::Asker::create(connection, {"node", context_.settings.machine});
    if (!asker)
        return log::warning(
            "credentials cannot be renewed on this connection", {{"error", asker.error()}}
        );
    asker_ = std::move(*asker);
    asking_ = false;
    check();
}

Renewal::~Renewal() {
    if (enrolment_.joinable()) enrolment_.join();  // at most enrol()'s patience
}

void Renewal::enrol_again() {
    if (enrolling_) return;
    if (enrolment_.joinable()) enrolment_.join();
    enrolling_ = true;
    // Posted to the loop when done: this object lives and dies there.
    enrolment_ =
        std::thread([weak = weak_from_this(), &loop = context_.loop, settings = context_.settings] {
            const auto done = enrol(settings);
            if (!done) log::warning("not enrolled again", {{"error", done.error()}});
            loop.post([weak] {
                if (const auto self = weak.lock()) self->enrolling_ = false;
            });
        });
}

void Renewal::check() {
    if (must_enrol(context_.settings, Clock::system().now())) return enrol_again();
    if (asking_ || asker_ == nullptr) return;
    const auto creds = identity::read_creds(context_.settings.creds_file);
    if (!creds)
        return log::warning("the machine's credential cannot be read", {{"error", creds.error()}});
    const auto claims = identity::decode_user(creds->jwt);
    if (!claims || !claims->expires_at) return;  // made by hand, without an end
    if (*claims->expires_at - Clock::system().now() < kRenewBefore) ask();
}

void Renewal::ask() {
    const auto creds = identity::read_creds(context_.settings.creds_file);
    auto key = creds ? identity::KeyPair::from_seed(creds->seed)
                     : Result<identity::KeyPair>(creds.error());
    if (!key) return log::warning("the machine's key cannot be read", {{"error", key.error()}});
    prov::v1::Renew renew;
    renew.set_machine(context_.settings.machine);
    renew.set_user_public_key(key->public_key());
    renew.set_nonce(make_ulid(Clock::system().now(), Random::system()));
    renew.set_signature(base64url(key->sign("berth-renew:" + renew.machine() + ":" + renew.nonce()))
    );
    bus::Ask question;
    question.subject = "berth.cmd.prov.renew." + context_.settings.machine;
    question.type = renew.GetTypeName();
    question.payload = renew.SerializeAsString();
    question.timeout = kAskTimeout;
    asking_ = true;
    asker_->ask(
        std::move(question),
        [weak = weak_from_this(), &loop = context_.loop](Result<bus::Answer> answer) {
            loop.post([weak, answer = std::move(answer)] {
                const auto self = weak.lock();
                if (!self) return;
                self->asking_ = false;
                if (answer)
                    self->store(answer->payload);
                else
                    log::warning(
                        "the machine's credential was not renewed; trying again",
                        {{"error", answer.error()}}
                    );
            });
        }
    );
}

void Renewal::store(const std::string& payload) {
    prov::v1::NodeCredential credential;
    auto creds = identity::read_creds(context_.settings.creds_file);
    if (!creds || !credential.ParseFromString(payload))
        return log::warning("an answer about the credential makes no sense");
    creds->jwt = credential.jwt();
    if (auto written = identity::write_creds(context_.settings.creds_file, *creds); !written) {
        return log::warning("the new credential cannot be written", {{"error", written.error()}});
    }
    log::info("credential renewed");
}

}  // namespace berth::node
