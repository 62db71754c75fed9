// SPDX-License-Identifier: Apache-2.0
// The suite's numbers, each beside its limit or its peer in the same run: heartbeats and
// acquisitions through HTTP, the warm loop against rsync and ssh by hand, 1 GiB of output against
// bare libnats, memory and start. usage: suite_bench [heartbeat] [acquire] [pool] [fleet] [expiry]
// [warm] [output] [idle] [decide] (none: all)
#include <nats/nats.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "core/random.hpp"
#include "load.hpp"
#include "support/nats/nats_server.hpp"

namespace berth::bench {
namespace {

// ---- the warm loop
// -------------------------------------------------------------------------------------

/// An sshd of our own on loopback, with a key of its own.
class Sshd {
public:
    explicit Sshd(const fs::path& folder) : folder_(folder) {
        fs::create_directories(folder);
        testing::shell(
            folder,
            "ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f key && cp "
            "key.pub authorized && chmod 600 authorized && mkdir -p /run/sshd"
        );
        port_ = 20'000 + static_cast<int>(Random::system().below(20'000));
        std::ofstream(folder / "sshd_config")
            << "Port " << port_ << "\nListenAddress 127.0.0.1\nHostKey "
            << (folder / "host").string() << "\nAuthorizedKeysFile "
            << (folder / "authorized").string()
            << "\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n";
        server_ = testing::launch(
            {"/usr/sbin/sshd", "-D", "-e", "-f", (folder / "sshd_config").string()},
            "/",
            {{"PATH", std::getenv("PATH")}},
            true
        );
        const Steady::time_point until = Steady::now() + seconds{5};
        for (bool up = false;
             !up && Steady::now() < until;) {  // it listens a moment after it started
            const Said said =
                testing::launch(
                    {"/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(port_)},
                    "/",
                    {{"PATH", std::getenv("PATH")}},
                    true
                )
                    ->finish();
            up = said.exit_code == 0;
        }
        options_ = "-p " + std::to_string(port_) + " -i " + (folder / "key").string() +
                   " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    }
    ~Sshd() { server_->signal(SIGTERM); }
    Sshd(const Sshd&) = delete;
    Sshd& operator=(const Sshd&) = delete;
    std::string options() const { return options_; }
    std::string multiplexed() const {
        return options_ + " -o ControlMaster=auto -o ControlPersist=60 -o ControlPath=" +
               (folder_ / "mux").string();
    }
    const fs::path& folder() const { return folder_; }

private:
    fs::path folder_;
    int port_ = 0;
    std::string options_;
    std::unique_ptr<testing::Running> server_;
};

double median_ms(int times, const std::function<void()>& action) {
    std::vector<double> all;
    for (int i = 0; i < times; ++i) {
        const auto from = Steady::now();
        action();
        all.push_back(since(from) * 1e3);
    }
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
}

void bench_warm() {
    Suite suite;
    const fs::path tree = suite.folder() / "big";
    fs::create_directories(tree);
    testing::shell(
        tree,
        "git init -q . && for d in $(seq 50); do mkdir d$d && for f in $(seq 100); do echo $d $f > "
        "d$d/f$f; done; done && git config user.email t@example.org && git config user.name T && "
        "git add . && git commit -qm c"
    );
    const std::string lease = acquire(suite, "default");
    Suite::CommandOptions options;
    options.cwd = tree;
    const auto berth_run = [&] {
        const Said said = suite.berth({"run", "--lease", lease, "--", "true"}, options);
        if (said.exit_code != 0) throw std::runtime_error(said.err);
    };
    berth_run();
    Sshd sshd(suite.folder() / "ssh");
    const std::string target = (suite.folder() / "copy").string();
    const auto by_hand = [&](const std::string& ssh) {
        testing::shell(
            tree,
            "rsync -a --delete -e 'ssh " + ssh + "' ./ root@127.0.0.1:" + target + "/ && ssh " +
                ssh + " root@127.0.0.1 true"
        );
    };
    by_hand(sshd.multiplexed());
    const double plain_sh = median_ms(10, [&] { testing::shell(tree, "true"); });
    std::vector<double> ours, hand;
    for (int round = 0; round < 5; ++round) {  // in turns
        ours.push_back(median_ms(5, berth_run));
        hand.push_back(median_ms(5, [&] { by_hand(sshd.multiplexed()); }));
    }
    std::sort(ours.begin(), ours.end());
    std::sort(hand.begin(), hand.end());
    const double plain = median_ms(5, [&] { by_hand(sshd.options()); });
    std::printf(
        "warm loop, 5,000 files unchanged: berth run -- true %.1f ms; rsync + ssh over a "
        "ControlMaster %.1f ms (of it %.1f ms is starting sh); plain ssh %.1f ms\n",
        ours[2],
        hand[2],
        plain_sh,
        plain
    );
    std::printf(
        "warm loop: %.2f x of the multiplexed hand loop (limit 0.33 x), %.3f x of the plain one "
        "(limit 0.067 x)\n",
        ours[2] / hand[2],
        ours[2] / plain
    );
    testing::shell(
        "/", "ssh " + sshd.multiplexed() + " -O exit root@127.0.0.1 2>/dev/null || true"
    );
    (void)suite.api("POST", "/v1/leases/" + lease + "/release");
}

// ---- output
// --------------------------------------------------------------------------------------------

constexpr std::uint64_t kGiB = 1ULL << 30U;

long resident_kb(pid_t pid, const char* key) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    std::string line;
    while (std::getline(status, line)) {
        if (line.starts_with(key)) return std::strtol(line.c_str() + std::strlen(key), nullptr, 10);
    }
    return 0;
}

/// Publisher, file stream and reader with libnats alone: 64 KiB messages, 64 in flight.
double bare_output() {
    testing::NatsServer server = testing::NatsServer::start();
    natsConnection* out = nullptr;
    natsConnection* in = nullptr;
    natsConnection_ConnectTo(&out, server.url().c_str());
    natsConnection_ConnectTo(&in, server.url().c_str());
    natsMsg* answer = nullptr;
    natsConnection_RequestString(
        &answer,
        out,
        "$JS.API.STREAM.CREATE.O",
        R"({"name":"O","subjects":["o.>"],"storage":"file","num_replicas":1})",
        5'000
    );
    natsMsg_Destroy(answer);
    natsConnection_RequestString(
        &answer,
        in,
        "$JS.API.CONSUMER.DURABLE.CREATE.O.r",
        R"({"stream_name":"O","config":{"durable_name":"r","ack_policy":"none","max_waiting":512}})",
        5'000
    );
    natsMsg_Destroy(answer);
    constexpr std::size_t kPiece = 64U << 10U;
    constexpr std::uint64_t kPieces = kGiB / kPiece;
    std::atomic<std::uint64_t> acked{0};
    natsSubscription* acks = nullptr;
    natsConnection_Subscribe(
        &acks,
        out,
        "_INBOX.acks",
        [](natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
            ++*static_cast<std::atomic<std::uint64_t>*>(closure);
            natsMsg_Destroy(message);
        },
        &acked
    );
    const auto began = Steady::now();
    std::thread reader([&] {
        natsSubscription* sub = nullptr;
        natsConnection_SubscribeSync(&sub, in, "_INBOX.read");
        std::uint64_t got = 0;
        std::uint64_t asked = 0;
        while (got < kPieces) {
            if (asked - got <= 32) {
                natsConnection_PublishRequestString(
                    in,
                    "$JS.API.CONSUMER.MSG.NEXT.O.r",
                    "_INBOX.read",
                    R"({"batch":64,"expires":30000000000})"
                );
                asked += 64;
            }
            natsMsg* message = nullptr;
            if (natsSubscription_NextMsg(&message, sub, 5'000) != NATS_OK) break;
            if (natsMsg_GetDataLength(message) > 0) ++got;
            natsMsg_Destroy(message);
        }
        natsSubscription_Destroy(sub);
    });
    const std::string piece(kPiece, 'x');
    for (std::uint64_t i = 0; i < kPieces; ++i) {
        while (i - acked.load() >= 64) std::this_thread::yield();
        natsConnection_PublishRequest(
            out, "o.x", "_INBOX.acks", piece.data(), static_cast<int>(piece.size())
        );
    }
    reader.join();
    const double seconds = since(began);
    natsSubscription_Destroy(acks);
    natsConnection_Destroy(out);
    natsConnection_Destroy(in);
    return static_cast<double>(kGiB) / 1e6 / seconds;
}

void bench_output() {
    const double bare = bare_output();
    std::printf("1 GiB bare libnats publisher -> stored stream -> reader: %.0f MB/s\n", bare);
    std::fflush(stdout);
    Suite suite({"profiles:\n  default: {driver: local, output_cap: 2GiB}\n"});
    const std::string lease = acquire(suite, "default");
    const std::string machine =
        Json::parse(suite.api("GET", "/v1/leases/" + lease).body).value().string_or("machine", "");
    const pid_t gateway = suite.pid("gateway");
    const std::string node_text =
        read_file(suite.data() / "machines" / machine / "node" / "pid").value();
    const pid_t node = process::ProcessId::parse(node_text).value().pid;
    for (const bool stall : {false, true}) {
        process::Pipe pipe = process::make_pipe().value();
        process::SpawnSpec spec;
        spec.argv = {
            std::string(std::getenv("BERTH_BIN_DIR")) + "/berth",
            "run",
            "--no-sync",
            "--lease",
            lease,
            "--",
            "sh",
            "-c",
            "head -c 1073741824 /dev/zero"};
        spec.stdin_fd = process::kNull;
        spec.stdout_fd = pipe.write.get();
        spec.env = std::vector<std::string>{
            "PATH=" + std::string(std::getenv("PATH")),
            "HOME=" + suite.folder().string(),
            "BERTH_SERVER=" + suite.url(),
            "BERTH_TOKEN=" + suite.token(),
            "XDG_CONFIG_HOME=" + (suite.folder() / "config").string()};
        spec.cwd = suite.tree().string();
        const auto began = Steady::now();
        process::Child child = process::spawn(spec).value();
        pipe.write.reset();
        std::uint64_t got = 0;
        long most_gateway = 0;
        long most_node = 0;
        bool stalled = !stall;
        std::vector<char> buffer(1U << 20U);
        double paused = 0;
        for (;;) {
            const ssize_t count = ::read(pipe.read.get(), buffer.data(), buffer.size());
            if (count <= 0) break;
            got += static_cast<std::uint64_t>(count);
            if (!stalled && got > kGiB / 4) {
                stalled = true;
                const auto from = Steady::now();
                for (int i = 0; i < 100; ++i) {  // a reader that stops: ten seconds, watched
                    ::usleep(100'000);
                    most_gateway = std::max(most_gateway, resident_kb(gateway, "VmRSS:"));
                    most_node = std::max(most_node, resident_kb(node, "VmRSS:"));
                }
                paused = since(from);
            }
            if ((got >> 20U) % 32 == 0) {
                most_gateway = std::max(most_gateway, resident_kb(gateway, "VmRSS:"));
                most_node = std::max(most_node, resident_kb(node, "VmRSS:"));
            }
        }
        const double rate = static_cast<double>(got) / 1e6 / (since(began) - paused);
        const auto status = child.wait(seconds{30});
        std::printf(
            "1 GiB of output through Berth%s: %.0f MB/s (%.2f x of bare), %llu bytes, exit %d, "
            "gateway %ld MiB, node agent %ld MiB resident at most\n",
            stall ? ", reader stalled 10 s" : "",
            rate,
            rate / bare,
            static_cast<unsigned long long>(got),
            status ? status->code : -1,
            most_gateway / 1024,
            most_node / 1024
        );
        std::fflush(stdout);
    }
}

void bench_idle() {
    Suite suite;
    const std::string data = suite.data().string();
    (void)suite.berth({"run", "--no-sync", "--", "true"});
    ::sleep(3);
    for (const char* part : {"gateway", "lease", "prov", "run"}) {
        const pid_t pid = suite.pid(part);
        std::printf(
            "idle %-8s %5.1f MiB resident (limit 20; of it %.1f MiB its own, the rest shared "
            "libraries)\n",
            part,
            static_cast<double>(resident_kb(pid, "VmRSS:")) / 1024,
            static_cast<double>(resident_kb(pid, "RssAnon:")) / 1024
        );
    }
    const std::string port = suite.url().substr(suite.url().rfind(':') + 1);
    const double seconds = median_ms(3, [&] {
        (void)suite.berth({"down", "--data", data});
        const auto from = Steady::now();
        const Said said = suite.berth({"up", "--detach", "--data", data, "--port", port});
        std::printf(
            "berth up on prepared data, everything ready: %.2f s (limit 3), exit %d\n",
            since(from),
            said.exit_code
        );
    });
    (void)seconds;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
    const std::set<std::string> wanted(argv + 1, argv + argc);
    const auto want = [&wanted](const char* name) {
        return wanted.empty() || wanted.contains(name);
    };
    if (want("heartbeat") || want("acquire"))
        berth::bench::bench_leases(want("heartbeat"), want("acquire"));
    if (want("pool")) berth::bench::bench_pool();
    if (want("fleet")) berth::bench::bench_fleet();
    if (want("expiry")) berth::bench::bench_expiry();
    if (want("warm")) berth::bench::bench_warm();
    if (want("output")) berth::bench::bench_output();
    if (want("idle")) berth::bench::bench_idle();
    if (want("decide")) berth::bench::bench_decisions();
    return 0;
}
