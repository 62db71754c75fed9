// SPDX-License-Identifier: Apache-2.0
// WhatsApp's webhooks as inbound things, and messages as requests of its Cloud API.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/platform.hpp"
#include "core/json.hpp"
#include "http/form.hpp"

/// Pure functions.
namespace berth::whatsapp {

/// What a webhook says to the business number `phone_id`: texts and presses of buttons. Media,
/// groups and other numbers are left out.
std::vector<chat::Inbound> inbound_of(const Json& payload, std::string_view phone_id);

/// Messages of the number that did not arrive, of a webhook's statuses; `otherwise` where only the
/// 24-hour window is closed.
std::vector<chat::Undelivered> undelivered_of(const Json& payload, std::string_view phone_id);

/// The body of a message; `media` is an uploaded file's id. Nothing where the conversation is none
/// of WhatsApp's.
std::optional<Json> message_body(const chat::Outgoing& message, std::string_view media);

/// A card whose code is too long to stand beside its buttons, as the text before it; else nothing.
std::optional<Json> plan_body(const chat::Outgoing& message);

/// A message template with one text of its body: the only thing that may be said first, and after
/// 24 hours of silence.
struct Template {
    std::string name;
    std::string language = "en";
    bool empty() const { return name.empty(); }
};
std::optional<Json> template_body(const chat::Outgoing& message, const Template& shape);

/// A card that asks for a decision, as a template with the card's buttons. Nothing where its code
/// would not stand there word for word, with a mark for each line's end.
std::optional<Json> approval_body(const chat::Outgoing& message, const Template& shape);

/// A file's upload.
http::Form form_of(const chat::Content& file, std::string boundary = http::make_boundary());

/// What a refusal means. `status` is HTTP's; `body` null where the answer was no JSON.
chat::SendError error_of(int status, const Json& body);
/// True where the last word of the person is more than 24 hours old.
bool window_closed(const Json& body);

}  // namespace berth::whatsapp
