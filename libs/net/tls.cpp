// SPDX-License-Identifier: Apache-2.0
// TLS for the blocking clients. libssl is loaded when the first https address is used and not
// before: linked in, it would cost every start of the command line some milliseconds for what most
// calls never use.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include "net/posix_socket.hpp"

namespace berth::net {
namespace {

// Of openssl/ssl.h, whose ABI is stable within libssl.so.3.
constexpr int kErrorWantRead = 2;
constexpr int kErrorWantWrite = 3;
constexpr int kErrorZeroReturn = 6;
constexpr int kVerifyPeer = 1;
constexpr int kCtrlMode = 33;
constexpr int kCtrlSetHostname = 55;
constexpr int kCtrlSetMinVersion = 123;
constexpr long kTls12 = 0x0303;
constexpr long kPartialWriteMovingBuffer = 1 | 2;

struct Ssl;
struct SslContext;

struct Library {
    const void* (*client_method)() = nullptr;
    SslContext* (*context_new)(const void*) = nullptr;
    int (*default_paths)(SslContext*) = nullptr;
    void (*set_verify)(SslContext*, int, void*) = nullptr;
    long (*context_ctrl)(SslContext*, int, long, void*) = nullptr;
    Ssl* (*ssl_new)(SslContext*) = nullptr;
    void (*ssl_free)(Ssl*) = nullptr;
    int (*set_fd)(Ssl*, int) = nullptr;
    int (*set_host)(Ssl*, const char*) = nullptr;
    long (*ctrl)(Ssl*, int, long, void*) = nullptr;
    int (*connect)(Ssl*) = nullptr;
    int (*read)(Ssl*, void*, int) = nullptr;
    int (*write)(Ssl*, const void*, int) = nullptr;
    int (*pending)(const Ssl*) = nullptr;
    int (*get_error)(const Ssl*, int) = nullptr;
    long (*verify_result)(const Ssl*) = nullptr;
    void* (*get_param)(Ssl*) = nullptr;
    const char* (*verify_text)(long) = nullptr;
    int (*set_ip)(void*, const char*) = nullptr;
    void (*clear_errors)() = nullptr;
    SslContext* context = nullptr;
    std::string failure;
};

template <typename F>
void load(void* handle, const char* name, F& out, std::string& failure) {
    void* symbol = dlsym(handle, name);
    if (symbol == nullptr) failure = std::string("libssl has no ") + name;
    static_assert(sizeof symbol == sizeof out);
    std::memcpy(&out, &symbol, sizeof out);
}

Library load_library() {
    Library lib;
    void* ssl = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
    void* crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    if (ssl == nullptr || crypto == nullptr) {
        lib.failure = "libssl.so.3 is not installed (package libssl3)";
        return lib;
    }
    load(ssl, "TLS_client_method", lib.client_method, lib.failure);
    load(ssl, "SSL_CTX_new", lib.context_new, lib.failure);
    load(ssl, "SSL_CTX_set_default_verify_paths", lib.default_paths, lib.failure);
    load(ssl, "SSL_CTX_set_verify", lib.set_verify, lib.failure);
    load(ssl, "SSL_CTX_ctrl", lib.context_ctrl, lib.failure);
    load(ssl, "SSL_new", lib.ssl_new, lib.failure);
    load(ssl, "SSL_free", lib.ssl_free, lib.failure);
    load(ssl, "SSL_set_fd", lib.set_fd, lib.failure);
    load(ssl, "SSL_set1_host", lib.set_host, lib.failure);
    load(ssl, "SSL_ctrl", lib.ctrl, lib.failure);
    load(ssl, "SSL_connect", lib.connect, lib.failure);
    load(ssl, "SSL_read", lib.read, lib.failure);
    load(ssl, "SSL_write", lib.write, lib.failure);
    load(ssl, "SSL_pending", lib.pending, lib.failure);
    load(ssl, "SSL_get_error", lib.get_error, lib.failure);
    load(ssl, "SSL_get_verify_result", lib.verify_result, lib.failure);
    load(ssl, "SSL_get0_param", lib.get_param, lib.failure);
    load(crypto, "X509_verify_cert_error_string", lib.verify_text, lib.failure);
    load(crypto, "X509_VERIFY_PARAM_set1_ip_asc", lib.set_ip, lib.failure);
    load(crypto, "ERR_clear_error", lib.clear_errors, lib.failure);
    if (!lib.failure.empty()) return lib;
    lib.context = lib.context_new(lib.client_method());
    if (lib.context == nullptr) {
        lib.failure = "libssl gives no context";
        return lib;
    }
    lib.default_paths(lib.context);
    lib.set_verify(lib.context, kVerifyPeer, nullptr);
    lib.context_ctrl(lib.context, kCtrlSetMinVersion, kTls12, nullptr);
    return lib;
}

const Library& library() {
    static const Library lib = load_library();
    return lib;
}

// libssl writes with write(2): without this a peer that left would kill the process.
void ignore_sigpipe() {
    struct sigaction current {};
    if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

class TlsWire final : public Wire {
public:
    TlsWire(Fd fd, Ssl* ssl, const Interrupter* interrupter)
        : fd_(std::move(fd)), ssl_(ssl), interrupter_(interrupter) {}
    TlsWire(const TlsWire&) = delete;
    TlsWire& operator=(const TlsWire&) = delete;
    ~TlsWire() override { library().ssl_free(ssl_); }

    Result<std::size_t> read(char* data, std::size_t size, SteadyTime deadline) override {
        std::size_t got = 0;
        BERTH_TRY(drive(deadline, [&] {
            const int n = library().read(ssl_, data, static_cast<int>(size));
            got = n > 0 ? static_cast<std::size_t>(n) : 0;
            return n;
        }));
        return got;
    }

    Result<void> write(std::string_view bytes, SteadyTime deadline) override {
        while (!bytes.empty()) {
            BERTH_TRY(drive(deadline, [&] {
                const auto size = std::min<std::size_t>(bytes.size(), 1U << 20U);
                const int n = library().write(ssl_, bytes.data(), static_cast<int>(size));
                if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
                return n;
            }));
        }
        return {};
    }

    bool reusable() override {
        const std::lock_guard lock(mutex_);
        char byte = 0;
        return library().pending(ssl_) == 0 &&
               ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    }
    void shut_down() override { ::shutdown(fd_.get(), SHUT_RDWR); }

    Result<void> handshake(SteadyTime deadline) {
        auto done = drive(deadline, [&] { return library().connect(ssl_); });
        if (done || done.error().code != "connection_lost") return done;
        const long verdict = library().verify_result(ssl_);
        const std::string why =
            verdict != 0 ? library().verify_text(verdict) : "the server ended the handshake";
        return unavailable("connect_failed", "TLS failed: " + why);
    }

private:
    // One thread at a time may be inside libssl per session; the waits are outside the lock, so
    // that a reader that waits does not hold up a writer.
    template <typename Step>
    Result<void> drive(SteadyTime deadline, Step step) {
        while (true) {
            BERTH_TRY(go_on(interrupter_));
            int error = 0;
            {
                const std::lock_guard lock(mutex_);
                library().clear_errors();
                const int n = step();
                if (n > 0) return {};
                error = library().get_error(ssl_, n);
            }
            if (error == kErrorZeroReturn) return {};
            if (error != kErrorWantRead && error != kErrorWantWrite) {
                return unavailable("connection_lost", "the TLS connection was lost");
            }
            BERTH_TRY(wait_for(
                fd_.get(), error == kErrorWantRead ? POLLIN : POLLOUT, deadline, interrupter_
            ));
        }
    }

    Fd fd_;
    Ssl* ssl_;
    const Interrupter* interrupter_;
    std::mutex mutex_;
};

bool is_ip(const std::string& host) {
    std::array<unsigned char, 16> bytes{};
    return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
           inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

}  // namespace

Result<std::unique_ptr<Wire>> open_tls(
    Fd fd, const std::string& host, SteadyTime deadline, const Interrupter* interrupter
) {
    const auto& lib = library();
    if (!lib.failure.empty())
        return unavailable("tls_unavailable", "https cannot be used: " + lib.failure);
    ignore_sigpipe();
    Ssl* ssl = lib.ssl_new(lib.context);
    if (ssl == nullptr) return internal("tls_unavailable", "libssl gives no session");
    const int number = fd.get();
    auto wire = std::make_unique<TlsWire>(std::move(fd), ssl, interrupter);
    lib.set_fd(ssl, number);
    lib.ctrl(ssl, kCtrlMode, kPartialWriteMovingBuffer, nullptr);
    const bool named = is_ip(host) ? lib.set_ip(lib.get_param(ssl), host.c_str()) == 1
                                   : lib.set_host(ssl, host.c_str()) == 1;
    if (!named) return internal("tls_unavailable", "libssl refuses the host name");
    if (!is_ip(host)) lib.ctrl(ssl, kCtrlSetHostname, 0, const_cast<char*>(host.c_str()));
    BERTH_TRY(wire->handshake(deadline));
    return std::unique_ptr<Wire>(std::move(wire));
}

}  // namespace berth::net
