// SPDX-License-Identifier: Apache-2.0
// A machine that a test plays: its own NATS user and durable, and the messages of a node agent.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "berth/node/v1/node.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "bus/asker.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "identity/creds.hpp"
#include "identity/nkeys.hpp"
#include "support/suite/suite.hpp"
#include "topology/apply.hpp"
#include "topology/rights.hpp"

namespace berth::testing {

/// Where a deployment's bus is, and what the provisioner may do there.
class NodeMaker {
public:
    /// Throws where the deployment cannot be read.
    explicit NodeMaker(const Suite& suite)
        : settings_(read_file(suite.data() / "etc" / "prov.yaml").value()),
          account_(
              identity::KeyPair::from_seed(identity::read_seed(value("account_seed_file")).value())
                  .value()
          ),
          prov_(connect("_INBOX.prov", bus::credentials_from_file(value("creds_file")))) {}

    std::unique_ptr<bus::Connection> connect(
        const std::string& inbox, std::function<Result<Secret>()> credentials
    ) const {
        bus::ConnectSettings settings;
        settings.url = value("nats_url");
        settings.name = "test";
        settings.inbox_prefix = inbox;
        settings.credentials = std::move(credentials);
        auto connection = bus::connect(std::move(settings));
        if (!connection) throw std::runtime_error(connection.error().describe());
        return std::move(*connection);
    }
    /// The credentials of a machine's user, whose durable exists then.
    Secret admit(const std::string& machine, const std::string& org) const {
        const topology::ApiRequest ask = [&](std::string_view subject, std::string_view json) {
            return prov_->request(subject, json, seconds{5});
        };
        topology::ApplyReport report;
        const auto durables =
            topology::consumers_of(topology::builtin(), topology::Machine{machine, org}).value();
        for (const auto& durable : durables) {
            const auto made = topology::apply_consumer(durable, ask, {}, report);
            if (!made) throw std::runtime_error(made.error().describe());
        }
        const auto key = identity::KeyPair::create(identity::KeyKind::kUser);
        auto jwt = topology::mint_machine_user(
            topology::builtin(), account_, {machine, org}, key.public_key(), Clock::system().now()
        );
        return identity::format_creds({jwt.value(), key.seed()});
    }

private:
    std::string value(const std::string& name) const {
        const auto at = settings_.find(name + ": \"") + name.size() + 3;
        return settings_.substr(at, settings_.find('"', at) - at);
    }

    const std::string settings_;
    const identity::KeyPair account_;
    const std::unique_ptr<bus::Connection> prov_;
};

/// Speaks for one machine. Its functions are for the test's threads; they may be used at once.
class FakeNode {
public:
    FakeNode(const NodeMaker& maker, std::string org = "default")
        : machine_(make_id("m", Clock::system().now(), Random::system())), org_(std::move(org)) {
        auto creds = std::make_shared<Secret>(maker.admit(machine_, org_));
        connection_ = maker.connect("_INBOX.node." + machine_, [creds]() -> Result<Secret> {
            return Secret(creds->reveal());
        });
        asker_ = bus::Asker::create(*connection_, {"node", machine_}).value();
        beats_ = connection_
                     ->subscribe(
                         "berth.warden." + org_,
                         [this](const bus::Message& message) {
                             const std::lock_guard lock(mutex_);
                             (void)beat_.ParseFromString(message.payload);
                             ++heard_;
                             changed_.notify_all();
                         }
                     )
                     .value();
        bus::ConsumerSettings consumer;
        consumer.stream = "CMD_NODE";
        consumer.durable = "node-" + machine_;
        consumer.workers = 1;
        commands_ = connection_
                        ->consume(
                            consumer,
                            [this](bus::Delivery delivery) {
                                take(delivery.message());
                                delivery.ack();
                            }
                        )
                        .value();
    }
    ~FakeNode() {
        commands_->stop();
        beats_->stop();
    }
    FakeNode(const FakeNode&) = delete;
    FakeNode& operator=(const FakeNode&) = delete;

    const std::string& machine() const { return machine_; }

    template <typename Reply, typename Message>
    Result<Reply> ask(
        const std::string& subject,
        const Message& message,
        const std::string& command = {},
        milliseconds timeout = seconds{60}
    ) {
        bus::Ask ask;
        ask.subject = subject + "." + machine_;
        ask.type = message.GetTypeName();
        ask.payload = message.SerializeAsString();
        ask.command_id = command;
        ask.timeout = timeout;
        BERTH_ASSIGN(const bus::Answer answer, asker_->ask_wait(std::move(ask)));
        Reply reply;
        if (!reply.ParseFromString(answer.payload))
            return internal("bad_reply", "not that message");
        return reply;
    }
    Result<warden::v1::Claimed> claim(
        const warden::v1::Approval& approval, const std::string& held
    ) {
        warden::v1::Claim claim;
        claim.set_approval(approval.id());
        claim.set_digest(approval.plan().digest());
        claim.set_held(held);
        return ask<warden::v1::Claimed>("berth.cmd.warden.claim", claim);
    }
    void presence() {
        node::v1::Presence presence;
        presence.set_machine(machine_);
        presence.set_org(org_);
        bus::Message message;
        message.subject = "berth.live.node." + machine_;
        message.payload = presence.SerializeAsString();
        (void)connection_->publish_wait(std::move(message));
    }
    /// Waits for the decision on what is held.
    std::optional<node::v1::Decide> decided(
        const std::string& held, milliseconds patience = seconds{60}
    ) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, patience, [&] { return decisions_.contains(held); }))
            return std::nullopt;
        return decisions_.at(held);
    }
    std::size_t decisions() {
        const std::lock_guard lock(mutex_);
        return decisions_.size();
    }
    /// Waits for a beat that is as wanted.
    bool await_beat(
        const std::function<bool(const warden::v1::Beat&)>& good,
        milliseconds patience = seconds{30}
    ) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return heard_ > 0 && good(beat_); });
    }

private:
    void take(const bus::Message& message) {
        if (!message.subject.ends_with(".decide")) return;
        node::v1::Decide decide;
        if (!decide.ParseFromString(message.payload)) return;
        const std::lock_guard lock(mutex_);
        decisions_[decide.held()] = decide;
        changed_.notify_all();
    }

    const std::string machine_;
    const std::string org_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, node::v1::Decide> decisions_;  // by mutex_
    warden::v1::Beat beat_;                              // by mutex_
    int heard_ = 0;                                      // by mutex_
    std::unique_ptr<bus::Connection> connection_;
    std::unique_ptr<bus::Asker> asker_;
    std::unique_ptr<bus::Receiver> beats_;
    std::unique_ptr<bus::Receiver> commands_;
};

}  // namespace berth::testing
