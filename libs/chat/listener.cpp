// SPDX-License-Identifier: Apache-2.0
// From the I/O thread to the workers and back.
#include "chat/listener.hpp"

#include <algorithm>

#include "net/peer.hpp"

namespace berth::chat {
namespace {

constexpr std::size_t kMaxConnections = 1'000;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    return text;
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::start(const std::string& listen, Handler handler) {
    std::unique_ptr<Listener> out(new Listener(std::move(handler)));
    net::HttpServerSettings settings;
    settings.listen = listen;
    settings.max_body = 1U << 20U;
    settings.max_connections = kMaxConnections;
    Listener* self = out.get();
    BERTH_ASSIGN(
        out->server_,
        net::HttpServer::start(
            settings,
            [self](net::Request request, net::Responder responder) {
                Task task{std::move(request), std::move(responder)};
                if (!self->crew_.give(std::move(task)))
                    task.responder.respond({503, "text/plain", {}, "busy\n"});
            }
        )
    );
    out->crew_.start(kThreads);
    return out;
}

Listener::~Listener() {
    if (server_) server_->stop(milliseconds{1'000});
    crew_.stop();
}

void Listener::serve(Task& task) {
    WebRequest request;
    request.method = task.request.method;
    request.path = task.request.path;
    if (const auto mark = task.request.target.find('?'); mark != std::string::npos)
        request.query = task.request.target.substr(mark + 1);
    for (const auto& [name, value] : task.request.headers.fields())
        request.headers.emplace_back(lower(name), value);
    request.peer = net::peer_address(task.request);
    request.body = std::move(task.request.body);
    WebResponse answer = handler_(request);
    task.responder.respond(
        {answer.status, std::move(answer.content_type), {}, std::move(answer.body)}
    );
}

}  // namespace berth::chat
