// SPDX-License-Identifier: Apache-2.0
// Gateway payloads, interaction bodies and refusals from anybody, and text on its way to Discord:
// what is understood keeps its limits, and what is sent is within Discord's.
#include "chat/length.hpp"
#include "core/text.hpp"
#include "discord/session.hpp"
#include "discord/settings.hpp"
#include "discord/wire.hpp"
#include "fuzz.hpp"

namespace {

using namespace berth;

void check(const discord::Told& told) {
    if (!told.inbound) return;
    const chat::Inbound& inbound = *told.inbound;
    FUZZ_CHECK(discord::is_id(inbound.event_id) && discord::is_id(inbound.person.id));
    FUZZ_CHECK(discord::is_id(inbound.conversation.chat));
    FUZZ_CHECK(inbound.text.size() <= chat::Inbound::kMaxText && is_utf8(inbound.text));
    FUZZ_CHECK(inbound.token.size() <= chat::Button::kMaxToken);
    if (!inbound.handle.empty()) FUZZ_CHECK(discord::Handle::parse(inbound.handle).has_value());
}

void check_out(std::string_view text) {
    chat::Outgoing out;
    out.content.markdown = std::string(text);
    for (const bool plain : {false, true}) {
        out.plain = plain;
        const Json body = discord::body_of(out);
        FUZZ_CHECK(
            chat::length(body.string_or("content", ""), chat::Unit::kUtf16) <= discord::kMaxContent
        );
        FUZZ_CHECK(is_utf8(body.dump()));
    }
    const std::string escaped = discord::escape(text);
    FUZZ_CHECK(
        escaped.find("@everyone") == std::string::npos && escaped.find("@here") == std::string::npos
    );
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    if (is_utf8(text))
        check_out(text);  // what is sent comes from the database, whose text is UTF-8
    (void)discord::session_of(text);
    const auto json = Json::parse(text);
    if (!json) return 0;
    const Json* inner = json->find("d");
    const Json& payload = inner == nullptr ? *json : *inner;
    check(discord::message_of(payload, {"900", "901"}));
    check(discord::interaction_of(payload));
    for (const int status : {400, 401, 403, 404, 429, 502}) {
        const chat::SendError error = discord::error_of(status, payload, "3");
        FUZZ_CHECK(error.retry_after.count() >= 0);
    }
    return 0;
}
