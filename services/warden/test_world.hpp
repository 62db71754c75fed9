// SPDX-License-Identifier: Apache-2.0
// A warden for tests: its handlers on a real database and the in-process bus, asked as nodes and
// the gateway ask.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "berth/node/v1/node.pb.h"
#include "bus/asker.hpp"
#include "bus/memory_bus.hpp"
#include "core/id.hpp"
#include "policy/plan.hpp"
#include "policy/wire.hpp"
#include "service/proto_time.hpp"
#include "support/postgres/postgres_server.hpp"
#include "warden/handlers.hpp"

namespace berth::warden {

inline constexpr const char* kOrg = "acme";
inline constexpr const char* kMachine = "m_1";

inline const char* const kPolicy =
    "version: 1\n"
    "default: allow\n"
    "rules:\n"
    "  - id: pushes\n"
    "    match: {executable: /usr/bin/git}\n"
    "    action: ask\n";

inline testing::PostgresServer& postgres() {
    static testing::PostgresServer server;
    static const auto started = server.start();
    if (!started) throw std::runtime_error(started.error().describe());
    return server;
}

/// A warden, and whoever asks it.
class WardenTest : public ::testing::Test {
protected:
    void SetUp() override {
        static int count = 0;
        store::PoolSettings settings;
        settings.conninfo = postgres().conninfo();
        settings.schema = "warden_" + std::to_string(++count);
        settings.max_connections = 16;
        pool_.emplace(settings);
        ASSERT_TRUE(store::migrate(*pool_, settings.schema, migrations()));
        relay_.emplace(
            *pool_,
            [this](const store::OutboxMessage& row, const std::function<void(Result<void>)>& done) {
                {
                    const std::lock_guard lock(mutex_);
                    told_.push_back(row);
                }
                if (row.subject.starts_with("berth.audit.") && mirrors_) {
                    bus::Message message;
                    message.subject = row.subject;
                    message.payload = row.payload;
                    message.set_header(bus::kMsgId, row.message_id);
                    asking_->publish(std::move(message), [](const Result<bus::PubAck>&) {});
                }
                done({});
            }
        );
        bus_ = server_.connect();
        asking_ = server_.connect();
        auto asker = bus::Asker::create(*asking_, {"gateway", "one"});
        ASSERT_TRUE(asker);
        asker_ = std::move(*asker);
        handlers_.emplace(*pool_, presences_, Random::system(), *bus_);
        bound_.emplace(service::Handlers::Parts{
            *bus_, *pool_, *relay_, metrics_, "warden", "a", 8, std::size_t{64}});
        handlers_->bind(*bound_);
        ASSERT_TRUE(bound_->start());
    }
    void TearDown() override {
        bound_->stop();
        asker_.reset();
    }

    template <typename Reply, typename Message>
    Result<Reply> ask(const std::string& subject, const Message& message) {
        bus::Ask ask;
        ask.subject = subject;
        ask.type = message.GetTypeName();
        ask.payload = message.SerializeAsString();
        ask.timeout = seconds{20};
        BERTH_ASSIGN(const bus::Answer answer, asker_->ask_wait(std::move(ask)));
        Reply reply;
        EXPECT_TRUE(reply.ParseFromString(answer.payload));
        return reply;
    }
    void publish(const std::string& subject, const google::protobuf::Message& message) {
        bus::Message out;
        out.subject = subject;
        out.payload = message.SerializeAsString();
        out.set_header(bus::kCeId, make_ulid(Clock::system().now(), Random::system()));
        ASSERT_TRUE(asking_->publish_wait(std::move(out)));
    }

