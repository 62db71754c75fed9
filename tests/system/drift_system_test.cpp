// SPDX-License-Identifier: Apache-2.0
// behaviours: lease 5 to 7. What a provider has and the record does not want is removed; what is
// not provably ours is never touched and is told; where nothing can be listed nothing is done.
#include <atomic>
#include <fstream>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "support/cloud/booted.hpp"
#include "system.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

class Drift : public SystemTest {
public:
    static void SetUpTestSuite() {
        cloud_ = std::make_unique<FakeCloud>(FakeCloud::Kind::kHetzner);
        token_ = fs::temp_directory_path() / ("berth-drift-" + std::to_string(cloud_->port()));
        std::ofstream(token_) << FakeCloud::kHetznerToken;
        settings_ =
            "provisioner:\n  cloud: {gateway_url: 'http://127.0.0.1:{port}'}\n"
            "  hetzner: {token_file: " +
            token_.string() + ", endpoint: '" + api() +
            "', list_every: 500ms}\nprofiles:\n  default: {driver: hetzner}\n";
        SystemTest::SetUpTestSuite();
        host_ = std::make_unique<CloudHost>(*cloud_, [](const std::string& user_data) {
            return boots_ ? boot_presence(user_data) : nullptr;
        });
    }
    static void TearDownTestSuite() {
        SystemTest::TearDownTestSuite();
        host_.reset();
        cloud_.reset();
        fs::remove(token_);
    }

protected:
    static std::string api() {
        return "http://127.0.0.1:" + std::to_string(cloud_->port()) + "/v1";
    }
    /// The drift items of a kind; and what the last look at the provider was.
    static std::vector<Json> items(const std::string& kind) {
        std::vector<Json> found;
        const Json drift = json_of(suite().api("GET", "/v1/drift").body);
        if (drift.find("items") == nullptr) return found;
        for (const Json& item : *drift.find("items")->as_array()) {
            if (item.string_or("kind", "") == kind) found.push_back(item);
        }
        return found;
    }
    static bool listed_well() {
        const Json drift = json_of(suite().api("GET", "/v1/drift").body);
        for (const Json& look : *drift.find("drivers")->as_array()) {
            if (look.string_or("driver", "") == "hetzner") return look.bool_or("ok", false);
        }
        return false;
    }
    /// Machines of a kind that the provisioner counts on its /metrics; -1: it cannot be asked.
    static double counted(const std::string& kind) {
        const auto address = read_file(suite().data() / "run" / "prov.addr");
        if (!address) return -1;
        const std::string text =
            suite()
                .api_at("http://" + address->substr(0, address->find('\n')), "GET", "/metrics")
                .body;
        const std::string name =
            "berth_prov_drift_machines{driver=\"hetzner\",kind=\"" + kind + "\"} ";
        const auto at = text.find(name);
        return at == std::string::npos ? -1 : std::atof(text.c_str() + at + name.size());
    }
    /// What `berth doctor` says of drift, line by line.
    static std::string doctor_on_drift() {
        std::string said;
        const std::string all = suite().berth({"doctor"}).out;
        bool told = false;  // a finding's remedy is on the line below it
        for (const auto line : split(all, '\n')) {
            told = line.find("  drift") != std::string_view::npos ||
                   (told && line.find("-> ") != std::string_view::npos);
            if (told) said += std::string(line) + "\n";
        }
        return said;
    }
    static std::vector<Json> servers() {
        return *cloud_->control("GET", "state").find("servers")->as_array();
    }
    /// A copy of what a live machine has, for one that no record knows: what a crash of us all, or
    /// a database from yesterday, leaves.
    static void plant_orphan(const std::string& machine) {
        const Json state = cloud_->control("GET", "state");
        for (const char* kind : {"servers", "ssh_keys"}) {
            Json item = (*state.find(kind)->as_array())[0];
            Json labels = *item.find("labels");
            labels.set("berth-machine", machine);
            std::string name = "berth-" + machine;
            for (char& c : name) c = c == '_' ? '-' : c;
            item.set("name", name).set("labels", labels);
            item.set("id", item.int_or("id", 0) + 1'000'000);
            if (item.find("fingerprint") != nullptr)
                item.set("fingerprint", "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff");
            cloud_->control("POST", "plant", Json::object().set("kind", kind).set("item", item));
        }
    }
    static inline std::unique_ptr<FakeCloud> cloud_;
    static inline std::unique_ptr<CloudHost> host_;
    static inline fs::path token_;
    static inline std::atomic<bool> boots_{true};
};

