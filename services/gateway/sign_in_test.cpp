// SPDX-License-Identifier: Apache-2.0
// Signing in at a strict fake of an OpenID provider and of GitHub (tests/fakes/sign_in, which other
// implementations check).
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "gateway/api.hpp"
#include "gateway/test_world.hpp"
#include "support/fakes/fake_server.hpp"

namespace berth::gateway {
namespace {

using namespace std::chrono_literals;

/// The fake's process, for all tests of this program.
class Provider {
public:
    static Provider& one() {
        static Provider provider;
        return provider;
    }
    static bool possible() {
        return std::system("/usr/bin/python3 -c 'import jwt, cryptography' 2>/dev/null") == 0;
    }
    const std::string& url() const { return server_.url(); }
    Json control(const std::string& name, const std::string& body = "{}") {
        net::HttpClient client(url());
        const auto answer =
            client.send({name == "log" ? "GET" : "POST", "/_control/" + name, {}, body});
        EXPECT_TRUE(answer && answer->status == 200) << name;
        return answer ? json_of(*answer) : Json();
    }
    /// What the client did that a rule forbids, since the last call.
    std::string violations() {
        const Json log = control("log");
        std::string out;
        const auto& entries = *log.as_array();
        for (; seen_ < entries.size(); ++seen_) {
            if (entries[seen_].find("violation") != nullptr) out += entries[seen_].dump() + "\n";
        }
        return out;
    }

private:
    berth::testing::FakeServer server_{"sign_in/fake.py", {}};
    std::size_t seen_ = 0;
};

class SignInTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (!Provider::possible()) GTEST_SKIP() << "python3-jwt is not installed";
        provider().control(
            "settings", R"({"interval":1,"expires_in":600,"alg":"RS256","claims":{},"secret":""})"
        );
        (void)provider().violations();
    }
    static Provider& provider() { return Provider::one(); }
    static void configure(GatewaySettings& settings) {
        auto& github = settings.sign_in.github.emplace();
        github.client_id = "berth-client";
        github.url = provider().url() + "/github";
        github.api_url = provider().url() + "/api/v3";
        github.admission.required = "acme";
        auto& oidc = settings.sign_in.oidc.emplace();
        oidc.issuer = provider().url();
        oidc.client_id = "berth-client";
        oidc.admission.required = "staff";
        oidc.admission.roles = {"viewer", "approver"};
    }
    static net::HttpResponse anonymous(
        World& world, const std::string& path, const std::string& body
    ) {
        net::HttpClient client(world.gateway->url());
        net::HttpRequest request{"POST", path, {{"Content-Type", "application/json"}}, body};
        auto answer = client.send(request);
        if (!answer) throw std::runtime_error(answer.error().describe());
        return std::move(*answer);
    }
    struct Begun {
        std::string kind;
        std::string login;
        std::string code;
    };
    static Begun begin(World& world, const std::string& kind) {
        const auto answer = anonymous(world, "/v1/sign_in/" + kind, "");
        EXPECT_EQ(answer.status, 201) << answer.body;
        const Json json = json_of(answer);
        return {kind, json.string_or("login", ""), json.string_or("user_code", "")};
    }
    static net::HttpResponse poll(World& world, const Begun& begun) {
        return anonymous(
            world, "/v1/sign_in/" + begun.kind + "/token", R"({"login":")" + begun.login + R"("})"
        );
    }
    // As the CLI does: until it is decided, with the pause the gateway asks for.
    static net::HttpResponse wait(World& world, const Begun& begun) {
        for (int i = 0; i < 20; ++i) {
            auto answer = poll(world, begun);
            if (answer.status != 202) return answer;
            std::this_thread::sleep_for(seconds{json_of(answer).int_or("interval_s", 1)});
        }
        ADD_FAILURE() << "it was not decided";
        return {};
    }
    static net::HttpResponse sign_in(
        World& world, const std::string& kind, const std::string& who
    ) {
        const Begun begun = begin(world, kind);
        provider().control(
            "approve", R"({"user_code":")" + begun.code + R"(","who":")" + who + R"("})"
        );
        return wait(world, begun);
    }
};

