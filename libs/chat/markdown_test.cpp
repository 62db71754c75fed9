// SPDX-License-Identifier: Apache-2.0
// What the Markdown reader makes of each construct, that nothing breaks it, and that the chunker
// keeps every limit and every fence.
#include "chat/markdown.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/text.hpp"

namespace berth::chat {
namespace {

/// Blocks and spans as one line each, so that a test shows what it means.
std::string show(std::string_view markdown) {
    Dialect dialect;
    dialect.span = [](const Span& span) {
        std::string text = span.text;
        if (span.code) text = "<c>" + text + "</c>";
        if (span.strike) text = "<s>" + text + "</s>";
        if (span.emphasis) text = "<i>" + text + "</i>";
        if (span.strong) text = "<b>" + text + "</b>";
        return span.link.empty() ? text : "<a " + span.link + ">" + text + "</a>";
    };
    dialect.code = [](const Block& block) {
        return "<pre " + block.info + ">" + block.spans[0].text + "</pre>";
    };
    dialect.quote = [](const std::string& text) { return "<q>" + text + "</q>"; };
    dialect.literal = [](const std::string& text) { return text; };
    return render(parse_markdown(markdown), dialect);
}

struct Case {
    const char* markdown;
    const char* shown;
};

class Markdown : public ::testing::TestWithParam<Case> {};
TEST_P(Markdown, IsRead) {
    EXPECT_EQ(show(GetParam().markdown), GetParam().shown) << GetParam().markdown;
}

INSTANTIATE_TEST_SUITE_P(
    Inlines,
    Markdown,
    ::testing::Values(
        Case{"", ""},
        Case{"plain", "plain"},
        Case{"a *b* c", "a <i>b</i> c"},
        Case{"a **b** c", "a <b>b</b> c"},
        Case{"***x***", "<b><i>x</i></b>"},
        Case{"**a *b* c**", "<b>a </b><b><i>b</i></b><b> c</b>"},
        Case{"_a_ and __b__", "<i>a</i> and <b>b</b>"},
        Case{"snake_case_name", "snake_case_name"},
        Case{"2 * 3 * 4", "2 * 3 * 4"},
        Case{"~~gone~~ ~/home ~x", "<s>gone</s> ~/home ~x"},
        Case{"`a*b*`", "<c>a*b*</c>"},
        Case{"``a`b``", "<c>a`b</c>"},
        Case{"`` ` ``", "<c>`</c>"},
        Case{"`open", "`open"},
        Case{"\\*no\\* \\d", "*no* \\d"},
        Case{"**open", "**open"},
        Case{"*a **b*", "*a *<i>b</i>"},
        Case{"[t](https://e.x/a_(b))", "<a https://e.x/a_(b)>t</a>"},
        Case{
            "[**t** u](<https://e.x> \"title\")",
            "<a https://e.x><b>t</b></a><a https://e.x> u</a>"},
        Case{"![alt](http://e.x/i.png)", "<a http://e.x/i.png>alt</a>"},
        Case{"[](http://e.x)", "<a http://e.x>http://e.x</a>"},
        Case{"[t](javascript:alert(1))", "[t](javascript:alert(1))"},
        Case{"[t](tg://user?id=1)", "[t](tg://user?id=1)"},
        Case{"<https://e.x?a=1&b=2>", "<a https://e.x?a=1&b=2>https://e.x?a=1&b=2</a>"},
        Case{"<b>x</b>", "<b>x</b>"},
        Case{"[a] (b) [c", "[a] (b) [c"},
        Case{"a\nb\\\nc", "a\nb\nc"},
        Case{"**[x](http://e.x)**", "<a http://e.x><b>x</b></a>"}
    )
);

INSTANTIATE_TEST_SUITE_P(
    Blocks,
    Markdown,
    ::testing::Values(
        Case{"a\n\nb", "a\n\nb"},
        Case{"# T\ntext", "<b>T</b>\ntext"},
        Case{"### T ###\n\nx", "<b>T</b>\n\nx"},
        Case{"#hash", "#hash"},
        Case{"T\n===\nx", "<b>T</b>\nx"},
        Case{"a\n\n---\n\nb", "a\n\n———\n\nb"},
        Case{"```cpp\nint a;\n\n  b\n```\nx", "<pre cpp>int a;\n\n  b</pre>\nx"},
        Case{"~~~\n```\n~~~", "<pre >```</pre>"},
        Case{"```\nopen", "<pre >open</pre>"},
        Case{"````\n```\n````", "<pre >```</pre>"},
        Case{"```\n```", "<pre ></pre>"},
        Case{"    code\n      more\n\ntext", "<pre >code\n  more</pre>\n\ntext"},
        Case{"list:\n- a\n- b\n  c\n\nend", "list:\n• a\n• b\n  c\n\nend"},
        Case{"- a\n  - b\n    1. c\n- d", "• a\n  • b\n    1. c\n• d"},
        Case{"1. a\n2) b", "1. a\n2) b"},
        Case{"- a\n\n  b\n\n- c", "• a\n\n  b\n\n• c"},
        Case{"- ```sh\n  ls\n  ```\n- x", "• \n<pre sh>ls</pre>\n• x"},
        Case{"I was born in\n1968. And", "I was born in\n1968. And"},
        Case{"> a\n> b\n\nc", "<q>a\nb</q>\n\nc"},
        Case{"> a\n>> b\n> - c", "<q>a\nb\n• c</q>"},
        Case{"> a\nlazy", "<q>a\nlazy</q>"},
        Case{"> ```\n> x\n> ```", "<q><pre >x</pre></q>"},
        Case{"- [ ] todo", "• [ ] todo"},
        Case{"-", "• "},
        Case{"a\r\nb", "a\nb"},
        Case{"-a", "-a"}
    )
);

TEST(MarkdownPlain, HasNoMarksAndShowsLinks) {
    EXPECT_EQ(
        to_plain("# T\n**b** `c` [t](http://e.x) <http://e.x>\n\n> q\n\n```\nx\n```"),
        "T\nb c t (http://e.x) http://e.x\n\n> q\n\nx"
    );
}

TEST(MarkdownReader, TakesWhateverComes) {
    std::mt19937 random(7);
    const std::string alphabet = "*_`~[]()<>!#->\\ \n\ta1.\xF0\x9F\x98\x80\"=";
    for (int round = 0; round < 3'000; ++round) {
        std::string text;
        std::size_t size = random() % 200;
        for (std::size_t i = 0; i < size; ++i) text += alphabet[random() % alphabet.size()];
        std::string shown = to_plain(text);
        EXPECT_LE(shown.size(), text.size() * 8 + 64) << text;
    }
}

TEST(MarkdownReader, IsNotSlowedDownByNesting) {
    auto start = std::chrono::steady_clock::now();
    for (const char* unit : {"[", "*a ", "**a *", "`a ``", "> ", "- ", "<a", "![a](", "_a_b"}) {
        std::string text;
        while (text.size() < 32U << 10U) text += unit;
        EXPECT_FALSE(show(text).empty());
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

std::size_t fences(const std::string& text) {
    std::size_t count = 0;
    for (std::string_view line : split(text, '\n')) count += line.starts_with("```") ? 1 : 0;
    return count;
}

TEST(Chunker, LeavesShortTextAlone) {
    EXPECT_EQ(split_markdown("a\n\nb", 400, Unit::kUtf16), (std::vector<std::string>{"a\n\nb"}));
    EXPECT_EQ(
        split_markdown("a\n```cpp", 400, Unit::kUtf16), (std::vector<std::string>{"a\n```cpp"})
    );
    EXPECT_TRUE(split_markdown("\n \n", 400, Unit::kUtf16).empty());
}

TEST(Chunker, ClosesAndReopensFences) {
    std::string text = "before\n\n```cpp\n";
    for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i) + ";\n";
    text += "```\nafter";
    auto pieces = split_markdown(text, 500, Unit::kCodePoints);
    ASSERT_GT(pieces.size(), 3U);
    std::string code;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        EXPECT_LE(length(pieces[i], Unit::kCodePoints), 500U);
        EXPECT_EQ(fences(pieces[i]) % 2, 0U) << pieces[i];
        bool inner = i > 0 && i + 1 < pieces.size();
        EXPECT_TRUE(!inner || pieces[i].starts_with("```cpp\nline ")) << pieces[i];
        for (const Block& block : parse_markdown(pieces[i])) {
            if (block.kind == BlockKind::kCode) code += block.spans[0].text + "\n";
        }
    }
    for (int i = 0; i < 200; ++i) {
        EXPECT_NE(code.find("line " + std::to_string(i) + ";\n"), std::string::npos) << i;
    }
    EXPECT_TRUE(pieces.back().ends_with("```\nafter"));
}

/// Lines that the reader takes for code.
std::vector<std::string> code_lines(const std::vector<std::string>& pieces) {
    std::vector<std::string> lines;
    for (const std::string& piece : pieces) {
        for (const Block& block : parse_markdown(piece)) {
            if (block.kind != BlockKind::kCode) continue;
            for (const auto line : split(block.spans[0].text, '\n')) lines.emplace_back(line);
        }
    }
    return lines;
}

TEST(Chunker, TakesForFencesWhatTheReaderDoes) {
    std::string lines;
    for (int i = 0; i < 60; ++i) lines += "line number " + std::to_string(i) + "\n";
    const std::string words(60, 'w');
    for (const std::string& text : {
             "````\n  ```\n" + lines + "````\n" + lines,          // shorter, though further in
             "  ```\n" + lines + "```\n" + lines,                 // closed further out
             "```" + words + "\n" + lines + "```\n" + lines,      // many words
             "~~~ a`b\n" + lines + "~~~\n" + lines,               // a back-tick in them
             "```\n> ```\n" + lines + "```\n" + lines,            // no quote within code
             std::string(17, '`') + "\n" + lines + "\n" + lines,  // too long for one
         }) {
        EXPECT_EQ(code_lines(split_markdown(text, 400, Unit::kCodePoints)), code_lines({text}))
            << text.substr(0, 20);
    }
}

TEST(Chunker, PartsAtParagraphsThenWordsThenCharacters) {
    std::string paragraph(300, 'a');
    auto pieces = split_markdown(paragraph + "\n\n" + paragraph + "\nx", 400, Unit::kCodePoints);
    EXPECT_EQ(pieces, (std::vector<std::string>{paragraph, paragraph + "\nx"}));

    std::string words;
    for (int i = 0; i < 300; ++i) words += "word ";
    for (const std::string& piece : split_markdown(words, 400, Unit::kCodePoints)) {
        EXPECT_TRUE(piece.starts_with("word") && (piece.ends_with("word") || piece.ends_with(' ')))
            << piece;
    }

    std::string faces;
    for (int i = 0; i < 500; ++i) faces += "\xF0\x9F\x98\x80";
    std::string joined;
    for (const std::string& piece : split_markdown(faces, 400, Unit::kUtf16)) {
        EXPECT_LE(length(piece, Unit::kUtf16), 400U);
        EXPECT_TRUE(is_utf8(piece));
        joined += piece;
    }
    EXPECT_EQ(joined, faces);
}

TEST(Chunker, KeepsTheLimitAndTheWordsOfAnyText) {
    std::mt19937 random(11);
    // Fences end their line: an opening's own words are said again where it is opened again.
    const std::vector<std::string> words = {
        "a",
        "word",
        "```\n",
        "~~~\n",
        "\n",
        "\n\n",
        " ",
        "> ",
        "- ",
        "```sh\n",
        "&",
        "\xC3\xA4",
        "\xF0\x9F\x98\x80"};
    auto escaped = [](std::string_view text) {
        return text.size() +
               4 * static_cast<std::size_t>(std::count(text.begin(), text.end(), '&'));
    };
    for (int round = 0; round < 500; ++round) {
        std::string text;
        std::size_t count = random() % 900;
        for (std::size_t i = 0; i < count; ++i) text += words[random() % words.size()];
        std::string seen;
        for (const std::string& piece : split_markdown(text, 400, escaped)) {
            EXPECT_LE(escaped(piece), 400U);
            EXPECT_TRUE(is_utf8(piece));
            EXPECT_NE(piece.find_first_not_of(" \n\t"), std::string::npos);
            seen += piece;
        }
        for (char kept : {'w', '\xC3', '\xF0', '&'}) {
            EXPECT_EQ(
                std::count(seen.begin(), seen.end(), kept),
                std::count(text.begin(), text.end(), kept)
            ) << text;
        }
    }
}

TEST(Length, CountsAndCutsInThePlatformsUnit) {
    const std::string face = "\xF0\x9F\x98\x80";
    EXPECT_EQ(length("a\xC3\xA4" + face, Unit::kCodePoints), 3U);
    EXPECT_EQ(length("a\xC3\xA4" + face, Unit::kUtf16), 4U);
    EXPECT_EQ(cut("abc", 3, Unit::kUtf16), "abc");
    EXPECT_EQ(cut("abcd", 3, Unit::kUtf16), "ab\xE2\x80\xA6");
    EXPECT_EQ(cut(face + face, 3, Unit::kUtf16), face + "\xE2\x80\xA6");
    EXPECT_EQ(
        cut_front("abcd", 3, Unit::kUtf16),
        "\xE2\x80\xA6"
        "cd"
    );
    EXPECT_EQ(cut("", 0, Unit::kUtf16), "");
    // A family is one character: the cut goes in front of it.
    const std::string family = "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9";
    EXPECT_EQ(cut("ab" + family + "cdef", 5, Unit::kCodePoints), "ab\xE2\x80\xA6");
}

TEST(Length, MakesTextOfAnyBytes) {
    EXPECT_EQ(to_text("a\xFF\xC3z\r\n\x1B[1m\tb\x00x"), "a\xEF\xBF\xBD\xEF\xBF\xBDz\n[1m\tb");
    EXPECT_EQ(to_text(std::string_view("a\0b", 3)), "ab");
    EXPECT_TRUE(is_utf8(to_text("\xED\xA0\x80\xF4\x90\x80\x80\xC0\xAF")));
}

}  // namespace
}  // namespace berth::chat
