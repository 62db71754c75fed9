// SPDX-License-Identifier: Apache-2.0
// Posts, edits, lookups and the interactions endpoint; receiving is gateway.cpp's.
#include "discord/discord.hpp"

#include <optional>
#include <thread>

#include "discord/application.hpp"
#include "discord/gateway.hpp"
#include "log/log.hpp"

namespace berth::discord {
namespace {

using Kind = chat::SendError::Kind;
using State = Interactions::State;

constexpr int kEphemeral = 1 << 6;
constexpr int kLoading = 1 << 7;
/// Before the id of a message that only one person sees: it is reached by its interaction alone.
constexpr char kPrivateMark = '~';
/// How many messages are looked through for one that may have been posted, a hundred at a time.
constexpr int kFindPages = 3;
constexpr std::size_t kPage = 100;
constexpr int kUnknownWebhook = 10'015;
constexpr milliseconds kTooEarly{200};
constexpr int kTooEarlyTries = 10;

chat::Traits make_traits() {
    chat::Traits traits;
    traits.name = "discord";
    traits.max_text = kMaxContent;
    traits.counts_utf16 = true;
    traits.modals = true;
    traits.can_find = true;
    // Discord tells each channel's and thread's budget in its answers, and the API keeps to that.
    traits.per_conversation = {5.0, 10.0};
    traits.overall = {40.0, 10.0};
    traits.command_prefix = "/berth ";
    return traits;
}

const std::string& target(const chat::Conversation& conversation) {
    return conversation.thread.empty() ? conversation.chat : conversation.thread;
}

chat::SendResult<chat::Sent> failed(chat::SendError error) {
    return {std::nullopt, std::move(error)};
}

class Discord final : public chat::Platform {
public:
    explicit Discord(Options options)
        : traits_(make_traits()),
          api_(options.api_url, options.token, http::make_sender()),
          application_(api_, std::move(options.verbs)),
          interactions_(api_),
          receiver_(api_, interactions_, keeper_),
          gateway_({api_, keeper_, receiver_, options.token, [this](Bot& bot) {
                        return application_.load(bot);
                    }}) {}
    ~Discord() override { stop(); }

    const chat::Traits& traits() const override { return traits_; }

    Result<void> start(chat::Sink& sink) override {
        BERTH_TRY(keeper_.open(sink));
        interactions_.start();
        receiver_.start(sink);
        gateway_.start(sink);
        return {};
    }

    void stop() override {
        gateway_.stop();
        receiver_.stop();
        interactions_.stop();
        keeper_.close();
    }

    chat::SendResult<chat::Sent> post(const chat::Outgoing& message) override;
    chat::SendResult<chat::Sent> edit(
        const chat::Conversation& conversation,
        const std::string& message,
        const chat::Outgoing& content
    ) override;
    chat::SendResult<std::optional<chat::Sent>> find(const chat::Outgoing& message) override;
    chat::WebResponse web(const chat::WebRequest& request) override;

private:
    Answer ask(const Handle& handle, const Call& call);
    bool is_loading(const Handle& handle);
    bool may_fill(const Handle& handle);
    std::optional<chat::SendResult<chat::Sent>> fill(
        const Handle& handle, const chat::Outgoing& message
    );
    std::optional<chat::SendResult<chat::Sent>> whisper(
        const Handle& handle, const chat::Outgoing& message
    );
    chat::SendResult<chat::Sent> follow_up(
        const Handle& handle, const chat::Outgoing& message, Json body
    );
    static chat::SendResult<chat::Sent> sent(const Answer& answer, bool is_private = false);