TEST_F(SignInTest, AMemberGetsAUserAndAToken) {
    World world(configure);
    const auto answer = sign_in(world, "github", "alice");
    ASSERT_EQ(answer.status, 200) << answer.body;
    const Secret token(json_of(answer).string_or("text", ""));
    const Json who = json_of(world.get("/v1/whoami", &token));
    EXPECT_EQ(who.string_or("user", ""), "alice");
    EXPECT_EQ(*who.find("roles")->as_array()->front().as_string(), "operator");
    EXPECT_FALSE(json_of(answer).string_or("expires_at", "").empty());
    // The same person by the other way is another identity until an admin says otherwise.
    const auto taken = sign_in(world, "oidc", "alice");
    EXPECT_EQ(taken.status, 409);
    EXPECT_EQ(world.code(taken), "user_name_taken");
    EXPECT_NE(taken.body.find("berth users link alice oidc sub-1001"), std::string::npos)
        << taken.body;
    ASSERT_EQ(
        world.send({"PUT", "/v1/users/alice/identities/oidc", {}, R"({"subject":"sub-1001"})"})
            .status,
        200
    );
    const auto linked = sign_in(world, "oidc", "alice");
    ASSERT_EQ(linked.status, 200) << linked.body;
    EXPECT_EQ(json_of(linked).string_or("user", ""), "alice");
    // Again: the user is there, and keeps what the admin gave.
    ASSERT_EQ(world.send({"PATCH", "/v1/users/alice", {}, R"({"roles":["viewer"]})"}).status, 200);
    const auto again = sign_in(world, "github", "alice");
    EXPECT_EQ(*json_of(again).find("roles")->as_array()->front().as_string(), "viewer");
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, NoTokenThatSomebodyMakesForThemselvesOutlivesTheirSignIn) {
    World world(configure);
    const auto answer = sign_in(world, "github", "alice");
    ASSERT_EQ(answer.status, 200) << answer.body;
    const Secret token(json_of(answer).string_or("text", ""));
    const std::string end = json_of(answer).string_or("expires_at", "");
    EXPECT_LE(*parse_rfc3339(end) - Clock::system().now(), std::chrono::hours{24})
        << "a lost membership is noticed within a day";
    const auto made = world.post("/v1/tokens", R"({"label":"for ever"})", &token);
    EXPECT_EQ(json_of(made).string_or("expires_at", ""), end) << made.body;
    const auto longer =
        world.post("/v1/tokens", R"({"expires_at":"2099-01-01T00:00:00Z"})", &token);
    EXPECT_EQ(world.code(longer), "bad_expiry") << longer.body;
    const Secret second(json_of(made).string_or("text", ""));
    EXPECT_EQ(json_of(world.post("/v1/tokens", "{}", &second)).string_or("expires_at", ""), end);
}

TEST_F(SignInTest, NobodyBecomesAUserOfTheirName) {
    World world(configure);
    const auto answer = sign_in(world, "github", "admin");
    EXPECT_EQ(answer.status, 409) << "GitHub's admin is not ours: " << answer.body;
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, WhoDoesNotBelongIsRefusedAlsoWhenLinked) {
    World world(configure);
    for (const auto& [kind, who] :
         {std::pair{"github", "bob"}, {"github", "carol"}, {"oidc", "bob"}}) {
        const auto answer = sign_in(world, kind, who);
        EXPECT_EQ(answer.status, 403) << answer.body;
        EXPECT_EQ(world.code(answer), "not_admitted");
        EXPECT_EQ(answer.body.find('\x1b'), std::string::npos);
        EXPECT_EQ(answer.body.find("\\u001b"), std::string::npos) << "nothing drives a terminal";
    }
    ASSERT_EQ(world.post("/v1/users", R"({"name":"bob","roles":["viewer"]})").status, 201);
    ASSERT_EQ(
        world.send({"PUT", "/v1/users/bob/identities/github", {}, R"({"subject":"1002"})"}).status,
        200
    );
    EXPECT_EQ(world.code(sign_in(world, "github", "bob")), "not_admitted");
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, WithoutAConditionOnlyTheLinkedMaySignIn) {
    World world([](GatewaySettings& settings) {
        configure(settings);
        settings.sign_in.github->admission.required = "";
    });
    const auto stranger = sign_in(world, "github", "bob");
    EXPECT_EQ(stranger.status, 403);
    EXPECT_EQ(world.code(stranger), "not_linked");
    ASSERT_EQ(world.post("/v1/users", R"({"name":"robert","roles":["operator"]})").status, 201);
    ASSERT_EQ(
        world.send({"PUT", "/v1/users/robert/identities/github", {}, R"({"subject":"1002"})"})
            .status,
        200
    );
    const auto linked = sign_in(world, "github", "bob");
    EXPECT_EQ(json_of(linked).string_or("user", ""), "robert") << linked.body;
    EXPECT_EQ(
        world.code(
            world.send({"PUT", "/v1/users/admin/identities/github", {}, R"({"subject":"1002"})"})
        ),
        "identity_taken"
    );
    ASSERT_EQ(world.send({"PATCH", "/v1/users/robert", {}, R"({"disabled":true})"}).status, 200);
    EXPECT_EQ(world.code(sign_in(world, "github", "bob")), "user_disabled");
    ASSERT_EQ(world.send({"DELETE", "/v1/users/robert/identities/github"}).status, 204);
    EXPECT_EQ(world.code(sign_in(world, "github", "bob")), "not_linked");
}

