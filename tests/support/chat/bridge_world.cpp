// SPDX-License-Identifier: Apache-2.0
// The parts, put together as service::run does.
#include "support/chat/bridge_world.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <stdexcept>

#include "berth/gateway/v1/chat.pb.h"
#include "chat/store.hpp"
#include "core/id.hpp"
#include "core/random.hpp"
#include "service/proto_time.hpp"
#include "service/request.hpp"
#include "support/eventually.hpp"
#include "topology/apply.hpp"

namespace berth::testing {
namespace {

constexpr const char* kOrg = "acme";
constexpr const char* kUsualSettings =
    "orgs:\n  acme:\n    chats: [C1, C2]\n    approvals: [A1, A2]\n";

void must(const Result<void>& done) {
    if (!done) throw std::runtime_error(done.error().describe());
}

store::PublishFn publisher(bus::Connection& connection) {
    return [&connection](const store::OutboxMessage& row, std::function<void(Result<void>)> done) {
        bus::Message message{row.subject, row.headers, row.payload};
        message.set_header(bus::kMsgId, row.message_id);
        connection.publish(
            std::move(message),
            [done = std::move(done)](Result<bus::PubAck> stored) {
                done(stored ? Result<void>{} : Result<void>{std::move(stored).error()});
            }
        );
    };
}

std::unique_ptr<bus::Connection> connect(const NatsServer& nats, const std::string& user) {
    bus::ConnectSettings settings;
    settings.url = nats.url();
    settings.name = user;
    settings.inbox_prefix = "_INBOX." + user;
    auto made = bus::connect(settings);
    if (!made) throw std::runtime_error(made.error().describe());
    return std::move(*made);
}

}  // namespace

PostgresServer& chat_postgres() {
    static PostgresServer server;
    static const auto started = server.start();
    if (!started) throw std::runtime_error(started.error().describe());
    return server;
}

/// What main gives a service.
class BridgeWorld::Runtime final : public service::Runtime {
public:
    Runtime(
        const NatsServer& nats,
        const std::string& token,
        const std::string& schema,
        const std::string& instance,
        std::span<const store::Migration> migrations
    )
        : token_(token),
          pool_settings_(make_pool(schema)),
          registry_(token),
          pool_(pool_settings_) {
        settings_.instance = instance;
        const auto done = store::migrate(pool_, schema, migrations);
        if (!done) throw std::runtime_error(done.error().describe());
        connection_ = connect(nats, token);
        relay_ = std::make_unique<store::Relay>(pool_, publisher(*connection_));
        relay_->start();
    }
    ~Runtime() override { relay_->stop(seconds{2}); }
    const service::Settings& settings() const override { return settings_; }
    const std::string& token() const override { return token_; }
    bus::Connection& bus() override { return *connection_; }
    store::Pool& pool() override { return pool_; }
    store::Relay& relay() override { return *relay_; }
    metrics::Registry& metrics() override { return registry_; }
    store::PoolSettings database() const override { return pool_settings_; }
    std::unique_ptr<service::Handlers> make_handlers() override {
        return std::make_unique<service::Handlers>(service::Handlers::Parts{
            *connection_, pool_, *relay_, registry_, token_, settings_.instance, 4, std::size_t{64}}
        );
    }

private:
    static store::PoolSettings make_pool(const std::string& schema) {
        store::PoolSettings out;
        out.conninfo = chat_postgres().conninfo();
        out.schema = schema;
        out.max_connections = 12;
        out.statement_timeout = seconds{5};
        return out;
    }
    const std::string token_;
    const store::PoolSettings pool_settings_;
    service::Settings settings_;
    metrics::Registry registry_;
    store::Pool pool_;
    std::unique_ptr<bus::Connection> connection_;
    std::unique_ptr<store::Relay> relay_;
};

struct BridgeWorld::Owner {
    std::unique_ptr<Runtime> runtime;
    std::unique_ptr<service::Handlers> handlers;
    ~Owner() { handlers->stop(); }
};

struct BridgeWorld::Instance {
    std::unique_ptr<Runtime> runtime;
    std::unique_ptr<service::App> app;
    ~Instance() {
        if (app) app->stop();
    }
};

BridgeWorld::BridgeWorld(const std::string& settings)
    : BridgeWorld(
          settings.empty() ? kUsualSettings : settings,
          "slack",
          [this](config::Reader&) -> Result<chat::PlatformFactory> {
              return chat::PlatformFactory([this]() -> Result<std::unique_ptr<chat::Platform>> {
                  return make_played_platform(chat_);
              });
          }
      ) {}

BridgeWorld::BridgeWorld(
    const std::string& settings, const std::string& token, chat::PlatformReader read
)
    : nats_(NatsServer::start()), settings_(settings), token_(token), read_(std::move(read)) {
    static std::atomic<int> count{0};
    schema_ = "chat_" + std::to_string(++count);
    bus_ = connect(nats_, "test");
    const auto applied = topology::apply_topology(
        topology::builtin(),
        [this](std::string_view subject, std::string_view json) {
            return bus_->request(subject, json, seconds{10});
        },
        {{{"OUT", 64 << 20}, {"EVT", 64 << 20}, {"CMD_NODE", 16 << 20}, {"DLQ", 16 << 20}}}
    );
    if (!applied) throw std::runtime_error(applied.error().describe());
    usual_people();
    play();
}

BridgeWorld::~BridgeWorld() {
    instances_.clear();
    owners_.clear();
}

common::v1::Actor BridgeWorld::actor(const std::string& user, const std::string& role) {
    common::v1::Actor out;
    out.set_user(user);
    out.set_org(kOrg);
    out.add_roles(role);
    return out;
}

void BridgeWorld::usual_people() {
    berth_.people["U1"] = actor("anna", "operator");
    berth_.people["U2"] = actor("olga", "approver");
}

store::Pool& BridgeWorld::pool() { return instances_.front()->runtime->pool(); }

void BridgeWorld::start() {
    start_another();
    if (!eventually([&] { return not_ready().empty(); }, seconds{20}))
        throw std::runtime_error("the bridge is not ready: " + not_ready());
}

void BridgeWorld::start_another() {
    auto instance = std::make_unique<Instance>();
    instance->runtime = std::make_unique<Runtime>(
        nats_, token_, schema_, "i" + std::to_string(instances_.size()), chat::migrations()
    );
    const service::Service service = chat::bridge_service(token_, "played", read_);
    const auto document = config::Document::parse(settings_, "test");
    if (!document) throw std::runtime_error(document.error().describe());
    config::Reader reader(document->root());
    auto app = service.compose(*instance->runtime, reader);
    if (!app) throw std::runtime_error(app.error().describe());
    instance->app = std::move(*app);
    must(instance->app->start());
    instances_.push_back(std::move(instance));
}

void BridgeWorld::stop() { instances_.erase(instances_.begin()); }

std::string BridgeWorld::not_ready() {
    return instances_.empty() ? "stopped" : instances_.front()->app->not_ready();
}
std::string BridgeWorld::metrics() { return instances_.front()->runtime->metrics().render(); }

template <typename Message, typename F>
void BridgeWorld::add(service::Handlers& handlers, const char* verb, F handler) {
    handlers.command(
        verb,
        [this,
         handler](const service::Context& context, const std::string& payload, store::Transaction&)
            -> Result<service::Decision> {
            BERTH_ASSIGN(const Message message, service::decode<Message>(payload));
            const std::lock_guard lock(berth_.mutex);
            ++berth_.asked;
            return handler(context, message);
        }
    );
}

void BridgeWorld::play() {
    static const std::string ddl =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl);
    static const std::array<store::Migration, 1> migrations{{{1, "inbox", ddl}}};
    using service::reply_with;
    const auto owner = [&](const std::string& token) -> service::Handlers& {
        auto out = std::make_unique<Owner>();
        out->runtime =
            std::make_unique<Runtime>(nats_, token, schema_ + "_" + token, token + "1", migrations);
        out->handlers = out->runtime->make_handlers();
        owners_.push_back(std::move(out));
        return *owners_.back()->handlers;
    };

