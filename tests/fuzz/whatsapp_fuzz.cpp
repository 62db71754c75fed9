// SPDX-License-Identifier: Apache-2.0
// Webhooks and refusals from anybody, and text on its way to WhatsApp: what is understood keeps its
// limits, and what is sent is within Meta's.
#include "chat/length.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"
#include "whatsapp/markup.hpp"
#include "whatsapp/wire.hpp"

namespace {

using namespace berth;

void check_in(const Json& payload) {
    for (const chat::Inbound& inbound : whatsapp::inbound_of(payload, "106540352242922")) {
        FUZZ_CHECK(!inbound.event_id.empty() && inbound.person.id == inbound.conversation.chat);
        FUZZ_CHECK(inbound.text.size() <= chat::Inbound::kMaxText && is_utf8(inbound.text));
        FUZZ_CHECK(inbound.token.size() <= chat::Button::kMaxToken);
    }
}

void check_undelivered(const Json& payload) {
    for (const auto& told : whatsapp::undelivered_of(payload, "106540352242922"))
        FUZZ_CHECK(!told.message.empty() && is_utf8(told.reason));
}

void check_out(std::string_view text) {
    chat::Card card;
    card.title = std::string(text.substr(0, text.size() / 2));
    card.code = std::string(text);
    card.fields = {{"label", std::string(text)}};
    for (const bool plain : {false, true}) {
        const std::string shown = whatsapp::markdown_text(text, plain);
        FUZZ_CHECK(is_utf8(shown) && chat::length(shown, chat::Unit::kUtf16) <= whatsapp::kMaxText);
        const std::string drawn = whatsapp::card_text(card, plain, whatsapp::kMaxBody);
        FUZZ_CHECK(is_utf8(drawn) && chat::length(drawn, chat::Unit::kUtf16) <= whatsapp::kMaxBody);
    }
    chat::Outgoing out;
    out.conversation.chat = "16505551234";
    out.content.markdown = std::string(text);
    FUZZ_CHECK(whatsapp::template_body(out, {"t", "en"}).has_value());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    check_out(text);
    const auto json = Json::parse(text);
    if (!json) return 0;
    check_in(*json);
    check_undelivered(*json);
    for (const int status : {200, 400, 401, 429, 500}) (void)whatsapp::error_of(status, *json);
    return 0;
}
