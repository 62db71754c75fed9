// SPDX-License-Identifier: Apache-2.0
// What Discord's refusals mean to a bridge.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/text.hpp"
#include "discord/wire.hpp"

namespace berth::discord {
namespace {

using Kind = chat::SendError::Kind;

// Discord's codes, where they decide more than the status does.
constexpr int kUnknownMessage = 10'008;
constexpr int kSlowMode = 20'016;
constexpr int kChannelRate = 20'028;
constexpr int kOldEdits = 30'046;  // too many edits of a message older than an hour
constexpr int kServiceBusy = 40'062;
constexpr int kBadToken = 50'027;  // of an interaction, which has ended
constexpr int kInvalidForm = 50'035;

constexpr milliseconds kUnnamedWait{5'000};
constexpr milliseconds kBanWait{
    60'000};  // a page instead of JSON: something in front of Discord refuses
constexpr milliseconds kLongestWait{3'600'000};

milliseconds wait_of(const Json& body, std::string_view header) {
    double seconds = -1;
    if (const Json* told = body.find("retry_after"); told != nullptr) {
        if (told->as_double() != nullptr) seconds = *told->as_double();
        if (told->as_int() != nullptr) seconds = static_cast<double>(*told->as_int());
    }
    if (!(seconds >= 0)) {
        long long whole = -1;
        std::from_chars(header.data(), header.data() + header.size(), whole);
        seconds = static_cast<double>(whole);
    }
    if (!(seconds >= 0)) return kUnnamedWait;
    const double most = static_cast<double>(kLongestWait.count());
    return milliseconds{static_cast<long long>(std::min(std::ceil(seconds * 1'000.0), most)) + 1};
}

}  // namespace

chat::SendError error_of(int status, const Json& body, std::string_view retry_after) {
    const std::int64_t code = body.int_or("code", 0);
    std::string reason = "Discord answered " + std::to_string(status);
    if (code != 0) reason += " (" + std::to_string(code) + ")";
    if (const std::string words = body.string_or("message", ""); !words.empty())
        reason += ": " + clipped(words, 300);
    if (status == 429) {
        const milliseconds wait = wait_of(body, retry_after);
        return {Kind::kLater, body.is_object() ? wait : std::max(wait, kBanWait), reason};
    }
    if (status >= 500) return {Kind::kUnknown, milliseconds{0}, reason};
    if (!body.is_object() && status == 403) return {Kind::kLater, kBanWait, reason};
    if (code == kSlowMode || code == kChannelRate || code == kServiceBusy)
        return {Kind::kLater, wait_of(body, retry_after), reason};
    if (code == kOldEdits) return {Kind::kLater, kBanWait, reason};
    if (code == kUnknownMessage) return {Kind::kGone, milliseconds{0}, reason};
    if (code == kBadToken) return {Kind::kRefused, milliseconds{0}, reason};
    if (code == kInvalidForm) return {Kind::kBadMarkup, milliseconds{0}, reason};
    if (status == 401) return {Kind::kUnauthorized, milliseconds{0}, reason};
    return {Kind::kRefused, milliseconds{0}, reason};
}

}  // namespace berth::discord
