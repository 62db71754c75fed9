// SPDX-License-Identifier: Apache-2.0
// From the I/O thread to the workers and back.
#include "chat/listener.hpp"

#include <algorithm>

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
                {
                    const std::lock_guard lock(self->mutex_);
                    if (self->queue_.size() < kQueue) {
                        self->queue_.emplace_back(
                            std::move(request),
                            std::make_shared<net::Responder>(std::move(responder))
                        );
                    }
                }
                if (responder) responder.respond({503, "text/plain", {}, "busy\n"});
                self->changed_.notify_one();
            }
        )
    );
    for (std::size_t i = 0; i < kThreads; ++i) out->threads_.emplace_back([self] { self->work(); });
    return out;
}

Listener::~Listener() {
    if (server_) server_->stop(milliseconds{1'000});
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void Listener::work() {
    for (;;) {
        std::pair<net::Request, std::shared_ptr<net::Responder>> next;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (queue_.empty()) return;
            next = std::move(queue_.front());
            queue_.pop_front();
        }
        WebRequest request;
        request.method = next.first.method;
        request.path = next.first.path;
        if (const auto mark = next.first.target.find('?'); mark != std::string::npos)
            request.query = next.first.target.substr(mark + 1);
        for (const auto& [name, value] : next.first.headers.fields())
            request.headers.emplace_back(lower(name), value);
        request.body = std::move(next.first.body);
        WebResponse answer = handler_(request);
        next.second->respond(
            {answer.status, std::move(answer.content_type), {}, std::move(answer.body)}
        );
    }
}

}  // namespace berth::chat
