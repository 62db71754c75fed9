// SPDX-License-Identifier: Apache-2.0
// A chat bridge's numbers, each beside its limit: from a click to the command's start and to the
// other cards, messages a second through one bridge, and memory at rest. usage: chat_bench [click]
// [inbound] [idle] (none: all); BERTH_BIN_DIR names the programs.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "core/fd.hpp"
#include "support/chat/bridge_world.hpp"
#include "support/fakes/fake_process.hpp"
#include "support/suite/suite.hpp"

namespace berth::bench {
namespace {

namespace fs = std::filesystem;
using testing::eventually;
using testing::FakeProcess;

constexpr int kClicks = 25;
constexpr int kMessages = 10'000;
constexpr int kConversations = 50;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

double unix_now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

/// `berth up` with the Slack bridge on the fake; admin is U1, the approver olga U2.
class Deployment {
public:
    Deployment() : fake_("slack", {}) {
        std::string folder = "/tmp/berth-chat-bench-XXXXXX";
        if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no folder");
        secrets_ = folder;
        fs::permissions(folder, fs::perms{0755});
        std::ofstream(secrets_ / "bot") << "xoxb-of-the-tests-only-0123456789\n";
        std::ofstream(secrets_ / "app") << "xapp-of-the-tests-only-0123456789\n";
        fake_.tell("channel", R"({"id":"C0GENERAL1","people":["U1","U2"]})");
        fake_.tell("channel", R"({"id":"C0APPROVAL","people":["U1","U2"]})");
        testing::SuiteOptions options;
        options.settings =
            "profiles:\n  default: {driver: local, parallel_runs: 4}\nslack:\n  api_url: \"" +
            fake_.url() + "/api\"\n  bot_token_file: \"" + (secrets_ / "bot").string() +
            "\"\n  app_token_file: \"" + (secrets_ / "app").string() +
            "\"\n  orgs:\n    default:\n      chats: [C0GENERAL1]\n      approvals: [C0APPROVAL]\n";
        suite_ = std::make_unique<testing::Suite>(options);
        pair("U1", {});
        (void)suite_->api("POST", "/v1/users", R"({"name":"olga","roles":["approver"]})");
        const auto token =
            suite_->api("POST", "/v1/tokens", R"({"user":"olga","roles":["approver"]})");
        const auto json = Json::parse(token.body);
        pair(
            "U2",
            {{"BERTH_SERVER", suite_->url()},
             {"BERTH_TOKEN", json ? json->string_or("text", "") : ""}}
        );
        const char* policy =
            "version: 1\ndefault: allow\nrules:\n  - id: ask\n    action: ask\n    match: "
            "{executable: uname}\n";
        (void)suite_->api("PUT", "/v1/policy", Json::object().set("text", policy).dump());
    }
    ~Deployment() {
        suite_.reset();
        std::error_code ignored;
        fs::remove_all(secrets_, ignored);
    }

