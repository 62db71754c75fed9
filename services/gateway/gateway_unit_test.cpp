// SPDX-License-Identifier: Apache-2.0
// The gateway's pure parts: bodies, problems, roles, the description against the table, presences,
// limits.
#include <gtest/gtest.h>

#include <set>

#include "berth/gateway/v1/chat.pb.h"
#include "berth/gateway/v1/gateway.pb.h"
#include "berth/lease/v1/lease.pb.h"
#include "berth/node/v1/node.pb.h"
#include "berth/run/v1/run.pb.h"
#include "core/json.hpp"
#include "gateway/api.hpp"

namespace berth::gateway {
namespace {

TEST(Body, TakesWhatTheSchemaHas) {
    v1::RunBody body;
    const auto read = from_json(
        R"({"lease":"calm-otter","argv":["make","a b",""],"env":{"LANG":"C"},"tty":true,"rows":24,"timeout":"10m","argvBytes":["/w=="]})",
        body
    );
    ASSERT_TRUE(read) << read.error().describe();
    EXPECT_EQ(body.argv_size(), 3);
    EXPECT_EQ(body.argv(1), "a b");
    EXPECT_EQ(body.env().at("LANG"), "C");
    EXPECT_EQ(body.rows(), 24U);
    EXPECT_EQ(body.argv_bytes(0), "\xff");
}

TEST(Body, NamesTheFieldThatIsWrong) {
    struct Case {
        const char* text;
        const char* code;
        const char* field;
    };
    for (const auto& c : std::vector<Case>{
             {R"({"leese":"x"})", "unknown_field", "leese"},
             {R"({"lease":7})", "bad_body", "lease"},
             {R"({"lease":["x"]})", "bad_body", "lease"},
             {R"({"argv":"make"})", "bad_body", "argv"},
             {R"({"argv":["make",7]})", "bad_body", "argv[1]"},
             {R"({"env":{"A":1}})", "bad_body", "env.A"},
             {R"({"env":[]})", "bad_body", "env"},
             {R"({"lease":"x\u0000y"})", "bad_body", "lease"},
             {R"({"argv":["make","a\u0000b"]})", "bad_body", "argv[1]"},
             {R"({"env":{"A":"\u0000"}})", "bad_body", "env.A"},
             {R"({"env":{"A\u0000":""}})", "bad_body", "env"},
             {R"({"tty":"yes"})", "bad_body", "tty"},
             {R"({"rows":"x"})", "bad_body", "rows"},
             {R"({"rows":1.5})", "bad_body", "rows"},
             {R"({"rows":-1})", "bad_body", ""},
             {R"({"rows":99999999999})", "bad_body", ""},
             {R"({"argv_bytes":["%%%"]})", "bad_body", ""},
             {R"([])", "bad_body", ""},
             {R"("x")", "bad_body", ""},
             {R"({"lease":"x","lease":"y"})", "bad_body", ""},
             {R"({"lease":"x"} trailing)", "bad_body", ""},
             {"{\"lease\":\"\xff\"}", "bad_body", ""},
             {"", "bad_body", ""},
         }) {
        v1::RunBody body;
        const auto read = from_json(c.text, body);
        ASSERT_FALSE(read) << c.text;
        EXPECT_EQ(read.error().fault, Fault::kInvalid) << c.text;
        EXPECT_EQ(read.error().code, c.code) << c.text;
        if (*c.field != '\0') {
            EXPECT_EQ(read.error().field, c.field) << c.text;
        }
    }
}

TEST(Body, RefusesDepthBombs) {
    for (const std::size_t depth : {40U, 100'000U}) {
        v1::RunBody body;
        EXPECT_FALSE(
            from_json("{\"lease\":" + std::string(depth, '[') + std::string(depth, ']') + "}", body)
        );
    }
}

TEST(Body, WantsJson) {
    net::Request request;
    v1::AcquireBody body;
    EXPECT_TRUE(read_body(request, body));  // nothing is {}
    request.body = "{}";
    EXPECT_EQ(to_problem(read_body(request, body).error(), "q").status, 415);
    request.headers.set("Content-Type", "text/plain");
    EXPECT_FALSE(read_body(request, body));
    request.headers.set("Content-Type", "Application/JSON ; charset=utf-8");
    EXPECT_TRUE(read_body(request, body));
}

TEST(Problems, CarryCodeFieldAndRequest) {
    const auto response =
        to_problem(Error{Fault::kConflict, "lease_ended", "the lease \"x\" ended", "lease"}, "q-7");
    EXPECT_EQ(response.status, 409);
    EXPECT_EQ(response.content_type, "application/problem+json");
    const auto json = Json::parse(response.body);
    ASSERT_TRUE(json);
    EXPECT_EQ(json->string_or("code", ""), "lease_ended");
    EXPECT_EQ(json->string_or("field", ""), "lease");
    EXPECT_EQ(json->string_or("request_id", ""), "q-7");
    EXPECT_EQ(json->int_or("status", 0), 409);
    EXPECT_EQ(
        to_problem(Error{Fault::kUnauthenticated, "x", "", ""}, "").headers.get("WWW-Authenticate"),
        "Bearer realm=\"berth\""
    );
    for (const auto& [fault, status] : std::initializer_list<std::pair<Fault, int>>{
             {Fault::kInvalid, 400},
             {Fault::kForbidden, 403},
             {Fault::kNotFound, 404},
             {Fault::kTooLarge, 413},
             {Fault::kLimit, 429},
             {Fault::kInternal, 500},
             {Fault::kUnavailable, 503},
             {Fault::kDeadline, 504}}) {
        EXPECT_EQ(to_problem(Error{fault, "x", "", ""}, "").status, status);
    }
}

TEST(Json, ShowsWhatIsZeroAndHidesWhatIsUnset) {
    run::v1::Run run;
    run.set_id("rn_1");
    const auto json = Json::parse(to_json(run));
    ASSERT_TRUE(json);
    EXPECT_EQ(json->string_or("state", ""), "RUN_STATE_UNSPECIFIED");
    EXPECT_NE(json->find("output_bytes"), nullptr);
    EXPECT_EQ(json->find("exit_code"), nullptr);
    EXPECT_EQ(json->find("started_at"), nullptr);
    run.set_exit_code(0);
    EXPECT_NE(Json::parse(to_json(run))->find("exit_code"), nullptr);
}

TEST(Serialize, IsTheSameEachTime) {
    run::v1::Start a;
    run::v1::Start b;
    for (int i = 0; i < 50; ++i) (*a.mutable_env())["k" + std::to_string(i)] = "v";
    for (int i = 49; i >= 0; --i) (*b.mutable_env())["k" + std::to_string(i)] = "v";
    EXPECT_EQ(serialize(a), serialize(b));
    run::v1::Start back;
    ASSERT_TRUE(back.ParseFromString(serialize(a)));
    EXPECT_EQ(back.env_size(), 50);
}

TEST(Roles, AddUp) {
    EXPECT_EQ(level_of({}), Need::kNobody);
    EXPECT_EQ(level_of({"viewer"}), Need::kViewer);
    EXPECT_EQ(level_of({"approver"}), Need::kViewer);
    EXPECT_EQ(level_of({"viewer", "operator"}), Need::kOperator);
    EXPECT_EQ(level_of({"admin"}), Need::kAdmin);
    EXPECT_EQ(level_of({"ADMIN", "root"}), Need::kNobody);
    EXPECT_FALSE(check_role({"viewer"}, Need::kOperator));
    EXPECT_FALSE(check_role({}, Need::kViewer));
    EXPECT_TRUE(check_role({"admin"}, Need::kOperator));
}

TEST(Tokens, ComeByHeaderOrProtocolAndNeverByUrl) {
    net::Request request;
    request.method = "GET";
    request.query.add("token", "berth_x");
    EXPECT_FALSE(token_of(request));
    request.headers.set("Authorization", "Basic berth_x");
    EXPECT_FALSE(token_of(request));
    request.headers.set("Authorization", "bearer berth_x");
    EXPECT_EQ(token_of(request)->reveal(), "berth_x");
    net::Request socket;
    socket.method = "GET";
    socket.headers = {
        {"Connection", "Upgrade"},
        {"Upgrade", "websocket"},
        {"Sec-WebSocket-Version", "13"},
        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
        {"Sec-WebSocket-Protocol", "berth.v1, berth.bearer.berth_y"}};
    EXPECT_EQ(token_of(socket)->reveal(), "berth_y");
    EXPECT_EQ(accepted_protocol(socket), "berth.v1");
    socket.method = "POST";
    EXPECT_FALSE(token_of(socket));
}

// Neither the table nor the description can gain a route without the other.
TEST(Openapi, DescribesExactlyTheEndpoints) {
    const auto json = Json::parse(openapi_json());
    ASSERT_TRUE(json) << json.error().describe();
    EXPECT_TRUE(json->string_or("openapi", "").starts_with("3.1."));
    std::set<std::string> described;
    std::map<std::string, std::string> roles;
    for (const auto& [path, item] : *json->find("paths")->as_object()) {
        for (const auto& [method, operation] : *item.as_object()) {
            std::string name = method;
            for (char& c : name) c = static_cast<char>(std::toupper(c));
            described.insert(name + " " + path);
            roles[name + " " + path] = operation.string_or("x-berth-role", "");
            EXPECT_NE(operation.find("responses"), nullptr) << path;
        }
    }
    std::set<std::string> served;
    for (const auto& endpoint : endpoints()) {
        const std::string key = std::string(endpoint.method) + " " + endpoint.pattern;
        served.insert(key);
        const char* names[] = {"none", "viewer", "operator", "admin"};
        EXPECT_EQ(roles[key], names[static_cast<int>(endpoint.need)]) << key;
    }
    EXPECT_EQ(described, served);
}

// The schemas in the description have the fields of the messages they stand for.
TEST(Openapi, DescribesTheFieldsOfTheSchemas) {
    const auto json = Json::parse(openapi_json());
    ASSERT_TRUE(json);
    const std::vector<std::pair<const char*, const google::protobuf::Descriptor*>> pairs = {
        {"Lease", lease::v1::Lease::descriptor()},
        {"LeaseList", lease::v1::ListReply::descriptor()},
        {"Run", run::v1::Run::descriptor()},
        {"RunList", run::v1::ListReply::descriptor()},
        {"Token", v1::Token::descriptor()},
        {"TokenList", v1::ListTokens::descriptor()},
        {"Whoami", v1::Whoami::descriptor()},
        {"Status", v1::Status::descriptor()},
        {"Problem", v1::Problem::descriptor()},
        {"AcquireBody", v1::AcquireBody::descriptor()},
        {"RunBody", v1::RunBody::descriptor()},
        {"CancelBody", v1::CancelBody::descriptor()},
        {"SignalBody", v1::SignalBody::descriptor()},
        {"CreateToken", v1::CreateToken::descriptor()},
        {"User", v1::User::descriptor()},
        {"Identity", v1::Identity::descriptor()},
        {"UserList", v1::ListUsers::descriptor()},
        {"CreateUser", v1::CreateUser::descriptor()},
        {"ChangeUser", v1::ChangeUser::descriptor()},
        {"LinkIdentity", v1::LinkIdentity::descriptor()},
        {"SignInProviders", v1::SignInProviders::descriptor()},
        {"SignInStarted", v1::SignInStarted::descriptor()},
        {"PollSignIn", v1::PollSignIn::descriptor()},
        {"SignInPending", v1::SignInPending::descriptor()},
        {"ChatCode", v1::ChatCode::descriptor()},
        {"ChatLinks", v1::ChatLinks::descriptor()},
        {"ReaderBody", v1::ReaderBody::descriptor()},
        {"EventReader", v1::EventReader::descriptor()},
        {"EventReaders", v1::EventReaders::descriptor()},
        {"WebhookBody", v1::WebhookBody::descriptor()},
        {"WebhookChange", v1::WebhookChange::descriptor()},
        {"Webhook", webhook::v1::Subscriber::descriptor()},
        {"WebhookSecret", v1::WebhookSecret::descriptor()},
        {"WebhookList", webhook::v1::SubscribersReply::descriptor()},
        {"WebhookDelivery", webhook::v1::Delivery::descriptor()},
        {"WebhookDeliveries", webhook::v1::DeliveriesReply::descriptor()},
        {"ReplayBody", v1::ReplayBody::descriptor()},
        {"Replayed", webhook::v1::Replayed::descriptor()},
    };
    const auto* schemas = json->find("components")->find("schemas");
    for (const auto& [name, descriptor] : pairs) {
        std::set<std::string> wanted;
        for (int i = 0; i < descriptor->field_count(); ++i)
            wanted.insert(descriptor->field(i)->name());
        std::set<std::string> described;
        ASSERT_NE(schemas->find(name), nullptr) << name;
        for (const auto& [field, schema] : *schemas->find(name)->find("properties")->as_object())
            described.insert(field);
        EXPECT_EQ(described, wanted) << name;
    }
}

TEST(PresencesTest, ForgetTheSilentAndHideForeignMachines) {
    Presences presences;
    const WallTime start = from_unix_micros(1'700'000'000'000'000);
    v1::ServicePresence lease;
    lease.set_ready(true);
    lease.set_version("1");
    presences.hear({"berth.live.lease.a", {}, lease.SerializeAsString()}, start);
    node::v1::Presence machine;
    machine.set_org("acme");
    presences.hear({"berth.live.node.m_1", {}, machine.SerializeAsString()}, start);
    presences.hear({"berth.live.lease.bad", {}, "\xff\xff"}, start);
    EXPECT_EQ(presences.status("acme", start).services_size(), 2);
    EXPECT_EQ(presences.status("other", start).services_size(), 1);
    EXPECT_TRUE(presences.status("other", start).services(0).ready());
    const auto late = presences.status("other", start + seconds{30});
    ASSERT_EQ(late.services_size(), 1);
    EXPECT_FALSE(late.services(0).ready());
    EXPECT_EQ(late.services(0).reason(), "silent for 30s");
    EXPECT_EQ(presences.status("acme", start + seconds{400}).services_size(), 0);
}

TEST(Presences, TellHowAMachineGuardsItsCommandsWhileItIsHeard) {
    const WallTime start = from_unix_micros(1'800'000'000'000'000);
    Presences presences;
    node::v1::Presence said;
    said.set_org("acme");
    said.set_guard("enforce");
    said.set_freezer("ptrace");
    presences.hear({"berth.live.node.m_1", {}, said.SerializeAsString()}, start);
    const auto status = presences.status("acme", start);
    ASSERT_EQ(status.services_size(), 1);
    EXPECT_EQ(status.services(0).guard(), "enforce");
    EXPECT_EQ(status.services(0).freezer(), "ptrace");
    const auto described = [&](const char* id, const char* org, WallTime now) {
        lease::v1::Machine machine;
        machine.set_id(id);
        machine.set_org(org);
        presences.describe(machine, now);
        return machine.guard() + "/" + machine.freezer();
    };
    EXPECT_EQ(described("m_1", "acme", start), "enforce/ptrace");
    EXPECT_EQ(described("m_1", "other", start), "/") << "another org's machine of that name";
    EXPECT_EQ(described("m_2", "acme", start), "/");
    EXPECT_EQ(described("m_1", "acme", start + seconds{60}), "/") << "silent";
}

TEST(Presences, AMachineThatIsRemovedIsNotReadyWhateverItSaysAndThenNotThere) {
    const WallTime start = from_unix_micros(1'800'000'000'000'000);
    Presences presences;
    node::v1::Presence machine;
    machine.set_org("acme");
    const auto speak = [&](const char* id) {
        presences.hear(
            {std::string("berth.live.node.") + id, {}, machine.SerializeAsString()}, start
        );
    };
    const auto tell = [&](const char* id, const char* fact, const char* reason) {
        lease::v1::MachineChanged event;
        event.mutable_machine()->set_reason(reason);
        presences.hear_machine(
            {std::string("berth.evt.acme.lease.machine.") + fact + "." + id,
             {},
             event.SerializeAsString()},
            start
        );
    };
    speak("m_1");
    speak("m_2");
    tell("m_1", "draining", "removing");
    tell("m_2", "draining", "cleaning");
    speak("m_1");
    const auto status = presences.status("acme", start);
    ASSERT_EQ(status.services_size(), 2);
    EXPECT_FALSE(status.services(0).ready()) << "its word does not count any more";
    EXPECT_TRUE(status.services(0).leaving()) << "which is no fault: 'berth doctor' passes over it";
    EXPECT_FALSE(status.services(1).leaving());
    EXPECT_TRUE(status.services(1).ready()) << "it stays, clean";
    tell("m_1", "gone", "");
    speak("m_1");
    EXPECT_EQ(presences.status("acme", start).services_size(), 1) << "a late word";
}

TEST(OpenStreamsTest, AreCountedByUser) {
    store::Pool pool{store::PoolSettings{}};  // never asked
    Workers workers(1, 1);
    OpenStreams streams(2, {}, pool, workers, milliseconds{1'000});
    const auto take = [&](const char* org, const char* user) {
        Principal principal;
        principal.org = org;
        principal.user = user;
        return streams.take(principal);
    };
    auto a = take("o", "u");
    const auto b = take("o", "u");
    EXPECT_TRUE(a && b);
    const auto c = take("o", "u");
    ASSERT_FALSE(c);
    EXPECT_EQ(c.error().code, "too_many_streams");
    EXPECT_TRUE(take("o", "v"));
    EXPECT_TRUE(take("p", "u"));
    a->reset();
    EXPECT_TRUE(take("o", "u"));
}

TEST(EventHubTest, WakesTheWatchersOfTheEntityOnly) {
    EventHub hub;
    int woken = 0;
    auto watch = hub.watch("acme", "lease", "ls_1", [&] { ++woken; });
    hub.hear("berth.evt.acme.lease.lease.activated.ls_1");
    EXPECT_EQ(woken, 1);
    hub.hear("berth.evt.other.lease.lease.activated.ls_1");
    hub.hear("berth.evt.acme.lease.lease.activated.ls_2");
    hub.hear("berth.evt.acme.lease.machine.gone.ls_1");
    hub.hear("nonsense");
    EXPECT_EQ(woken, 1);
    watch.reset();
    hub.hear("berth.evt.acme.lease.lease.activated.ls_1");
    EXPECT_EQ(woken, 1);
}

TEST(Durations, AreChecked) {
    EXPECT_EQ(*read_duration("90m", "ttl"), milliseconds{90 * 60'000});
    for (const char* bad : {"", "-5m", "5", "0s", "x"}) {
        const auto read = read_duration(bad, "ttl");
        ASSERT_FALSE(read) << bad;
        EXPECT_EQ(read.error().field, "ttl");
    }
}

}  // namespace
}  // namespace berth::gateway