    const chat::Traits traits_;
    Api api_;
    Application application_;
    SessionKeeper keeper_;
    Interactions interactions_;
    Receiver receiver_;
    Gateway gateway_;
};

/// Discord took a form it does not like: once more without markup.
chat::SendError adjusted(chat::SendError error, bool plain) {
    if (plain && error.kind == Kind::kBadMarkup) error.kind = Kind::kRefused;
    return error;
}

chat::SendResult<chat::Sent> Discord::sent(const Answer& answer, bool is_private) {
    if (!answer.ok) return failed(answer.error);
    const std::string id = answer.body.string_or("id", "");
    if (!is_id(id))
        return failed({Kind::kUnknown, milliseconds{0}, "Discord's answer names no message"});
    return {chat::Sent{is_private ? kPrivateMark + id : id}, {}};
}

/// A call by an interaction's token.
Call webhook(const Handle& handle, std::string method, std::string rest) {
    Call call;
    call.method = std::move(method);
    call.major = handle.application + "/" + handle.token;
    call.path = "/webhooks/" + call.major + rest;
    const bool one = rest.starts_with("/messages/") && !rest.starts_with("/messages/@");
    call.route = "/webhooks/{id}/{token}" +
                 (one ? std::string("/messages/{id}") : rest.substr(0, rest.find('?')));
    call.by_token = true;
    return call;
}

/// Of a message: its interaction, while that lives.
std::optional<Handle> usable(const chat::Outgoing& message) {
    auto handle = Handle::parse(message.handle);
    if (!handle || !handle->alive(Clock::system().now())) return std::nullopt;
    return handle;
}

/// The endpoint's answer and the first message cross: Discord knows a new interaction a little
/// later.
Answer Discord::ask(const Handle& handle, const Call& call) {
    Answer answer = api_.call(call);
    const bool fresh = Clock::system().now() - time_of(handle.interaction) < kAckWait;
    for (int i = 0; i < kTooEarlyTries && fresh && answer.body.int_or("code", 0) == kUnknownWebhook;
         ++i) {
        std::this_thread::sleep_for(kTooEarly);
        answer = api_.call(call);
    }
    return answer;
}

bool Discord::is_loading(const Handle& handle) {
    const Answer answer = ask(handle, webhook(handle, "GET", "/messages/@original"));
    return answer.ok && (answer.body.int_or("flags", 0) & kLoading) != 0;
}

/// True for one caller: the message that says "thinking" is this one's to fill.
bool Discord::may_fill(const Handle& handle) {
    if (handle.kind != Handle::Kind::kCommand) return false;
    switch (interactions_.state(handle.interaction)) {
        case State::kOpen: return interactions_.take(handle.interaction);
        case State::kUsed:
        case State::kDead: return false;
        case State::kPending:
        case State::kUnknown: break;
    }
    if (!is_loading(handle)) return false;
    interactions_.set(handle.interaction, State::kUsed);
    return true;
}

/// In place of "thinking"; nothing where Discord no longer has that.
std::optional<chat::SendResult<chat::Sent>> Discord::fill(
    const Handle& handle, const chat::Outgoing& message
) {
    Call call = webhook(handle, "PATCH", "/messages/@original");
    call.body = body_of(message);
    call.file_name = message.content.file_name;
    call.file_bytes = message.content.file_bytes;
    const Answer answer = ask(handle, call);
    if (answer.ok) return sent(answer);
    if (answer.status == 404 || answer.status == 401) return std::nullopt;
    // It can be done again, and to the same effect.
    interactions_.set(handle.interaction, State::kOpen);
    return failed(adjusted(answer.error, message.plain));
}

/// To be seen by who asked alone; nothing where that cannot be.
std::optional<chat::SendResult<chat::Sent>> Discord::whisper(
    const Handle& handle, const chat::Outgoing& message
) {
    if (handle.person != message.only_for) return std::nullopt;
    // The first message after "thinking" takes its place, for everybody to see: that goes first.
    if (may_fill(handle)) {
        const Answer gone = ask(handle, webhook(handle, "DELETE", "/messages/@original"));
        if (!gone.ok && gone.status != 404 && gone.status != 401) {
            interactions_.set(handle.interaction, State::kOpen);
            return failed({Kind::kLater, gone.error.retry_after, gone.error.reason});
        }
    } else if (interactions_.state(handle.interaction) == State::kDead) {
        return std::nullopt;
    }
    Json body = body_of(message);
    body.set("flags", kEphemeral);
    auto result = follow_up(handle, message, std::move(body));
    const bool ended = !result.value && result.error.kind == Kind::kRefused;
    if (ended) return std::nullopt;
    return result;
}

chat::SendResult<chat::Sent> Discord::follow_up(
    const Handle& handle, const chat::Outgoing& message, Json body
) {
    const bool is_private = body.int_or("flags", 0) == kEphemeral;
    Call call = webhook(handle, "POST", "?wait=true");
    call.body = std::move(body);
    call.file_name = message.content.file_name;
    call.file_bytes = message.content.file_bytes;
    Answer answer = ask(handle, call);
    answer.error = adjusted(answer.error, message.plain);
    return sent(answer, is_private);
}

chat::SendResult<chat::Sent> Discord::post(const chat::Outgoing& message) {
    const auto handle = usable(message);
    if (handle && !message.only_for.empty()) {
        if (auto done = whisper(*handle, message)) return std::move(*done);
    } else if (handle && may_fill(*handle)) {
        if (auto done = fill(*handle, message)) return std::move(*done);
    }
    const std::string& channel = target(message.conversation);
    if (!is_id(channel))
        return failed({Kind::kRefused, milliseconds{0}, "\"" + channel + "\" is no Discord channel"}
        );
    Call call;
    call.method = "POST";
    call.route = "/channels/{id}/messages";
    call.major = channel;
    call.path = "/channels/" + channel + "/messages";
    call.body = body_of(message);
    call.body.set("nonce", nonce_of(message.key)).set("enforce_nonce", true);
    if (is_id(message.answers))
        call.body.set(
            "message_reference",
            Json::object().set("message_id", message.answers).set("fail_if_not_exists", false)
        );
    call.file_name = message.content.file_name;
    call.file_bytes = message.content.file_bytes;
    const Answer answer = api_.call(call);
    if (answer.ok) return sent(answer);
    // Where the bot is no member (it was only installed by a person), its interactions still speak.
    if (handle && (answer.status == 403 || answer.status == 404) &&
        answer.error.kind == Kind::kRefused) {
        auto done = follow_up(*handle, message, body_of(message));
        if (done.value) return done;
    }
    return failed(adjusted(answer.error, message.plain));
}

chat::SendResult<chat::Sent> Discord::edit(
    const chat::Conversation& conversation,
    const std::string& message,
    const chat::Outgoing& content
) {
    const auto handle = usable(content);
    const bool is_private = !message.empty() && message.front() == kPrivateMark;
    const std::string id = is_private ? message.substr(1) : message;
    const std::string& channel = target(conversation);
    if (!is_id(id) || !is_id(channel))
        return failed({Kind::kGone, milliseconds{0}, "no message of Discord"});
    if (is_private && !handle)
        return failed(
            {Kind::kGone,
             milliseconds{0},
             "a message for one person cannot be changed after 15 minutes"}
        );
    Call call;
    if (is_private) {
        call = webhook(*handle, "PATCH", "/messages/" + id);
    } else {
        call.method = "PATCH";
        call.route = "/channels/{id}/messages/{id}";
        call.major = channel;
        call.path = "/channels/" + channel + "/messages/" + id;
    }
    call.body = body_of(content);
    call.file_name = content.content.file_name;
    call.file_bytes = content.content.file_bytes;
    Answer answer = api_.call(call);
    if (!answer.ok && !is_private && handle && answer.error.kind == Kind::kRefused) {
        Call other = webhook(*handle, "PATCH", "/messages/" + id);
        other.body = call.body;
        other.file_name = call.file_name;
        other.file_bytes = call.file_bytes;
        answer = api_.call(other);
    }
    if (answer.ok) return {chat::Sent{message}, {}};
    chat::SendError error = adjusted(answer.error, content.plain);
    // A card that says the same again is the same card: an edit may be made twice.
    if (error.kind == Kind::kUnknown) error.kind = Kind::kLater;
    return failed(std::move(error));
}

/// Discord drops a nonce it has seen, so a post that may have been made is simply made again: but
/// it forgets nonces after some minutes, and its history need not tell them. Cards are therefore
/// looked for by the mark of their buttons, and where they have none by what they say; the same
/// words twice are two messages.
chat::SendResult<std::optional<chat::Sent>> Discord::find(const chat::Outgoing& message) {
    using Found = chat::SendResult<std::optional<chat::Sent>>;
    const auto found = [](const Json& shown) {
        return Found{std::optional(chat::Sent{shown.string_or("id", "")}), {}};
    };
    const Json body = body_of(message);
    const auto handle = usable(message);
    if (handle && handle->kind == Handle::Kind::kCommand && message.only_for.empty()) {
        const Answer original = ask(*handle, webhook(*handle, "GET", "/messages/@original"));
        if (original.ok && (original.body.int_or("flags", 0) & kLoading) == 0 &&
            says_the_same(original.body, body))
            return found(original.body);
    }
    const std::string& channel = target(message.conversation);
    if (!is_id(channel))
        return {std::nullopt, {Kind::kRefused, milliseconds{0}, "no Discord channel"}};
    const std::string nonce = nonce_of(message.key);
    std::string before;
    for (int page = 0; page < kFindPages; ++page) {
        Call call;
        call.route = "/channels/{id}/messages";
        call.major = channel;
        call.path = "/channels/" + channel + "/messages?limit=" + std::to_string(kPage) + before;
        const Answer answer = api_.call(call);
        if (!answer.ok) return {std::nullopt, answer.error};
        const Json::Array* list = answer.body.as_array();
        if (list == nullptr || list->empty()) break;
        for (const Json& shown : *list) {
            const Json* author = shown.find("author");
            const std::string said = shown.string_or("nonce", "");
            const std::string mark = marked_with(shown);
            const bool mine = author != nullptr && author->bool_or("bot", false);
            const bool same = said.empty() && mark.empty() && message.content.is_card && mine &&
                              says_the_same(shown, body);
            if (said == nonce || (mine && mark == nonce) || same) return found(shown);
        }
        if (list->size() < kPage) break;
        before = "&before=" + list->back().string_or("id", "0");  // the oldest comes last
    }
    return {std::make_optional<std::optional<chat::Sent>>(std::nullopt), {}};
}

chat::WebResponse Discord::web(const chat::WebRequest& request) {
    const auto refuse = [](int status, std::string_view why, const char* audited = "") {
        return chat::WebResponse{
            status, "application/json", Json::object().set("error", why).dump(), audited};
    };
    if (request.method != "POST") return refuse(405, "only POST");
    switch (application_.verify(request, Clock::system().now())) {
        case Application::Verdict::kGood: break;
        case Application::Verdict::kForged:
            return refuse(401, "bad signature", "the signature is not Discord's");
        case Application::Verdict::kOld:
            return refuse(401, "bad signature", "the signature is not of the last five minutes");
        case Application::Verdict::kNotYet: return refuse(503, "starting");
    }
    const auto data = Json::parse(request.body);
    if (!data) return refuse(400, "bad JSON");
    Told told = interaction_of(*data);
    if (told.inbound) {
        if (const auto stored = receiver_.accept(told); !stored) {
            log::warning("an interaction cannot be stored", {{"error", stored.error()}});
            return refuse(503, "try again");
        }
    }
    if (told.answer.is_null()) return refuse(400, "not understood");
    return {200, "application/json", told.answer.dump()};
}

}  // namespace

std::unique_ptr<chat::Platform> make_platform(Options options) {
    return std::make_unique<Discord>(std::move(options));
}

}  // namespace berth::discord
