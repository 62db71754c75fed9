// SPDX-License-Identifier: Apache-2.0
// Updates and refusals from anybody, and text on its way to Telegram: what is understood keeps its
// limits, and what is shown is within Telegram's.
#include "chat/length.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"
#include "telegram/markup.hpp"
#include "telegram/wire.hpp"

namespace {

using namespace berth;

void check_in(const Json& update) {
    const telegram::Bot bot{700, "berth_bot"};
    const auto inbound = telegram::inbound_of(update, bot, {{"run", "Run"}}, WallTime{});
    if (!inbound) return;
    FUZZ_CHECK(inbound->event_id.starts_with("700/"));
    FUZZ_CHECK(!inbound->person.id.empty() && !inbound->conversation.chat.empty());
    FUZZ_CHECK(inbound->text.size() <= chat::Inbound::kMaxText && is_utf8(inbound->text));
    FUZZ_CHECK(inbound->token.size() <= chat::Button::kMaxToken);
}

void check_out(std::string_view text) {
    chat::Outgoing out;
    out.conversation.chat = "5";
    out.content.markdown = std::string(text);
    for (const bool plain : {false, true}) {
        out.plain = plain;
        const std::string shown = telegram::markdown_text(text, plain);
        FUZZ_CHECK(is_utf8(shown));
        if (plain) FUZZ_CHECK(chat::length(shown, chat::Unit::kUtf16) <= telegram::kMaxText);
        chat::Card card;
        card.title = std::string(text.substr(0, text.size() / 2));
        card.code = std::string(text);
        card.fields = {{"label", std::string(text)}};
        FUZZ_CHECK(is_utf8(telegram::card_text(card, plain)));
    }
    FUZZ_CHECK(telegram::post_call(out).has_value());
    const std::string escaped = telegram::escape(text);
    FUZZ_CHECK(escaped.find_first_of("<>\"") == std::string::npos);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    check_out(text);
    const auto json = Json::parse(text);
    if (!json) return 0;
    check_in(*json);
    (void)telegram::bot_of(*json);
    (void)telegram::migrated_to(*json);
    for (const int status : {400, 401, 403, 429, 502}) {
        FUZZ_CHECK(telegram::error_of(status, *json).retry_after.count() >= 0);
    }
    return 0;
}
