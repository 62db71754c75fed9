// SPDX-License-Identifier: Apache-2.0
// Proves what a command cannot see, reach or leave behind, with real sandboxes.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "node_agent/test_machine.hpp"

namespace berth::node::testing {
namespace {

/// How many processes on this host have `mark` in their command line.
int marked_processes(const std::string& mark) {
    int count = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const auto line = read_file(entry.path() / "cmdline");
        if (line && line->find(mark) != std::string::npos) ++count;
    }
    return count;
}

TEST(Sandbox, HidesTheNodeOtherMachinesAndTheHost) {
    Machine machine;
    Machine other;
    BERTH_NEEDS_SANDBOX(machine);
    std::ofstream(machine.dir / "node/creds") << "SECRET-OF-THE-NODE";
    std::ofstream(other.dir / "workspace/file") << "SECRET-OF-ANOTHER";
    Reader& run = machine.finish(
        "a",
        "cat " + (machine.dir / "node/creds").string() + " " +
            (other.dir / "workspace/file").string() + " " +
            (machine.dir / "runs/a/launch").string() + "; ls -A / /etc /home /tmp " +
            machine.dir.string() + "; cat /etc/shadow; ls /proc | grep -c '^[0-9]'"
    );
    EXPECT_EQ(run.out().find("SECRET"), std::string::npos);
    EXPECT_EQ(run.out().find("BERTHRUN"), std::string::npos);
    EXPECT_EQ(run.out().find("shadow"), std::string::npos);
    EXPECT_EQ(run.out().find("creds"), std::string::npos);
    EXPECT_NE(run.out().find("workspace"), std::string::npos);
}

TEST(Sandbox, IsOfItsOwnUserHostNameAndProcessTree) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    Reader& run = machine.finish(
        "a",
        "id -un; id -u; hostname; cat /proc/1/comm; echo ~; grep -E '^(CapEff|CapBnd|NoNewPrivs)' "
        "/proc/self/status | tr -d '\\t'; "
        "echo x > /workspace/w && echo x > /tmp/t && echo x > ~/h && echo wrote; "
        "{ echo x > /usr/x; echo x > /etc/x; echo x > /x; echo x > /.berth/init; mkdir /opt/x; } "
        "2>/dev/null; "
        "ls -d /usr/x /etc/x /x /opt/x 2>/dev/null; kill -9 1; sleep 0.01; echo still"
    );
    EXPECT_EQ(
        run.out(),
        "berth\n1000\ncalm-otter\nberth-init\n/home/"
        "berth\nCapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nwrote\nstill\n"
    ) << run.err();
    struct stat info {};
    ASSERT_EQ(::stat((machine.dir / "workspace/w").c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, ::getuid());
}

TEST(Sandbox, ShowsTheHostsSettingsAsTheyAreNow) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    std::ofstream(machine.dir / "node/etc/protocols") << "of yesterday";
    ASSERT_TRUE(machine.sandbox->ensure());
    Reader& run =
        machine.finish("a", "cat /etc/protocols; test -d /etc/alternatives && echo folder");
    EXPECT_EQ(run.out(), read_file("/etc/protocols").value_or("") + "folder\n");
}

TEST(Sandbox, LeavesNoDescendantBehind) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    const std::string mark = "86399" + std::to_string(::getpid());  // a sleep nobody else sleeps
    machine.shell(
        "a",
        "(setsid sh -c 'trap \"\" HUP TERM INT; setsid sleep " + mark + " & sleep " + mark +
            "' &) ; (nohup sleep " + mark +
            " >/dev/null 2>&1 </dev/null &); while [ $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr "
            "'\\0' '\\n' | grep -c '^" +
            mark + "$') -lt 3 ]; do sleep 0.01; done; echo up; read x; exit 0"
    );
    Reader run(machine.folder("a"));
    // The read ends at once (no stdin): the command exits while three daemons live.
    ASSERT_TRUE(run.until_ended());
    EXPECT_EQ(run.out(), "up\n");
    EXPECT_EQ(run.exit().state, EndState::kSucceeded);
    EXPECT_EQ(marked_processes(mark), 0);
}

TEST(Sandbox, DiesWithItsSupervisor) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    const std::string mark = "86398" + std::to_string(::getpid());
    process::Child& supervisor =
        machine.shell("a", "setsid sleep " + mark + " & echo up; sleep " + mark);
    Reader run(machine.folder("a"));
    ASSERT_TRUE(run.until([&] { return run.out() == "up\n"; }));
    ASSERT_TRUE(eventually([&] { return marked_processes(mark) >= 2; }));
    supervisor.kill();
    EXPECT_TRUE(eventually([&] { return marked_processes(mark) == 0; }));
    EXPECT_FALSE(fs::exists(machine.folder("a") / "exit"));
}

