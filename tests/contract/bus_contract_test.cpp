// SPDX-License-Identifier: Apache-2.0
// One contract, two buses: every promise of bus/connection.hpp, asker.hpp and byte_channel.hpp,
// held by a real nats-server and by the memory bus, the latter also with faults.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "berth/common/v1/common.pb.h"
#include "bus/asker.hpp"
#include "bus/byte_channel.hpp"
#include "bus/completion.hpp"
#include "bus/memory_bus.hpp"
#include "bus_worlds.hpp"
#include "core/guarded.hpp"
#include "core/id.hpp"

namespace berth::bus {
namespace {

enum class Kind { kNats, kTls, kMemory, kBadMemory };

class BusContract : public ::testing::TestWithParam<Kind> {
protected:
    void SetUp() override {
        if (GetParam() == Kind::kNats) {
            world_ = std::make_unique<NatsWorld>();
        } else if (GetParam() == Kind::kTls) {
            world_ = std::make_unique<NatsWorld>(true);
        } else {
            world_ = std::make_unique<MemoryWorld>(
                GetParam() == Kind::kMemory ? MemoryFaults{}
                                            : MemoryFaults{10, 10, 10, milliseconds{5}}
            );
        }
    }
    bool faulty() const { return GetParam() == Kind::kBadMemory; }
    ConsumerSettings consumer() const { return {"CMD", "worker", 4, 16, milliseconds{1'000}}; }

    /// Publishes until it is confirmed: a lost confirmation is repeated with the same id.
    void store(Connection& connection, const Message& message) {
        for (int i = 0; i < 50; ++i) {
            if (connection.publish_wait(message, seconds{2})) return;
        }
        FAIL() << "never confirmed: " << message.subject;
    }

    /// Answers each command of `worker` once with its payload in capitals, or with a refusal.
    std::unique_ptr<Receiver> answering_service(Connection& connection) {
        auto received = connection.consume(consumer(), [&connection, this](Delivery delivery) {
            const Message& command = delivery.message();
            Message reply;
            reply.subject =
                reply_subject(command.header(kReplyTo), "svc", "one", command.header(kCeId));
            reply.headers = {
                {std::string(kMsgId), std::string(command.header(kMsgId)) + "/r"},
                {std::string(kCausationId), std::string(command.header(kMsgId))}};
            if (command.payload == "refuse") {
                common::v1::Failure failure;
                failure.set_fault("conflict");
                failure.set_code("no_way");
                failure.set_message("it was refused");
                reply.payload = failure.SerializeAsString();
                reply.headers.emplace_back(kStatus, "failure");
            } else {
                reply.payload = "re:" + command.payload;
                reply.headers.emplace_back(kStatus, "ok");
            }
            auto held = std::make_shared<Delivery>(std::move(delivery));
            connection.publish(std::move(reply), [held](Result<PubAck> stored) {
                if (stored)
                    held->ack();
                else
                    held->nak(milliseconds{100});
            });
        });
        EXPECT_TRUE(received.has_value());
        return std::move(*received);
    }

    std::unique_ptr<World> world_;
};

TEST_P(BusContract, AStoredMessageIsConfirmedOnceAndItsIdIsRemembered) {
    const auto connection = world_->connect("a");
    store(*connection, make("berth.evt.org.svc.noun.fact.1", "one", "id-1"));
    Result<PubAck> again =
        connection->publish_wait(make("berth.evt.org.svc.noun.fact.1", "one", "id-1"));
    while (!again)
        again = connection->publish_wait(make("berth.evt.org.svc.noun.fact.1", "one", "id-1"));
    EXPECT_TRUE(again->duplicate);
    EXPECT_EQ(again->stream, "EVT");
}

TEST_P(BusContract, ASubjectWithoutAStreamIsAnErrorNotASilence) {
    const auto connection = world_->connect("a");
    const auto result = connection->publish_wait(make("nowhere.at.all", "x", "id-1"), seconds{2});
    ASSERT_FALSE(result);
    if (!faulty()) {
        EXPECT_EQ(result.error().code, "no_stream");
    }
}

TEST_P(BusContract, AFullStreamSaysSo) {
    const auto connection = world_->connect("a");
    for (int i = 0; i < 3; ++i) store(*connection, make("small.x", "x", "id-" + std::to_string(i)));
    auto refused = connection->publish_wait(make("small.x", "x", "id-9"), seconds{2});
    while (!refused && refused.error().fault == Fault::kDeadline)
        refused = connection->publish_wait(make("small.x", "x", "id-9"), seconds{2});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "stream_full");
}

TEST_P(BusContract, EachCommandIsHandledAndAnAckedOneNeverComesAgain) {
    const auto connection = world_->connect("a");
    Tally tally;
    auto receiver = connection->consume(consumer(), [&tally](Delivery delivery) {
        tally.add(delivery.message().payload);
        delivery.ack();
    });
    ASSERT_TRUE(receiver);
    for (int i = 0; i < 500; ++i)
        store(*connection, make("berth.cmd.svc.do", std::to_string(i), "id-" + std::to_string(i)));
    ASSERT_TRUE(tally.wait_distinct(500));
    (*receiver)->stop();
    if (!faulty()) {
        for (const auto& [what, count] : tally.counts()) EXPECT_EQ(count, 1) << what;
    }
}

TEST_P(BusContract, ANakComesBackLaterAndATermNever) {
    const auto connection = world_->connect("a");
    Tally tally;
    auto receiver = connection->consume(consumer(), [&tally](Delivery delivery) {
        const std::string what = delivery.message().payload;
        const bool again = delivery.delivered() > 1;
        if (what == "term")
            delivery.term();
        else if (!again)
            delivery.nak(milliseconds{150});
        else
            delivery.ack();
        tally.add(what + (again ? " again" : ""));
    });
    ASSERT_TRUE(receiver);
    store(*connection, make("berth.cmd.svc.do", "term", "id-1"));
    store(*connection, make("berth.cmd.svc.do", "nak", "id-2"));
    ASSERT_TRUE(tally.wait([](const auto& counts) {
        return counts.contains("nak again") &&
               (counts.contains("term") || counts.contains("term again"));
    }));
}

TEST_P(BusContract, ADroppedDeliveryIsHandedBack) {
    const auto connection = world_->connect("a");
    Tally tally;
    auto receiver = connection->consume(consumer(), [&tally](Delivery delivery) {
        tally.add(delivery.delivered() > 1 ? "again" : "first");
        if (delivery.delivered() > 1) delivery.ack();
    });
    ASSERT_TRUE(receiver);
    store(*connection, make("berth.cmd.svc.do", "x", "id-1"));
    ASSERT_TRUE(tally.wait([](const auto& counts) { return counts.contains("again"); }));
}

TEST_P(BusContract, ASlowHandlerKeepsItsMessage) {
    if (faulty()) GTEST_SKIP() << "faults redeliver on purpose";
    const auto connection = world_->connect("a");
    Tally tally;
    std::mutex mutex;
    std::condition_variable never;
    auto receiver = connection->consume(consumer(), [&](Delivery delivery) {
        // Three times the durable's ack_wait of one second: only the keep-alive prevents a second
        // delivery.
        std::unique_lock lock(mutex);
        never.wait_for(lock, seconds{3});
        tally.add("done");
        delivery.ack();
    });
    ASSERT_TRUE(receiver);
    store(*connection, make("berth.cmd.svc.do", "x", "id-1"));
    ASSERT_TRUE(tally.wait([](const auto& counts) { return counts.contains("done"); }));
    (*receiver)->stop();
    EXPECT_EQ(connection->stats().redelivered, 0U);
}

TEST_P(BusContract, TwoConsumersShareTheWorkAndStoppingOneLosesNothing) {
    const auto first = world_->connect("a");
    const auto second = world_->connect("b");
    Tally tally;
    const auto handler = [&tally](Delivery delivery) {
        tally.add(delivery.message().payload);
        delivery.ack();
    };
    auto one = first->consume(consumer(), handler);
    auto two = second->consume(consumer(), handler);
    ASSERT_TRUE(one && two);
    for (int i = 0; i < 300; ++i) {
        store(*first, make("berth.cmd.svc.do", std::to_string(i), "id-" + std::to_string(i)));
        if (i == 150) (*one)->stop();
    }
    ASSERT_TRUE(tally.wait_distinct(300));
}

TEST_P(BusContract, AReaderSeesEveryMessageOfItsFilterInOrder) {
    const auto connection = world_->connect("a");
    for (int i = 0; i < 200; ++i)
        store(
            *connection,
            make(
                "berth.evt.org.svc.noun.fact." + std::to_string(i % 2),
                std::to_string(i),
                "id-" + std::to_string(i)
            )
        );
    Tally tally;
    auto reader = connection->read(
        {"EVT", "berth.evt.org.svc.noun.fact.1", 1, 8, 1U << 20U},
        [&tally](ReadMessage message) {
            tally.add(message.message.payload);
            return true;
        }
    );
    ASSERT_TRUE(reader);
    store(*connection, make("berth.evt.org.svc.noun.fact.1", "201", "id-201"));
    ASSERT_TRUE(tally.wait_distinct(101));
    (*reader)->stop();
    std::vector<std::string> expected;
    for (int i = 1; i < 200; i += 2) expected.push_back(std::to_string(i));
    expected.emplace_back("201");
    EXPECT_EQ(tally.order(), expected);
}

TEST_P(BusContract, AnAskIsAnsweredARefusalIsAnError) {
    const auto server = world_->connect("svc");
    const auto client = world_->connect("cli");
    const auto service = answering_service(*server);
    auto asker = Asker::create(*client, {"cli", "one", milliseconds{200}});
    ASSERT_TRUE(asker);
    for (int i = 0; i < 50; ++i) {
        const auto answer =
            (*asker)->ask_wait({"berth.cmd.svc.do", "t.T", std::to_string(i), {}, {}, kPatience});
        ASSERT_TRUE(answer) << answer.error().describe();
        EXPECT_EQ(answer->payload, "re:" + std::to_string(i));
    }
    const auto refused =
        (*asker)->ask_wait({"berth.cmd.svc.do", "t.T", "refuse", {}, {}, kPatience});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "no_way");
    EXPECT_EQ(refused.error().fault, Fault::kConflict);
}

TEST_P(BusContract, EqualCommandIdsEachGetTheirAnswer) {
    const auto server = world_->connect("svc");
    const auto client = world_->connect("cli");
    const auto service = answering_service(*server);
    auto asker = Asker::create(*client, {"cli", "one", milliseconds{200}});
    ASSERT_TRUE(asker);
    Tally tally;
    const std::string id = make_ulid(Clock::system().now(), Random::system());
    for (int i = 0; i < 10; ++i) {
        (*asker)->ask(
            {"berth.cmd.svc.do", "t.T", "same", id, {}, kPatience},
            [&tally, i](Result<Answer> answer) {
                tally.add(
                    std::to_string(i) + (answer ? answer->payload : answer.error().describe())
                );
            }
        );
    }
    ASSERT_TRUE(tally.wait_distinct(10));
    for (const auto& [what, count] : tally.counts())
        EXPECT_TRUE(what.ends_with("re:same") && count == 1) << what;
}

TEST_P(BusContract, AForgedReplyIsNotBelieved) {
    const auto forger = world_->connect("forger");
    const auto client = world_->connect("cli");
    auto asker = Asker::create(*client, {"cli", "one", milliseconds{200}});
    ASSERT_TRUE(asker);
    // It hears the command and answers in another service's name, and as another machine.
    auto receiver = forger->consume(consumer(), [&forger](Delivery delivery) {
        const Message& command = delivery.message();
        for (const char* replier : {"other", "node"}) {
            Message reply = make(
                reply_subject(command.header(kReplyTo), replier, "m_2", command.header(kCeId)),
                "forged",
                std::string(command.header(kMsgId)) + replier
            );
            reply.headers.emplace_back(kCausationId, std::string(command.header(kMsgId)));
            (void)forger->publish_wait(std::move(reply), seconds{1});
        }
        delivery.ack();
    });
    ASSERT_TRUE(receiver);
    const auto answer = (*asker)->ask_wait({"berth.cmd.svc.do", "t.T", "x", {}, {}, seconds{2}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().fault, Fault::kDeadline);
}

TEST_P(BusContract, NobodyThereIsADeadlineThatSaysSo) {
    const auto client = world_->connect("cli");
    auto asker = Asker::create(*client, {"cli", "one", milliseconds{100}});
    ASSERT_TRUE(asker);
    const auto answer =
        (*asker)->ask_wait({"berth.cmd.svc.do", "t.T", "x", {}, {}, milliseconds{500}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, "no_answer");
}

/// One side of a channel that echoes or collects.
struct Collector {
    Guarded<std::string> bytes;
    Completion<int> closed;
    std::unique_ptr<ByteChannel> channel;
    std::mutex opening;  // held until `channel` is set, and by callbacks that use it: they may come
                         // before open() returned

    ByteChannel& open() {
        const std::lock_guard lock(opening);
        return *channel;
    }
};

TEST_P(BusContract, AByteChannelCarriesBothStreamsWholeAndTellsTheExitCode) {
    const auto left = world_->connect("left");
    const auto right = world_->connect("right");
    Collector a;
    Collector b;
    std::string text;
    for (int i = 0; i < 300'000; ++i) text += std::to_string(i);
    std::size_t sent = 0;
    std::mutex pumping;
    const auto pump = [&] {
        const std::lock_guard lock(pumping);
        if (!a.channel) return;
        for (std::size_t taken = 1; taken > 0 && sent < text.size(); sent += taken)
            taken = a.channel->send(std::string_view(text).substr(sent, 100'000));
        if (sent == text.size()) a.channel->finish();
    };
    ByteChannel::Events a_events;
    a_events.on_writable = pump;
    a_events.on_data = [&a](std::string_view bytes) {
        a.bytes.lock()->append(bytes);
        a.open().consume(bytes.size());
    };
    a_events.on_closed = [&a](Result<void> result, int code) {
        a.closed.set(result ? Result<int>(code) : Result<int>(result.error()));
    };
    ByteChannel::Events b_events;
    b_events.on_data = [&b](std::string_view bytes) {
        b.bytes.lock()->append(bytes);
        b.open().consume(bytes.size());
    };
    b_events.on_eof = [&b] {
        (void)b.open().send("bye");
        b.open().finish(42);
    };
    b_events.on_closed = [&b](Result<void> result, int code) {
        b.closed.set(result ? Result<int>(code) : Result<int>(result.error()));
    };
    // The left side opens and sends before the right one is there.
    {
        const std::scoped_lock lock(pumping, a.opening);
        auto opened = ByteChannel::open(
            *left,
            {"berth.io.m.c.in", "berth.io.m.c.out", milliseconds{50}, milliseconds{60'000}},
            a_events
        );
        ASSERT_TRUE(opened);
        a.channel = std::move(*opened);
    }
    pump();
    {
        const std::lock_guard lock(b.opening);
        auto opened = ByteChannel::open(
            *right,
            {"berth.io.m.c.out", "berth.io.m.c.in", milliseconds{50}, milliseconds{60'000}},
            b_events
        );
        ASSERT_TRUE(opened);
        b.channel = std::move(*opened);
    }
    const auto code = a.closed.wait_until(std::chrono::steady_clock::now() + kPatience);
    ASSERT_TRUE(code.has_value());
    ASSERT_TRUE(*code) << code->error().describe();
    EXPECT_EQ(**code, 42);
    EXPECT_EQ(*a.bytes.lock(), "bye");
    EXPECT_TRUE(*b.bytes.lock() == text);
    a.channel.reset();
    b.channel.reset();
}

// libnats 3.4 goes on with a subscription that another thread may be freeing: what comes meanwhile
// must not find it gone. Two threads subscribe and end as fast as they can while a third publishes.
TEST_P(BusContract, SubscribersMayEndWhileTheirMessagesCome) {
    constexpr int kRounds = 100;
    const auto speaker = world_->connect("speaker");
    const auto hearer = world_->connect("hearer");
    std::atomic<bool> over{false};
    std::atomic<int> heard{0};
    std::thread speaking([&] {
        while (!over)
            EXPECT_TRUE(speaker->publish_plain("berth.live.node.m", std::string(512, 'x')));
    });
    std::vector<std::thread> ending;
    for (int i = 0; i < 2; ++i) {
        ending.emplace_back([&] {
            for (int round = 0; round < kRounds; ++round) {
                const int before = heard;
                auto receiver = hearer->subscribe("berth.live.node.*", [&](Message) { ++heard; });
                ASSERT_TRUE(receiver);
                // Not before something came: it is in the middle of a stream of messages.
                while (heard == before) std::this_thread::yield();
            }
        });
    }
    for (std::thread& thread : ending) thread.join();
    over = true;
    speaking.join();
    EXPECT_GE(heard, kRounds);
}

INSTANTIATE_TEST_SUITE_P(
    Both,
    BusContract,
    ::testing::Values(Kind::kNats, Kind::kTls, Kind::kMemory, Kind::kBadMemory),
    [](const auto& parameter) {
        return std::string(
            parameter.param == Kind::kNats     ? "Nats"
            : parameter.param == Kind::kTls    ? "NatsWithTls"
            : parameter.param == Kind::kMemory ? "Memory"
                                               : "MemoryWithFaults"
        );
    }
);

}  // namespace
}  // namespace berth::bus
