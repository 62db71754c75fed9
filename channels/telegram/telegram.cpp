// SPDX-License-Identifier: Apache-2.0
// The platform: one thread receives (or, with a webhook, watches), one ends the waiting signs of
// buttons; messages go out on the callers' threads.
#include "telegram/telegram.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "chat/length.hpp"
#include "chat/markdown.hpp"
#include "core/backoff.hpp"
#include "log/log.hpp"
#include "telegram/bot_api.hpp"
#include "telegram/markup.hpp"

namespace berth::telegram {
namespace {

using chat::Outgoing;
using chat::SendError;
using chat::SendResult;
using chat::Sent;

constexpr std::size_t kMaxClicks = 1'000;  // that wait to be settled; the oldest goes unanswered
constexpr int kTries = 3;                  // before the bot introduces itself again
constexpr int kMaxUpdates = 100;           // what Telegram gives at once at most

constexpr chat::Rate kOnePerson{1.0, 5.0};

/// Twenty messages a minute, burst and all, in a group: its id is negative.
chat::Rate rate_of(std::string_view chat) {
    return chat.starts_with('-') ? chat::Rate{0.25, 5.0} : kOnePerson;
}

chat::Traits make_traits() {
    chat::Traits traits;
    traits.name = "telegram";
    traits.max_text = kMaxText;
    traits.counts_utf16 = true;
    traits.per_conversation = kOnePerson;
    traits.rate_of = rate_of;
    traits.edits_per_conversation = kOnePerson;  // a group's minute counts what is sent
    traits.overall = {30.0, 30.0};
    return traits;
}

Json allowed_updates() { return Json::strings({"message", "callback_query"}); }

/// The path of an address: "/hook" of "https://host/hook".
std::string path_of(const std::string& url) {
    const std::size_t scheme = url.find("://");
    const std::size_t slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
    return slash == std::string::npos ? "/"
                                      : url.substr(slash, url.find_first_of("?#", slash) - slash);
}

class Telegram final : public chat::Platform {
public:
    explicit Telegram(Settings settings)
        : settings_(std::move(settings)),
          api_(settings_.api_url, settings_.token),
          path_(path_of(settings_.webhook_url)) {}
    ~Telegram() override { stop(); }

    const chat::Traits& traits() const override { return traits_; }
    Result<void> start(chat::Sink& sink) override;
    void stop() override;
    SendResult<Sent> post(const Outgoing& message) override;
    SendResult<Sent> edit(
        const chat::Conversation& conversation, const std::string& message, const Outgoing& content
    ) override;
    SendResult<std::optional<Sent>> find(const Outgoing&) override {
        return {
            std::nullopt,
            {SendError::Kind::kRefused, {}, "Telegram cannot be asked for a message"}};
    }
    chat::WebResponse web(const chat::WebRequest& request) override;

private:
    struct Click {
        std::string query;
        SteadyTime due;
    };

    // The receiving thread.
    void receive();
    bool introduce();
    bool poll();
    bool watch();
    bool complain(const Reply& reply, const std::string& doing);
    void pause(milliseconds time);
    bool take(const std::vector<Json>& updates);

    // The settling thread.
    void settle();
    void expect_answer(const std::vector<chat::Inbound>& events);
    void answered(const std::string& query);

    /// Sends, and once more where the chat has moved.
    SendResult<Sent> send(std::optional<Call> call);
    bool notice(const Outgoing& message);

    const Settings settings_;
    const BotApi api_;
    const std::string path_;
    const chat::Traits traits_ = make_traits();
    chat::Sink* sink_ = nullptr;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::atomic<bool> stopping_{false};
    std::optional<Bot> bot_;                    ///< once it has introduced itself
    std::map<std::string, std::string> moved_;  ///< chats that became supergroups
    std::deque<Click> clicks_;

    // The receiving thread's own.
    std::int64_t offset_ = 0;
    int failures_ = 0;
    bool well_ = false;      ///< the last poll was answered
    milliseconds asked_{0};  ///< the wait that Telegram asked for
    std::thread receiver_;
    std::thread settler_;
};

Result<void> Telegram::start(chat::Sink& sink) {
    sink_ = &sink;
    sink_->health({false, "not yet connected to Telegram"});
    receiver_ = std::thread([this] { receive(); });
    settler_ = std::thread([this] { settle(); });
    return {};
}

void Telegram::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    if (receiver_.joinable()) receiver_.join();
    if (settler_.joinable()) settler_.join();
}

void Telegram::receive() {
    bool introduced = false;
    while (!stopping_) {
        bool well = false;
        if (!introduced) {
            well = introduced = introduce();
        } else if (settings_.webhook_url.empty()) {
            well = poll();
        } else {
            well = watch();
        }
        if (well) {
            failures_ = 0;
            continue;
        }
        introduced =
            introduced && failures_ < kTries;  // look again whether the webhook is as it should be
        const milliseconds wait =
            backoff(failures_++, settings_.first_pause, settings_.slowest_pause);
        pause(std::max(asked_, wait));
        asked_ = milliseconds{0};
    }
}

void Telegram::pause(milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return stopping_.load(); });
}