    void say(
        const std::string& text,
        const std::string& user = "U1",
        const std::string& channel = "C0GENERAL1"
    ) {
        fake_.tell(
            "say", Json::object().set("channel", channel).set("user", user).set("text", text).dump()
        );
    }
    std::vector<Json> messages(const std::string& channel) {
        return *fake_.look("channel/" + channel).find("messages")->as_array();
    }
    FakeProcess& fake() { return fake_; }
    testing::Suite& suite() { return *suite_; }

private:
    void pair(const std::string& user, const std::map<std::string, std::string>& env) {
        testing::Suite::CommandOptions options;
        options.env = env;
        std::string words = suite_->berth({"chat", "pair"}, options).out;
        words = words.substr(words.find("pair "));
        say(words.substr(0, words.find('\n')), user);
        if (!eventually(
                [&] {
                    return fake_.look("channel/C0GENERAL1")
                               .find("ephemeral")
                               ->dump()
                               .find("\"user\":\"" + user) != std::string::npos;
                },
                seconds{30}
            ))
            throw std::runtime_error(user + " was not linked" + suite_->logs());
    }
    FakeProcess fake_;
    fs::path secrets_;
    std::unique_ptr<testing::Suite> suite_;
};

bool waits(const Json& message, const std::string& title) {
    return message.dump().find(title) != std::string::npos;
}

void click(Deployment& deployment) {
    std::vector<double> started;
    std::vector<double> updated;
    for (int i = 0; i < kClicks; ++i) {
        deployment.say("run sh -c 'uname -s >/dev/null; date +started-%s.%N'");
        Json card;
        const auto find = [&](const std::string& channel) {
            return eventually(
                [&] {
                    for (const Json& each : deployment.messages(channel)) {
                        if (!waits(each, "May this run?")) continue;
                        card = each;
                        return true;
                    }
                    return false;
                },
                seconds{30}
            );
        };
        if (!find("C0GENERAL1") || !find("C0APPROVAL"))
            throw std::runtime_error("no card" + deployment.suite().logs());
        const double at = unix_now();
        deployment.fake().tell(
            "click",
            Json::object()
                .set("channel", "C0APPROVAL")
                .set("ts", card.string_or("ts", ""))
                .set("user", "U2")
                .set("button", "Approve")
                .dump()
        );
        double begun = 0;
        double other = 0;
        (void)eventually(
            [&] {
                for (const Json& each : deployment.messages("C0GENERAL1")) {
                    const std::string text = each.dump();
                    if (text.find("Approved by olga") != std::string::npos) {
                        const double* edited = each.find("edited_at") != nullptr
                                                   ? each.find("edited_at")->as_double()
                                                   : nullptr;
                        if (edited != nullptr && *edited >= at) other = *edited;
                    }
                    const auto mark = text.find("\"started-");
                    if (mark != std::string::npos)
                        begun = std::max(begun, std::atof(text.c_str() + mark + 9));
                }
                return begun >= at && other > 0;
            },
            seconds{30}
        );
        started.push_back((begun - at) * 1'000);
        updated.push_back((other - at) * 1'000);
    }
    std::printf("click to the command's start: p50 %.1f ms (limit 100)\n", median(started));
    std::printf("click to the other cards: p50 %.1f ms (limit 100)\n", median(updated));
}

void idle(Deployment& deployment) {
    std::this_thread::sleep_for(seconds{5});
    std::ifstream status("/proc/" + std::to_string(deployment.suite().pid("slack")) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("VmRSS", 0) == 0)
            std::printf(
                "memory at rest: %.1f MiB (limit 25)\n", std::atof(line.c_str() + 6) / 1'024
            );
    }
}

/// With zero-latency platform and services in this process, whose time is counted with the
/// bridge's.
void inbound() {
    std::string chats;
    for (int i = 0; i < kConversations; ++i) chats += (i > 0 ? ", C" : "C") + std::to_string(i);
    testing::BridgeWorld world("orgs:\n  acme: {chats: [" + chats + "]}\n");
    world.start();
    std::vector<chat::Inbound> all;
    for (int i = 0; i < kMessages; ++i)
        all.push_back(testing::said("whoami", "U1", "C" + std::to_string(i % kConversations)));
    const auto began = std::chrono::steady_clock::now();
    const double cpu = cpu_seconds();
    for (const auto& each : all) world.chat().tell_surely(each);
    if (!world.chat().wait_until(
            [](const auto& shown) { return shown.size() == kMessages; }, seconds{300}
        ))
        throw std::runtime_error("not all were answered");
    const double took =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const double used = cpu_seconds() - cpu;
    std::printf(
        "inbound with answers: %.0f/s on the clock, %.0f/s per second of processor (limit 500)\n",
        kMessages / took,
        kMessages / used
    );
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
    using namespace berth::bench;
    const std::set<std::string> wanted(argv + 1, argv + argc);
    const auto asked = [&](const char* name) { return wanted.empty() || wanted.contains(name); };
    try {
        if (asked("inbound")) inbound();
        if (asked("click") || asked("idle")) {
            Deployment deployment;
            if (asked("idle")) idle(deployment);
            if (asked("click")) click(deployment);
        }
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "%s\n", exception.what());
        return 1;
    }
}
