// SPDX-License-Identifier: Apache-2.0
// The bus across networks that are nobody's: who is believed, who is not, and that nothing is said
// without TLS where it was asked for.
#include "topology/bus_tls.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "bus/connection.hpp"
#include "core/fd.hpp"
#include "support/nats/nats_server.hpp"
#include "support/temporary_folder.hpp"

namespace berth::bus {
namespace {

/// Long enough for a refusal to be repeated, short enough to await three of them.
constexpr milliseconds kRefusal{400};

class TlsServer {
public:
    explicit TlsServer(const std::vector<std::string>& names) {
        auto made = topology::prepare_certificate(folder_.path(), {names, {}, {}, {}});
        if (!made) throw std::runtime_error(made.error().describe());
        certificate_ = *made;
        const auto conf = folder_.path() / "nats.conf";
        std::ofstream(conf) << "tls { cert_file: \"" << certificate_.cert_file.string()
                            << "\", key_file: \"" << certificate_.key_file.string() << "\" }\n";
        testing::NatsServerOptions options;
        options.conf = conf;
        server_.emplace(testing::NatsServer::start(options));
    }
    int port() const { return server_->port(); }
    std::string ca() const { return certificate_.ca_file.string(); }

private:
    testing::TemporaryFolder folder_;
    topology::BusCertificate certificate_;
    std::optional<testing::NatsServer> server_;
};

Result<std::unique_ptr<Connection>> connect_to(
    const std::string& host, int port, const std::string& ca, const std::string& name = {}
) {
    ConnectSettings settings;
    settings.url = "tls://" + host + ":" + std::to_string(port);
    settings.name = "machine";
    settings.ca_file = ca;
    settings.server_name = name;
    settings.connect_deadline = kRefusal;
    return bus::connect(std::move(settings));
}

TEST(BusTls, TheRightAuthorityAndTheRightNameAreBelieved) {
    const TlsServer server({"bus.example.org"});
    EXPECT_TRUE(connect_to("127.0.0.1", server.port(), server.ca()));
    EXPECT_TRUE(connect_to("localhost", server.port(), server.ca()));
    EXPECT_TRUE(connect_to("127.0.0.1", server.port(), server.ca(), "bus.example.org"));
}

TEST(BusTls, AnotherAuthorityIsRefused) {
    const TlsServer server({"bus.example.org"});
    const TlsServer other({"bus.example.org"});
    const auto refused = connect_to("127.0.0.1", server.port(), other.ca());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "bus_not_trusted") << refused.error().describe();
    EXPECT_FALSE(connect_to("127.0.0.1", server.port(), "")) << "the system knows it not";
}

TEST(BusTls, AnotherNameIsRefused) {
    const TlsServer server({"bus.example.org"});
    const auto refused = connect_to("127.0.0.1", server.port(), server.ca(), "other.example.org");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "bus_not_trusted") << refused.error().describe();
    // 127.0.0.2 reaches the same server, and is not in its certificate.
    EXPECT_FALSE(connect_to("127.0.0.2", server.port(), server.ca()));
}

TEST(BusTls, AServerWithoutTlsIsToldNothing) {
    const auto plain = testing::NatsServer::start();
    const TlsServer any({"bus.example.org"});
    const auto refused = connect_to("127.0.0.1", plain.port(), any.ca());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "bus_not_trusted") << refused.error().describe();
}

TEST(BusTls, OneThatBelievesOnlyItsAuthorityDoesNotBelieveTheSystems) {
    const TlsServer server({"bus.example.org"});
    const TlsServer stranger({"bus.example.org"});
    // As if the stranger's authority were one of the system's.
    ASSERT_EQ(::setenv("SSL_CERT_FILE", stranger.ca().c_str(), 1), 0);
    EXPECT_TRUE(connect_to("127.0.0.1", stranger.port(), server.ca())) << "the trap is no trap";
    ASSERT_TRUE(believe_only(server.ca()));
    EXPECT_FALSE(connect_to("127.0.0.1", stranger.port(), server.ca()));
    EXPECT_TRUE(connect_to("127.0.0.1", server.port(), server.ca()));
    ::unsetenv("SSL_CERT_FILE");
    ::unsetenv("SSL_CERT_DIR");
    EXPECT_FALSE(believe_only("/nonexistent/ca.pem"));
}

}  // namespace
}  // namespace berth::bus