/// Tells why it does not work; always false.
bool Telegram::complain(const Reply& reply, const std::string& doing) {
    if (stopping_) return false;
    well_ = false;
    std::string why = doing + ": " + reply.error.reason;
    if (reply.error.kind == SendError::Kind::kUnauthorized) {
        why = "Telegram refuses the bot's token (" + reply.error.reason +
              "): put a valid one into token_file";
        failures_ = std::max(failures_, kTries);  // which may be another bot's
    } else if (reply.status == 409) {
        why = "another program receives this bot's updates (" + reply.error.reason +
              "): stop it, or revoke the token";
    }
    asked_ = reply.error.retry_after;
    log::warning("telegram_unwell", {{"reason", why}});
    sink_->health({false, why});
    return false;
}

/// Learns who the bot is, and makes Telegram send the way the settings say.
bool Telegram::introduce() {
    const auto stopping = [this] { return stopping_.load(); };
    const Reply me = api_.call({"getMe", Json::object(), {}, {}}, settings_.request, stopping);
    if (!me.ok) return complain(me, "Telegram does not answer");
    const auto bot = bot_of(me.result);
    if (!bot) {
        sink_->health({false, "the token is no bot's"});
        return false;
    }
    Call way{"deleteWebhook", Json::object(), {}, {}};
    if (!settings_.webhook_url.empty()) {
        way.method = "setWebhook";
        way.parameters.set("url", settings_.webhook_url)
            .set("secret_token", settings_.webhook_secret.reveal());
        // One connection: two would break the order within a chat.
        way.parameters.set("max_connections", 1).set("allowed_updates", allowed_updates());
    }
    const Reply set = api_.call(way, settings_.request, stopping);
    if (!set.ok) return complain(set, way.method + " failed");
    const Reply menu = api_.call(menu_call(settings_.menu), settings_.request, stopping);
    if (!menu.ok) log::warning("telegram_menu", {{"reason", menu.error.reason}});
    const std::lock_guard lock(mutex_);
    if (bot_ && bot_->id != bot->id) offset_ = 0;  // it counts its updates for itself
    bot_ = bot;
    return true;
}

