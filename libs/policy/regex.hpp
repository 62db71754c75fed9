// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: regular expressions, in time linear in the text. RE2's only home.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace berth::policy::detail {

/// Bytes of an expression at most; what is longer is a list that wants other rules.
inline constexpr std::size_t kMaxRegexBytes = 2'000;

/// Compiled at its first use: a machine loads policies whose expressions were checked where they
/// were read. Matches the whole text, byte by byte ('.' is any byte, a newline among them), so that
/// no odd byte slips past a rule. Copies share what is compiled. Thread-safe.
class Regex {
public:
    Regex() = default;
    explicit Regex(std::string text);

    const std::string& text() const { return text_; }
    /// What is wrong with the expression; empty: nothing.
    std::string problem() const;
    /// `otherwise` where the expression cannot be compiled: the side on which a rule is safe.
    bool matches(std::string_view text, bool otherwise) const;

private:
    struct Compiled;
    std::string text_;
    std::shared_ptr<Compiled> compiled_;
};

}  // namespace berth::policy::detail
