// SPDX-License-Identifier: Apache-2.0
// The public HTTP listener of a bridge in webhook mode. Private to libs/chat.
#pragma once

#include <functional>
#include <memory>

#include "chat/crew.hpp"
#include "chat/platform.hpp"
#include "net/http_server.hpp"

namespace berth::chat {

/// Serves `handler` on threads of its own, since it waits for the database. A body over 1 MiB is
/// answered 413; more than kQueue requests at once 503, which platforms send again.
class Listener {
public:
    using Handler = std::function<WebResponse(const WebRequest&)>;
    static constexpr std::size_t kThreads = 4;
    static constexpr std::size_t kQueue = 256;

    static Result<std::unique_ptr<Listener>> start(const std::string& listen, Handler handler);
    ~Listener();
    const std::string& address() const { return server_->address(); }

private:
    struct Task {
        net::Request request;
        net::Responder responder;
    };
    explicit Listener(Handler handler) : handler_(std::move(handler)) {}
    void serve(Task& task);

    const Handler handler_;
    Crew<Task> crew_{[this](Task& task) { serve(task); }, kQueue};
    std::unique_ptr<net::HttpServer> server_;
};

}  // namespace berth::chat
