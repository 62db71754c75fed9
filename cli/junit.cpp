// SPDX-License-Identifier: Apache-2.0
// A small reader of XML's element structure, and what JUnit means by it.
#include "cli/junit.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "core/text.hpp"

namespace berth::cli {
namespace {

constexpr std::size_t kMaxDepth = 64;  // nested suites are three deep in practice

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_name(char c) { return !is_space(c) && c != '=' && c != '>' && c != '/' && c != '<'; }

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6U);
        put(0x80 | (code & 0x3FU));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12U);
        put(0x80 | (code >> 6U & 0x3FU));
        put(0x80 | (code & 0x3FU));
    } else {
        put(0xF0 | code >> 18U);
        put(0x80 | (code >> 12U & 0x3FU));
        put(0x80 | (code >> 6U & 0x3FU));
        put(0x80 | (code & 0x3FU));
    }
}

// The five predefined entities and character references; what is none stays as it is written.
bool append_entity(std::string& out, std::string_view name) {
    static const std::map<std::string_view, char> kPredefined = {
        {"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    if (const auto known = kPredefined.find(name); known != kPredefined.end()) {
        out += known->second;
        return true;
    }
    if (!name.starts_with('#')) return false;
    name.remove_prefix(1);
    const int base = name.starts_with('x') ? 16 : 10;
    if (base == 16) name.remove_prefix(1);
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), code, base);
    if (error != std::errc() || end != name.data() + name.size() || code == 0 || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000))
        return false;
    append_utf8(out, code);
    return true;
}

std::string decoded(std::string_view text) {
    std::string out;
    constexpr std::size_t kLongestEntity = 10;
    while (!text.empty()) {
        const auto at = text.find('&');
        out += text.substr(0, at);
        if (at == std::string_view::npos) break;
        text.remove_prefix(at);
        const auto end = text.substr(0, kLongestEntity + 2).find(';');
        if (end != std::string_view::npos && append_entity(out, text.substr(1, end - 1))) {
            text.remove_prefix(end + 1);
        } else {
            out += '&';
            text.remove_prefix(1);
        }
    }
    return out;
}

using Attributes = std::map<std::string, std::string, std::less<>>;

/// Calls back for each element's begin, text and end.
class XmlReader {
public:
    virtual ~XmlReader() = default;

    Result<void> read(std::string_view xml) {
        all_ = rest_ = xml;
        if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
        while (!rest_.empty()) {
            if (rest_.front() != '<') {
                const auto end = std::min(rest_.find('<'), rest_.size());
                if (!open_.empty()) text(decoded(rest_.substr(0, end)));
                rest_.remove_prefix(end);
            } else if (rest_.starts_with("<!--")) {
                BERTH_TRY(skip_past("-->"));
            } else if (rest_.starts_with("<![CDATA[")) {
                const auto end = rest_.find("]]>");
                if (end == std::string_view::npos) return wrong("a CDATA section does not end");
                if (!open_.empty()) text(rest_.substr(9, end - 9));
                rest_.remove_prefix(end + 3);
            } else if (rest_.starts_with("<?")) {
                BERTH_TRY(skip_past("?>"));
            } else if (rest_.starts_with("<!")) {
                return wrong("a document type is not taken");
            } else {
                BERTH_TRY(element());
            }
        }
        if (!open_.empty()) return wrong("'" + open_.back() + "' is not closed");
        if (!any_) return wrong("there is no element");
        return {};
    }

protected:
    virtual void begin(const std::string& name, const Attributes& attributes) = 0;
    virtual void text(std::string_view text) = 0;
    virtual void end(const std::string& name) = 0;

private:
    Error wrong(const std::string& what) const {
        return invalid(
            "bad_junit",
            "not a JUnit report: " + what + " (byte " + std::to_string(all_.size() - rest_.size()) +
                ")"
        );
    }

    Result<void> skip_past(std::string_view mark) {
        const auto at = rest_.find(mark);
        if (at == std::string_view::npos) return wrong("the text ends too early");
        rest_.remove_prefix(at + mark.size());
        return {};
    }

    void skip_space() {
        while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
    }

    std::string take_name() {
        std::size_t size = 0;
        while (size < rest_.size() && is_name(rest_[size])) ++size;
        std::string name(rest_.substr(0, size));
        rest_.remove_prefix(size);
        return name;
    }

    Result<void> element() {
        rest_.remove_prefix(1);
        const bool closes = rest_.starts_with('/');
        if (closes) rest_.remove_prefix(1);
        const std::string name = take_name();
        if (name.empty()) return wrong("'<' begins no element");
        if (closes) return close(name);
        if (open_.empty() && any_) return wrong("there is more than one root");
        if (open_.size() >= kMaxDepth) return wrong("elements are nested too deep");
        BERTH_ASSIGN(const Attributes attributes, take_attributes());
        any_ = true;
        begin(name, attributes);
        if (rest_.starts_with("/>")) {
            rest_.remove_prefix(2);
            end(name);
            return {};
        }
        if (!rest_.starts_with('>')) return wrong("'" + name + "' does not end");
        rest_.remove_prefix(1);
        open_.push_back(name);
        return {};
    }

