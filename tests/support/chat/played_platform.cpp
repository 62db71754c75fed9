// SPDX-License-Identifier: Apache-2.0
// Chats in memory.
#include "support/chat/played_platform.hpp"

#include <atomic>
#include <stdexcept>
#include <thread>

#include "core/time.hpp"

namespace berth::testing {
namespace {

class PlayedPlatform final : public chat::Platform {
public:
    explicit PlayedPlatform(PlayedChat& chat) : chat_(chat) {}
    ~PlayedPlatform() override { chat_.attach(nullptr); }
    const chat::Traits& traits() const override { return chat_.traits; }
    Result<void> start(chat::Sink& sink) override {
        chat_.attach(&sink);
        return {};
    }
    void stop() override { chat_.attach(nullptr); }
    chat::SendResult<chat::Sent> post(const chat::Outgoing& message) override {
        return chat_.post(message);
    }
    chat::SendResult<chat::Sent> edit(
        const chat::Conversation&, const std::string& message, const chat::Outgoing& content
    ) override {
        return chat_.edit(message, content);
    }
    chat::SendResult<std::optional<chat::Sent>> find(const chat::Outgoing& message) override {
        return chat_.find(message.key);
    }
    chat::WebResponse web(const chat::WebRequest& request) override {
        return {200, "text/plain", request.method + " " + request.path};
    }

private:
    PlayedChat& chat_;
};

}  // namespace

const chat::Button& Shown::button(const std::string& label) const {
    for (const auto& each : content.card.buttons) {
        if (each.label == label) return each;
    }
    throw std::runtime_error("the card '" + content.card.title + "' has no button " + label);
}

PlayedChat::PlayedChat() {
    traits.name = "slack";
    traits.can_find = true;
    traits.modals = true;
    traits.per_conversation = {10'000, 10'000};
    traits.overall = {100'000, 100'000};
}

void PlayedChat::on_post(Plan plan) {
    const std::lock_guard lock(mutex_);
    post_plan_ = std::move(plan);
}
void PlayedChat::on_edit(Plan plan) {
    const std::lock_guard lock(mutex_);
    edit_plan_ = std::move(plan);
}

void PlayedChat::on_find(std::function<std::optional<chat::SendError>()> plan) {
    const std::lock_guard lock(mutex_);
    find_plan_ = std::move(plan);
}

void PlayedChat::set_health(chat::Health health) {
    const std::lock_guard lock(mutex_);
    health_ = std::move(health);
    if (sink_ != nullptr) sink_->health(health_);
}

void PlayedChat::attach(chat::Sink* sink) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return telling_ == 0; });
    sink_ = sink;
    if (sink_ != nullptr) {
        ++starts_;
        sink_->health(health_);
    }
    changed_.notify_all();
}

Result<void> PlayedChat::tell(const std::vector<chat::Inbound>& events) {
    chat::Sink* sink = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (sink_ == nullptr) return unavailable("nobody", "the bridge does not listen");
        sink = sink_;
        ++telling_;
    }
    auto done = sink->accept(events);
    const std::lock_guard lock(mutex_);
    --telling_;
    changed_.notify_all();
    return done;
}

void PlayedChat::tell_surely(const chat::Inbound& event) {
    const SteadyTime until = std::chrono::steady_clock::now() + seconds{60};
    while (!tell({event})) {
        if (std::chrono::steady_clock::now() > until)
            throw std::runtime_error("the bridge takes nothing");
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, milliseconds{50});
    }
}

std::vector<Shown> PlayedChat::shown() const {
    const std::lock_guard lock(mutex_);
    return shown_;
}

std::vector<Shown> PlayedChat::in(const std::string& chat) const {
    std::vector<Shown> out;
    for (auto& each : shown()) {
        if (each.conversation.chat == chat) out.push_back(std::move(each));
    }
    return out;
}

int PlayedChat::posts() const {
    const std::lock_guard lock(mutex_);
    return posts_;
}
int PlayedChat::starts() const {
    const std::lock_guard lock(mutex_);
    return starts_;
}

bool PlayedChat::wait_until(
    const std::function<bool(const std::vector<Shown>&)>& right, milliseconds patience
) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return right(shown_); });
}

std::optional<Shown> PlayedChat::wait_for(
    const std::function<bool(const Shown&)>& right, milliseconds patience
) const {
    std::optional<Shown> found;
    (void)wait_until(
        [&](const std::vector<Shown>& all) {
            for (const auto& each : all) {
                if (right(each)) {
                    found = each;
                    return true;
                }
            }
            return false;
        },
        patience
    );
    return found;
}

chat::SendResult<chat::Sent> PlayedChat::post(const chat::Outgoing& message) {
    Plan plan;
    {
        const std::lock_guard lock(mutex_);
        ++posts_;
        plan = post_plan_;
    }
    const auto fault = plan ? plan(message) : std::nullopt;
    const std::lock_guard lock(mutex_);
    if (fault && !fault->posted) {
        changed_.notify_all();
        return {std::nullopt, fault->error};
    }
    Shown shown;
    shown.id = "M" + std::to_string(shown_.size() + 1);
    shown.key = message.key;
    shown.conversation = message.conversation;
    shown.content = message.content;
    shown.only_for = message.only_for;
    shown.handle = message.handle;
    shown.plain = message.plain;
    shown_.push_back(shown);
    changed_.notify_all();
    if (fault) return {std::nullopt, fault->error};
    return {chat::Sent{shown.id}, {}};
}

chat::SendResult<chat::Sent> PlayedChat::edit(
    const std::string& message, const chat::Outgoing& content
) {
    Plan plan;
    {
        const std::lock_guard lock(mutex_);
        plan = edit_plan_;
    }
    if (const auto fault = plan ? plan(content) : std::nullopt) return {std::nullopt, fault->error};
    const std::lock_guard lock(mutex_);
    for (auto& each : shown_) {
        if (each.id != message) continue;
        each.content = content.content;
        ++each.edits;
        changed_.notify_all();
        return {chat::Sent{each.id}, {}};
    }
    return {std::nullopt, {chat::SendError::Kind::kGone, milliseconds{0}, "message_not_found"}};
}

chat::SendResult<std::optional<chat::Sent>> PlayedChat::find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    if (const auto fault = find_plan_ ? find_plan_() : std::nullopt) return {std::nullopt, *fault};
    for (const auto& each : shown_) {
        if (each.key == key) return {std::optional<chat::Sent>(chat::Sent{each.id}), {}};
    }
    return {std::optional<chat::Sent>(), {}};
}

std::unique_ptr<chat::Platform> make_played_platform(PlayedChat& chat) {
    return std::make_unique<PlayedPlatform>(chat);
}

namespace {
std::string new_event() {
    static std::atomic<int> count{0};
    return "E" + std::to_string(++count);
}
}  // namespace

chat::Inbound said(const std::string& text, const std::string& person, const std::string& chat) {
    chat::Inbound out;
    out.event_id = new_event();
    out.kind = chat::InboundKind::kCommand;
    out.conversation.chat = chat;
    out.person = {person, "name of " + person};
    out.text = text;
    out.at = Clock::system().now();
    return out;
}

chat::Inbound clicked(const Shown& message, const std::string& label, const std::string& person) {
    chat::Inbound out = said({}, person, message.conversation.chat);
    out.kind = chat::InboundKind::kClick;
    out.conversation = message.conversation;
    out.token = message.button(label).token;
    out.message = message.id;
    return out;
}

}  // namespace berth::testing
