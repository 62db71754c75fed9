// SPDX-License-Identifier: Apache-2.0
// A connection that breaks in the middle of a message, which a real nats-server does only by
// chance.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "bus_worlds.hpp"
#include "core/fd.hpp"

namespace berth::bus {
namespace {

/// As much of a server as a connection and a subscription need (docs.nats.io, client protocol). Of
/// the subject "cut" it sends half a message to the first connection and closes it, and a whole one
/// to each that comes later.
class CuttingServer {
public:
    CuttingServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const raw = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_.get(), raw, size) != 0 || ::listen(listener_.get(), 8) != 0 ||
            ::getsockname(listener_.get(), raw, &size) != 0)
            throw std::runtime_error("no socket to listen on");
        url_ = "nats://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
        thread_ = std::thread([this] { serve(); });
    }
    ~CuttingServer() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }
    const std::string& url() const { return url_; }

private:
    void serve() {
        for (bool first = true;; first = false) {
            const Fd peer(::accept(listener_.get(), nullptr, nullptr));
            if (!peer) return;
            say(peer,
                R"(INFO {"server_id":"cut","version":"2.9.10","proto":1,"headers":true,)"
                R"("max_payload":1048576})"
                "\r\n");
            talk(peer, first);
        }
    }
    static void talk(const Fd& peer, bool first) {
        std::string heard;
        char chunk[4096];
        for (ssize_t got; (got = ::read(peer.get(), chunk, sizeof chunk)) > 0;) {
            heard.append(chunk, static_cast<std::size_t>(got));
            for (std::size_t end; (end = heard.find("\r\n")) != std::string::npos;) {
                const std::string line = heard.substr(0, end);
                heard.erase(0, end + 2);
                if (line == "PING") say(peer, "PONG\r\n");
                if (!line.starts_with("SUB cut ")) continue;
                const std::string id = line.substr(line.rfind(' ') + 1);
                if (first) return say(peer, "MSG cut " + id + " 1000\r\nhalf of a mess");
                say(peer, "MSG cut " + id + " 5\r\nwhole\r\n");
            }
        }
    }
    static void say(const Fd& peer, const std::string& words) {
        (void)::send(peer.get(), words.data(), words.size(), MSG_NOSIGNAL);
    }

    Fd listener_;
    std::string url_;
    std::thread thread_;
};

TEST(NatsBus, AConnectionThatBreaksWithinAMessageComesBack) {
    CuttingServer server;
    ConnectSettings settings;
    settings.url = server.url();
    settings.name = "a";
    settings.inbox_prefix = "_INBOX.a";
    auto connection = connect(std::move(settings));
    ASSERT_TRUE(connection) << connection.error().describe();
    Tally tally;
    const auto receiver = (*connection)->subscribe("cut", [&tally](const Message& message) {
        tally.add(message.payload);
    });
    ASSERT_TRUE(receiver);
    EXPECT_TRUE(tally.wait_distinct(1));
    EXPECT_EQ(tally.order().front(), "whole");
}

}  // namespace
}  // namespace berth::bus