TEST_F(Drift, AServerThatIsReleasedBeforeItBootedIsNotWaitedFor) {
    boots_ = false;
    const std::string lease = member(suite().api("POST", "/v1/leases", "{}"), "id");
    EXPECT_TRUE(suite().eventually([] { return servers().size() == 1; })) << suite().logs();
    release(lease);
    // Its node cannot enrol any more, and might else be waited for until create_deadline, 180 s.
    EXPECT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }))
        << cloud_->inventory() << suite().logs();
    boots_ = true;
}

TEST_F(Drift, AnOrphanIsRemovedButNotWhileNothingCanBeListed) {
    const std::string lease = acquire();
    // Every look fails for a while: nothing may be concluded from that.
    cloud_->control(
        "POST",
        "faults",
        Json::parse(R"([{"method":"GET","path":"/ssh_keys","kind":"error","status":403,
                         "code":"forbidden","times":6}])")
            .value()
    );
    ASSERT_TRUE(suite().eventually([] { return !listed_well(); }));
    plant_orphan("m_01h00000000000000000000000");
    EXPECT_EQ(servers().size(), 2U);
    EXPECT_TRUE(suite().eventually([] { return listed_well() && servers().size() == 1; }))
        << cloud_->inventory() << suite().logs();
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + lease), "state"), "LEASE_STATE_ACTIVE")
        << "the neighbour stays";
    EXPECT_TRUE(suite().eventually([] { return items("DRIFT_KIND_ORPHAN").empty(); }));
    release(lease);
    EXPECT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }))
        << cloud_->inventory() << suite().logs();
}

TEST_F(Drift, AServerThatTakesAnothersPlaceMayEnrolThoughThatHadDoneSo) {
    cloud_->control(
        "POST",
        "faults",
        Json::parse(R"([{"method":"POST","path":"/servers","kind":"failed_action","ms":3000}])")
            .value()
    );
    const auto made = suite().api("POST", "/v1/leases", "{}");
    const std::string machine = member(made, "machine");
    std::string user_data;
    ASSERT_TRUE(suite().eventually([&] {
        const Json log = cloud_->control("GET", "log");
        for (const Json& entry : *log.as_array()) {
            const Json* body = entry.find("body");
            if (body == nullptr) continue;
            const std::string told = body->string_or("user_data", "");
            if (assigned(told, "machine") == machine) user_data = told;
        }
        return !user_data.empty();
    })) << suite().logs();
    // The first one boots quickly and enrols; then its provider gives it up.
    EXPECT_NE(boot_presence(user_data), nullptr) << "the token was good";
    const std::string lease = member(made, "id");
    EXPECT_EQ(
        member(suite().api("GET", "/v1/leases/" + lease + "?wait=active&timeout=50s"), "state"),
        "LEASE_STATE_ACTIVE"
    ) << suite().logs();
    release(lease);
    EXPECT_TRUE(suite().eventually([] { return cloud_->inventory().empty(); }))
        << cloud_->inventory() << suite().logs();
}

