// SPDX-License-Identifier: Apache-2.0
// The platform: webhooks arrive on the bridge's listener, messages go out on the callers' threads,
// one thread watches whether the number still answers.
#include "whatsapp/whatsapp.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "core/backoff.hpp"
#include "core/text.hpp"
#include "http/client.hpp"
#include "identity/token.hpp"
#include "log/log.hpp"
#include "net/http_types.hpp"
#include "whatsapp/markup.hpp"

namespace berth::whatsapp {
namespace {

using chat::Outgoing;
using chat::SendError;
using chat::SendResult;
using chat::Sent;

constexpr std::size_t kMaxAnswer = 1U << 20U;
constexpr std::string_view kScheme = "sha256=";

chat::Traits make_traits() {
    chat::Traits traits;
    traits.name = "whatsapp";
    traits.max_text = kMaxText;
    traits.counts_utf16 = true;
    traits.edits = false;
    traits.threads = false;
    // Meta: one message in 6 s to one person, 45 ahead of it; 80 a second in all.
    traits.per_conversation = {1.0 / 6.0, 45.0};
    traits.overall = {80.0, 80.0};
    return traits;
}

/// What came back: `ok` with the body, or an error as a sender understands it.
struct Reply {
    Json body;
    SendError error;
    bool ok = false;
};

/// Of an upload that nobody sends, or words before a card: another one may follow.
Reply harmless(Reply reply) {
    const auto kind = reply.error.kind;
    if (!reply.ok && (kind == SendError::Kind::kUnknown || kind == SendError::Kind::kFailed))
        reply.error.kind = SendError::Kind::kLater;
    return reply;
}

/// What a message is known by, or why there is none.
SendResult<Sent> sent(const Reply& reply) {
    if (!reply.ok) return {std::nullopt, reply.error};
    const Json* messages = reply.body.find("messages");
    const bool named =
        messages != nullptr && messages->as_array() != nullptr && !messages->as_array()->empty();
    return {Sent{named ? messages->as_array()->front().string_or("id", "") : ""}, {}};
}

class WhatsApp final : public chat::Platform {
public:
    explicit WhatsApp(Settings settings) : settings_(std::move(settings)) {}
    ~WhatsApp() override { stop(); }

    const chat::Traits& traits() const override { return traits_; }
    Result<void> start(chat::Sink& sink) override;
    void stop() override;
    SendResult<Sent> post(const Outgoing& message) override;
    /// Nothing can be changed in place: what a card came to is said anew, in answer to it.
    SendResult<Sent> edit(
        const chat::Conversation&, const std::string& message, const Outgoing& content
    ) override;
    SendResult<std::optional<Sent>> find(const Outgoing&) override {
        return {
            std::nullopt,
            {SendError::Kind::kRefused, {}, "WhatsApp cannot be asked for a message"}};
    }
    chat::WebResponse web(const chat::WebRequest& request) override;

private:
    Reply send(http::Request request, const std::string& path) const;
    Reply send_json(const Json& body) const;
    /// What may be said where the window is closed; `closed` where no template is set for it.
    Reply send_template(const Outgoing& message, Reply closed) const;
    /// The uploaded file's id in the body.
    Reply upload(const chat::Content& file) const;
    void watch();
    Result<void> store(const Json& payload);
    bool signature_holds(const chat::WebRequest& request) const;
    chat::WebResponse challenge(const chat::WebRequest& request) const;

