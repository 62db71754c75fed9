// SPDX-License-Identifier: Apache-2.0
// Who may do what: every route against every role, users, tokens.
#include <gtest/gtest.h>

#include <thread>

#include "gateway/api.hpp"
#include "gateway/test_world.hpp"

namespace berth::gateway {
namespace {

using namespace std::chrono_literals;

// The table of roles as it is meant, apart from the table that is tested: a route that is added
// without a thought about its role fails here.
TEST(RolesTest, EveryRouteAsksForItsRole) {
    World world;
    const std::map<std::string, Need> of_role = {
        {"viewer", Need::kViewer},
        {"approver", Need::kViewer},
        {"operator", Need::kOperator},
        {"admin", Need::kAdmin}};
    std::map<std::string, Secret> tokens;
    for (const auto& [role, need] : of_role)
        tokens[role] =
            world.make_token(R"({"user":"u-)" + role + R"(","roles":[")" + role + R"("]})");
    const auto described = Json::parse(openapi_json());
    std::size_t routes = 0;
    for (const auto& [path, item] : *described->find("paths")->as_object()) {
        std::string concrete = path;
        for (std::size_t at = 0; (at = concrete.find('{')) != std::string::npos;)
            concrete.replace(at, concrete.find('}', at) + 1 - at, "nobody");
        for (const auto& [method, operation] : *item.as_object()) {
            ++routes;
            std::string verb = method;
            for (char& c : verb) c = static_cast<char>(std::toupper(c));
            const std::string route = verb + " " + path;
            const std::string wanted = operation.string_or("x-berth-role", "");
            const auto ask = [&](const Secret* token) {
                net::HttpClient client(world.gateway->url());
                net::HttpRequest request{verb, concrete};
                if (verb != "GET" && verb != "DELETE") {
                    request.body = "{}";
                    request.headers.add("Content-Type", "application/json");
                }
                if (token != nullptr)
                    request.headers.add("Authorization", "Bearer " + token->reveal());
                // Of a stream the head is enough.
                const auto answer = client.stream(request, [](std::string_view) { return false; });
                EXPECT_TRUE(answer) << route << ": " << (answer ? "" : answer.error().message);
                return answer ? answer->status : 0;
            };
            if (wanted == "none") {
                EXPECT_NE(ask(nullptr), 401) << route;
                continue;
            }
            ASSERT_TRUE(of_role.contains(wanted)) << route;
            EXPECT_EQ(ask(nullptr), 401) << route;
            const bool silent_stream = path == "/v1/events";  // its head is all that would come
            for (const auto& [role, level] : of_role) {
                if (level >= of_role.at(wanted) && silent_stream) continue;
                if (level < of_role.at(wanted)) {
                    EXPECT_EQ(ask(&tokens[role]), 403) << route << " as " << role;
                } else {
                    const int status = ask(&tokens[role]);
                    EXPECT_NE(status, 401) << route << " as " << role;
                    EXPECT_NE(status, 403) << route << " as " << role;
                }
            }
        }
    }
    EXPECT_EQ(routes, endpoints().size());
}

TEST(RolesTest, ATokenCountsAsFarAsItsUser) {
    EXPECT_EQ(
        effective_roles({"operator", "viewer"}, {"viewer"}), (std::vector<std::string>{"viewer"})
    );
    EXPECT_EQ(effective_roles({"operator"}, {"admin"}), (std::vector<std::string>{"operator"}));
    EXPECT_TRUE(effective_roles({"admin"}, {}).empty());
    EXPECT_TRUE(effective_roles({}, {"admin"}).empty());
    EXPECT_EQ(effective_roles({"operator"}, {"approver"}), (std::vector<std::string>{"viewer"}));
}

TEST(UsersTest, AreAddedChangedDisabledAndListed) {
    World world;
    const auto added =
        world.post("/v1/users", R"({"name":"olga","roles":["operator","operator"]})");
    ASSERT_EQ(added.status, 201) << added.body;
    EXPECT_EQ(json_of(added).find("roles")->as_array()->size(), 1U);
    EXPECT_EQ(
        world.code(world.post("/v1/users", R"({"name":"olga","roles":["viewer"]})")), "user_exists"
    );
    for (const char* bad :
         {R"({"name":"Olga","roles":["viewer"]})",
          R"({"name":"x","roles":[]})",
          R"({"name":"x","roles":["root"]})",
          R"({"roles":["viewer"]})"})
        EXPECT_EQ(world.post("/v1/users", bad).status, 400) << bad;

    const Secret token = world.make_token(R"({"user":"olga"})");
    EXPECT_EQ(world.post("/v1/leases", "{}", &token).status, 201) << "its user's roles";
    EXPECT_EQ(
        world.code(world.post("/v1/tokens", R"({"user":"olga","roles":["admin"]})")), "bad_role"
    ) << "an admin gives roles to users, not past them";

    const auto change = [&](const std::string& name, const std::string& body) {
        return world.send({"PATCH", "/v1/users/" + name, {}, body});
    };
    ASSERT_EQ(change("olga", R"({"roles":["viewer"]})").status, 200);
    EXPECT_EQ(world.post("/v1/leases", "{}", &token).status, 403)
        << "at once, and without a new token";
    EXPECT_EQ(world.get("/v1/leases", &token).status, 200) << "who lost a role still sees";
    ASSERT_EQ(change("olga", R"({"roles":["operator"]})").status, 200);
    EXPECT_EQ(world.post("/v1/leases", "{}", &token).status, 201);
    const auto disabled = change("olga", R"({"disabled":true})");
    EXPECT_TRUE(json_of(disabled).bool_or("disabled", false)) << disabled.body;
    EXPECT_EQ(world.get("/v1/whoami", &token).status, 401);
    EXPECT_EQ(world.code(world.post("/v1/tokens", R"({"user":"olga"})")), "user_disabled");
    ASSERT_EQ(change("olga", R"({"disabled":false})").status, 200);
    EXPECT_EQ(world.get("/v1/whoami", &token).status, 200);

    // Each change is told, in order.
    const auto told = world.pool.exec_autocommit(
        "SELECT subject, payload FROM outbox WHERE entity = 'user/default/olga' ORDER BY id"
    );
    ASSERT_TRUE(told);
    ASSERT_EQ(told->size(), 4U);
    for (std::size_t i = 0; i < told->size(); ++i) {
        EXPECT_EQ((*told)[i].text(0), "berth.evt.default.gateway.user.changed.olga");
        v1::UserChanged fact;
        ASSERT_TRUE(fact.ParseFromString((*told)[i].bytes(1)));
        EXPECT_EQ(fact.revision(), i + 1);
        EXPECT_EQ(fact.user().disabled(), i == 2);
        EXPECT_EQ(fact.user().roles(0), i == 0 ? "viewer" : "operator");
    }

    EXPECT_EQ(world.code(change("nobody", "{}")), "user_not_found");
    EXPECT_EQ(world.code(change("admin", R"({"roles":["viewer"]})")), "last_admin");
    EXPECT_EQ(world.code(change("admin", R"({"disabled":true})")), "last_admin");
    EXPECT_EQ(world.get("/v1/users").status, 200) << "nothing came of it";

    const auto page = json_of(world.get("/v1/users?limit=1"));
    EXPECT_EQ(page.find("users")->as_array()->front().string_or("name", ""), "admin");
    const auto rest = json_of(world.get("/v1/users?cursor=" + page.string_or("next_cursor", "")));
    EXPECT_EQ(rest.find("users")->as_array()->front().string_or("name", ""), "olga");
    EXPECT_EQ(rest.string_or("next_cursor", "x"), "");
}

// Two admins who demote each other at once: one must be left.
TEST(UsersTest, TheLastAdminStaysWhoeverRaces) {
    World world;
    for (int round = 0; round < 5; ++round) {
        const std::string other = "second" + std::to_string(round);
        ASSERT_EQ(
            world.post("/v1/users", R"({"name":")" + other + R"(","roles":["admin"]})").status, 201
        );
        const Secret token = world.make_token(R"({"user":")" + other + R"("})");
        int statuses[2] = {0, 0};
        {
            std::jthread one([&] {
                statuses[0] =
                    world.send({"PATCH", "/v1/users/admin", {}, R"({"roles":["viewer"]})"}, &token)
                        .status;
            });
            std::jthread two([&] {
                statuses[1] =
                    world.send({"PATCH", "/v1/users/" + other, {}, R"({"roles":["viewer"]})"})
                        .status;
            });
        }
        EXPECT_NE(statuses[0], statuses[1]) << statuses[0];
        if (statuses[0] == 200) {  // the other is admin now and gives it back
            ASSERT_EQ(
                world.send({"PATCH", "/v1/users/admin", {}, R"({"roles":["admin"]})"}, &token)
                    .status,
                200
            );
            ASSERT_EQ(
                world.send({"PATCH", "/v1/users/" + other, {}, R"({"roles":["viewer"]})"}).status,
                200
            );
        }
    }
}

TEST(TokensTest, AnIdempotencyKeyRepeatsTheSecret) {
    World world;
    const auto make =
        [&](const std::string& key, const std::string& body, const Secret* by = nullptr) {
            return world.send({"POST", "/v1/tokens", {{"Idempotency-Key", key}}, body}, by);
        };
    const std::string body = R"({"user":"olga","roles":["operator"],"label":"ci"})";
    std::vector<std::string> texts(6);
    {
        std::vector<std::jthread> threads;
        for (auto& text : texts)
            threads.emplace_back([&] { text = json_of(make("k1", body)).string_or("text", ""); });
    }
    for (const auto& text : texts) EXPECT_EQ(text, texts[0]);
    EXPECT_EQ(texts[0].size(), 49U);
    const Secret token(texts[0]);
    EXPECT_EQ(world.get("/v1/whoami", &token).status, 200);
    EXPECT_EQ(json_of(world.get("/v1/tokens?user=olga")).find("tokens")->as_array()->size(), 1U);
    const auto same = make("k1", R"({"label":"ci","roles":["operator"],"user":"olga"})");
    EXPECT_EQ(json_of(same).string_or("text", ""), texts[0]) << "the same in another order";
    EXPECT_EQ(
        world.code(make("k1", R"({"user":"olga","roles":["operator"]})")), "idempotency_conflict"
    );
    EXPECT_NE(json_of(make("k2", body)).string_or("text", ""), texts[0]);
    EXPECT_EQ(make(std::string(256, 'x'), body).status, 400);
    // Another caller's same key is another request.
    const auto own = json_of(make("k1", R"({"label":"mine"})", &token));
    EXPECT_NE(own.string_or("text", ""), texts[0]);
    EXPECT_EQ(own.string_or("user", ""), "olga");
    // Nothing in the tables is the token, or gives it.
    const auto rows = world.pool.exec_autocommit(
        store::Statement("SELECT count(*) FROM tokens WHERE hash = $1 OR request = $1"), {texts[0]}
    );
    EXPECT_EQ((*rows)[0].int64(0), 0);
    const std::string id = json_of(same).string_or("id", "");
    EXPECT_EQ(world.send({"DELETE", "/v1/tokens/" + id}).status, 204);
    EXPECT_EQ(world.code(make("k1", body)), "token_revoked");
}

}  // namespace
}  // namespace berth::gateway