bool Telegram::poll() {
    Call call{"getUpdates", Json::object(), {}, {}};
    // The first one does not wait: that it works is known at once.
    const milliseconds patience = well_ ? settings_.poll : milliseconds{0};
    call.parameters.set("timeout", static_cast<std::int64_t>(patience.count() / 1'000));
    call.parameters.set("limit", kMaxUpdates).set("allowed_updates", allowed_updates());
    if (offset_ != 0) call.parameters.set("offset", offset_);
    const Reply reply =
        api_.call(call, settings_.poll + seconds{10}, [this] { return stopping_.load(); });
    if (!reply.ok) return complain(reply, "no updates from Telegram");
    well_ = true;
    sink_->health({true, {}});
    const Json::Array* updates = reply.result.as_array();
    if (updates == nullptr || updates->empty()) return true;
    // The next call's offset confirms: not before everything is stored.
    if (!take(*updates)) return false;
    for (const Json& update : *updates)
        offset_ = std::max(offset_, update.int_or("update_id", 0) + 1);
    return true;
}

/// True where all that is for the bot is stored.
bool Telegram::take(const std::vector<Json>& updates) {
    std::optional<Bot> bot;
    {
        const std::lock_guard lock(mutex_);
        bot = bot_;
    }
    if (!bot) return false;
    std::vector<chat::Inbound> events;
    const auto now = std::chrono::time_point_cast<microseconds>(std::chrono::system_clock::now());
    for (const Json& update : updates) {
        if (auto event = inbound_of(update, *bot, settings_.menu, now))
            events.push_back(std::move(*event));
    }
    if (events.empty()) return true;
    if (const auto stored = sink_->accept(events); !stored) {
        log::warning("telegram_not_stored", {{"reason", stored.error()}});
        return false;
    }
    expect_answer(events);
    return true;
}

/// Webhook: whether the token still holds and Telegram still posts to this bridge.
bool Telegram::watch() {
    const Reply reply =
        api_.call({"getWebhookInfo", Json::object(), {}, {}}, settings_.request, [this] {
            return stopping_.load();
        });
    if (!reply.ok) return complain(reply, "Telegram does not answer");
    const std::string url = reply.result.string_or("url", "");
    if (url != settings_.webhook_url) {
        sink_->health({false, "another program took this bot's webhook away"});
        failures_ = std::max(failures_, kTries);  // sets it again
        return false;
    }
    sink_->health({true, {}});
    pause(settings_.watch);
    return true;
}

chat::WebResponse Telegram::web(const chat::WebRequest& request) {
    if (settings_.webhook_url.empty() || request.path != path_)
        return {404, "application/json", "{}"};
    std::string_view secret;
    for (const auto& [name, value] : request.headers) {
        if (name == "x-telegram-bot-api-secret-token") secret = value;
    }
    if (!equal_constant_time(secret, settings_.webhook_secret.reveal()))
        return {401, "application/json", "{}", "the secret token is not the one Telegram was told"};
    if (request.method != "POST") return {405, "application/json", "{}"};
    auto update = Json::parse(request.body);
    if (!update || !update->is_object()) return {400, "application/json", "{}"};
    // Anything but 2xx is sent again by Telegram.
    return {take({std::move(*update)}) ? 200 : 503, "application/json", "{}"};
}

void Telegram::expect_answer(const std::vector<chat::Inbound>& events) {
    const SteadyTime due = std::chrono::steady_clock::now() + settings_.settle;
    {
        const std::lock_guard lock(mutex_);
        for (const chat::Inbound& event : events) {
            if (!event.handle.empty()) clicks_.push_back({event.handle, due});
        }
        while (clicks_.size() > kMaxClicks) clicks_.pop_front();
    }
    changed_.notify_all();
}

/// The waiting sign goes now.
void Telegram::answered(const std::string& query) {
    {
        const std::lock_guard lock(mutex_);
        const auto at = std::find_if(clicks_.begin(), clicks_.end(), [&](const Click& c) {
            return c.query == query;
        });
        if (at == clicks_.end()) return;
        clicks_.erase(at);
        clicks_.push_front({query, std::chrono::steady_clock::now()});
    }
    changed_.notify_all();
}

void Telegram::settle() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (clicks_.empty()) {
            changed_.wait(lock);
        } else if (const SteadyTime due = clicks_.front().due;
                   due > std::chrono::steady_clock::now()) {
            changed_.wait_until(lock, due);
        } else {
            const std::string query = clicks_.front().query;
            clicks_.pop_front();
            lock.unlock();
            // Too late or answered already: nothing is lost by it.
            (void)api_.call(answer_call(query, {}), settings_.request, [this] {
                return stopping_.load();
            });
            lock.lock();
        }
    }
}

/// A short answer to a click that only the presser is to see: a notice over the chat.
bool Telegram::notice(const Outgoing& message) {
    if (message.handle.empty() || message.only_for.empty() || message.content.is_card) return false;
    const std::string text = chat::to_plain(message.content.markdown);
    if (!message.content.file_name.empty() || chat::length(text, chat::Unit::kUtf16) > kMaxNotice)
        return false;
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(clicks_, [&](const Click& click) { return click.query == message.handle; });
    }
    return api_.call(answer_call(message.handle, text), settings_.request).ok;
}

SendResult<Sent> Telegram::send(std::optional<Call> call) {
    if (!call)
        return {
            std::nullopt,
            {SendError::Kind::kRefused, {}, "the conversation is none of Telegram's"}};
    const auto readdress = [&](const std::string& to) {
        call->parameters.set("chat_id", std::int64_t{std::stoll(to)});
    };
    const std::string chat = std::to_string(call->parameters.int_or("chat_id", 0));
    {
        const std::lock_guard lock(mutex_);
        if (const auto at = moved_.find(chat); at != moved_.end()) readdress(at->second);
    }
    Reply reply = api_.call(*call, settings_.request);
    if (!reply.ok && !reply.moved_to.empty()) {
        {
            const std::lock_guard lock(mutex_);
            moved_[chat] = reply.moved_to;
        }
        readdress(reply.moved_to);
        reply = api_.call(*call, settings_.request);
    }
    if (!reply.ok) return {std::nullopt, reply.error};
    return {Sent{std::to_string(reply.result.int_or("message_id", 0))}, {}};
}

SendResult<Sent> Telegram::post(const Outgoing& message) {
    if (notice(message)) return {Sent{}, {}};
    auto result = send(post_call(message));
    if (!message.handle.empty()) answered(message.handle);
    return result;
}

SendResult<Sent> Telegram::edit(
    const chat::Conversation& conversation, const std::string& message, const Outgoing& content
) {
    auto result = send(edit_call(conversation, message, content));
    if (!content.handle.empty()) answered(content.handle);
    return result;
}

}  // namespace

std::unique_ptr<chat::Platform> make_platform(Settings settings) {
    return std::make_unique<Telegram>(std::move(settings));
}

}  // namespace berth::telegram
