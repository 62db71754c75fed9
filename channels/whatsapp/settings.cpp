// SPDX-License-Identifier: Apache-2.0
// The keys of the settings file that are WhatsApp's own.
#include "chat/settings.hpp"

#include <algorithm>

#include "whatsapp/whatsapp.hpp"

namespace berth::whatsapp {
namespace {

Template read_template(config::Reader& reader, std::string_view key) {
    config::Reader shape = reader.get_section(key);
    Template out;
    out.name = shape.get_string("name");
    out.language = shape.get_string("language", out.language);
    return out;
}

}  // namespace

Result<chat::PlatformFactory> read_platform(config::Reader& reader) {
    Settings settings;
    settings.token = chat::follow_secret_file(reader, "token_file");
    settings.app_secret = chat::follow_secret_file(reader, "app_secret_file");
    settings.verify_token = chat::follow_secret_file(reader, "verify_token_file");
    settings.phone_id = reader.require_string("phone_number_id");
    const bool digits = std::all_of(settings.phone_id.begin(), settings.phone_id.end(), [](char c) {
        return c >= '0' && c <= '9';
    });
    if (!digits) reader.reject("phone_number_id", "must be the number's id at Meta: digits alone");
    chat::require_listener(reader, "webhook_path", "Meta");
    settings.webhook_path = reader.get_string("webhook_path", settings.webhook_path);
    settings.api_url = reader.get_string("api_url", settings.api_url);
    settings.api_version = reader.get_string("api_version", settings.api_version);
    settings.window_template = read_template(reader, "template");
    settings.approval_template = read_template(reader, "approval_template");
    return chat::PlatformFactory([settings] {
        return Result<std::unique_ptr<chat::Platform>>(make_platform(settings));
    });
}

}  // namespace berth::whatsapp
