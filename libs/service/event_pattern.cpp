// SPDX-License-Identifier: Apache-2.0
// By the tokens, as NATS matches them.
#include "service/event_pattern.hpp"

#include "core/id.hpp"
#include "core/text.hpp"

namespace berth::service {
namespace {

constexpr std::size_t kTokens = 7;       // berth.evt.<org>.<service>.<noun>.<fact>.<id>
constexpr std::size_t kFirstChoice = 3;  // the org is the asker's

}  // namespace

Result<void> check_event_pattern(
    std::string_view pattern, const std::string& org, const std::string& field
) {
    const std::string own = "berth.evt." + org + ".";
    const auto tokens = split(pattern, '.');
    bool good = pattern.starts_with(own) && tokens.size() > kFirstChoice;
    for (std::size_t i = kFirstChoice; good && i < tokens.size(); ++i)
        good = is_subject_token(tokens[i]) || tokens[i] == "*" ||
               (tokens[i] == ">" && i + 1 == tokens.size());
    if (!good)
        return invalid("bad_subject", "a subject must be a pattern that begins with " + own, field);
    const bool open = tokens.back() == ">";
    if (tokens.size() == kTokens || (open && tokens.size() < kTokens)) return {};
    const std::string given(pattern);
    const std::string why = "no event has such a subject: all are of seven tokens, " + own +
                            "<service>.<noun>.<fact>.<id>";
    if (open || tokens.size() > kTokens) return invalid("bad_subject", why, field);
    return invalid("bad_subject", why + "; all that begin so are " + given + ".>", field);
}

}  // namespace berth::service