    service::Handlers& gateway = owner("gateway");
    gateway.query(
        "person",
        [this](const service::Context&, const std::string& payload) -> Result<service::Decision> {
            BERTH_ASSIGN(const auto question, service::decode<gateway::v1::PersonAsked>(payload));
            gateway::v1::PersonReply reply;
            const std::lock_guard lock(berth_.mutex);
            reply.set_disabled(berth_.disabled.contains(question.person_id()));
            if (const auto known = berth_.people.find(question.person_id());
                known != berth_.people.end()) {
                reply.set_known(true);
                *reply.mutable_actor() = known->second;
            }
            return reply_with(reply);
        }
    );
    add<gateway::v1::LinkPerson>(
        gateway,
        "link_person",
        [this](const auto&, const auto& command) -> Result<service::Decision> {
            const auto code = berth_.codes.find(command.code());
            if (code == berth_.codes.end()) return invalid("bad_code", "that code is not good");
            gateway::v1::PersonReply reply;
            reply.set_known(true);
            *reply.mutable_actor() = actor(code->second, "operator");
            berth_.people[command.person_id()] = reply.actor();
            berth_.codes.erase(code);
            return reply_with(reply);
        }
    );

    service::Handlers& lease = owner("lease");
    add<lease::v1::Acquire>(
        lease,
        "acquire",
        [this](const auto&, const auto& command) -> Result<service::Decision> {
            berth_.acquired.push_back(command);
            lease::v1::Lease out;
            out.set_id("ls_" + command.label());
            out.set_slug("calm-otter");
            out.set_org(kOrg);
            out.set_owner(command.actor().user());
            out.set_state(lease::v1::LEASE_STATE_ACTIVE);
            return reply_with(out);
        }
    );
    lease.query(
        "list",
        [](const service::Context&, const std::string&) -> Result<service::Decision> {
            return reply_with(lease::v1::ListReply{});
        }
    );

