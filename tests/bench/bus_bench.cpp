// SPDX-License-Identifier: Apache-2.0
// Command to reply: libs/bus against a bare libnats program that makes the same JetStream calls, in
// turns, in one run on one server. Prints a line per case and the ratios that the README quotes.
#include <nats/nats.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "bus/asker.hpp"
#include "core/id.hpp"
#include "support/nats/nats_server.hpp"

namespace berth::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Outcome {
    double p50_us = 0;
    double p99_us = 0;
    double per_second = 0;
    double cpu_us = 0;  // of this process, both ends, per command
};

double process_cpu_us() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/// Keeps `concurrency` asks open until `total` are answered. `ask(done)` starts one.
Outcome drive(int concurrency, int total, const std::function<void(std::function<void()>)>& ask) {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<double> times;
    times.reserve(static_cast<std::size_t>(total));
    int open = 0;
    int started = 0;
    const auto began = Clock::now();
    const double cpu = process_cpu_us();
    std::unique_lock lock(mutex);
    while (static_cast<int>(times.size()) < total) {
        while (open < concurrency && started < total) {
            ++open;
            ++started;
            lock.unlock();
            const auto from = Clock::now();
            ask([&, from] {
                const double micros =
                    std::chrono::duration<double, std::micro>(Clock::now() - from).count();
                const std::lock_guard inner(mutex);
                times.push_back(micros);
                --open;
                changed.notify_one();
            });
            lock.lock();
        }
        changed.wait(lock, [&] {
            return static_cast<int>(times.size()) == total ||
                   (open < concurrency && started < total);
        });
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    std::sort(times.begin(), times.end());
    return {
        times[times.size() / 2],
        times[times.size() * 99 / 100],
        total / seconds,
        (process_cpu_us() - cpu) / total};
}

void must(natsStatus status, const char* what) {
    if (status == NATS_OK) return;
    std::fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
    std::exit(1);
}

/// The peer: libnats and nothing else. Credit pull on a plain inbox, the reply published with a
/// reply inbox of its own, the command acked when the reply's PubAck comes, replies heard by a
/// plain subscription. The messages carry the same headers: what is compared is the calls.
class Bare {
public:
    Bare(const std::string& url, bool send_asap) {
        server_ = open(url, send_asap);
        client_ = open(url, send_asap);
        must(
            natsConnection_Subscribe(&acks_, server_, "_INBOX.bare.ack.*", on_reply_stored, this),
            "subscribe"
        );
        must(
            natsConnection_Subscribe(&commands_, server_, "_INBOX.bare.cmd", on_command, this),
            "subscribe"
        );
        must(
            natsConnection_Subscribe(&stored_, client_, "_INBOX.bare.pub.*", on_ignored, this),
            "subscribe"
        );
        must(
            natsConnection_Subscribe(&replies_, client_, "berth.rpl.bare.>", on_reply, this),
            "subscribe"
        );
        natsConnection_Flush(server_);
        natsConnection_Flush(client_);
        pull(256);
    }
    ~Bare() {
        for (natsSubscription* sub : {acks_, commands_, stored_, replies_})
            natsSubscription_Destroy(sub);
        for (natsConnection* connection : {server_, client_}) natsConnection_Destroy(connection);
    }

    void ask(std::function<void()> done) {
        std::uint64_t id = 0;
        {
            const std::lock_guard lock(mutex_);
            id = next_++;
            open_[id % kSlots] = std::move(done);
        }
        const std::string key = std::to_string(id);
        natsMsg* message = nullptr;
        natsMsg_Create(
            &message,
            "berth.cmd.bare.do",
            ("_INBOX.bare.pub." + key).c_str(),
            "payload of some fifty bytes, like a real command",
            48
        );
        // The headers that Berth's subjects ask for, whoever publishes.
        natsMsgHeader_Set(message, "Nats-Msg-Id", (prefix_ + key).c_str());
        natsMsgHeader_Set(message, "ce-specversion", "1.0");
        natsMsgHeader_Set(message, "ce-id", key.c_str());
        natsMsgHeader_Set(message, "ce-type", "berth.bench.Do");
        natsMsgHeader_Set(message, "ce-source", "berth/bare/one");
        natsMsgHeader_Set(message, "ce-replyto", "berth.rpl.bare.one");
        natsMsgHeader_Set(message, "ce-deadline", "2030-01-01T00:00:00.000Z");
        must(natsConnection_PublishMsg(client_, message), "publish");
        natsMsg_Destroy(message);
    }

private:
    static constexpr std::size_t kSlots = 4'096;

    static natsConnection* open(const std::string& url, bool send_asap) {
        natsOptions* options = nullptr;
        natsOptions_Create(&options);
        natsOptions_SetURL(options, url.c_str());
        natsOptions_SetSendAsap(options, send_asap);
        natsConnection* connection = nullptr;
        must(natsConnection_Connect(&connection, options), "connect");
        natsOptions_Destroy(options);
        return connection;
    }
    void pull(int batch) {
        const std::string body =
            "{\"batch\":" + std::to_string(batch) + ",\"expires\":30000000000}";
        must(
            natsConnection_PublishRequestString(
                server_, "$JS.API.CONSUMER.MSG.NEXT.BARE.bare", "_INBOX.bare.cmd", body.c_str()
            ),
            "pull"
        );
        credit_ = batch;
    }
    static void on_command(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
        auto& self = *static_cast<Bare*>(closure);
        const char* id = nullptr;
        const char* reply_to = nullptr;
        if (natsMsgHeader_Get(message, "ce-id", &id) != NATS_OK ||
            natsMsgHeader_Get(message, "ce-replyto", &reply_to) != NATS_OK) {
            natsMsg_Destroy(message);
            return;
        }
        std::uint64_t slot = 0;
        {
            const std::lock_guard lock(self.mutex_);
            slot = self.reply_next_++;
            self.ack_subjects_[slot % kSlots] = natsMsg_GetReply(message);
        }
        natsMsg* reply = nullptr;
        natsMsg_Create(
            &reply,
            (std::string(reply_to) + ".bare.one." + id).c_str(),
            ("_INBOX.bare.ack." + std::to_string(slot)).c_str(),
            natsMsg_GetData(message),
            natsMsg_GetDataLength(message)
        );
        natsMsgHeader_Set(reply, "Nats-Msg-Id", (self.prefix_ + "r" + id).c_str());
        natsMsgHeader_Set(reply, "ce-id", id);
        natsMsgHeader_Set(reply, "ce-causationid", id);
        natsMsgHeader_Set(reply, "berth-status", "ok");
        natsConnection_PublishMsg(self.server_, reply);
        natsMsg_Destroy(reply);
        natsMsg_Destroy(message);
        if (--self.credit_ <= 128) self.pull(256);
    }
    static void on_reply_stored(
        natsConnection*, natsSubscription*, natsMsg* message, void* closure
    ) {
        auto& self = *static_cast<Bare*>(closure);
        const std::uint64_t slot = std::strtoull(
            natsMsg_GetSubject(message) + std::strlen("_INBOX.bare.ack."), nullptr, 10
        );
        std::string ack;
        {
            const std::lock_guard lock(self.mutex_);
            ack.swap(self.ack_subjects_[slot % kSlots]);
        }
        natsConnection_PublishString(self.server_, ack.c_str(), "+ACK");
        natsMsg_Destroy(message);
    }
    static void on_reply(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
        auto& self = *static_cast<Bare*>(closure);
        const std::uint64_t id =
            std::strtoull(std::strrchr(natsMsg_GetSubject(message), '.') + 1, nullptr, 10);
        std::function<void()> done;
        {
            const std::lock_guard lock(self.mutex_);
            done.swap(self.open_[id % kSlots]);
        }
        natsMsg_Destroy(message);
        if (done) done();
    }
    static void on_ignored(natsConnection*, natsSubscription*, natsMsg* message, void*) {
        natsMsg_Destroy(message);
    }

    natsConnection* server_ = nullptr;
    natsConnection* client_ = nullptr;
    natsSubscription* acks_ = nullptr;
    natsSubscription* commands_ = nullptr;
    natsSubscription* stored_ = nullptr;
    natsSubscription* replies_ = nullptr;
    const std::string prefix_ = make_ulid(berth::Clock::system().now(), Random::system()) + "/";
    std::mutex mutex_;
    std::vector<std::function<void()>> open_{kSlots};
    std::vector<std::string> ack_subjects_{kSlots};
    std::uint64_t next_ = 1;
    std::uint64_t reply_next_ = 1;
    int credit_ = 0;  // the command callback's thread, after the constructor
};

/// The same through libs/bus.
class Through {
public:
    explicit Through(const std::string& url) {
        server_ = connect(url, "server");
        client_ = connect(url, "client");
        asker_ = std::move(bus::Asker::create(*client_, {"through", "one", seconds{30}}).value());
        receiver_ = std::move(
            server_
                ->consume(
                    {"THROUGH", "through", 0, 256, milliseconds{30'000}},
                    [this](bus::Delivery delivery) {
                        const bus::Message& command = delivery.message();
                        bus::Message reply;
                        reply.subject = bus::reply_subject(
                            command.header(bus::kReplyTo),
                            "through",
                            "one",
                            command.header(bus::kCeId)
                        );
                        const std::string cause(command.header(bus::kMsgId));
                        reply.headers = {
                            {std::string(bus::kMsgId), cause + "/r"},
                            {std::string(bus::kCeId), std::string(command.header(bus::kCeId))},
                            {std::string(bus::kCausationId), cause},
                            {std::string(bus::kStatus), "ok"}};
                        reply.payload = command.payload;
                        auto held = std::make_shared<bus::Delivery>(std::move(delivery));
                        server_->publish(std::move(reply), [held](Result<bus::PubAck> stored) {
                            if (stored) held->ack();
                        });
                    }
                )
                .value()
        );
    }
    ~Through() {
        receiver_.reset();
        asker_.reset();
    }

    void ask(std::function<void()> done) {
        bus::Ask ask;
        ask.subject = "berth.cmd.through.do";
        ask.type = "berth.bench.Do";
        ask.payload = "payload of some fifty bytes, like a real command";
        ask.timeout = seconds{20};
        asker_->ask(std::move(ask), [done = std::move(done)](Result<bus::Answer> answer) {
            if (!answer)
                std::fprintf(stderr, "an ask failed: %s\n", answer.error().describe().c_str());
            done();
        });
    }

private:
    static std::unique_ptr<bus::Connection> connect(
        const std::string& url, const std::string& name
    ) {
        bus::ConnectSettings settings;
        settings.url = url;
        settings.name = name;
        settings.inbox_prefix = "_INBOX." + name;
        return std::move(bus::connect(std::move(settings)).value());
    }
    std::unique_ptr<bus::Connection> server_;
    std::unique_ptr<bus::Connection> client_;
    std::unique_ptr<bus::Asker> asker_;
    std::unique_ptr<bus::Receiver> receiver_;
};

/// What JetStream costs at all: a plain request and reply.
Outcome core_request(const std::string& url, int total) {
    natsOptions* options = nullptr;
    natsOptions_Create(&options);
    natsOptions_SetURL(options, url.c_str());
    natsOptions_SetSendAsap(options, true);
    natsConnection* connection = nullptr;
    must(natsConnection_Connect(&connection, options), "connect");
    natsConnection* responder = nullptr;
    must(natsConnection_Connect(&responder, options), "connect");
    natsOptions_Destroy(options);
    natsSubscription* sub = nullptr;
    must(
        natsConnection_Subscribe(
            &sub,
            responder,
            "core.do",
            [](natsConnection* nc, natsSubscription*, natsMsg* message, void*) {
                natsConnection_Publish(
                    nc,
                    natsMsg_GetReply(message),
                    natsMsg_GetData(message),
                    natsMsg_GetDataLength(message)
                );
                natsMsg_Destroy(message);
            },
            nullptr
        ),
        "subscribe"
    );
    natsConnection_Flush(responder);
    const Outcome outcome = drive(1, total, [&](const std::function<void()>& done) {
        natsMsg* reply = nullptr;
        must(
            natsConnection_RequestString(&reply, connection, "core.do", "payload", 5'000), "request"
        );
        natsMsg_Destroy(reply);
        done();
    });
    natsSubscription_Destroy(sub);
    natsConnection_Destroy(responder);
    natsConnection_Destroy(connection);
    return outcome;
}

void create_streams(const std::string& url) {
    bus::ConnectSettings settings;
    settings.url = url;
    const auto admin = std::move(bus::connect(std::move(settings)).value());
    for (const char* who : {"BARE", "THROUGH"}) {
        std::string lower(who);
        std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
        (void)admin
            ->request(
                "$JS.API.STREAM.CREATE." + std::string(who),
                "{\"name\":\"" + std::string(who) + "\",\"subjects\":[\"berth.cmd." + lower +
                    ".>\"],\"retention\":\"workqueue\",\"storage\":\"file\",\"num_replicas\":1}",
                seconds{5}
            )
            .value();
        (void)admin
            ->request(
                "$JS.API.CONSUMER.DURABLE.CREATE." + std::string(who) + "." + lower,
                "{\"stream_name\":\"" + std::string(who) + "\",\"config\":{\"durable_name\":\"" +
                    lower +
                    "\",\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,\"max_ack_pending\":"
                    "1024,\"filter_subject\":\"berth.cmd." +
                    lower + ".>\"}}",
                seconds{5}
            )
            .value();
    }
    (void)admin
        ->request(
            "$JS.API.STREAM.CREATE.RPL",
            R"({"name":"RPL","subjects":["berth.rpl.>"],"storage":"memory","max_age":600000000000,"num_replicas":1})",
            seconds{5}
        )
        .value();
}

Outcome median(std::vector<Outcome> outcomes) {
    std::sort(outcomes.begin(), outcomes.end(), [](const Outcome& a, const Outcome& b) {
        return a.p50_us < b.p50_us;
    });
    return outcomes[outcomes.size() / 2];
}

void print(const char* name, int concurrency, const Outcome& outcome) {
    std::printf(
        "%-28s concurrency %3d  p50 %7.0f us  p99 %7.0f us  %7.0f/s  client CPU %5.1f us\n",
        name,
        concurrency,
        outcome.p50_us,
        outcome.p99_us,
        outcome.per_second,
        outcome.cpu_us
    );
    std::fflush(stdout);
}

int profile() {
    testing::NatsServer server = testing::NatsServer::start();
    create_streams(server.url());
    Through bus(server.url());
    print("through libs/bus", 128, drive(128, 100'000, [&](std::function<void()> done) {
              bus.ask(std::move(done));
          }));
    return 0;
}

int run() {
    testing::NatsServer server = testing::NatsServer::start();
    create_streams(server.url());
    constexpr int kRounds = 5;
    constexpr int kOne = 1'500;
    constexpr int kMany = 15'000;
    for (const int concurrency : {1, 128}) {
        std::vector<Outcome> asap, flusher, through;
        const int total = concurrency == 1 ? kOne : kMany;
        for (int round = 0; round < kRounds; ++round) {  // in turns: the machine's mood is shared
            {
                Bare bare(server.url(), true);
                asap.push_back(drive(concurrency, total, [&](std::function<void()> done) {
                    bare.ask(std::move(done));
                }));
            }
            if (concurrency > 1) {
                Bare bare(server.url(), false);
                flusher.push_back(drive(concurrency, total, [&](std::function<void()> done) {
                    bare.ask(std::move(done));
                }));
            }
            Through bus(server.url());
            through.push_back(drive(concurrency, total, [&](std::function<void()> done) {
                bus.ask(std::move(done));
            }));
        }
        Outcome bare = median(asap);
        print("bare libnats, SendAsap", concurrency, bare);
        if (concurrency > 1) {
            const Outcome other = median(flusher);
            print("bare libnats, flusher", concurrency, other);
            if (other.per_second > bare.per_second) bare = other;
        }
        const Outcome ours = median(through);
        print("through libs/bus", concurrency, ours);
        std::printf(
            "ratio at %d: p50 %.2f x, throughput %.2f x of the better bare program\n",
            concurrency,
            ours.p50_us / bare.p50_us,
            ours.per_second / bare.per_second
        );
    }
    const Outcome core = core_request(server.url(), kOne);
    print("core NATS request", 1, core);
    return 0;
}

}  // namespace
}  // namespace berth::bench

// With the argument `profile` only libs/bus runs, at 128: for a profiler.
int main(int argc, char** argv) {
    const bool profile = argc > 1 && std::strcmp(argv[1], "profile") == 0;
    return profile ? berth::bench::profile() : berth::bench::run();
}