TEST_F(SignInTest, DeniedExpiredAndUnknown) {
    World world(configure);
    for (const char* kind : {"github", "oidc"}) {
        const Begun denied = begin(world, kind);
        provider().control("deny", R"({"user_code":")" + denied.code + R"("})");
        EXPECT_EQ(world.code(wait(world, denied)), "access_denied");
        EXPECT_EQ(world.code(poll(world, denied)), "login_expired") << "it is over";
        const Begun expired = begin(world, kind);
        provider().control("expire", R"({"user_code":")" + expired.code + R"("})");
        EXPECT_EQ(world.code(wait(world, expired)), "login_expired");
    }
    EXPECT_EQ(
        world.code(poll(world, {"oidc", "login_" + std::string(43, 'x'), ""})), "login_expired"
    );
    EXPECT_EQ(poll(world, {"oidc", "", ""}).status, 404);
    EXPECT_EQ(anonymous(world, "/v1/sign_in/gitlab", "").status, 404);
    // A handle is for its provider only.
    Begun other = begin(world, "github");
    other.kind = "oidc";
    EXPECT_EQ(world.code(poll(world, other)), "login_expired");
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, TheGatewayKeepsTheProvidersPaceWhoeverHurries) {
    World world(configure);
    const Begun begun = begin(world, "oidc");
    for (int i = 0; i < 30; ++i) EXPECT_EQ(poll(world, begun).status, 202);
    EXPECT_EQ(provider().violations(), "") << "the provider was asked sooner than it allows";
    provider().control("slow", R"({"user_code":")" + begun.code + R"("})");
    std::int64_t interval = 0;
    for (int i = 0; i < 20 && interval < 6; ++i) {
        // Polled too soon it answers by itself: only time makes it ask the provider.
        std::this_thread::sleep_for(300ms);
        interval = json_of(poll(world, begun)).int_or("interval_s", 0);
    }
    EXPECT_EQ(interval, 6) << "slow_down adds five seconds";
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, AnAnswerThatWasLostIsGivenAgain) {
    World world(configure);
    const Begun begun = begin(world, "github");
    provider().control("approve", R"({"user_code":")" + begun.code + R"(","who":"alice"})");
    const auto first = wait(world, begun);
    ASSERT_EQ(first.status, 200) << first.body;
    const auto second = poll(world, begun);
    EXPECT_EQ(json_of(second).string_or("text", "x"), json_of(first).string_or("text", ""));
    EXPECT_EQ(json_of(second).string_or("id", "x"), json_of(first).string_or("id", ""));
    EXPECT_EQ(json_of(world.get("/v1/tokens?user=alice")).find("tokens")->as_array()->size(), 1U);
    // The tables hold neither the device code nor what would open it.
    const auto rows = world.pool.exec_autocommit(store::Statement("SELECT sealed FROM logins"));
    EXPECT_EQ((*rows)[0].text(0), "");
}