    service::Handlers& run = owner("run");
    add<run::v1::Start>(
        run,
        "start",
        [this](const service::Context& context, const auto& command) -> Result<service::Decision> {
            berth_.started.push_back(command);
            run::v1::Run out;
            out.set_id("rn_" + context.command_id);
            out.set_org(kOrg);
            out.set_owner(command.actor().user());
            out.set_lease(command.lease());
            out.set_machine("m_1");
            out.set_state(run::v1::RUN_STATE_STARTING);
            *out.mutable_argv() = command.argv();
            *out.mutable_created_at() = service::to_timestamp(context.now);
            out.set_revision(1);
            berth_.runs[out.id()] = out;
            berth_.changed.notify_all();
            return reply_with(out);
        }
    );
    add<run::v1::Cancel>(
        run,
        "cancel",
        [this](const auto&, const auto& command) -> Result<service::Decision> {
            berth_.canceled.push_back(command);
            const auto known = berth_.runs.find(command.run());
            if (known == berth_.runs.end() || known->second.owner() != command.actor().user())
                return not_found("run_not_found", "there is no such run");
            return reply_with(known->second);
        }
    );
    run.query(
        "get",
        [this](const service::Context&, const std::string& payload) -> Result<service::Decision> {
            run::v1::Get query;
            (void)query.ParseFromString(payload);
            const std::lock_guard lock(berth_.mutex);
            const auto known = berth_.runs.find(query.run());
            if (known == berth_.runs.end())
                return not_found("run_not_found", "there is no such run");
            return reply_with(known->second);
        }
    );
    run.query(
        "list",
        [this](const service::Context&, const std::string&) -> Result<service::Decision> {
            run::v1::ListReply reply;
            const std::lock_guard lock(berth_.mutex);
            for (const auto& [id, each] : berth_.runs) *reply.add_runs() = each;
            return reply_with(reply);
        }
    );

    service::Handlers& warden = owner("warden");
    add<warden::v1::Decide>(
        warden,
        "decide",
        [this](const auto&, const auto& command) -> Result<service::Decision> {
            auto known = berth_.approvals.find(command.approval());
            if (known == berth_.approvals.end())
                return not_found("approval_not_found", "there is no such approval");
            warden::v1::Approval& approval = known->second;
            if (!service::has_role(command.actor(), "approver"))
                return forbidden("not_an_approver", "you may not decide this");
            if (approval.origin().user() == command.actor().user())
                return forbidden("self_approval", "whoever asked does not decide");
            if (approval.state() != warden::v1::APPROVAL_STATE_PENDING)
                return conflict("already_decided", "it was decided by " + approval.decided_by());
            berth_.decided.push_back(command);
            approval.set_state(
                command.approve() ? warden::v1::APPROVAL_STATE_APPROVED
                                  : warden::v1::APPROVAL_STATE_DENIED
            );
            approval.set_decided_by(command.actor().user());
            approval.set_comment(command.comment());
            approval.set_revision(approval.revision() + 1);
            warden::v1::ApprovalChanged event;
            *event.mutable_approval() = approval;
            publish(
                "berth.evt.acme.warden.approval." +
                    std::string(command.approve() ? "approved" : "denied") + "." + approval.id(),
                event.GetTypeName(),
                event.SerializeAsString()
            );
            return reply_with(approval);
        }
    );
    add<warden::v1::Refused>(
        warden,
        "refused",
        [this](const auto&, const auto& told) -> Result<service::Decision> {
            --berth_.asked;  // nothing took effect
            berth_.refused.push_back(told);
            berth_.changed.notify_all();
            return reply_with(common::v1::Empty());
        }
    );
    warden.query(
        "approvals",
        [this](const service::Context&, const std::string& payload) -> Result<service::Decision> {
            warden::v1::ListApprovals query;
            (void)query.ParseFromString(payload);
            warden::v1::ApprovalsReply reply;
            const std::lock_guard lock(berth_.mutex);
            for (const auto& [id, each] : berth_.approvals) {
                if (query.state() == each.state() ||
                    query.state() == warden::v1::APPROVAL_STATE_UNSPECIFIED)
                    *reply.add_approvals() = each;
            }
            return reply_with(reply);
        }
    );
    warden.query(
        "approval",
        [this](const service::Context&, const std::string& payload) -> Result<service::Decision> {
            warden::v1::GetApproval query;
            (void)query.ParseFromString(payload);
            const std::lock_guard lock(berth_.mutex);
            const auto known = berth_.approvals.find(query.approval());
            if (known == berth_.approvals.end())
                return not_found("approval_not_found", "there is no such approval");
            return reply_with(known->second);
        }
    );
    warden.query(
        "halts",
        [](const service::Context&, const std::string&) -> Result<service::Decision> {
            return reply_with(warden::v1::HaltsReply{});
        }
    );
    for (const auto& each : owners_) must(each->handlers->start());
}