    static common::v1::Actor actor(const std::string& user, const std::string& role) {
        common::v1::Actor out;
        out.set_user(user);
        out.set_org(kOrg);
        out.add_roles(role);
        return out;
    }
    Result<v1::PolicyVersion> apply(const std::string& text) {
        v1::ApplyPolicy request;
        *request.mutable_actor() = actor("root", "admin");
        request.set_text(text);
        return ask<v1::PolicyVersion>("berth.cmd.warden.apply_policy", request);
    }
    static v1::Ask asked(const std::string& held, const std::vector<std::string>& argv) {
        v1::Ask out;
        out.set_held(held);
        v1::Plan& plan = *out.mutable_plan();
        plan.mutable_executable()->set_path("/usr/bin/git");
        plan.mutable_executable()->set_sha256(std::string(64, 'a'));
        for (const auto& argument : argv) plan.add_argv(argument);
        plan.set_cwd("/work");
        plan.set_digest(policy::digest(policy::to_plan(plan)));
        v1::Origin& origin = *out.mutable_origin();
        origin.set_org(kOrg);
        origin.set_user("olga");
        origin.set_lease("ls_1");
        origin.set_machine(kMachine);
        origin.set_run("rn_1");
        origin.set_profile("default");
        origin.set_level(v1::GUARD_LEVEL_ENFORCE);
        *out.mutable_terms()->mutable_timeout() = service::to_duration(std::chrono::minutes{10});
        out.mutable_terms()->set_rule("pushes");
        return out;
    }
    Result<v1::Approval> hold(
        const std::string& held, const std::vector<std::string>& argv = {"git", "push"}
    ) {
        return ask<v1::Approval>("berth.cmd.warden.ask.m_1", asked(held, argv));
    }
    Result<v1::Approval> decide(
        const std::string& approval,
        const std::string& user,
        bool approve,
        v1::GrantScope scope = v1::GRANT_SCOPE_ONCE
    ) {
        v1::Decide request;
        *request.mutable_actor() = actor(user, "approver");
        request.set_approval(approval);
        request.set_approve(approve);
        request.set_surface("cli");
        request.set_scope(scope);
        request.set_times(2);
        return ask<v1::Approval>("berth.cmd.warden.decide", request);
    }
    v1::Claimed claim(const v1::Approval& approval, const std::string& held) {
        v1::Claim request;
        request.set_approval(approval.id());
        request.set_digest(approval.plan().digest());
        request.set_held(held);
        const auto reply = ask<v1::Claimed>("berth.cmd.warden.claim.m_1", request);
        EXPECT_TRUE(reply) << (reply ? "" : reply.error().describe());
        return reply ? *reply : v1::Claimed();
    }
    v1::Approval look(const std::string& id) {
        v1::GetApproval request;
        *request.mutable_actor() = actor("anna", "approver");
        request.set_approval(id);
        const auto reply = ask<v1::Approval>("berth.qry.warden.approval", request);
        return reply ? *reply : v1::Approval();
    }
    std::string state(const std::string& id) { return std::string(state_name(look(id).state())); }
    bool eventually(const std::function<bool()>& good) {
        const auto until = std::chrono::steady_clock::now() + seconds{20};
        while (std::chrono::steady_clock::now() < until) {
            if (good()) return true;
            std::this_thread::yield();
        }
        return false;
    }
    std::vector<node::v1::Decide> decisions() {
        const std::lock_guard lock(mutex_);
        std::vector<node::v1::Decide> out;
        for (const auto& row : told_) {
            if (row.subject != "berth.cmd.node.m_1.decide") continue;
            EXPECT_TRUE(out.emplace_back().ParseFromString(row.payload));
        }
        return out;
    }
    std::vector<v1::AuditRecord> audit(const std::string& fact = {}) {
        v1::QueryAudit request;
        *request.mutable_actor() = actor("anna", "approver");
        request.set_fact(fact);
        request.set_oldest_first(true);
        request.mutable_page()->set_limit(100);
        const auto reply = ask<v1::AuditReply>("berth.qry.warden.audit", request);
        EXPECT_TRUE(reply);
        return reply
                   ? std::vector<v1::AuditRecord>(reply->records().begin(), reply->records().end())
                   : std::vector<v1::AuditRecord>();
    }
    v1::AuditVerdict verify() {
        v1::VerifyAudit request;
        *request.mutable_actor() = actor("anna", "approver");
        const auto reply = ask<v1::AuditVerdict>("berth.qry.warden.verify", request);
        EXPECT_TRUE(reply) << (reply ? "" : reply.error().describe());
        return reply ? *reply : v1::AuditVerdict();
    }
    void sql(const std::string& text) {
        ASSERT_TRUE(pool_->exec_autocommit(store::Statement(text))) << text;
    }

