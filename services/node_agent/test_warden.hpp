// SPDX-License-Identifier: Apache-2.0
// For tests: plays warden on a real bus, as far as a machine hears of it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "berth/common/v1/common.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "core/id.hpp"
#include "core/text.hpp"
#include "node_agent/test_node_world.hpp"
#include "policy/wire.hpp"

namespace berth::node::testing {

class WardenDouble {
public:
    explicit WardenDouble(World& world) : world_(world) {
        world.stream("CMD_WARDEN", "berth.cmd.warden.>", R"("retention":"workqueue")");
        world.stream("QRY_WARDEN", "berth.qry.warden.>", R"("retention":"workqueue")");
        beat_.set_org("acme");
        commands_ = consume("CMD_WARDEN", "berth.cmd.warden.>");
        queries_ = consume("QRY_WARDEN", "berth.qry.warden.>");
        beats_ = std::thread([this] { keep_beating(); });
    }
    ~WardenDouble() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        beats_.join();
        commands_->stop();
        queries_->stop();
    }

    void set_policy(const std::string& text) {
        const std::lock_guard lock(mutex_);
        policy_.set_version(policy_.version() + 1);
        policy_.set_text(text);
        beat_.set_policy_version(policy_.version());
        beat_.set_revision(beat_.revision() + 1);
        beat_now();
    }
    void halt(
        const std::string& id,
        warden::v1::HaltScope scope = warden::v1::HALT_SCOPE_ORG,
        const std::string& target = {}
    ) {
        const std::lock_guard lock(mutex_);
        auto& halt = *beat_.add_halts();
        halt.set_id(id);
        halt.set_scope(scope);
        halt.set_target(target);
        halt.set_pressed_by("anna");
        halt.set_reason("enough");
        beat_.set_revision(beat_.revision() + 1);
        beat_now();
    }
    void resume() {
        const std::lock_guard lock(mutex_);
        beat_.clear_halts();
        beat_.set_revision(beat_.revision() + 1);
        beat_now();
    }
    void silence(bool silent) {
        const std::lock_guard lock(mutex_);
        silent_ = silent;
    }

    /// Waits until what was asked is as wanted; every list is by mutex while `fact` runs.
    bool until(const std::function<bool()>& fact, milliseconds patience = kPatience) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, fact);
    }
    void decide(const std::string& held, bool approve) {
        v1::Decide decide;
        {
            const std::lock_guard lock(mutex_);
            for (const auto& ask : asks) {
                if (ask.held() != held) continue;
                decide.set_digest(ask.plan().digest());
                decide.set_approval("ap_" + held);
            }
        }
        decide.set_held(held);
        decide.set_approve(approve);
        decide.set_reason(approve ? "" : "not today");
        EXPECT_TRUE(world_.ask("decide", decide));
    }

    /// The machine is not told: only when it asks again it hears of it.
    void decide_unheard(const std::string& held, const std::vector<std::string>& edited) {
        const std::lock_guard lock(mutex_);
        warden::v1::Approval& approval = approvals_.at(held);
        approval.set_state(warden::v1::APPROVAL_STATE_APPROVED);
        if (edited.empty()) return;
        approval.set_id("ap_edited");
        approval.mutable_plan()->set_replaces(approval.plan().digest());
        approval.mutable_plan()->mutable_argv()->Assign(edited.begin(), edited.end());
        approval.mutable_plan()->set_digest(policy::digest(policy::to_plan(approval.plan())));
    }

    std::vector<warden::v1::Ask> asks;  ///< one for each that is held
    std::vector<warden::v1::Claim> claims;
    std::vector<warden::v1::Abandon> abandoned;
    std::vector<warden::v1::Halted> halted;
    std::vector<warden::v1::AuditRecord> records;
    std::string refuse_claims;  ///< why; empty: they go
    std::string refuse_record;  ///< the executable of a record that refuses its batch