void BridgeWorld::publish(
    const std::string& subject, const std::string& type, const std::string& payload
) {
    bus::Message message;
    message.subject = subject;
    message.payload = payload;
    const std::string id = make_ulid(Clock::system().now(), Random::system());
    message.set_header(bus::kCeId, id);
    message.set_header(bus::kMsgId, id);
    message.set_header(bus::kCeType, type);
    const auto stored = bus_->publish_wait(std::move(message), seconds{20});
    if (!stored) throw std::runtime_error(stored.error().describe());
}

void BridgeWorld::tell(const run::v1::Run& run, const std::string& fact) {
    {
        const std::lock_guard lock(berth_.mutex);
        berth_.runs[run.id()] = run;
        berth_.changed.notify_all();
    }
    run::v1::RunChanged event;
    *event.mutable_run() = run;
    publish(
        "berth.evt.acme.run.run." + fact + "." + run.id(),
        event.GetTypeName(),
        event.SerializeAsString()
    );
}

void BridgeWorld::tell(const warden::v1::Approval& approval, const std::string& fact) {
    {
        const std::lock_guard lock(berth_.mutex);
        berth_.approvals[approval.id()] = approval;
    }
    warden::v1::ApprovalChanged event;
    *event.mutable_approval() = approval;
    publish(
        "berth.evt.acme.warden.approval." + fact + "." + approval.id(),
        event.GetTypeName(),
        event.SerializeAsString()
    );
}

warden::v1::Approval BridgeWorld::held(const std::string& id, const std::string& run) {
    warden::v1::Approval out;
    out.set_id(id);
    out.set_org(kOrg);
    out.set_state(warden::v1::APPROVAL_STATE_PENDING);
    out.set_shown("git push --force\nin /work <@U1> *bold* @everyone");
    out.set_revision(1);
    out.mutable_origin()->set_org(kOrg);
    out.mutable_origin()->set_user("anna");
    out.mutable_origin()->set_run(run);
    out.mutable_origin()->set_machine("m_1");
    out.mutable_origin()->set_level(warden::v1::GUARD_LEVEL_ENFORCE);
    out.mutable_terms()->set_rule("pushes");
    out.mutable_terms()->set_reason("pushing changes what others see");
    const WallTime now = Clock::system().now();
    *out.mutable_created_at() = service::to_timestamp(now);
    *out.mutable_deadline() = service::to_timestamp(now + std::chrono::minutes{10});
    return out;
}

void BridgeWorld::write(
    const run::v1::Run& run, std::uint64_t offset, const std::string& bytes, bool end
) {
    run::v1::OutputFrame frame;
    frame.set_offset(offset);
    frame.set_stream(run::v1::STREAM_STDOUT);
    frame.set_data(bytes);
    if (end) frame.mutable_end()->set_state(run::v1::RUN_STATE_SUCCEEDED);
    publish("berth.out.acme.m_1." + run.id(), frame.GetTypeName(), frame.SerializeAsString());
}

run::v1::Run BridgeWorld::wait_for_run(std::size_t count) {
    std::unique_lock lock(berth_.mutex);
    if (!berth_.changed.wait_for(lock, seconds{20}, [&] { return berth_.runs.size() >= count; }))
        throw std::runtime_error("no run was started");
    return berth_.runs.rbegin()->second;
}

std::vector<bus::Message> BridgeWorld::dead_letters() {
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        std::vector<bus::Message> found;
    };
    const auto state = std::make_shared<State>();
    bus::ReaderSettings settings;
    settings.stream = "DLQ";
    settings.filter = "berth.dlq.>";
    auto reader = bus_->read(settings, [state](const bus::ReadMessage& message) {
        const std::lock_guard lock(state->mutex);
        state->found.push_back(message.message);
        state->changed.notify_all();
        return true;
    });
    if (!reader) throw std::runtime_error(reader.error().describe());
    {
        std::unique_lock lock(state->mutex);
        state->changed.wait_for(lock, seconds{5}, [&] { return !state->found.empty(); });
    }
    (*reader)->stop();
    return state->found;
}

}  // namespace berth::testing
