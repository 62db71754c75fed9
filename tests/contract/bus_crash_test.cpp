// SPDX-License-Identifier: Apache-2.0
// What the bus keeps when a real nats-server is killed under it.
#include "bus_worlds.hpp"

namespace berth::bus {
namespace {

class NatsBusKilled : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(PlainAndTls, NatsBusKilled, ::testing::Bool());

TEST_P(NatsBusKilled, NothingConfirmedIsLostAndEverythingGoesOn) {
    NatsWorld world(GetParam());
    const auto connection = world.connect("a");
    Tally tally;
    auto receiver = connection->consume(
        {"CMD", "worker", 4, 64, milliseconds{1'000}},
        [&tally](Delivery delivery) {
            tally.add(delivery.message().payload);
            delivery.ack();
        }
    );
    ASSERT_TRUE(receiver);
    Tally stored;
    std::vector<std::string> confirmed;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 200; ++i) {
            const std::string what = std::to_string(round * 1'000 + i);
            connection->publish(
                make("berth.cmd.svc.do", what, "id-" + what),
                [&stored, what](Result<PubAck> ack) { stored.add(what + (ack ? "+" : "-")); },
                seconds{15}
            );
            if (i == 100) {
                world.nats()->kill9();
                world.nats()->restart();
            }
        }
    }
    ASSERT_TRUE(stored.wait_distinct(600));
    for (const auto& [what, count] : stored.counts())
        EXPECT_TRUE(what.ends_with("+"))
            << what << ": the publisher repeats what a crash interrupted";
    ASSERT_TRUE(tally.wait_distinct(600));
}

TEST(NatsBus, AReaderGoesOnAcrossACrashWithoutGapOrRepeat) {
    NatsWorld world;
    const auto connection = world.connect("a");
    Tally tally;
    auto reader =
        connection->read({"EVT", "berth.evt.>", 1, 16, 1U << 20U}, [&tally](ReadMessage message) {
            tally.add(message.message.payload);
            return true;
        });
    ASSERT_TRUE(reader);
    std::vector<std::string> expected;
    for (int i = 0; i < 300; ++i) {
        const auto stored = connection->publish_wait(
            make("berth.evt.o.s.n.f.1", std::to_string(i), "id-" + std::to_string(i)), seconds{15}
        );
        ASSERT_TRUE(stored) << stored.error().describe();
        expected.push_back(std::to_string(i));
        if (i % 100 == 50) {
            world.nats()->kill9();
            world.nats()->restart();
        }
    }
    ASSERT_TRUE(tally.wait_distinct(300));
    EXPECT_EQ(tally.order(), expected);
}

TEST(NatsBus, AnAskOutlivesACrashOfTheServer) {
    NatsWorld world;
    const auto server = world.connect("svc");
    const auto client = world.connect("cli");
    auto asker = Asker::create(*client, {"cli", "one", milliseconds{500}});
    ASSERT_TRUE(asker);
    Completion<Answer> completion;
    world.nats()->kill9();
    (*asker)->ask(
        {"berth.cmd.svc.do", "t.T", "x", {}, {}, kPatience},
        [&completion](Result<Answer> answer) { completion.set(std::move(answer)); }
    );
    world.nats()->restart();
    auto receiver =
        server->consume({"CMD", "worker", 1, 4, milliseconds{1'000}}, [&server](Delivery delivery) {
            const Message& command = delivery.message();
            Message reply = make(
                reply_subject(command.header(kReplyTo), "svc", "one", command.header(kCeId)),
                "yes",
                std::string(command.header(kMsgId)) + "/r"
            );
            reply.headers.emplace_back(kCausationId, std::string(command.header(kMsgId)));
            if (server->publish_wait(std::move(reply))) delivery.ack();
        });
    ASSERT_TRUE(receiver);
    const auto answer = completion.wait_until(std::chrono::steady_clock::now() + kPatience);
    ASSERT_TRUE(answer.has_value());
    EXPECT_TRUE(*answer) << answer->error().describe();
}

}  // namespace
}  // namespace berth::bus
