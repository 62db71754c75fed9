// SPDX-License-Identifier: Apache-2.0
// The fence between two network namespaces: behind it a machine, before it a network in which all
// that a machine must not reach exists and answers.
#include "net/fence.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>

#include "process/spawn.hpp"

namespace berth::net {
namespace {

/// Neighbours, metadata of the clouds, carriers' and the host's own addresses.
constexpr const char* kInside =
    "10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 100.100.100.200 169.254.169.254 168.63.129.16 "
    "192.0.0.192 "
    "198.18.0.1 203.0.113.1 fd00:ec2::254 fc00::1 fec0::1 2002:a00:1::1 64:ff9b::a9fe:a9fe "
    "2001:db8:1::1";
constexpr const char* kPublic = "8.8.8.8 2001:4860:4860::8888";

/// $1: the rules, $2: what is inside, $3: what is public. Prints what was reached, without the
/// fence and with it.
constexpr const char* kScript = R"(set -e
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
mkfifo "$dir/made" "$dir/listening"
unshare -n sh -c 'echo made > "$0"; exec sleep 120' "$dir/made" & machine=$!
read -r _ < "$dir/made"
in_machine() { nsenter -t "$machine" -n "$@"; }
ip link set lo up
ip link add outside type veth peer name inside netns "$machine"
ip link set outside up
for a in $2 $3; do
    case $a in *:*) ip addr add "$a/128" dev lo nodad;; *) ip addr add "$a/32" dev lo;; esac
done
ip addr add 198.51.100.1/24 dev outside
ip addr add 2001:db8:2::1/64 dev outside nodad
in_machine ip link set lo up
in_machine ip link set inside up
in_machine ip addr add 198.51.100.2/24 dev inside
in_machine ip addr add 2001:db8:2::2/64 dev inside nodad
in_machine ip route add default via 198.51.100.1
in_machine ip -6 route add default via 2001:db8:2::1
perl -MSocket=:all -e '
    for my $family (AF_INET, AF_INET6) {
        socket(my $s, $family, SOCK_STREAM, 0) or die $!;
        setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
        setsockopt($s, IPPROTO_IPV6, IPV6_V6ONLY, 1) if $family == AF_INET6;
        bind($s, $family == AF_INET ? pack_sockaddr_in(80, INADDR_ANY)
                                    : pack_sockaddr_in6(80, IN6ADDR_ANY)) or die $!;
        listen($s, 64) or die $!;
        push @all, $s;
    }
    open(my $word, ">", $ARGV[0]); print $word "listening\n"; close $word;
    sleep 120;' "$dir/listening" & door=$!
read -r _ < "$dir/listening"
try() {
    for a in $2 $3; do
        if in_machine timeout "$1" bash -c "exec 3<>/dev/tcp/$a/80" 2>/dev/null; then echo "REACHED $a"; fi
    done
}
echo "== without"
try 2 "$2" "$3"
in_machine nft -f - <<< "$1"
echo "== with"
try 0.3 "$2" "$3"
kill $door $machine
)";

TEST(Fence, WhatAnswersBeforeItIsReachedBehindItOnlyWhereItIsPublic) {
    if (!process::find_program("nft") || !process::find_program("ip"))
        GTEST_SKIP() << "NOTHING PROVEN: nftables or iproute2 is not installed";
    auto pipe = process::make_pipe();
    ASSERT_TRUE(pipe);
    process::SpawnSpec spec;
    spec.argv = {
        "unshare",
        "-Urnpm",
        "--mount-proc",
        "--fork",
        "--kill-child",
        "bash",
        "-c",
        kScript,
        "fence",
        fence_rules({}, {"203.0.113.1", "2001:db8:1::1"}),
        kInside,
        kPublic};
    spec.stdin_fd = process::kNull;
    spec.stdout_fd = spec.stderr_fd = pipe->write.get();
    auto child = process::spawn(spec);
    ASSERT_TRUE(child) << child.error().describe();
    pipe->write.reset();
    std::string text;
    char piece[4096];
    for (ssize_t got = 0; (got = ::read(pipe->read.get(), piece, sizeof piece)) > 0;)
        text.append(piece, static_cast<std::size_t>(got));
    const auto end = child->wait(seconds{10});
    if (!end) child->kill();
    ASSERT_TRUE(end && end->code == 0) << text;
    std::string wanted = "== without\n";
    const auto reached = [&wanted](std::istringstream addresses) {
        for (std::string each; addresses >> each;) wanted += "REACHED " + each + "\n";
    };
    reached(std::istringstream(kInside));
    reached(std::istringstream(kPublic));
    wanted += "== with\n";
    reached(std::istringstream(kPublic));
    EXPECT_EQ(text, wanted);
}

}  // namespace
}  // namespace berth::net
