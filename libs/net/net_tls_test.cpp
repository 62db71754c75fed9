// SPDX-License-Identifier: Apache-2.0
// https against openssl's own server: what is trusted is spoken to, what is not is refused.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "net/http_client.hpp"
#include "net/posix_socket.hpp"

namespace berth::net {
namespace {

using namespace std::chrono_literals;

/// A program that dies with this one.
pid_t launch(const std::vector<std::string>& arguments) {
    std::vector<char*> argv;
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (const int fd : {0, 1, 2}) dup2(null, fd);
        execvp(argv[0], argv.data());
        _exit(127);
    }
    return pid;
}

struct TlsServer {
    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("berth-tls-" + std::to_string(getpid()));
    std::string port;
    pid_t pid = -1;

    TlsServer() {
        std::filesystem::create_directory(folder);
        const std::string key = folder / "key.pem";
        const std::string cert = folder / "cert.pem";
        int status = 0;
        const pid_t made = launch(
            {"openssl",
             "req",
             "-x509",
             "-newkey",
             "ec",
             "-pkeyopt",
             "ec_paramgen_curve:P-256",
             "-nodes",
             "-keyout",
             key,
             "-out",
             cert,
             "-days",
             "2",
             "-subj",
             "/CN=localhost",
             "-addext",
             "subjectAltName=DNS:localhost"}
        );
        waitpid(made, &status, 0);
        if (status != 0) throw std::runtime_error("openssl req failed: is openssl installed?");
        // A port that was free a moment ago; openssl cannot tell which one it chose.
        auto probe = listen_on("127.0.0.1:0");
        port = probe->address.substr(probe->address.rfind(':') + 1);
        probe->fd.reset();
        pid = launch(
            {"openssl",
             "s_server",
             "-accept",
             "127.0.0.1:" + port,
             "-cert",
             cert,
             "-key",
             key,
             "-www",
             "-quiet"}
        );
    }
    ~TlsServer() {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        std::filesystem::remove_all(folder);
    }
    Result<HttpResponse> get(const std::string& host) const {
        const auto until = std::chrono::steady_clock::now() + 10s;
        while (true) {
            auto response = HttpClient("https://" + host + ":" + port).send({"GET", "/"});
            const bool starting =
                !response && response.error().message.find("refused") != std::string::npos;
            if (!starting || std::chrono::steady_clock::now() > until) return response;
            // openssl tells nobody that it listens.
            std::this_thread::sleep_for(20ms);
        }
    }
};

TEST(TlsTest, SpeaksToWhomItTrustsAndToNobodyElse) {
    const TlsServer server;
    // The set of trusted certificates is read once, at the first use: so trust comes first.
    setenv("SSL_CERT_FILE", (server.folder / "cert.pem").c_str(), 1);
    const auto good = server.get("localhost");
    ASSERT_TRUE(good) << good.error().describe();
    EXPECT_EQ(good->status, 200);
    EXPECT_NE(good->body.find("TLSv1.3"), std::string::npos);
    // Right certificate, wrong name.
    const auto wrong = server.get("127.0.0.1");
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, "connect_failed");
    EXPECT_NE(wrong.error().message.find("TLS failed"), std::string::npos) << wrong.error().message;
}

}  // namespace
}  // namespace berth::net