    /// Writes the org's chain anew from a record on, as somebody who knows how: every hash is
    /// right.
    void forge(std::uint64_t from, std::uint64_t until) {
        ChainHead head;
        const auto before = pool_->exec_autocommit(
            {"SELECT hash FROM audit WHERE org = $1 AND sequence = $2", "before"},
            {kOrg, static_cast<std::int64_t>(from - 1)}
        );
        head = {from - 1, std::string((*before)[0].text(0))};
        for (std::uint64_t sequence = from; sequence <= until; ++sequence) {
            const auto row = pool_->exec_autocommit(
                {"SELECT body FROM audit WHERE org = $1 AND sequence = $2", "body"},
                {kOrg, static_cast<std::int64_t>(sequence)}
            );
            v1::AuditRecord record;
            ASSERT_TRUE(record.ParseFromString((*row)[0].bytes(0)));
            if (sequence == from) record.set_command("nothing happened");
            chain(head, record);
            ASSERT_TRUE(pool_->exec_autocommit(
                {"UPDATE audit SET body = $3, hash = $4 WHERE org = $1 AND sequence = $2", "forge"},
                {kOrg,
                 static_cast<std::int64_t>(sequence),
                 store::Param::bytes(record.SerializeAsString()),
                 record.hash()}
            ));
        }
        set_head(head);
    }
    void set_head(const ChainHead& head) {
        ASSERT_TRUE(pool_->exec_autocommit(
            {"UPDATE audit_heads SET sequence = $2, hash = $3 WHERE org = $1", "head"},
            {kOrg, static_cast<std::int64_t>(head.sequence), head.hash}
        ));
    }

    metrics::Registry metrics_{"warden"};
    std::mutex mutex_;
    std::vector<store::OutboxMessage> told_;  // by mutex_
    std::atomic<bool> mirrors_{true};         // the relay publishes the audit
    Presences presences_;
    std::optional<store::Pool> pool_;
    std::optional<store::Relay> relay_;
    bus::MemoryServer server_{
        1,
        {},
        {{"CMD_WARDEN", {"berth.cmd.warden.>"}, true},
         {"QRY_WARDEN", {"berth.qry.warden.>"}, true},
         {"EVT", {"berth.evt.>"}},
         {"RPL", {"berth.rpl.>"}},
         {"AUDIT", {"berth.audit.>"}},
         {"DLQ", {"berth.dlq.>"}}},
        {{"CMD_WARDEN", "warden", "berth.cmd.warden.>"},
         {"QRY_WARDEN", "warden", "berth.qry.warden.>"},
         {"EVT", "warden-lease", "berth.evt.*.lease.lease.>"},
         {"EVT", "warden-run", "berth.evt.*.run.run.>"},
         {"EVT", "warden-prov", "berth.evt.*.prov.machine.>"},
         {"EVT", "warden-gateway", "berth.evt.*.gateway.user.>"}}};
    std::unique_ptr<bus::Connection> bus_;
    std::unique_ptr<bus::Connection> asking_;
    std::unique_ptr<bus::Asker> asker_;
    std::optional<WardenHandlers> handlers_;
    std::optional<service::Handlers> bound_;
};

#define REFUSED(result, wanted)                                            \
    do {                                                                   \
        const auto& given = (result);                                      \
        ASSERT_FALSE(given);                                               \
        EXPECT_EQ(given.error().code, wanted) << given.error().describe(); \
    } while (false)

}  // namespace berth::warden
