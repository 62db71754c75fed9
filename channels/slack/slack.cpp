// SPDX-License-Identifier: Apache-2.0
// The platform: what goes out by the Web API, what comes in by either way.
#include "slack/slack.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "log/log.hpp"
#include "slack/socket_mode.hpp"
#include "slack/web_api.hpp"
#include "slack/wire.hpp"

namespace berth::slack {
namespace {

using chat::Outgoing;
using chat::SendError;
using chat::SendResult;
using chat::Sent;
using Kind = SendError::Kind;

constexpr std::size_t kMaxModals = 64;  // waiting to be opened; a trigger lives 3 s
constexpr int kFindPages = 3;
constexpr std::chrono::minutes kClocksDiffer{5};  // Slack's and ours
constexpr const char* kEventType = "berth_message";

chat::Traits traits_of() {
    chat::Traits out;
    out.name = "slack";
    out.max_text = 3'000;
    out.modals = true;
    out.can_find = true;
    // "About one message per second per channel, with short bursts"; chat.update is limited by
    // method and workspace, 50 a minute and more.
    out.per_conversation = {1.0, 8.0};
    out.edits_per_conversation = {1.0, 12.0};
    out.overall = {20.0, 40.0};
    return out;
}

/// As Slack counts: seconds and six digits.
std::string timestamp_of(WallTime time) {
    const std::int64_t micros = std::max<std::int64_t>(to_unix_micros(time), 0);
    const std::string part = std::to_string(1'000'000 + micros % 1'000'000).substr(1);
    return std::to_string(micros / 1'000'000) + "." + part;
}

std::string user_of(const std::string& person) { return person.substr(person.find('/') + 1); }

class SlackPlatform final : public chat::Platform {
public:
    explicit SlackPlatform(const Settings& settings)
        : settings_(settings), traits_(traits_of()), api_(settings_) {}
    ~SlackPlatform() override { stop(); }

    const chat::Traits& traits() const override { return traits_; }

    Result<void> start(chat::Sink& sink) override {
        sink_ = &sink;
        helper_ = std::thread([this] { help(); });
        if (!settings_.socket_mode) return {};
        socket_ = std::make_unique<SocketMode>(
            settings_,
            api_,
            [this](const std::string& type, const Json& payload) { return take(type, payload); },
            [this](chat::Health health) { connection(std::move(health)); }
        );
        socket_->start();
        return {};
    }

    void stop() override {
        if (socket_) socket_->stop();
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (helper_.joinable()) helper_.join();
    }

    SendResult<Sent> post(const Outgoing& message) override {
        if (!message.content.file_name.empty()) return post_file(message);
        Json body = body_of(message);
        if (!message.conversation.thread.empty())
            body.set("thread_ts", message.conversation.thread);
        if (!message.only_for.empty()) return whisper(message, std::move(body));
        Json payload = Json::object();
        payload.set("key", message.key);
        Json metadata = Json::object();
        metadata.set("event_type", kEventType).set("event_payload", std::move(payload));
        body.set("metadata", std::move(metadata))
            .set("unfurl_links", false)
            .set("unfurl_media", false);
        return sent(api_.call("chat.postMessage", body), "ts");
    }

    SendResult<Sent> edit(
        const chat::Conversation& conversation, const std::string& message, const Outgoing& content
    ) override {
        Json body = body_of(content);
        body.set("channel", conversation.chat).set("ts", message);
        // Without this an update without blocks would leave the old ones.
        if (body.find("blocks") == nullptr) body.set("blocks", Json::array());
        auto answer = api_.call("chat.update", body);
        answer.error.everywhere = true;  // unlike chat.postMessage, which counts by channel
        return sent(answer, "ts");
    }

    /// A thread is told from its oldest message on, which may be long ago.
    SendResult<std::optional<Sent>> find(const Outgoing& message) override {
        using Found = std::optional<Sent>;
        // Nobody can look for a whisper: it is said once more.
        if (!message.only_for.empty()) return {Found(), {}};
        std::string cursor;
        for (int page = 0; page < kFindPages; ++page) {
            Json query = Json::object();
            query.set("channel", message.conversation.chat)
                .set("limit", std::int64_t{200})
                .set("oldest", timestamp_of(message.since - kClocksDiffer))
                .set("include_all_metadata", true);
            if (!message.conversation.thread.empty()) query.set("ts", message.conversation.thread);
            if (!cursor.empty()) query.set("cursor", cursor);
            auto answer = api_.call_form(
                message.conversation.thread.empty() ? "conversations.history"
                                                    : "conversations.replies",
                query
            );
            answer.error.everywhere = true;
            if (!answer.value) return {std::nullopt, answer.error};
            if (const auto ts = look_for(message, *answer.value); !ts.empty())
                return {Found(Sent{ts}), {}};
            const Json* next = answer.value->find("response_metadata");
            cursor = next == nullptr ? std::string() : next->string_or("next_cursor", "");
            if (cursor.empty()) break;
        }
        return {Found(), {}};
    }

