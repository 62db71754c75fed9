// SPDX-License-Identifier: Apache-2.0
// A gateway whose answers get lost: what is asked for again is asked for under the same key.
#include "cli/api.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "net/posix_socket.hpp"

namespace berth::cli {
namespace {

/// Takes one request after the other; each but the last gets no answer.
class Forgetful {
public:
    explicit Forgetful(std::vector<std::string> answers) : answers_(std::move(answers)) {
        auto listening = net::listen_on("127.0.0.1:0");
        if (!listening) throw std::runtime_error(listening.error().describe());
        listener_ = std::move(*listening);
        ::fcntl(listener_.fd.get(), F_SETFL, 0);  // this one waits
        thread_ = std::thread([this] {
            for (const std::string& answer : answers_) serve(answer);
        });
    }
    ~Forgetful() {
        ::shutdown(listener_.fd.get(), SHUT_RDWR);
        thread_.join();
    }
    std::string url() const { return "http://" + listener_.address; }
    /// Of each request that came.
    std::vector<std::string> keys;

private:
    void serve(const std::string& answer) {
        const Fd peer(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer) return;
        std::string request;
        char piece[4096];
        while (request.find("\r\n\r\n") == std::string::npos) {
            const ssize_t got = ::recv(peer.get(), piece, sizeof piece, 0);
            if (got <= 0) return;
            request.append(piece, static_cast<std::size_t>(got));
        }
        const std::size_t at = request.find("Idempotency-Key: ");
        keys.push_back(
            at == std::string::npos ? "" : request.substr(at + 17, request.find('\r', at) - at - 17)
        );
        if (!answer.empty()) (void)::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    }

    std::vector<std::string> answers_;
    net::Listener listener_;
    std::thread thread_;
};

std::string answer_of(const std::string& status, const std::string& body) {
    return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nConnection: close\r\n" +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST(Api, AnAcquisitionWhoseAnswerIsLostIsOneAcquisition) {
    const std::string late = answer_of("504 Gateway Timeout", R"({"code":"deadline"})");
    std::vector<std::string> keys;
    {
        Forgetful gateway({"", late, answer_of("201 Created", R"({"id":"ls_1"})")});
        Api api(gateway.url(), Secret("t"));
        const auto lease = api.acquire({});
        ASSERT_TRUE(lease) << lease.error().describe();
        EXPECT_EQ(lease->id(), "ls_1");
        keys = gateway.keys;
    }
    ASSERT_EQ(keys.size(), 3U);
    EXPECT_NE(keys[0], "");
    EXPECT_EQ(keys[1], keys[0]);
    EXPECT_EQ(keys[2], keys[0]);
}

TEST(Api, ARefusalIsNotAskedForAgain) {
    Forgetful gateway({answer_of("503 Service Unavailable", R"({"code":"capacity_exhausted"})")});
    Api api(gateway.url(), Secret("t"));
    const auto run = api.start({});
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, "capacity_exhausted");
}

TEST(Api, WhatMayBeAskedTwiceIsAskedAgainOnceTheGatewayWasThere) {
    const std::string lease = answer_of("200 OK", R"({"id":"ls_1"})");
    Forgetful gateway({lease, "", "", lease, "", lease, "", lease});
    Api api(gateway.url(), Secret("t"));
    ASSERT_TRUE(api.lease("ls_1"));
    const auto looked = api.look("ls_1", milliseconds{1});
    EXPECT_TRUE(looked) << looked.error().describe();
    const auto beaten = api.heartbeat("ls_1");
    EXPECT_TRUE(beaten) << beaten.error().describe();
    const auto released = api.release("ls_1");
    EXPECT_TRUE(released) << released.error().describe();
}

TEST(Api, AGatewayThatWasNeverThereIsToldAtOnce) {
    std::string nobody;
    {
        const auto listening = net::listen_on("127.0.0.1:0");
        ASSERT_TRUE(listening);
        nobody = "http://" + listening->address;
    }
    Api api(nobody, Secret("t"));
    const auto run = api.start({});
    ASSERT_FALSE(run);
    EXPECT_EQ(run.error().code, "connect_failed");
}

}  // namespace
}  // namespace berth::cli
