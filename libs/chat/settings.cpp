// SPDX-License-Identifier: Apache-2.0
// The keys of a bridge.
#include "chat/settings.hpp"

#include <algorithm>
#include <mutex>

#include "core/fd.hpp"
#include "core/id.hpp"

namespace berth::chat {
namespace {

constexpr std::size_t kMaxSecretFile = 8'192;
constexpr milliseconds kLookEvery{1'000};

/// Without the line's end.
Result<std::string> text_of(const std::string& path) {
    BERTH_ASSIGN(std::string text, read_file(path, kMaxSecretFile));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    return text;
}

Conversation conversation_of(const std::string& text) {
    const auto slash = text.find('/');
    if (slash == std::string::npos) return {text, {}};
    return {text.substr(0, slash), text.substr(slash + 1)};
}

bool holds(const std::vector<std::string>& list, std::string_view item) {
    return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

const OrgSettings* BridgeSettings::of_chat(std::string_view chat) const {
    for (const auto& org : orgs) {
        if (holds(org.chats, chat)) return &org;
    }
    return nullptr;
}

const OrgSettings* BridgeSettings::of_org(std::string_view org) const {
    for (const auto& each : orgs) {
        if (each.org == org) return &each;
    }
    return nullptr;
}

bool may_speak(const OrgSettings& org, std::string_view id) {
    return org.people.empty() || holds(org.people, id);
}

BridgeSettings read_bridge_settings(config::Reader& reader) {
    BridgeSettings out;
    out.web_listen = reader.get_string("web_listen");
    for (auto& [name, section] : reader.get_sections("orgs")) {
        OrgSettings org;
        org.org = name;
        if (!is_subject_token(name)) section.reject("chats", "the org's name is not one");
        org.chats = section.get_list("chats");
        org.people = section.get_list("people");
        org.profile = section.get_string("profile");
        for (const auto& text : section.get_list("approvals")) {
            org.approvals.push_back(conversation_of(text));
            if (!holds(org.chats, org.approvals.back().chat))
                org.chats.push_back(org.approvals.back().chat);
        }
        for (const auto& chat : org.chats) {
            if (out.of_chat(chat) != nullptr)
                section.reject("chats", "chat " + chat + " is another org's too");
        }
        out.orgs.push_back(std::move(org));
    }
    if (out.orgs.empty()) reader.reject("orgs", "must name the org whose chats these are");
    return out;
}

Secret read_secret_file(config::Reader& reader, std::string_view key) {
    const std::string path = reader.require_string(key);
    if (path.empty()) return {};
    auto text = text_of(path);
    if (!text) {
        reader.reject(key, "cannot be read: " + text.error().message);
        return {};
    }
    if (text->empty()) reader.reject(key, "names an empty file");
    return Secret(std::move(*text));
}

struct LiveSecret::File {
    std::string path;  ///< empty: it stays as it is
    std::mutex mutex;
    Secret last;           // by mutex
    SteadyTime read_at{};  // by mutex
};

LiveSecret::LiveSecret(std::string path, Secret first) : file_(std::make_shared<File>()) {
    file_->path = std::move(path);
    file_->last = std::move(first);
}

Secret LiveSecret::read() const {
    const std::lock_guard lock(file_->mutex);
    const SteadyTime now = std::chrono::steady_clock::now();
    if (file_->path.empty() || now - file_->read_at < kLookEvery) return file_->last;
    file_->read_at = now;
    if (auto text = text_of(file_->path); text && !text->empty())
        file_->last = Secret(std::move(*text));
    return file_->last;
}

LiveSecret follow_secret_file(config::Reader& reader, std::string_view key) {
    Secret first = read_secret_file(reader, key);
    return {reader.get_string(key), std::move(first)};
}

void require_listener(config::Reader& reader, std::string_view key, std::string_view sender) {
    if (reader.get_string("web_listen").empty())
        reader.reject(key, "needs web_listen, where " + std::string(sender) + "'s requests arrive");
}

}  // namespace berth::chat