    Result<void> close(const std::string& name) {
        skip_space();
        if (open_.empty() || open_.back() != name || !rest_.starts_with('>'))
            return wrong("'</" + name + ">' closes what is not open");
        rest_.remove_prefix(1);
        open_.pop_back();
        end(name);
        return {};
    }

    Result<Attributes> take_attributes() {
        Attributes out;
        for (;;) {
            skip_space();
            if (rest_.empty() || rest_.front() == '>' || rest_.front() == '/') return out;
            const std::string name = take_name();
            skip_space();
            if (name.empty() || !rest_.starts_with('=')) return wrong("an attribute has no value");
            rest_.remove_prefix(1);
            skip_space();
            if (rest_.empty() || (rest_.front() != '"' && rest_.front() != '\''))
                return wrong("an attribute's value is not quoted");
            const auto end = rest_.find(rest_.front(), 1);
            if (end == std::string_view::npos) return wrong("an attribute's value does not end");
            out[name] = decoded(rest_.substr(1, end - 1));
            rest_.remove_prefix(end + 1);
        }
    }

    std::string_view all_;
    std::string_view rest_;
    std::vector<std::string> open_;
    bool any_ = false;
};

std::string attribute(const Attributes& attributes, std::string_view name) {
    const auto place = attributes.find(name);
    return place == attributes.end() ? "" : place->second;
}

std::string first_line(std::string_view text) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    text = text.substr(0, text.find('\n'));
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return std::string(text);
}

double seconds_of(std::string text) {
    std::erase(text, ',');  // "1,234.5" of some runners
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    return end != text.c_str() && value >= 0 && value < 1e9 ? value : 0;
}

class JunitReader final : public XmlReader {
public:
    TestReport report;
    bool suites = false;

private:
    void begin(const std::string& name, const Attributes& attributes) override {
        if (name == "testsuite" || name == "testsuites") {
            suites = true;
            suites_.push_back(attribute(attributes, "name"));
        } else if (name == "testcase") {
            in_case_ = true;
            status_.clear();
            now_ = {};
            now_.name = attribute(attributes, "name");
            now_.suite = attribute(attributes, "classname");
            if (now_.suite.empty() && !suites_.empty()) now_.suite = suites_.back();
            now_.file = attribute(attributes, "file");
            const std::string line = attribute(attributes, "line");
            if (!now_.file.empty() && !line.empty()) now_.file += ":" + line;
            report.totals.seconds += seconds_of(attribute(attributes, "time"));
        } else if (in_case_ && (name == "failure" || name == "error" || name == "skipped")) {
            // Some runners mark a case that failed in its tear-down as skipped, too.
            if (status_.empty() || status_ == "skipped") {
                status_ = name;
                if (name != "skipped") now_.message = attribute(attributes, "message");
            }
            in_problem_ = name != "skipped";
        }
    }

    void text(std::string_view text) override {
        if (!in_problem_ || now_.text.size() >= kMaxCaseText) return;
        now_.text += clipped(text, kMaxCaseText - now_.text.size());
    }

    void end(const std::string& name) override {
        if (name == "testsuite" || name == "testsuites") {
            suites_.pop_back();
        } else if (name == "failure" || name == "error" || name == "skipped") {
            in_problem_ = false;
        } else if (name == "testcase" && in_case_) {
            in_case_ = false;
            ++report.totals.tests;
            if (status_ == "skipped") ++report.totals.skipped;
            if (status_ == "failure") ++report.totals.failed;
            if (status_ == "error") ++report.totals.errors;
            if (status_ != "failure" && status_ != "error") return;
            while (!now_.text.empty() && !is_utf8(now_.text)) now_.text.pop_back();  // cut inside
            now_.kind = status_;
            if (now_.message.empty()) now_.message = first_line(now_.text);
            report.failed.push_back(std::move(now_));
        }
    }

    std::vector<std::string> suites_;
    FailedCase now_;
    std::string status_;
    bool in_case_ = false;
    bool in_problem_ = false;
};

}  // namespace

Result<TestReport> parse_junit(std::string_view xml) {
    if (!is_utf8(xml)) return invalid("bad_junit", "not a JUnit report: the text is not UTF-8");
    JunitReader reader;
    BERTH_TRY(reader.read(xml));
    if (!reader.suites) return invalid("bad_junit", "not a JUnit report: it has no test suite");
    return std::move(reader.report);
}

}  // namespace berth::cli