private:
    std::unique_ptr<bus::Receiver> consume(const std::string& stream, const std::string& filter) {
        world_.request(
            "$JS.API.CONSUMER.DURABLE.CREATE." + stream + ".warden",
            R"({"stream_name":")" + stream +
                R"(","config":{"durable_name":"warden","ack_policy":"explicit","ack_wait":3000000000,"filter_subject":")" +
                filter + R"("}})"
        );
        bus::ConsumerSettings settings;
        settings.stream = stream;
        settings.durable = "warden";
        settings.workers = 1;
        return world_.connection
            ->consume(
                settings,
                [this](bus::Delivery delivery) {
                    answer(delivery.message());
                    delivery.ack();
                }
            )
            .value();
    }

    template <typename Message>
    Message keep(const bus::Message& message, std::vector<Message>& list) {
        Message body;
        EXPECT_TRUE(body.ParseFromString(message.payload));
        list.push_back(body);
        return body;
    }

    void answer(const bus::Message& message) {
        const std::lock_guard lock(mutex_);
        const auto tokens = split(message.subject, '.');
        const std::string verb(tokens.at(3));
        // The outbox: a known command gets what it got before.
        const std::string id(message.header(bus::kCeId));
        if (!outcomes_.contains(id)) outcomes_[id] = outcome(verb, message);
        bus::Message reply;
        reply.subject = bus::reply_subject(message.header(bus::kReplyTo), "warden", "w1", id);
        reply.payload = outcomes_[id].second;
        const std::string fresh = make_ulid(Clock::system().now(), Random::system());
        reply.headers = {
            {std::string(bus::kMsgId), fresh},
            {std::string(bus::kCeSpecVersion), "1.0"},
            {std::string(bus::kCeId), fresh},
            {std::string(bus::kCeType), outcomes_[id].first},
            {std::string(bus::kCeSource), "berth/warden"},
            {std::string(bus::kCeTime), to_rfc3339(Clock::system().now())},
            {std::string(bus::kCausationId), std::string(message.header(bus::kMsgId))},
            {std::string(bus::kStatus), outcomes_[id].first == kFailure ? "failure" : "ok"},
        };
        world_.connection->publish(std::move(reply), [](const Result<bus::PubAck>&) {});
        changed_.notify_all();
    }

    std::pair<std::string, std::string> outcome(
        const std::string& verb, const bus::Message& message
    ) {
        common::v1::Empty empty;
        if (verb == "snapshot") {
            warden::v1::Snapshot snapshot;
            *snapshot.mutable_policy() = policy_;
            *snapshot.mutable_beat() = beat_;
            return {snapshot.GetTypeName(), snapshot.SerializeAsString()};
        }
        if (verb == "ask") {
            warden::v1::Ask ask;
            EXPECT_TRUE(ask.ParseFromString(message.payload));
            warden::v1::Approval& approval = approvals_[ask.held()];
            if (approval.id().empty()) {
                keep(message, asks);
                approval.set_id("ap_" + ask.held());
                approval.set_state(warden::v1::APPROVAL_STATE_PENDING);
                *approval.mutable_plan() = ask.plan();
            }
            return {approval.GetTypeName(), approval.SerializeAsString()};
        }
        if (verb == "claim") {
            keep(message, claims);
            warden::v1::Claimed claimed;
            claimed.set_go(refuse_claims.empty());
            claimed.set_reason(refuse_claims);
            return {claimed.GetTypeName(), claimed.SerializeAsString()};
        }
        if (verb == "abandon") keep(message, abandoned);
        if (verb == "halted") keep(message, halted);
        if (verb == "record") {
            warden::v1::Record record;
            if (!record.ParseFromString(message.payload)) return failure("undecodable");
            for (const auto& one : record.records())
                if (!refuse_record.empty() && one.executable() == refuse_record)
                    return failure("refused");
            records.insert(records.end(), record.records().begin(), record.records().end());
        }
        return {empty.GetTypeName(), empty.SerializeAsString()};
    }

    static std::pair<std::string, std::string> failure(const std::string& code) {
        common::v1::Failure failure;
        failure.set_fault("invalid");
        failure.set_code(code);
        failure.set_message("no");
        return {kFailure, failure.SerializeAsString()};
    }

    void beat_now() {
        if (!silent_)
            (void)world_.connection->publish_plain("berth.warden.acme", beat_.SerializeAsString());
    }
    void keep_beating() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            beat_now();
            changed_.wait_for(lock, milliseconds{500}, [this] { return stopping_; });
        }
    }

    static constexpr const char* kFailure = "berth.common.v1.Failure";
    World& world_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    bool silent_ = false;
    warden::v1::Beat beat_;
    warden::v1::PolicyVersion policy_;
    std::map<std::string, std::pair<std::string, std::string>> outcomes_;
    std::map<std::string, warden::v1::Approval> approvals_;  // by what is held
    std::unique_ptr<bus::Receiver> commands_;
    std::unique_ptr<bus::Receiver> queries_;
    std::thread beats_;
};

/// A world whose org has no policy.
class QuietWorld : public World {
public:
    QuietWorld() : World("none"), warden(*this) {}
    WardenDouble warden;
};

}  // namespace berth::node::testing