TEST_F(Drift, ARemovalThatKeepsFailingIsToldAsStuckUntilItSucceeds) {
    const std::string lease = acquire();
    ASSERT_TRUE(suite().eventually([] { return counted("stuck") == 0; }))
        << "counted from the start";
    EXPECT_NE(doctor_on_drift().find("none at"), std::string::npos) << doctor_on_drift();
    // Three failures are bad luck, the fourth to sixth some 30 seconds of being stuck.
    cloud_->control(
        "POST",
        "faults",
        Json::parse(R"([{"method":"DELETE","path":"/servers/{id}","kind":"error","status":403,
                         "code":"forbidden","message":"as the test wants it","times":6}])")
            .value()
    );
    const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
    release(lease);
    std::vector<Json> stuck;
    ASSERT_TRUE(suite().eventually([&] {
        stuck = items("DRIFT_KIND_STUCK");
        return !stuck.empty();
    })) << suite().logs();
    EXPECT_EQ(stuck[0].string_or("machine", ""), machine);
    EXPECT_EQ(stuck[0].string_or("lease", ""), lease);
    EXPECT_EQ(stuck[0].string_or("driver", ""), "hetzner");
    EXPECT_NE(stuck[0].string_or("message", "").find("as the test wants it"), std::string::npos);
    EXPECT_TRUE(suite().eventually([] { return counted("stuck") == 1; })) << counted("stuck");
    const std::string told = doctor_on_drift();
    EXPECT_NE(told.find("stuck " + machine + " at hetzner"), std::string::npos) << told;
    EXPECT_NE(told.find("removing it keeps failing"), std::string::npos) << told;
    EXPECT_EQ(servers().size(), 1U) << "it is billed, and known";
    // The cause is gone: so are the machine and every word about it.
    EXPECT_TRUE(suite().eventually(
        [] { return items("DRIFT_KIND_STUCK").empty() && cloud_->inventory().empty(); },
        seconds{120}
    )) << cloud_->inventory()
       << suite().logs();
    EXPECT_TRUE(suite().eventually([] { return counted("stuck") == 0; })) << counted("stuck");
    EXPECT_NE(doctor_on_drift().find("none at"), std::string::npos) << doctor_on_drift();
}

TEST_F(Drift, AMachineWhoseMarksAreGoneIsNeverTouchedAndIsTold) {
    const std::string lease = acquire();
    const Json server = servers().at(0);
    const std::string id = std::to_string(server.int_or("id", 0));
    http::Client client;
    http::Request request;
    request.method = "PUT";
    request.url = api() + "/servers/" + id;
    request.headers = {
        {"Authorization", std::string("Bearer ") + FakeCloud::kHetznerToken},
        {"Content-Type", "application/json"}};
    request.body = R"({"labels":{"now-of":"somebody-else"}})";
    const auto relabelled = client.send(request);
    ASSERT_TRUE(relabelled && relabelled->status == 200);
    // Told while it is leased too, and not taken for gone.
    ASSERT_TRUE(suite().eventually([] { return items("DRIFT_KIND_FOREIGN").size() == 1; }))
        << suite().logs();
    EXPECT_EQ(member(suite().api("GET", "/v1/leases/" + lease), "state"), "LEASE_STATE_ACTIVE");
    (void)suite().api("POST", "/v1/leases/" + lease + "/release");
    std::vector<Json> foreign;
    ASSERT_TRUE(suite().eventually([&] {
        foreign = items("DRIFT_KIND_FOREIGN");
        return !foreign.empty();
    })) << suite().logs();
    EXPECT_EQ(foreign[0].string_or("driver", ""), "hetzner");
    EXPECT_NE(foreign[0].string_or("message", "").find("not_ours"), std::string::npos);
    ASSERT_EQ(servers().size(), 1U);
    EXPECT_EQ(servers()[0].string_or("status", ""), "running");
    // A person takes it away: the record follows by itself.
    request.method = "DELETE";
    request.body.clear();
    const auto removed = client.send(request);
    ASSERT_TRUE(removed && removed->status == 200);
    EXPECT_TRUE(suite().eventually([] {
        return items("DRIFT_KIND_FOREIGN").empty() && cloud_->inventory().empty();
    })) << cloud_->inventory()
        << suite().logs();
}

}  // namespace
}  // namespace berth::testing
