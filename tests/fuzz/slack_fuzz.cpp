// SPDX-License-Identifier: Apache-2.0
// Slack's payloads from anybody, and text on its way to Slack: what is understood is whole, and
// what is shown calls nobody and keeps Slack's limits.
#include "chat/length.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"
#include "slack/wire.hpp"

namespace {

using namespace berth;

void check_in(const slack::Heard& heard) {
    if (!heard.inbound) return;
    FUZZ_CHECK(!heard.inbound->event_id.empty());
    FUZZ_CHECK(!heard.inbound->conversation.chat.empty() && !heard.inbound->person.id.empty());
    FUZZ_CHECK(is_utf8(heard.inbound->text));
}

void check_out(std::string_view text) {
    chat::Content content;
    content.markdown = std::string(text);
    const slack::Message message = slack::to_message(content, false);
    FUZZ_CHECK(message.text.find('<') == std::string::npos);
    if (const auto* blocks = message.blocks.as_array()) {
        FUZZ_CHECK(blocks->size() <= 50);
        for (const Json& block : *blocks) {
            const std::string shown = block.find("text")->string_or("text", "");
            FUZZ_CHECK(chat::length(shown, chat::Unit::kCodePoints) <= 3'000);
            FUZZ_CHECK(
                shown.find("<!") == std::string::npos && shown.find("<@") == std::string::npos
            );
        }
    }
    content.is_card = true;
    content.card.title = content.card.code = content.card.text = std::string(text);
    content.card.fields = {{"label", std::string(text)}};
    FUZZ_CHECK(slack::to_message(content, false).text.find('<') == std::string::npos);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (is_utf8(text)) check_out(text);
    check_in(slack::hear_command(slack::form_fields(text), WallTime{}));
    FUZZ_CHECK(!slack::forgery("secret", "1", text, text, Clock::system().now()).empty());
    const auto json = Json::parse(text);
    if (!json) return 0;
    check_in(slack::hear_event(*json, WallTime{}));
    check_in(slack::hear_command(*json, WallTime{}));
    check_in(slack::hear_interaction(*json, WallTime{}));
    return 0;
}
