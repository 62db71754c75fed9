// SPDX-License-Identifier: Apache-2.0
// A deployment with two of warden and of the gateway, and machines that the test plays.
#pragma once

#include "approvers.hpp"
#include "fake_node.hpp"
#include "policy/plan.hpp"
#include "replica.hpp"
#include "store/postgres.hpp"

namespace berth::testing {

inline constexpr const char* kWardenPolicy =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "rules:\n"
    "  - id: pushes\n"
    "    match: {executable: git}\n"
    "    action: ask\n";

inline warden::v1::Ask held(
    const FakeNode& node,
    const std::string& name,
    const std::vector<std::string>& argv,
    milliseconds timeout = seconds{600}
) {
    policy::Plan plan;
    plan.executable = {"/usr/bin/git", 1, 2, std::string(64, 'a')};
    plan.argv = argv;
    plan.cwd = "/workspace";
    warden::v1::Ask ask;
    ask.set_held(name);
    warden::v1::Plan& out = *ask.mutable_plan();
    out.mutable_executable()->set_path(plan.executable.path);
    out.mutable_executable()->set_device(1);
    out.mutable_executable()->set_inode(2);
    out.mutable_executable()->set_sha256(plan.executable.sha256);
    for (const auto& argument : argv) out.add_argv(argument);
    out.set_cwd(plan.cwd);
    out.set_digest(policy::digest(plan));
    warden::v1::Origin& origin = *ask.mutable_origin();
    origin.set_org("default");
    origin.set_user("olga");
    origin.set_machine(node.machine());
    origin.set_level(warden::v1::GUARD_LEVEL_ENFORCE);
    ask.mutable_terms()->set_rule("snapshot");
    ask.mutable_terms()->mutable_timeout()->set_seconds(timeout.count() / 1'000);
    ask.mutable_terms()->mutable_timeout()->set_nanos(
        static_cast<std::int32_t>(timeout.count() % 1'000) * 1'000'000
    );
    return ask;
}

class WardenSystem : public ApproversTest {
public:
    static void SetUpTestSuite() {
        ApproversTest::SetUpTestSuite();
        maker_ = std::make_unique<NodeMaker>(suite());
        for (const char* part : {"gateway", "warden"})
            extra_[part] = std::make_unique<Replica>(suite(), part);
    }
    static void TearDownTestSuite() {
        extra_.clear();
        maker_.reset();
        ApproversTest::TearDownTestSuite();
    }

protected:
    void SetUp() override {
        ASSERT_TRUE(suite().wait_ready()) << suite().status().dump();
        apply(kWardenPolicy);
    }

    static http::Response as(
        const std::string& user,
        const std::string& method,
        const std::string& path,
        const std::string& body = {},
        bool other_gateway = false
    ) {
        return suite().api_at(
            other_gateway ? extra_["gateway"]->url() : suite().url(),
            method,
            path,
            body,
            {{"Authorization", "Bearer " + tokens_.at(user)}}
        );
    }
    static http::Response decide(
        const std::string& user, const std::string& approval, bool approve, bool other = false
    ) {
        return as(
            user,
            "POST",
            "/v1/approvals/" + approval + "/decide",
            std::string(R"({"approve":)") + (approve ? "true" : "false") + R"(,"surface":"api"})",
            other
        );
    }
    /// Approves, and what is the same `times` more often.
    static http::Response decide_times(
        const std::string& user, const std::string& approval, int times
    ) {
        auto done =
            as(user,
               "POST",
               "/v1/approvals/" + approval + "/decide",
               R"({"approve":true,"scope":"times","times":)" + std::to_string(times) + "}");
        EXPECT_EQ(done.status, 200) << done.body;
        return done;
    }
    static warden::v1::Approval hold(
        FakeNode& node,
        const std::string& name,
        const std::vector<std::string>& argv = {"git", "push"}
    ) {
        const auto reply =
            node.ask<warden::v1::Approval>("berth.cmd.warden.ask", held(node, name, argv));
        EXPECT_TRUE(reply) << reply.error().describe() << suite().logs();
        return reply ? *reply : warden::v1::Approval();
    }
    static std::string state(const std::string& approval) {
        return member(suite().api("GET", "/v1/approvals/" + approval), "state");
    }
    static bool chain_is_whole() {
        const auto verdict = suite().api("GET", "/v1/audit/verify");
        const Json json = json_of(verdict.body);
        EXPECT_TRUE(json.bool_or("whole", false)) << verdict.body;
        return json.bool_or("whole", false);
    }
    /// Warden's own database, as somebody who got hold of it.
    static store::Pool database() {
        const std::string settings = read_file(suite().data() / "etc" / "warden.yaml").value();
        const auto at = settings.find("postgres: \"") + 11;
        store::PoolSettings pool;
        pool.conninfo = settings.substr(at, settings.find("\"\n", at) - at);
        pool.schema = "warden";
        return store::Pool(pool);
    }

    static inline std::unique_ptr<NodeMaker> maker_;
    static inline std::map<std::string, std::unique_ptr<Replica>> extra_;
};

}  // namespace berth::testing
