// SPDX-License-Identifier: Apache-2.0
// Arguments on cards: whatever bytes they are, what is shown is short, well-formed, visible, and a
// shell would read the same arguments from it.
#include <string>
#include <vector>

#include "core/text.hpp"
#include "fuzz.hpp"
#include "policy/plan.hpp"
#include "policy/unicode.hpp"

namespace {

using namespace berth::policy;

void append_utf8(std::string& out, unsigned long point) {
    const auto add = [&](unsigned long byte) { out += static_cast<char>(byte); };
    if (point < 0x80) {
        add(point);
    } else if (point < 0x800) {
        add(0xC0 | (point >> 6)), add(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        add(0xE0 | (point >> 12)), add(0x80 | ((point >> 6) & 0x3F)), add(0x80 | (point & 0x3F));
    } else {
        add(0xF0 | (point >> 18)), add(0x80 | ((point >> 12) & 0x3F)),
            add(0x80 | ((point >> 6) & 0x3F)), add(0x80 | (point & 0x3F));
    }
}

/// An escape of $'…' after its backslash; moves `at` behind it.
void read_escape(const std::string& line, std::size_t& at, std::string& out) {
    const char kind = line[at++];
    const int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0) {
        out += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r' : kind;
        return;
    }
    const auto value = std::stoul(line.substr(at, static_cast<std::size_t>(digits)), nullptr, 16);
    at += static_cast<std::size_t>(digits);
    if (kind == 'x') {
        out += static_cast<char>(value);
    } else {
        append_utf8(out, value);
    }
}

/// What a shell reads.
std::vector<std::string> read_line(const std::string& line) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < line.size(); ++at) {
        std::string word;
        while (at < line.size() && line[at] != ' ') {
            if (line[at] == '\\') {
                word += line[++at], ++at;
            } else if (line[at] == '\'') {
                for (++at; line.at(at) != '\''; ++at) word += line[at];
                ++at;
            } else if (line[at] == '$' && line.at(at + 1) == '\'') {
                for (at += 2; line.at(at) != '\'';) {
                    if (line[at] == '\\') {
                        read_escape(line, ++at, word);
                    } else {
                        word += line[at++];
                    }
                }
                ++at;
            } else {
                word += line[at++];
            }
        }
        out.push_back(std::move(word));
    }
    return out;
}

void check_visible(std::string_view shown, bool lines) {
    FUZZ_CHECK(berth::is_utf8(shown));
    for (std::size_t at = 0; at < shown.size();) {
        const auto one = detail::character_at(shown, at);
        FUZZ_CHECK(one.valid && (!detail::is_unsafe(one.point) || (lines && one.point == '\n')));
        at += one.bytes;
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    berth::fuzz::Input input(berth::fuzz::text_of(data, size));
    const std::size_t most = 60 + input.byte() * 16;
    // Repeating makes 64 KiB of few bytes.
    const unsigned times = input.byte() % 4 == 3 ? 64 : 1;
    Plan plan;
    while (!input.empty() && plan.argv.size() < 64) {
        const std::string_view piece = input.take(input.byte() * 4);
        std::string argument;
        for (unsigned i = 0; i < times; ++i) argument += piece;
        plan.argv.push_back(std::move(argument));
    }
    const std::string whole = show_argv(plan.argv, SIZE_MAX);
    check_visible(whole, false);
    FUZZ_CHECK(read_line(whole) == plan.argv);
    const std::string cut = show_argv(plan.argv, most);
    check_visible(cut, false);
    FUZZ_CHECK(cut.size() <= most);
    FUZZ_CHECK(cut == whole || cut.find(" bytes left out]") != std::string::npos);
    check_visible(show_masked_argv(plan.argv, most), false);
    if (!plan.argv.empty()) {
        plan.cwd = plan.argv.front();
        plan.script.path = plan.parent = plan.executable.path = plan.argv.back();
        plan.env = {{plan.argv.front(), plan.argv.back(), false}};
    }
    const std::string card = show_plan(plan);
    check_visible(card, true);
    FUZZ_CHECK(card.size() <= 3'000);
    return 0;
}
