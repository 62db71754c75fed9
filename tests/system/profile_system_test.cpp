// SPDX-License-Identifier: Apache-2.0
// Kinds of machines that admins make, change and remove while the deployment runs, from outside.
#include <google/protobuf/util/json_util.h>

#include <fstream>

#include "berth/lease/v1/lease.pb.h"
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

TEST_F(ProfileSystem, WhatIsShownIsWhatFileTakesWhateverTheKey) {
    const auto made = put_profile(
        "all",
        R"({"driver":"hetzner","ttl":"1h30m","idle_timeout":"2500ms","network":true,
            "guard":"shim","env":["*","LC_*","null"],"output_cap":"1MiB","run_timeout":"500ms",
            "parallel_runs":3,"image":"registry:5000/a b: #c","types":["cx22","cpx21"],
            "locations":["fsn1","nbg1"],"cpus":1.5,"memory":"2GiB","pids":100,"disk_gib":20,
            "spot":true,"ssh":true,"max_machines":4,"warm_min":1,"price_micros_per_hour":5})"
    );
    ASSERT_EQ(made.status, 200) << made.body;
    lease::v1::Profile all;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(made.body, &all).ok()) << made.body;
    const auto* fields = all.GetDescriptor();
    for (int i = 0; i < fields->field_count(); ++i) {
        const auto* field = fields->field(i);
        EXPECT_TRUE(
            field->is_repeated() ? all.GetReflection()->FieldSize(all, field) > 0
                                 : all.GetReflection()->HasField(all, field)
        ) << "this test says nothing about "
          << field->name();
    }
    const auto file = suite().folder() / "all.yaml";
    std::ofstream(file) << suite().berth({"profiles", "show", "all"}).out;
    const Said set = suite().berth({"profiles", "set", "again", "--file", file.string()});
    ASSERT_EQ(set.exit_code, 0) << set.err;
    lease::v1::Profile again;
    const std::string got = suite().api("GET", "/v1/profiles/again").body;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(got, &again).ok()) << got;
    again.set_name("all");
    EXPECT_EQ(again.DebugString(), all.DebugString()) << set.out;
    for (const char* name : {"all", "again"})
        EXPECT_EQ(suite().api("DELETE", std::string("/v1/profiles/") + name).status, 204);
}

TEST_F(ProfileSystem, ListsAreReadAsTheyAreMeantOrRefused) {
    const auto set = [](std::vector<std::string> words) {
        words.insert(words.begin(), {"profiles", "set", "lists", "driver=simulated"});
        const Said said = suite().berth(words);
        return said.exit_code == 0 ? said.out : said.err;
    };
    const std::string both = set({"types=[cx22, cpx21]", "locations=fsn1, nbg1", "env=[A]"});
    EXPECT_NE(both.find("types: [cx22, cpx21]\n"), std::string::npos) << both;
    EXPECT_NE(both.find("locations: [fsn1, nbg1]\n"), std::string::npos) << both;
    EXPECT_NE(both.find("env: [A]\n"), std::string::npos) << both;
    EXPECT_NE(set({"env=A", "env=B"}).find("'env' is given twice"), std::string::npos);
    EXPECT_NE(set({"env=[[A]]"}).find("which is no name"), std::string::npos);
    const auto file = suite().folder() / "lists.yaml";
    std::ofstream(file) << "driver: simulated\nenv: [[A]]\n";
    const Said nested = suite().berth({"profiles", "set", "lists", "--file", file.string()});
    EXPECT_NE(nested.exit_code, 0) << nested.out;
    EXPECT_NE(nested.err.find("env"), std::string::npos) << nested.err;
    EXPECT_EQ(suite().berth({"profiles", "remove", "lists"}).exit_code, 0);
}

TEST_F(ProfileSystem, ADriverThatBerthDoesNotHaveAndTheFleetsNameAreRefused) {
    for (const char* driver : {"zz", ""}) {
        const auto made = put_profile("odd", std::string(R"({"driver":")") + driver + R"("})");
        EXPECT_EQ(made.status, 400) << made.body;
        EXPECT_NE(made.body.find("'driver' must be one of"), std::string::npos) << made.body;
    }
    const auto fleet = put_profile("_fleet", R"({"driver":"simulated"})");
    EXPECT_EQ(fleet.status, 400) << fleet.body;
    EXPECT_EQ(member(fleet, "field"), "profile") << fleet.body;
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