    chat::WebResponse web(const chat::WebRequest& request) override;

private:
    static std::string look_for(const Outgoing& message, const Json& page) {
        const Json* messages = page.find("messages");
        if (messages == nullptr || messages->as_array() == nullptr) return {};
        for (const Json& one : *messages->as_array()) {
            if (const Json* metadata = one.find("metadata")) {
                const Json* payload = metadata->find("event_payload");
                if (metadata->string_or("event_type", "") == kEventType && payload != nullptr &&
                    payload->string_or("key", "") == message.key)
                    return one.string_or("ts", "");
            }
            // A file's message bears no metadata; its name is of one run.
            const Json* files = one.find("files");
            if (message.content.file_name.empty() || files == nullptr ||
                files->as_array() == nullptr)
                continue;
            for (const Json& file : *files->as_array()) {
                if (file.string_or("name", "") == message.content.file_name)
                    return one.string_or("ts", "");
            }
        }
        return {};
    }

    /// Without the thread, which chat.update does not know.
    static Json body_of(const Outgoing& message) {
        Message rendered = to_message(message.content, message.plain);
        Json body = Json::object();
        body.set("channel", message.conversation.chat).set("text", std::move(rendered.text));
        if (!rendered.blocks.is_null()) body.set("blocks", std::move(rendered.blocks));
        return body;
    }

    static SendResult<Sent> sent(const SendResult<Json>& answer, std::string_view key) {
        if (!answer.value) return {std::nullopt, answer.error};
        return {Sent{answer.value->string_or(key, "")}, {}};
    }

    /// By the handle where there is one: that also works in channels the bot is no member of.
    SendResult<Sent> whisper(const Outgoing& message, Json body) {
        if (!message.handle.empty()) {
            Json answer = body;
            answer.set("response_type", "ephemeral").set("replace_original", false);
            const auto responded = api_.respond(message.handle, answer);
            if (responded.value) return {Sent{}, {}};
            if (responded.error.kind != Kind::kGone) return {std::nullopt, responded.error};
        }
        body.set("user", user_of(message.only_for));
        return sent(api_.call("chat.postEphemeral", body), "message_ts");
    }

    SendResult<Sent> post_file(const Outgoing& message) {
        const chat::Content& content = message.content;
        Json place = Json::object();
        place.set("filename", content.file_name)
            .set("length", static_cast<std::int64_t>(content.file_bytes.size()));
        const auto given = api_.call_form("files.getUploadURLExternal", place);
        // Until the last of the three calls nothing is to be seen.
        const auto again = [](SendError error) -> SendResult<Sent> {
            if (error.kind == Kind::kUnknown) error.kind = Kind::kLater;
            return {std::nullopt, error};
        };
        if (!given.value) return again(given.error);
        const auto uploaded =
            api_.upload(given.value->string_or("upload_url", ""), content.file_bytes);
        if (!uploaded.value) return again(uploaded.error);
        Json files = Json::array();
        files.push(Json::object()
                       .set("id", given.value->string_or("file_id", ""))
                       .set("title", content.file_name));
        Json body = Json::object();
        body.set("files", std::move(files)).set("channel_id", message.conversation.chat);
        if (!message.conversation.thread.empty())
            body.set("thread_ts", message.conversation.thread);
        if (!content.markdown.empty()) body.set("initial_comment", escape(content.markdown));
        const auto done = api_.call("files.completeUploadExternal", body);
        if (!done.value) return {std::nullopt, done.error};
        return {Sent{}, {}};
    }

    /// True: may be acknowledged.
    bool take(const std::string& type, const Json& payload) {
        const WallTime now = Clock::system().now();
        Heard heard;
        if (type == "events_api") heard = hear_event(payload, now);
        if (type == "slash_commands") heard = hear_command(payload, now);
        if (type == "interactive") heard = hear_interaction(payload, now);
        if (heard.modal) {
            const std::lock_guard lock(mutex_);
            if (modals_.size() < kMaxModals) modals_.push_back(std::move(*heard.modal));
            changed_.notify_all();
        }
        if (!heard.inbound) return true;
        const auto stored = sink_->accept({std::move(*heard.inbound)});
        if (!stored) log::warning("an event is left to come again", {{"error", stored.error()}});
        return stored.has_value();
    }

