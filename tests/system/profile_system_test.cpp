// SPDX-License-Identifier: Apache-2.0
// Kinds of machines that admins make, change and remove while the deployment runs, from outside.
#include <fstream>

#include "replica.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

class ProfileSystem : public SystemTest {
protected:
    static http::Response put_profile(const std::string& name, const std::string& body) {
        return suite().api("PUT", "/v1/profiles/" + name, body);
    }
    static http::Response ask(const std::string& body) {
        return suite().api("POST", "/v1/leases", body);
    }
    static std::string state(const std::string& path) {
        return member(suite().api("GET", path), "state");
    }
    /// Machines of a profile, in any state or in one.
    static std::vector<std::string> machines(const std::string& profile, const char* in = "") {
        const std::string path =
            "/v1/machines?profile=" + profile + (*in == '\0' ? "" : std::string("&state=") + in);
        std::vector<std::string> out;
        const Json all = json_of(suite().api("GET", path).body);
        for (const Json& each : *all.find("machines")->as_array())
            out.push_back(each.string_or("id", ""));
        return out;
    }
    static std::vector<std::pair<std::string, std::string>> as_operator(const std::string& user) {
        const auto token = suite().api(
            "POST", "/v1/tokens", "{\"user\":\"" + user + "\",\"roles\":[\"operator\"]}"
        );
        EXPECT_LT(token.status, 300) << token.body;
        return {{"Authorization", "Bearer " + member(token, "text")}};
    }
};

TEST_F(ProfileSystem, AProfileIsSetUsedChangedAndRemovedWhileItRuns) {
    const std::string path = "/v1/profiles/made";
    EXPECT_EQ(suite().api("GET", path).status, 404);
    EXPECT_EQ(member(ask(R"({"profile":"made"})"), "code"), "unknown_profile");
    const auto made = put_profile("made", R"({"driver":"simulated","warm_min":1,"ttl":"2h"})");
    ASSERT_EQ(made.status, 200) << made.body;
    EXPECT_EQ(member(made, "source"), "api");
    EXPECT_EQ(member(made, "revision"), "1");
    EXPECT_EQ(
        member(
            put_profile("made", R"({"driver":"simulated","warm_min":1,"ttl":"2h"})"), "revision"
        ),
        "1"
    ) << "the same again is no change";
    // At once, whoever answers; its pool is filled.
    const auto lease = ask(R"({"profile":"made"})");
    ASSERT_LT(lease.status, 300) << lease.body;
    EXPECT_EQ(member(lease, "ttl"), "7200s");
    ASSERT_TRUE(suite().eventually([] { return machines("made", "idle").size() == 1; }))
        << suite().logs();
    const auto idle = [] {
        const auto all = machines("made", "idle");
        return all.empty() ? std::string() : all.front();
    };
    const std::string before = idle();

    // Another recipe: the lease goes on by its own, and no machine of the old one is handed out.
    ASSERT_EQ(
        put_profile("made", R"({"driver":"simulated","warm_min":1,"ttl":"3h","memory":"1GiB"})")
            .status,
        200
    );
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + member(lease, "id")), "ttl"), "7200s");
    ASSERT_TRUE(suite().eventually([&] {
        const std::string now = idle();
        return !now.empty() && now != before;
    })) << suite().logs();
    EXPECT_TRUE(suite().eventually([&] {
        return state("/v1/machines/" + before) == "MACHINE_STATE_GONE";
    }));
    const auto second = ask(R"({"profile":"made"})");
    EXPECT_EQ(member(second, "ttl"), "10800s") << second.body;

    EXPECT_EQ(suite().api("DELETE", path).status, 204);
    EXPECT_EQ(suite().api("GET", path).status, 404);
    EXPECT_TRUE(suite().eventually([&] {
        return member(ask(R"({"profile":"made"})"), "code") == "unknown_profile";
    }));
    EXPECT_EQ(state("/v1/leases/" + member(lease, "id")), "LEASE_STATE_ACTIVE")
        << "its leases go on";
    release(member(lease, "id"));
    release(member(second, "id"));
    EXPECT_TRUE(suite().eventually([&] { return machines("made").empty(); })) << suite().logs();
}

