// SPDX-License-Identifier: Apache-2.0
// The whole path: a person at the fake WhatsApp, the bridge with its public listener, real NATS and
// PostgreSQL, and services that the test plays.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "support/chat/bridge_world.hpp"
#include "support/fakes/fake_process.hpp"
#include "whatsapp/whatsapp.hpp"

namespace berth::whatsapp {
namespace {

using berth::testing::BridgeWorld;
using berth::testing::eventually;
using berth::testing::FakeProcess;

constexpr const char* kToken = "EAAB-a_token_of_the_tests_only.0123456";
constexpr const char* kSecret = "an-app-secret-of-the-tests";
constexpr const char* kPhone = "106540352242922";
constexpr const char* kAda = "16505551234";
constexpr const char* kBob = "16505559876";

/// A folder for secrets that goes with the test.
class Folder {
public:
    Folder() {
        std::string path = std::filesystem::temp_directory_path() / "berth-whatsapp-XXXXXX";
        EXPECT_NE(::mkdtemp(path.data()), nullptr);
        path_ = path;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name, const std::string& text) const {
        std::ofstream(path_ + "/" + name) << text << "\n";
        return path_ + "/" + name;
    }

private:
    std::string path_;
};

/// A port nobody listens on just now.
int free_port() {
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(probe, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size), 0);
    ::close(probe);
    return ntohs(address.sin_port);
}

class WhatsAppBridge : public ::testing::Test {
protected:
    WhatsAppBridge() : listen_("127.0.0.1:" + std::to_string(free_port())) {
        world_ = std::make_unique<BridgeWorld>(
            "api_url: " + fake_.url() + "\nphone_number_id: \"" + kPhone +
                "\"\nweb_listen: " + listen_ + "\ntoken_file: " + folder_.file("token", kToken) +
                "\napp_secret_file: " + folder_.file("secret", kSecret) +
                "\nverify_token_file: " + folder_.file("verify", "a-verify-token") +
                "\norgs:\n  acme: {approvals: [\"" + kBob + "\"]}\n",
            "whatsapp",
            read_platform
        );
        world_->berth().people[kAda] = BridgeWorld::actor("ada", "operator");
        world_->berth().people[kBob] = BridgeWorld::actor("bob", "approver");
    }
    ~WhatsAppBridge() override {
        world_.reset();
        const Json state = fake_.look("state");
        EXPECT_EQ(state.find("violations")->dump(), "[]");
        EXPECT_EQ(state.find("flaws")->dump(), "[]");
    }
    void start() {
        world_->start();
        const std::string order =
            R"({"verify_token":"a-verify-token","url":"http://)" + listen_ + R"(/whatsapp"})";
        ASSERT_EQ(fake_.tell("hook", order).int_or("status", 0), 200);
    }
    void say(const std::string& text, const std::string& person = kAda) {
        Json order = Json::object();
        order.set("person", person).set("text", text);
        fake_.tell("say", order.dump());
    }
    std::vector<Json> replies(const std::string& person = kAda) {
        std::vector<Json> found;
        const Json chat = fake_.look("chat/" + person);
        for (const Json& message : *chat.find("messages")->as_array()) {
            if (message.bool_or("bot", false)) found.push_back(message);
        }
        return found;
    }
    Json wait_for(const std::string& words, const std::string& person = kAda) {
        Json found;
        EXPECT_TRUE(eventually([&] {
            for (const Json& message : replies(person)) {
                if (message.string_or("text", "").find(words) == std::string::npos) continue;
                found = message;
                return true;
            }
            return false;
        })) << words
            << " is not in\n"
            << fake_.look("chat/" + person).dump();
        return found;
    }

    FakeProcess fake_{
        "whatsapp", {"--token", kToken, "--app-secret", kSecret, "--phone-id", kPhone}};
    Folder folder_;
    const std::string listen_;
    std::unique_ptr<BridgeWorld> world_;
};

TEST_F(WhatsAppBridge, PairsAndAnswers) {
    world_->berth().codes["ABC123"] = "carl";
    start();
    say("/berth pair ABC123", "16505550000");
    wait_for("carl", "16505550000");
    say("whoami");
    wait_for("ada");
    EXPECT_EQ(replies("16505550000").size(), 1U);
}

TEST_F(WhatsAppBridge, ACommandRunsAndTellsHowItEnded) {
    start();
    say("/berth run make test");
    run::v1::Run run = world_->wait_for_run();
    run.set_state(run::v1::RUN_STATE_SUCCEEDED);
    run.set_revision(5);
    world_->write(run, 0, "all is well\n", true);
    world_->tell(run, "succeeded");
    wait_for("all is well");
}

TEST_F(WhatsAppBridge, AnApprovalIsDecidedByAPress) {
    start();
    say("whoami", kBob);  // the window of 24 hours is open
    wait_for("bob", kBob);
    world_->tell(world_->held("ap_1"), "requested");
    const Json card = wait_for("git push --force", kBob);
    const std::string label = card.find("buttons")->as_array()->front().as_string() == nullptr
                                  ? ""
                                  : *card.find("buttons")->as_array()->front().as_string();
    fake_.tell(
        "click",
        std::string(R"({"person":")") + kBob + R"(","button":")" + label + R"(","id":")" +
            card.string_or("id", "") + "\"}"
    );
    EXPECT_TRUE(eventually([&] {
        const std::lock_guard lock(world_->berth().mutex);
        return world_->berth().decided.size() == 1 && world_->berth().decided[0].approve();
    }));
    EXPECT_EQ(wait_for("by bob", kBob).string_or("answers", ""), card.string_or("id", "-"));
}

TEST_F(WhatsAppBridge, ForgeriesDoNothing) {
    start();
    const std::string body = R"({\"object\":\"whatsapp_business_account\",\"entry\":[]})";
    for (const char* how : {"none", "wrong", "other"}) {
        EXPECT_EQ(
            fake_.tell("deliver", R"({"body":")" + body + R"(","signature":")" + how + "\"}")
                .int_or("status", 0),
            401
        ) << how;
    }
    EXPECT_EQ(
        fake_
            .tell(
                "deliver",
                R"({"body":")" + std::string((1U << 20U) + 1, 'x') + R"(","signature":"right"})"
            )
            .int_or("status", 0),
        413
    );
}

TEST_F(WhatsAppBridge, LosesAndRepeatsNothingOverFaultsAndRestarts) {
    constexpr int kEach = 20;
    start();
    fake_.tell(
        "faults",
        R"([{"route":"messages","kind":"error","status":429,"code":130429,"times":2,"skip":5},
        {"route":"messages","kind":"error","status":502,"text":"<html>","times":2,"skip":9},{"route":"messages","kind":"drop","skip":12}])"
    );
    for (int i = 0; i < kEach; ++i) {
        if (i == 8) {
            world_->stop();
            fake_.tell("redeliver", R"({"count":3})");
            world_->start();
        }
        say("nonsense" + std::to_string(i) + "x");
    }
    ASSERT_TRUE(eventually([&] { return replies().size() >= kEach; }, seconds{90}))
        << replies().size();
    const auto all = replies();
    ASSERT_EQ(all.size(), static_cast<std::size_t>(kEach));
    for (int i = 0; i < kEach; ++i) {
        EXPECT_NE(
            all[static_cast<std::size_t>(i)]
                .string_or("text", "")
                .find("nonsense" + std::to_string(i) + "x"),
            std::string::npos
        );
    }
}

}  // namespace
}  // namespace berth::whatsapp