    const Settings settings_;
    const chat::Traits traits_ = make_traits();
    const http::Sender sender_ = http::make_sender();
    chat::Sink* sink_ = nullptr;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<bool> stopping_{false};
    std::thread watcher_;
};

Result<void> WhatsApp::start(chat::Sink& sink) {
    sink_ = &sink;
    sink_->health({false, "not yet connected to WhatsApp"});
    watcher_ = std::thread([this] { watch(); });
    return {};
}

void WhatsApp::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (watcher_.joinable()) watcher_.join();
}

Reply WhatsApp::send(http::Request request, const std::string& path) const {
    request.url = settings_.api_url + "/" + settings_.api_version + "/" + settings_.phone_id + path;
    request.headers.emplace_back("Authorization", "Bearer " + settings_.token.read().reveal());
    request.timeout = settings_.request;
    request.max_response = kMaxAnswer;
    request.at_most_once = true;
    Reply reply;
    const auto response = sender_(request);
    if (!response) {
        reply.error = {
            http::nothing_sent(response.error()) ? SendError::Kind::kLater
                                                 : SendError::Kind::kUnknown,
            {},
            response.error().describe()};
        return reply;
    }
    auto body = Json::parse(response->body);
    if (body) reply.body = std::move(*body);
    reply.ok = response->status == 200 && reply.body.is_object();
    if (!reply.ok) reply.error = error_of(response->status, reply.body);
    return reply;
}

Reply WhatsApp::send_json(const Json& body) const {
    http::Request request;
    request.method = "POST";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = body.dump();
    return send(std::move(request), "/messages");
}

Reply WhatsApp::send_template(const Outgoing& message, Reply closed) const {
    std::optional<Json> body;
    if (!settings_.approval_template.empty())
        body = approval_body(message, settings_.approval_template);
    if (!body && !settings_.window_template.empty())
        body = template_body(message, settings_.window_template);
    return body ? send_json(*body) : closed;
}

Reply WhatsApp::upload(const chat::Content& file) const {
    http::Request request;
    request.method = "POST";
    const http::Form form = form_of(file);
    request.headers = {{"Content-Type", form.content_type()}};
    request.body = form.body();
    return harmless(send(std::move(request), "/media"));
}

SendResult<Sent> WhatsApp::post(const Outgoing& message) {
    if (message.otherwise) {
        Reply closed;
        closed.error = {
            SendError::Kind::kRefused, {}, "the 24-hour window is closed, and no template fits"};
        return sent(send_template(message, std::move(closed)));
    }
    const chat::Content& content = message.content;
    std::string media;
    if (!content.is_card && !content.file_name.empty()) {
        const Reply uploaded = upload(content);
        if (!uploaded.ok) return {std::nullopt, uploaded.error};
        media = uploaded.body.string_or("id", "");
    }
    const auto body = message_body(message, media);
    if (!body)
        return {
            std::nullopt,
            {SendError::Kind::kRefused, {}, "the conversation is none of WhatsApp's"}};
    if (const auto plan = plan_body(message)) {
        Reply told = send_json(*plan);
        if (!told.ok && !window_closed(told.body)) return {std::nullopt, harmless(told).error};
    }
    Reply reply = send_json(*body);
    if (!reply.ok && window_closed(reply.body)) reply = send_template(message, std::move(reply));
    return sent(reply);
}

SendResult<Sent> WhatsApp::edit(
    const chat::Conversation&, const std::string& message, const Outgoing& content
) {
    Outgoing last = content;
    last.answers = message;
    return post(last);
}

void WhatsApp::watch() {
    int failures = 0;
    while (!stopping_) {
        http::Request request;
        request.canceled = [this] { return stopping_.load(); };
        const Reply reply = send(std::move(request), "?fields=id,display_phone_number");
        if (stopping_) return;
        milliseconds time = settings_.watch;
        if (reply.ok) {
            failures = 0;
            sink_->health({true, {}});
        } else {
            const bool refused = reply.error.kind == SendError::Kind::kUnauthorized;
            const std::string why = refused ? "WhatsApp refuses the token (" + reply.error.reason +
                                                  "): put a valid one into token_file"
                                            : "WhatsApp does not answer: " + reply.error.reason;
            log::warning("whatsapp_unwell", {{"reason", why}});
            sink_->health({false, why});
            time = backoff(failures++, settings_.first_pause, settings_.slowest_pause);
        }
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, time, [this] { return stopping_.load(); });
    }
}

/// X-Hub-Signature-256 is over the body's bytes as they came.
bool WhatsApp::signature_holds(const chat::WebRequest& request) const {
    std::string_view given;
    for (const auto& [name, value] : request.headers) {
        if (name == "x-hub-signature-256") given = value;
    }
    const std::string right =
        std::string(kScheme) +
        hex(identity::hmac_sha256(settings_.app_secret.read().reveal(), request.body));
    return equal_constant_time(given, right);
}

/// Meta asks once, when the webhook is registered, whether it is ours.
chat::WebResponse WhatsApp::challenge(const chat::WebRequest& request) const {
    const auto query = net::parse_query(request.query);
    if (!query || query->get_or("hub.mode", "") != "subscribe")
        return {400, "application/json", "{}"};
    const bool ours = equal_constant_time(
        query->get_or("hub.verify_token", ""), settings_.verify_token.read().reveal()
    );
    if (!ours) return {403, "application/json", "{}", "the verify token is another"};
    return {200, "text/plain", query->get_or("hub.challenge", "")};
}

Result<void> WhatsApp::store(const Json& payload) {
    const auto events = inbound_of(payload, settings_.phone_id);
    if (!events.empty()) BERTH_TRY(sink_->accept(events));
    for (auto& told : undelivered_of(payload, settings_.phone_id)) {
        const bool set = !settings_.window_template.empty() || !settings_.approval_template.empty();
        told.otherwise = told.otherwise && set;
        BERTH_TRY(sink_->undelivered(told));
    }
    return {};
}

chat::WebResponse WhatsApp::web(const chat::WebRequest& request) {
    if (request.path != settings_.webhook_path) return {404, "application/json", "{}"};
    if (request.method == "GET") return challenge(request);
    if (request.method != "POST") return {405, "application/json", "{}"};
    if (!signature_holds(request))
        return {401, "application/json", "{}", "the signature is not WhatsApp's"};
    const auto payload = Json::parse(request.body);
    if (!payload || !payload->is_object()) return {400, "application/json", "{}"};
    if (const auto stored = store(*payload); !stored) {
        log::warning("whatsapp_not_stored", {{"reason", stored.error()}});
        return {503, "application/json", "{}"};  // sent again by Meta
    }
    return {200, "application/json", "{}"};
}

}  // namespace

std::unique_ptr<chat::Platform> make_platform(Settings settings) {
    return std::make_unique<WhatsApp>(std::move(settings));
}

}  // namespace berth::whatsapp