TEST_F(SignInTest, AProviderThatFailsIsAskedAgainOrTold) {
    World world(configure);
    const Begun begun = begin(world, "oidc");
    provider().control("approve", R"({"user_code":")" + begun.code + R"(","who":"alice"})");
    provider().control("fail", R"({"path":"/token","times":1,"status":0})");
    // The provider's interval of 1 s: a poll before its end asks nobody.
    std::this_thread::sleep_for(1'100ms);
    const auto away = poll(world, begun);
    EXPECT_EQ(away.status, 202) << away.body;
    EXPECT_EQ(json_of(away).int_or("interval_s", 0), 2) << "half as often";
    EXPECT_EQ(wait(world, begun).status, 200);
    provider().control("fail", R"({"path":"/github/login/device/code","times":1,"status":500})");
    const auto broken = anonymous(world, "/v1/sign_in/github", "");
    EXPECT_EQ(broken.status, 503);
    EXPECT_EQ(world.code(broken), "provider_error");
}

TEST_F(SignInTest, AnIdTokenIsBelievedOnlyWhenAllIsRight) {
    World world(configure);
    provider().control("settings", R"({"alg":"ES256"})");
    EXPECT_EQ(sign_in(world, "oidc", "alice").status, 200);
    // A key that the gateway has not seen: it looks again, once in a while.
    for (const char* claims :
         {R"({"aud":"another"})",
          R"({"iss":"https://evil.example"})",
          R"({"exp":1000})",
          R"({"nonce":"of another sign-in"})",
          R"({"sub":""})",
          R"({"iat":1000})"}) {
        provider().control("settings", std::string(R"({"claims":)") + claims + "}");
        const auto answer = sign_in(world, "oidc", "alice");
        EXPECT_EQ(answer.status, 503) << claims << answer.body;
        EXPECT_EQ(world.code(answer), "provider_error");
    }
    EXPECT_EQ(provider().violations(), "");
}

TEST_F(SignInTest, AConfidentialClientProvesItself) {
    const std::string file = "/tmp/berth-oidc-secret-" + std::to_string(getpid());
    std::ofstream(file) << "s e:cret%\n";
    provider().control("settings", R"({"secret":"s e:cret%"})");
    {
        World world([&](GatewaySettings& settings) {
            configure(settings);
            settings.sign_in.oidc->client_secret_file = file;
        });
        EXPECT_EQ(sign_in(world, "oidc", "alice").status, 200);
        EXPECT_EQ(provider().violations(), "");
    }
    World bare(configure);
    const auto refused = anonymous(bare, "/v1/sign_in/oidc", "");
    EXPECT_EQ(refused.status, 503);
    EXPECT_NE(refused.body.find("invalid_client"), std::string::npos) << refused.body;
    ::unlink(file.c_str());
    (void)provider().violations();
}

TEST(SignInNames, AreSubjectTokens) {
    EXPECT_EQ(user_name_of("Alice", "1"), "alice");
    EXPECT_EQ(user_name_of("a.b@example.com", "1"), "a-b-example-com");
    EXPECT_EQ(user_name_of("--x--", "1"), "x");
    EXPECT_TRUE(user_name_of("\xE2\x98\x83", "1").starts_with("user-"));
    EXPECT_NE(user_name_of("", "1"), user_name_of("", "2"));
    EXPECT_LE(user_name_of(std::string(200, 'a'), "1").size(), 64U);
}

TEST(SignInSettings, AreChecked) {
    const auto read = [](const std::string& text) {
        const auto document = config::Document::parse("sign_in:\n" + text, "s.yaml");
        config::Reader reader(document->root());
        const auto settings = read_gateway_settings(reader);
        const auto done = reader.finish();
        return done ? std::string(settings.sign_in.github ? "github" : "-") +
                          (settings.sign_in.oidc ? "oidc" : "-")
                    : done.error().message;
    };
    EXPECT_EQ(read("  github: {client_id: x, org: acme}\n"), "github-");
    EXPECT_EQ(read("  oidc: {client_id: x, issuer: 'https://i.example'}\n"), "-oidc");
    for (const char* bad :
         {"  github: {}\n",
          "  github: {client_id: x, url: 'http://ghe.example'}\n",
          "  github: {client_id: x, org: 'a/../b'}\n",
          "  github: {client_id: x, roles: [root]}\n",
          "  oidc: {client_id: x}\n",
          "  oidc: {client_id: x, issuer: 'http://i.example'}\n",
          "  oidc: {client_id: x, issuer: 'https://i', jwks_uri: 'http://127.0.0.1.evil'}\n",
          "  org: 'A B'\n",
          "  gitlab: {}\n"})
        EXPECT_NE(read(bad).find("s.yaml:"), std::string::npos) << bad << read(bad);
}

}  // namespace
}  // namespace berth::gateway
