// SPDX-License-Identifier: Apache-2.0
// Chat identities: codes over HTTP, links and questions over the bus, as a bridge asks them.
#include <gtest/gtest.h>

#include "berth/gateway/v1/chat.pb.h"
#include "gateway/chat_handlers.hpp"
#include "gateway/repo_chat.hpp"
#include "gateway/test_world.hpp"
#include "service/handlers.hpp"
#include "store/outbox.hpp"

namespace berth::gateway {
namespace {

/// The gateway with its own commands, and a bridge that asks them.
struct ChatWorld : World {
    bus::MemoryServer bridges{
        2,
        {},
        {{"CMD_GATEWAY", {"berth.cmd.gateway.>"}, true},
         {"QRY_GATEWAY", {"berth.qry.gateway.>"}, true},
         {"RPL", {"berth.rpl.>"}}},
        {{"CMD_GATEWAY", "gateway", "berth.cmd.gateway.>"},
         {"QRY_GATEWAY", "gateway", "berth.qry.gateway.>"}}};
    std::unique_ptr<bus::Connection> own = bridges.connect();
    std::unique_ptr<bus::Connection> bridge = bridges.connect();
    store::Relay relay{
        pool, [](const store::OutboxMessage&, const std::function<void(Result<void>)>& done) {
            done({});
        }};
    service::Handlers handlers{{*own, pool, relay, metrics, "gateway", "g1", 2, std::size_t{8}}};
    std::unique_ptr<bus::Asker> bridge_asker;

    ChatWorld() {
        bridge_asker = std::move(*bus::Asker::create(*bridge, {"slack", "s1", seconds{5}}));
        bind_chat(handlers, pool);
        if (!handlers.start()) throw std::runtime_error("no handlers");
    }
    ~ChatWorld() { handlers.stop(); }

