// SPDX-License-Identifier: Apache-2.0
// RE2, anchored, over bytes, with a limit of memory.
#include "policy/regex.hpp"

#include <re2/re2.h>

#include <mutex>

namespace berth::policy::detail {
namespace {

// An expression that needs more is refused: 10,000 rules of it would not fit a machine.
constexpr std::int64_t kMostMemory = 1 << 20;

RE2::Options options() {
    RE2::Options out;
    out.set_encoding(RE2::Options::EncodingLatin1);
    out.set_log_errors(false);
    out.set_dot_nl(true);
    out.set_never_capture(true);
    out.set_max_mem(kMostMemory);
    return out;
}

}  // namespace

struct Regex::Compiled {
    std::once_flag once;
    std::unique_ptr<RE2> program;
    const RE2& get(const std::string& text) {
        std::call_once(once, [&] { program = std::make_unique<RE2>(text, options()); });
        return *program;
    }
};

Regex::Regex(std::string text) : text_(std::move(text)), compiled_(std::make_shared<Compiled>()) {}

std::string Regex::problem() const {
    if (text_.empty()) return "an empty expression";
    if (text_.size() > kMaxRegexBytes)
        return "an expression of more than " + std::to_string(kMaxRegexBytes) + " bytes";
    const RE2& program = compiled_->get(text_);
    return program.ok() ? std::string() : program.error();
}

bool Regex::matches(std::string_view text, bool otherwise) const {
    if (!compiled_) return otherwise;
    const RE2& program = compiled_->get(text_);
    if (!program.ok()) return otherwise;
    return RE2::FullMatch(re2::StringPiece(text.data(), text.size()), program);
}

}  // namespace berth::policy::detail