TEST(Sandbox, ReachesNoNetworkOfTheHostAndSharesItsOwnLoopback) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    // A listener on the host's loopback that a sandbox must not reach.
    Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const std::string port = std::to_string(ntohs(address.sin_port));
    Reader& run = machine.finish(
        "a",
        "tail -n +3 /proc/net/dev | cut -d: -f1; (exec 3<>/dev/tcp/127.0.0.1/" + port +
            ") 2>/dev/null || bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + port + "' || echo refused"
    );
    EXPECT_NE(run.out().find("lo\n"), std::string::npos);
    EXPECT_EQ(run.out().find("eth"), std::string::npos);
    EXPECT_NE(run.out().find("refused"), std::string::npos);
    // Two runs at once see each other on the machine's loopback.
    Launch server = machine.launch_of(
        {"perl",
         "-MIO::Socket::INET",
         "-e",
         "$|=1; my $s=IO::Socket::INET->new(Listen=>1,LocalAddr=>'127.0.0.1',LocalPort=>7777) or "
         "die; print qq(up\\n); my $c=$s->accept; print $c qq(hi\\n); close $c"}
    );
    machine.start("b", server);
    Reader serving(machine.folder("b"));
    ASSERT_TRUE(serving.until([&] { return serving.out() == "up\n"; })) << serving.err();
    EXPECT_EQ(
        machine.finish("c", "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777; cat <&3'").out(), "hi\n"
    );
}

TEST(Sandbox, TheHolderSurvivesAndIsFoundAgainAndDestroyEndsIt) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    const auto first = machine.sandbox->ensure_holder();
    auto again = Sandbox::prepare({machine.dir, binary("berth-init"), "calm-otter", false});
    EXPECT_EQ(again->ensure_holder().value(), *first);
    ASSERT_TRUE(first->signal(SIGKILL));
    ASSERT_TRUE(first->wait_gone(kPatience));
    const auto second = again->ensure_holder();
    EXPECT_NE(second->pid, first->pid);
    ASSERT_TRUE(Sandbox::destroy(machine.dir));
    EXPECT_FALSE(second->alive());
}

TEST(Sandbox, ToolsSeeTheWorkspaceAndNothingElse) {
    Machine machine;
    BERTH_NEEDS_SANDBOX(machine);
    std::ofstream(machine.dir / "home/private") << "x";
    process::SpawnSpec spec;
    spec.argv = machine.sandbox->tool_command(
        {"/bin/sh",
         "-c",
         "pwd; ls -A /home/berth /tmp 2>/dev/null; cat /proc/net/dev | wc -l; touch here"}
    );
    spec.env = {{"PATH=/usr/bin:/bin"}};
    process::Pipe out = process::make_pipe().value();
    spec.stdout_fd = out.write.get();
    auto child = process::spawn(spec);
    out.write.reset();
    EXPECT_EQ(child->wait(kPatience)->code, 0);
    char text[256];
    const ssize_t got = ::read(out.read.get(), text, sizeof text);
    EXPECT_EQ(
        std::string(text, static_cast<std::size_t>(got > 0 ? got : 0)), "/workspace\n/tmp:\n3\n"
    );
    EXPECT_TRUE(fs::exists(machine.dir / "workspace/here"));
}

TEST(Network, IsRefusedWithTheRemedyWhereTunIsClosed) {
    if (::access("/dev/net/tun", R_OK | W_OK) == 0) GTEST_SKIP() << "/dev/net/tun is open here";
    Machine machine(true);
    ASSERT_FALSE(machine.sandbox);
    EXPECT_EQ(machine.sandbox.error().code, "network_unavailable");
    EXPECT_NE(machine.sandbox.error().message.find("chmod 0666 /dev/net/tun"), std::string::npos);
}

TEST(Network, IsFencedBeforeAnythingRuns) {
    if (::access("/dev/net/tun", R_OK | W_OK) != 0)
        GTEST_SKIP() << "NOTHING PROVEN: /dev/net/tun is closed to this user";
    Machine machine(true);
    ASSERT_TRUE(machine.sandbox) << machine.sandbox.error().describe();
    BERTH_NEEDS_SANDBOX(machine);
    Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const std::string port = std::to_string(ntohs(address.sin_port));
    Reader& run = machine.finish(
        "a",
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; gw=$(awk '$2==\"00000000\"{print $3}' "
        "/proc/net/route | head -1); echo gw=$gw; "
        "for a in 127.0.0.1 10.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 169.254.169.254; do timeout "
        "0.3 bash -c \"exec 3<>/dev/tcp/$a/" +
            port + "\" 2>/dev/null && echo REACHED $a; done; echo fin"
    );
    EXPECT_EQ(run.out().find("REACHED"), std::string::npos) << run.out();
    EXPECT_NE(run.out().find("fin"), std::string::npos);
    EXPECT_NE(run.out().find("gw=0"), 0U);
    const int flags = ::fcntl(listener.get(), F_GETFL);
    ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK);
    EXPECT_LT(::accept(listener.get(), nullptr, nullptr), 0) << "the sandbox reached the host";
}

}  // namespace
}  // namespace berth::node::testing