    Result<v1::PersonReply> ask(
        const std::string& subject, const google::protobuf::Message& message, std::string id = {}
    ) {
        bus::Ask out;
        out.subject = subject;
        out.type = message.GetTypeName();
        out.payload = message.SerializeAsString();
        out.command_id = std::move(id);
        BERTH_ASSIGN(const auto answer, bridge_asker->ask_wait(std::move(out)));
        v1::PersonReply reply;
        if (!reply.ParseFromString(answer.payload)) return internal("test", "undecodable");
        return reply;
    }
    v1::PersonReply who(const std::string& person, const std::string& platform = "slack") {
        v1::PersonAsked question;
        question.set_org("default");
        question.set_platform(platform);
        question.set_person_id(person);
        return ask("berth.qry.gateway.person", question).value();
    }
    Result<v1::PersonReply> link(
        const std::string& person,
        const std::string& code,
        const std::string& org = "default",
        const std::string& id = {}
    ) {
        v1::LinkPerson command;
        command.set_org(org);
        command.set_platform("slack");
        command.set_person_id(person);
        command.set_person_name("Ada");
        command.set_code(code);
        return ask("berth.cmd.gateway.link_person", command, id);
    }
    std::string code_of(const Secret* token = nullptr) {
        const auto response = post("/v1/chat/codes", "", token);
        EXPECT_EQ(response.status, 201) << response.body;
        return Json::parse(response.body)->string_or("code", "");
    }
};

TEST(GatewayChat, ACodeMakesAPersonAUserOnce) {
    ChatWorld world;
    EXPECT_FALSE(world.who("T1/U1").known());
    const auto code = world.code_of();
    ASSERT_EQ(code.size(), 9U) << code;
    std::string typed = " " + code.substr(0, 4) + code.substr(5) + " ";
    for (char& c : typed) c = static_cast<char>(std::tolower(c));
    const auto linked = world.link("T1/U1", typed);
    ASSERT_TRUE(linked) << linked.error().describe();
    EXPECT_TRUE(linked->known());
    EXPECT_EQ(linked->actor().user(), "admin");
    EXPECT_EQ(linked->actor().org(), "default");
    EXPECT_EQ(linked->actor().roles(0), "admin");
    EXPECT_TRUE(world.who("T1/U1").known());
    EXPECT_FALSE(world.who("T1/U1", "telegram").known()) << "of one platform";
    EXPECT_EQ(world.link("T1/U2", code).error().code, "bad_code") << "used";
    const auto links = Json::parse(world.get("/v1/chat/links").body);
    ASSERT_EQ(links->find("links")->as_array()->size(), 1U);
    EXPECT_EQ((*links->find("links")->as_array())[0].string_or("person_id", ""), "T1/U1");
    EXPECT_EQ(world.send({"DELETE", "/v1/chat/links/slack"}).status, 204);
    EXPECT_EQ(world.send({"DELETE", "/v1/chat/links/slack"}).status, 404);
    EXPECT_FALSE(world.who("T1/U1").known());
}

TEST(GatewayChat, TheSameCommandAgainIsTheSameLink) {
    ChatWorld world;
    const auto code = world.code_of();
    const auto id = make_ulid(Clock::system().now(), Random::system());
    ASSERT_TRUE(world.link("T1/U1", code, "default", id));
    EXPECT_TRUE(world.link("T1/U1", code, "default", id)) << "the code is used, the command known";
}

TEST(GatewayChat, NobodyGuesses) {
    ChatWorld world;
    const auto code = world.code_of();
    for (int i = 0; i < kMaxWrongCodes; ++i)
        EXPECT_EQ(world.link("T1/U9", "0000-000" + std::to_string(i)).error().code, "bad_code");
    EXPECT_EQ(world.link("T1/U9", code).error().code, "too_many_tries") << "the right one, too";
    EXPECT_TRUE(world.link("T1/U1", code)) << "others are not held back";
    const auto other = world.code_of();
    EXPECT_EQ(world.link("T1/U2", other, "globex").error().code, "bad_code") << "of another org";
    const auto newest = world.code_of();
    EXPECT_EQ(world.link("T1/U3", other).error().code, "bad_code") << "a newer one ends it";
    EXPECT_EQ(world.link("T1/U1", newest).value().actor().user(), "admin") << "again the same";
}

TEST(GatewayChat, OldCodesAndOtherPeoplesIdentities) {
    ChatWorld world;
    const auto code = world.code_of();
    const auto aged =
        world.pool.exec_autocommit("UPDATE chat_codes SET expires_at = now() - interval '1 second'"
        );
    ASSERT_TRUE(aged);
    EXPECT_EQ(world.link("T1/U1", code).error().code, "bad_code");
    const Secret olga = world.make_token(R"({"user":"olga","roles":["operator"]})");
    ASSERT_TRUE(world.link("T1/U1", world.code_of()));
    EXPECT_EQ(world.link("T1/U1", world.code_of(&olga)).error().code, "identity_taken");
    ASSERT_TRUE(world.link("T1/U5", world.code_of(&olga)));
    EXPECT_EQ(world.who("T1/U5").actor().roles(0), "operator");
    world.send({"PATCH", "/v1/users/olga", {}, R"({"roles":["viewer"]})"});
    EXPECT_EQ(world.who("T1/U5").actor().roles(0), "viewer") << "roles as they are now";
    world.send({"PATCH", "/v1/users/olga", {}, R"({"disabled":true})"});
    EXPECT_FALSE(world.who("T1/U5").known()) << "who is disabled is nobody";
    EXPECT_TRUE(world.who("T1/U5").disabled()) << "and is told why";
    EXPECT_FALSE(world.who("T1/U9").disabled());
    EXPECT_EQ(world.send({"DELETE", "/v1/users/olga/identities/slack"}).status, 204)
        << "an admin ends others' links";
}

TEST(GatewayChat, BridgesSpeakForChatPlatformsOnly) {
    ChatWorld world;
    v1::PersonAsked asked;
    asked.set_org("default");
    asked.set_platform("github");
    asked.set_person_id("1");
    EXPECT_EQ(world.ask("berth.qry.gateway.person", asked).error().code, "bad_platform");
    EXPECT_EQ(plain_code("ab-cO iL"), "ABC011");
}

}  // namespace
}  // namespace berth::gateway