TEST_F(ProfileSystem, AProfileIsCheckedAsTheFileIsAndOnlyAdminsChangeOne) {
    const auto bad = put_profile("odd", R"({"drvier":"local"})");
    EXPECT_EQ(bad.status, 400);
    EXPECT_EQ(member(bad, "code"), "bad_profile");
    EXPECT_NE(bad.body.find("drvier"), std::string::npos) << bad.body;
    EXPECT_EQ(put_profile("odd", "[1]").status, 400);
    EXPECT_EQ(put_profile("odd", "{").status, 400);
    EXPECT_EQ(put_profile("Odd", R"({"driver":"local"})").status, 400);
    for (const char* method : {"PUT", "DELETE"})
        EXPECT_EQ(
            member(suite().api(method, "/v1/profiles/warm", R"({"driver":"local"})"), "code"),
            "profile_in_file"
        );
    EXPECT_EQ(member(suite().api("GET", "/v1/profiles/warm"), "source"), "file");
    EXPECT_EQ(
        suite().api("PUT", "/v1/profiles/odd", R"({"driver":"local"})", as_operator("bob")).status,
        403
    );
    EXPECT_EQ(suite().api("DELETE", "/v1/profiles/odd").status, 404);
}

TEST_F(ProfileSystem, AnotherReplicaSeesAChangedProfile) {
    Replica second(suite(), "lease");
    ASSERT_EQ(put_profile("two", R"({"driver":"simulated","ttl":"1h"})").status, 200);
    const auto ttl = [&] {
        const auto lease = ask(R"({"profile":"two"})");
        EXPECT_LT(lease.status, 300) << lease.body;
        release(member(lease, "id"));
        return member(lease, "ttl");
    };
    for (int i = 0; i < 6; ++i) EXPECT_EQ(ttl(), "3600s");
    ASSERT_EQ(put_profile("two", R"({"driver":"simulated","ttl":"2h"})").status, 200);
    // Which of the two answers is the bus's choice: six in a row are both.
    EXPECT_TRUE(suite().eventually([&] {
        for (int i = 0; i < 6; ++i) {
            if (ttl() != "7200s") return false;
        }
        return true;
    })) << suite().logs();
    EXPECT_EQ(suite().api("DELETE", "/v1/profiles/two").status, 204);
}

TEST_F(ProfileSystem, ProfilesAreChangedFromTheCommandLine) {
    EXPECT_EQ(
        suite().berth({"profiles", "set", "cli", "driver=simulated", "env=LANG,FOO_*"}).exit_code, 0
    );
    const Said shown = suite().berth({"profiles", "show", "cli"});
    EXPECT_NE(shown.out.find("env: [LANG, FOO_*]\n"), std::string::npos) << shown.out;
    const auto file = suite().folder() / "recipe.yaml";
    std::ofstream(file) << shown.out << "warm_min: 0\nmax_machines: 7\n";
    // What is shown is what --file takes.
    const Said set = suite().berth({"profiles", "set", "cli", "--file", file.string()});
    EXPECT_EQ(set.exit_code, 0) << set.err;
    EXPECT_NE(set.out.find("max_machines: 7\n"), std::string::npos) << set.out;
    EXPECT_NE(suite().berth({"profiles"}).out.find("cli "), std::string::npos);
    const Said wrong = suite().berth({"profiles", "set", "cli", "drvier=x"});
    EXPECT_NE(wrong.exit_code, 0);
    EXPECT_NE(wrong.err.find("drvier"), std::string::npos) << wrong.err;
    EXPECT_EQ(suite().berth({"profiles", "remove", "cli"}).exit_code, 0);
    EXPECT_NE(suite().berth({"profiles", "show", "cli"}).exit_code, 0);
}

}  // namespace
}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::SystemTest::run_all(
        argc, argv, "profiles:\n  default: {driver: local}\n  warm: {driver: simulated}\n"
    );
}
