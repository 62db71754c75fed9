// SPDX-License-Identifier: Apache-2.0
// The command line for those who share machines: signing in, users, queues, pools, leases lent.
#include "cli_system.hpp"

namespace berth::testing {
namespace {

TEST_F(CliSystem, LoginShowsACodeAndWaitsForThePerson) {
    if (provider == nullptr) GTEST_SKIP() << "python3-jwt is not installed";
    Suite::CommandOptions options;
    options.env = {{"XDG_CONFIG_HOME", (suite().folder() / "signed-in").string()}};
    const auto control = [](const std::string& name, const std::string& body) {
        http::Request request;
        request.method = "POST";
        request.url = provider_url + "/_control/" + name;
        request.body = body;
        const auto answer = http::Client().send(request);
        return answer && answer->status == 200;
    };
    auto waiting = suite().start({"login", "--github"}, options);
    ASSERT_TRUE(suite().eventually([&] { return control("approve", R"({"who":"alice"})"); }));
    const Said said = waiting->finish();
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_NE(said.err.find("/login/device and enter the code "), std::string::npos) << said.err;
    EXPECT_NE(said.err.find("logged in at " + suite().url() + " as alice"), std::string::npos);
    EXPECT_EQ(suite().berth({"whoami"}, options).out, "alice of default (operator)\n");
    EXPECT_EQ(suite().berth({"users"}, options).exit_code, 1) << "that is the admin's";
    const Said out = suite().berth({"logout"}, options);
    EXPECT_EQ(out.exit_code, 0) << out.err;
    EXPECT_EQ(suite().berth({"whoami"}, options).exit_code, 1);
    EXPECT_EQ(suite().berth({"logout"}, options).exit_code, 0) << "again is no mistake";

    auto refused = suite().start({"login", "--oidc"}, options);
    ASSERT_TRUE(suite().eventually([&] { return control("deny", "{}"); }));
    const Said denied = refused->finish();
    EXPECT_EQ(denied.exit_code, 1);
    EXPECT_NE(denied.err.find("denied"), std::string::npos) << denied.err;
    const Said either = suite().berth({"login"}, options);
    EXPECT_EQ(either.exit_code, 2);
    EXPECT_NE(either.err.find("--github, --oidc"), std::string::npos) << either.err;
}

TEST_F(CliSystem, UsersAndTokensAreManagedHere) {
    EXPECT_EQ(suite().berth({"users", "add", "olga", "--role", "viewer"}).out, "olga viewer\n");
    const Said made = suite().berth({"tokens", "create", "--user", "olga", "--life", "1h"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const std::map<std::string, std::string> olga{
        {"BERTH_TOKEN", made.out.substr(0, made.out.find('\n'))}};
    EXPECT_EQ(with(olga, {"whoami"}).out, "olga of default (viewer)\n");
    const Said refused = with(olga, {"lease"});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("role operator"), std::string::npos) << refused.err;
    EXPECT_EQ(
        suite().berth({"users", "set", "olga", "--role", "operator", "--role", "approver"}).out,
        "olga operator, approver\n"
    );
    const Said tokens = with(olga, {"tokens"});
    EXPECT_NE(tokens.out.find("olga"), std::string::npos) << tokens.out;
    EXPECT_EQ(tokens.out.find("bootstrap"), std::string::npos) << "one's own only";
    EXPECT_EQ(suite().berth({"users", "link", "olga", "github", "77"}).exit_code, 0);
    EXPECT_NE(suite().berth({"users"}).out.find("github 77"), std::string::npos);
    EXPECT_EQ(suite().berth({"users", "unlink", "olga", "github"}).exit_code, 0);
    EXPECT_EQ(
        suite().berth({"users", "disable", "olga"}).out, "olga operator, approver (disabled)\n"
    );
    EXPECT_EQ(with(olga, {"whoami"}).exit_code, 1);
    EXPECT_EQ(suite().berth({"users", "enable", "olga"}).exit_code, 0);
    EXPECT_EQ(with(olga, {"whoami"}).exit_code, 0);
    const auto list = json_of(suite().berth({"tokens", "--user", "olga", "--json"}).out);
    const std::string id = list.find("tokens")->as_array()->front().string_or("id", "");
    EXPECT_EQ(suite().berth({"tokens", "revoke", id}).exit_code, 0);
    EXPECT_EQ(with(olga, {"whoami"}).exit_code, 1);
    for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
             {"users", "add", "x"},
             {"users", "rename", "x"},
             {"users", "link", "olga"},
             {"tokens", "revoke"},
             {"tokens", "create", "--life", "soon"}}) {
        const Said said = suite().berth(wrong);
        EXPECT_EQ(said.exit_code, 2) << wrong[0] << " " << wrong[1] << said.err;
        EXPECT_NE(said.err.find("berth help " + wrong[0]), std::string::npos) << said.err;
    }
}

TEST_F(CliSystem, WhoWaitsGetsTheMachineThatComesFree) {
    const std::string lease = acquire(R"({"profile":"one","wait":"30s"})");
    const Said full = suite().berth({"run", "--no-sync", "-p", "one", "--", "true"});
    EXPECT_EQ(full.exit_code, 122) << full.err;
    EXPECT_NE(full.err.find("--wait"), std::string::npos) << full.err;
    auto waiting =
        suite().start({"run", "--no-sync", "-p", "one", "--wait", "1m", "--", "echo", "mine"}, {});
    const auto in_line = [&] {
        const Json pools = json_of(suite().berth({"pool", "one", "--json"}).out);
        return pools.find("pools")->as_array()->front().int_or("waiting", 0) == 1;
    };
    ASSERT_TRUE(suite().eventually(in_line));
    release(lease);
    const Said said = waiting->finish();
    EXPECT_EQ(said.exit_code, 0) << said.err;
    EXPECT_EQ(said.out, "mine\n");
    EXPECT_NE(said.err.find("in line for a machine of profile one: 1"), std::string::npos)
        << said.err;

    // Who stops waiting leaves the line.
    const std::string again = acquire(R"({"profile":"one","wait":"30s"})");
    auto impatient = suite().start({"lease", "--new", "-p", "one", "--wait", "1m"}, {});
    ASSERT_TRUE(suite().eventually(in_line));
    impatient->signal(SIGINT);
    EXPECT_EQ(impatient->finish().exit_code, 130);
    EXPECT_TRUE(suite().eventually([&] { return !in_line(); }));
    release(again);
}

TEST_F(CliSystem, PoolsAreSeenDrainedAndResumed) {
    const Said profiles = suite().berth({"profiles"});
    EXPECT_NE(profiles.out.find("default *  local"), std::string::npos) << profiles.out;
    EXPECT_EQ(suite().berth({"pool", "nonesuch"}).exit_code, 1);
    const std::string lease = acquire(R"({"profile":"one","wait":"30s"})");
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    EXPECT_NE(suite().berth({"pool", "--machines"}).out.find(machine), std::string::npos);
    const Said draining = suite().berth({"drain", "one", "--reason", "repair"});
    EXPECT_EQ(draining.exit_code, 0) << draining.err;
    EXPECT_NE(draining.out.find("draining by admin: repair"), std::string::npos) << draining.out;
    const Said refused = suite().berth({"run", "--no-sync", "-p", "one", "--", "true"});
    EXPECT_EQ(refused.exit_code, 122) << refused.err;
    auto drained = suite().start({"drain", "one", "--wait"}, {});
    release(lease);
    const Said done = drained->finish();
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_NE(done.out.find("drained"), std::string::npos) << done.out;
    EXPECT_NE(suite().berth({"pool", "-a"}).out.find(machine), std::string::npos) << "it is told";
    EXPECT_NE(suite().berth({"resume", "one"}).out.find(" open"), std::string::npos);
    EXPECT_EQ(
        suite().berth({"run", "--no-sync", "-p", "one", "-w", "30s", "--", "true"}).exit_code, 0
    );
    EXPECT_EQ(suite().berth({"drain"}).exit_code, 2);
    EXPECT_EQ(suite().berth({"drain", "one", "--fleet"}).exit_code, 2);
    const Json usage = json_of(suite().berth({"usage", "--json"}).out);
    EXPECT_FALSE(usage.find("rows")->as_array()->empty()) << usage.dump();
    EXPECT_NE(suite().berth({"usage"}).out.find("MACHINE TIME"), std::string::npos);
}

TEST_F(CliSystem, ALeaseIsLentAndTakenBack) {
    const Said made = suite().berth({"tokens", "create", "--user", "petra", "--role", "operator"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const std::map<std::string, std::string> petra{
        {"BERTH_TOKEN", made.out.substr(0, made.out.find('\n'))}};
    const std::string lease = acquire();
    const std::string slug = member(suite().api("GET", "/v1/leases/" + lease), "slug");
    EXPECT_EQ(with(petra, {"ssh", slug, "true"}).exit_code, 122);
    EXPECT_EQ(suite().berth({"share", slug, "petra"}).exit_code, 0);
    EXPECT_NE(suite().berth({"share", slug}).out.find("petra  use"), std::string::npos);
    EXPECT_NE(with(petra, {"leases"}).out.find("admin (use)"), std::string::npos);
    EXPECT_EQ(with(petra, {"ssh", slug, "echo", "hello"}).out, "hello\n");
    EXPECT_EQ(with(petra, {"release", slug}).exit_code, 1) << "use is not manage";
    EXPECT_EQ(suite().berth({"unshare", slug, "petra"}).exit_code, 0);
    EXPECT_EQ(with(petra, {"ssh", slug, "true"}).exit_code, 122);
    EXPECT_EQ(suite().berth({"share", slug, "nobody-here"}).exit_code, 1);
    release(lease);
}

TEST_F(CliSystem, AWithdrawnShareEndsWhatTheGuestRuns) {
    const Env nora = somebody("nora");
    const Env quin = somebody("quin");
    const std::string lease = lease_of(nora);
    ASSERT_EQ(with(nora, {"share", lease, "quin"}).exit_code, 0);
    auto guest = open_shell(quin, lease);
    const std::string run = live_run(nora, lease);
    ASSERT_NE(run, "") << "whose machine it is sees who uses it";
    auto own = begin(nora, {"run", "--no-sync", "--lease", lease, "--", "echo", "mine"});
    EXPECT_TRUE(own->wait_err("waits in line behind run " + run)) << own->finish().err;
    // It is told of it also where it was away then.
    suite().kill9("run");
    ASSERT_EQ(with(nora, {"unshare", lease, "quin"}).exit_code, 0);
    const Said gone = guest->finish();
    EXPECT_NE(gone.exit_code, -1) << "it ends by itself: " << gone.err;
    EXPECT_NE(gone.exit_code, 0) << gone.err;
    const Said mine = own->finish();
    EXPECT_EQ(mine.exit_code, 0) << mine.err;
    EXPECT_EQ(mine.out, "mine\n");
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_CANCELED");
    EXPECT_EQ(with(quin, {"ssh", lease, "true"}).exit_code, 122);

    // What a share given later lets on is that share's.
    ASSERT_EQ(with(nora, {"share", lease, "quin"}).exit_code, 0);
    EXPECT_EQ(with(quin, {"ssh", lease, "echo", "again"}).out, "again\n");
    auto second = open_shell(quin, lease);
    EXPECT_EQ(with(nora, {"cancel", "--grace", "1s", live_run(nora, lease)}).exit_code, 0);
    EXPECT_NE(second->finish().exit_code, -1);
    // Who manages the lease for her does the same; who merely uses it sees nobody else's.
    const Env rosa = somebody("rosa");
    ASSERT_EQ(with(nora, {"share", lease, "rosa"}).exit_code, 0);
    auto third = open_shell(quin, lease);
    const std::string seen = live_run(nora, lease);
    EXPECT_EQ(live_run(rosa, lease), "");
    ASSERT_EQ(with(nora, {"share", lease, "rosa", "--right", "manage"}).exit_code, 0);
    EXPECT_TRUE(suite().eventually([&] { return live_run(rosa, lease) == seen; }));
    EXPECT_EQ(with(rosa, {"cancel", "--grace", "1s", seen}).exit_code, 0);
    EXPECT_NE(third->finish().exit_code, -1);
    const Said unknown = with(nora, {"runs", "--lease", "no-such-lease"});
    EXPECT_EQ(unknown.exit_code, 1) << unknown.out;
    EXPECT_NE(unknown.err.find("no lease"), std::string::npos) << unknown.err;
    EXPECT_EQ(with(nora, {"release", lease}).exit_code, 0);
}

TEST_F(CliSystem, ADisabledUserHoldsNoShellOpen) {
    const Env bob = somebody("bob");
    const std::string lease = lease_of(bob);
    auto open = open_shell(bob, lease);
    const std::string run = live_run(bob, lease);
    auto events = begin(bob, {"events", "tail", "--from", "1"});
    EXPECT_TRUE(events->wait_out("\"specversion\"")) << suite().logs();
    auto logs = begin(bob, {"logs", "--follow", run});
    EXPECT_TRUE(logs->wait_out("up-2")) << suite().logs();
    ASSERT_EQ(suite().berth({"users", "disable", "bob"}).exit_code, 0);
    for (auto* each : {open.get(), events.get(), logs.get()}) {
        const Said said = each->finish();
        EXPECT_NE(said.exit_code, -1) << "it ends by itself: " << said.err;
        EXPECT_NE(said.exit_code, 0) << said.err;
        EXPECT_NE(said.err.find("log in with 'berth login'"), std::string::npos) << said.err;
    }
    EXPECT_EQ(live_run({}, lease), run) << "what he runs goes on, for an admin to end";
    EXPECT_EQ(suite().berth({"cancel", "--grace", "1s", run}).exit_code, 0);
    EXPECT_EQ(ended(run).string_or("state", ""), "RUN_STATE_CANCELED");
    EXPECT_EQ(suite().berth({"release", lease}).exit_code, 0);
}

TEST_F(CliSystem, AWarmLeaseIsReadyForTheNextRun) {
    const Said warm = suite().berth({"warmup", "--", "sh", "-c", "echo prepared > mark"});
    ASSERT_EQ(warm.exit_code, 0) << warm.err;
    const std::string slug = warm.out.substr(0, warm.out.find('\n'));
    const Said next = suite().berth({"run", "--keep", "--", "cat", "mark"});
    EXPECT_EQ(next.out, "prepared\n") << next.err;
    EXPECT_NE(suite().berth({"leases"}).out.find(slug), std::string::npos);
    EXPECT_EQ(suite().berth({"warmup", "--", "false"}).exit_code, 1) << "the command's own code";
    EXPECT_EQ(suite().berth({"release"}).exit_code, 0);
    EXPECT_TRUE(machines_gone());
}

}  // namespace
}  // namespace berth::testing