    void connection(chat::Health health) {
        std::string refused;
        {
            const std::lock_guard lock(mutex_);
            connection_ = health;
            refused = refused_;
        }
        sink_->health(refused.empty() ? health : chat::Health{false, refused});
    }

    /// Opens modals, and asks now and then whether the bot's token is still good.
    void help() {
        SteadyTime next{};
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            if (!modals_.empty()) {
                const Modal modal = std::move(modals_.front());
                modals_.pop_front();
                lock.unlock();
                open(modal);
                lock.lock();
                continue;
            }
            if (std::chrono::steady_clock::now() >= next) {
                lock.unlock();
                check_token();
                lock.lock();
                next = std::chrono::steady_clock::now() + settings_.auth_every;
                continue;
            }
            changed_.wait_until(lock, next, [this] { return stopping_ || !modals_.empty(); });
        }
    }

    void open(const Modal& modal) {
        auto view = Json::parse(modal.view);
        if (!view) return;
        Json body = Json::object();
        body.set("trigger_id", modal.trigger).set("view", std::move(*view));
        const auto opened = api_.call("views.open", body);
        if (!opened.value)
            log::info("a comment's modal did not open", {{"why", opened.error.reason}});
    }

    void check_token() {
        const auto answer = api_.auth_test();
        std::string refused;
        if (!answer.value) {
            if (answer.error.kind != Kind::kUnauthorized) {
                // Slack does not answer: in Socket Mode the connection tells that better.
                if (!settings_.socket_mode)
                    sink_->health({false, "Slack does not answer: " + answer.error.reason});
                return;
            }
            refused = "Slack refuses the bot token (" + answer.error.reason +
                      "): put a valid one into bot_token_file";
        }
        chat::Health health;
        {
            const std::lock_guard lock(mutex_);
            refused_ = refused;
            health = settings_.socket_mode ? connection_ : chat::Health{true, {}};
        }
        if (!refused.empty()) health = {false, refused};
        sink_->health(health);
    }

    const Settings settings_;
    const chat::Traits traits_;
    WebApi api_;
    chat::Sink* sink_ = nullptr;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // by mutex_, down to refused_
    std::deque<Modal> modals_;
    chat::Health connection_{false, "connecting to Slack"};
    std::string refused_;
    std::thread helper_;
    std::unique_ptr<SocketMode> socket_;  // last: it calls what stands above
};

std::string header(const chat::WebRequest& request, std::string_view name) {
    for (const auto& [key, value] : request.headers) {
        if (key == name) return value;
    }
    return {};
}

/// Events, commands and interactions over HTTP, at any path.
chat::WebResponse SlackPlatform::web(const chat::WebRequest& request) {
    if (settings_.socket_mode) return {404, "text/plain", "this bridge uses Socket Mode\n"};
    const std::string_view forged = forgery(
        settings_.signing_secret.read().reveal(),
        header(request, "x-slack-request-timestamp"),
        header(request, "x-slack-signature"),
        request.body,
        Clock::system().now()
    );
    if (!forged.empty())
        return {
            401,
            "text/plain",
            "the signature is not Slack's, or older than five minutes\n",
            std::string(forged)};
    std::string type = "events_api";
    auto payload = Json::parse(request.body);
    if (header(request, "content-type").rfind("application/x-www-form-urlencoded", 0) == 0) {
        const Json form = form_fields(request.body);
        type = form.find("payload") != nullptr ? "interactive" : "slash_commands";
        payload =
            type == "interactive" ? Json::parse(form.string_or("payload", "")) : Result<Json>(form);
    }
    if (!payload) return {400, "text/plain", "the body cannot be read\n"};
    if (type == "events_api" && payload->string_or("type", "") == "url_verification")
        return {200, "text/plain", payload->string_or("challenge", "")};
    if (!take(type, *payload)) return {503, "text/plain", "not stored; send it again\n"};
    return {200, "", ""};
}

}  // namespace

std::unique_ptr<chat::Platform> make_platform(const Settings& settings) {
    return std::make_unique<SlackPlatform>(settings);
}

}  // namespace berth::slack
