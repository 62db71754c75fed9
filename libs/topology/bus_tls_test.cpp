// SPDX-License-Identifier: Apache-2.0
// Proves that the bus's authority stays while its certificate follows the names, and that nothing
// of it is readable by others.
#include "topology/bus_tls.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/fd.hpp"
#include "core/time.hpp"
#include "support/nats/nats_server.hpp"
#include "support/nats/raw_client.hpp"
#include "support/temporary_folder.hpp"
#include "topology/deployment.hpp"

namespace berth::topology {
namespace {

BusTls named(std::vector<std::string> names) { return {std::move(names), {}, {}, {}}; }

TEST(BusTls, TheAuthorityStaysAndTheCertificateFollowsTheNames) {
    const testing::TemporaryFolder folder;
    const auto first = prepare_certificate(folder.path(), named({"bus.example.org"}));
    ASSERT_TRUE(first) << first.error().describe();
    const std::string ca = read_file(first->ca_file).value();
    const std::string cert = read_file(first->cert_file).value();
    ASSERT_TRUE(prepare_certificate(folder.path(), named({"bus.example.org"})));
    EXPECT_EQ(read_file(first->cert_file).value(), cert) << "made again without a reason";
    ASSERT_TRUE(prepare_certificate(folder.path(), named({"bus.example.org", "203.0.113.7"})));
    EXPECT_NE(read_file(first->cert_file).value(), cert);
    EXPECT_EQ(read_file(first->ca_file).value(), ca);
    for (const char* name : {"ca.key", "ca.pem", "bus.key", "bus.pem"}) {
        struct stat info {};
        ASSERT_EQ(::stat((folder.path() / name).c_str(), &info), 0) << name;
        EXPECT_EQ(info.st_mode & 0777U, 0600U) << name;
    }
}

TEST(BusTls, APairThatWasTornIsMadeAnew) {
    const testing::TemporaryFolder folder;
    const auto first = prepare_certificate(folder.path(), named({"bus.example.org"}));
    ASSERT_TRUE(first);
    ASSERT_TRUE(write_file_atomic(first->cert_file, "torn", 0600));
    ASSERT_TRUE(prepare_certificate(folder.path(), named({"bus.example.org"})));
    EXPECT_EQ(read_file(first->cert_file).value().substr(0, 10), "-----BEGIN");
}

TEST(BusTls, WhatIsNoNameIsRefused) {
    const testing::TemporaryFolder folder;
    for (const char* bad : {"", "a b", "a,DNS:evil.example.org", "a\nsubjectAltName=DNS:x", "-x"})
        EXPECT_EQ(prepare_certificate(folder.path(), named({bad})).error().code, "bad_option")
            << bad;
    EXPECT_EQ(prepare_certificate(folder.path(), {}).error().code, "bad_option");
    BusTls half = named({"bus.example.org"});
    half.cert_file = "/dev/null";
    EXPECT_EQ(prepare_certificate(folder.path(), half).error().field, "cert_file");
}

TEST(BusTls, AServerOfADeploymentSpeaksToNobodyWithoutIt) {
    const testing::TemporaryFolder folder;
    DeploymentOptions options;
    options.tls = named({"bus.example.org"});
    const auto made = generate(builtin(), folder.path() / "nats", options, Clock::system().now());
    ASSERT_TRUE(made) << made.error().describe();
    EXPECT_EQ(made->ca_file, folder.path() / "nats" / "tls" / "ca.pem");
    berth::testing::NatsServerOptions server_options;
    server_options.conf = made->conf;
    const auto server = berth::testing::NatsServer::start(server_options);
    // CONNECT in plain text, as a client that knows nothing of TLS sends it.
    berth::testing::RawNatsClient plain(server.port(), {});
    EXPECT_TRUE(plain.await_close(std::chrono::milliseconds(10'000)));
}

}  // namespace
}  // namespace berth::topology
