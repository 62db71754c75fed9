// SPDX-License-Identifier: Apache-2.0
// A chat bridge's numbers, each beside its limit: from a click to the command's start and to the
// other cards, messages a second through one bridge, and memory at rest. usage: chat_bench [click]
// [inbound] [idle] (none: all); BERTH_BIN_DIR names the programs.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "support/chat/bridge_world.hpp"
#include "support/suite/chat_suite.hpp"

namespace berth::bench {
namespace {

using testing::eventually;

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

bool waits(const testing::Seen& message, const std::string& title) {
    return message.text.find(title) != std::string::npos;
}

void click(testing::ChatSuite& deployment) {
    std::vector<double> started;
    std::vector<double> updated;
    for (int i = 0; i < kClicks; ++i) {
        deployment.say(
            "ann", deployment.home(), "run sh -c 'uname -s >/dev/null; date +started-%s.%N'"
        );
        testing::Seen card;
        const auto find = [&](const testing::Place& place) {
            return eventually(
                [&] {
                    for (const testing::Seen& each : deployment.seen(place)) {
                        if (!waits(each, "May this run?")) continue;
                        card = each;
                        return true;
                    }
                    return false;
                },
                seconds{30}
            );
        };
        if (!find(deployment.home()) || !find(deployment.approvals()))
            throw std::runtime_error("no card" + deployment.suite().logs());
        const double at = unix_now();
        deployment.click("olga", deployment.approvals(), card, "Approve");
        double begun = 0;
        double other = 0;
        (void)eventually(
            [&] {
                for (const testing::Seen& each : deployment.seen(deployment.home())) {
                    if (waits(each, "Approved by olga")) {
                        const Json* time = each.raw.find("edited_at");
                        const double* edited = time != nullptr ? time->as_double() : nullptr;
                        if (edited != nullptr && *edited >= at) other = *edited;
                    }
                    const auto mark = each.text.find("\"started-");
                    if (mark != std::string::npos)
                        begun = std::max(begun, std::atof(each.text.c_str() + mark + 9));
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

void idle(testing::ChatSuite& deployment) {
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
            const auto deployment = berth::testing::make_chat_suite();
            if (asked("idle")) idle(*deployment);
            if (asked("click")) click(*deployment);
        }
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "%s\n", exception.what());
        return 1;
    }
}
