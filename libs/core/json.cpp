// SPDX-License-Identifier: Apache-2.0
// A recursive-descent reader and a writer; both short, because JSON is.
#include "core/json.hpp"

#include <charconv>
#include <cmath>
#include <unordered_set>

#include "core/text.hpp"
#include "core/utf8.hpp"

namespace berth {
namespace {

class Reader {
public:
    Reader(std::string_view text, int depth) : text_(text), depth_left_(depth) {}

    Result<Json> whole() {
        BERTH_ASSIGN(Json value, read_value());
        skip_space();
        if (at_ != text_.size()) return fail("bytes after the value");
        return value;
    }

private:
    Error fail(std::string_view why) const {
        return invalid("bad_json", std::string(why) + " at byte " + std::to_string(at_));
    }
    bool at_end() const { return at_ >= text_.size(); }
    char peek() const { return at_end() ? '\0' : text_[at_]; }
    bool take(char wanted) {
        if (at_end() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }
    bool take_word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }
    void skip_space() {
        while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' ||
                             text_[at_] == '\r'))
            ++at_;
    }

    Result<Json> read_value() {
        skip_space();
        switch (peek()) {
            case '{': return read_nested(&Reader::read_object);
            case '[': return read_nested(&Reader::read_array);
            case '"': {
                BERTH_ASSIGN(std::string text, read_string());
                return Json(std::move(text));
            }
            case 't': return take_word("true") ? Result<Json>(Json(true)) : fail("not a value");
            case 'f': return take_word("false") ? Result<Json>(Json(false)) : fail("not a value");
            case 'n': return take_word("null") ? Result<Json>(Json()) : fail("not a value");
            default: return read_number();
        }
    }

    Result<Json> read_nested(Result<Json> (Reader::*read)()) {
        if (depth_left_ == 0) return fail("nested too deeply");
        --depth_left_;
        auto value = (this->*read)();
        ++depth_left_;
        return value;
    }

    Result<Json> read_object() {
        ++at_;
        Json::Object members;
        std::unordered_set<std::string> seen;
        skip_space();
        if (take('}')) return Json(std::move(members));
        for (;;) {
            skip_space();
            BERTH_ASSIGN(std::string key, read_string());
            if (!seen.insert(key).second) return fail("a member twice");
            skip_space();
            if (!take(':')) return fail("':' expected");
            BERTH_ASSIGN(Json value, read_value());
            members.emplace_back(std::move(key), std::move(value));
            skip_space();
            if (take('}')) return Json(std::move(members));
            if (!take(',')) return fail("',' or '}' expected");
        }
    }

    Result<Json> read_array() {
        ++at_;
        Json::Array items;
        skip_space();
        if (take(']')) return Json(std::move(items));
        for (;;) {
            BERTH_ASSIGN(Json value, read_value());
            items.push_back(std::move(value));
            skip_space();
            if (take(']')) return Json(std::move(items));
            if (!take(',')) return fail("',' or ']' expected");
        }
    }

    Result<std::string> read_string() {
        if (!take('"')) return fail("'\"' expected");
        std::string out;
        while (!at_end()) {
            const char c = text_[at_++];
            if (c == '"') return out;
            if (static_cast<unsigned char>(c) < 0x20)
                return fail("a control character in a string");
            if (c != '\\') {
                out += c;
                continue;
            }
            BERTH_TRY(read_escape(out));
        }
        return fail("a string without an end");
    }

    Result<void> read_escape(std::string& out) {
        constexpr std::string_view kFrom = "\"\\/bfnrt";
        constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
        if (at_end()) return fail("a string without an end");
        const char c = text_[at_++];
        if (const auto simple = kFrom.find(c); simple != std::string_view::npos) {
            out += kTo[simple];
            return {};
        }
        if (c != 'u') return fail("an unknown escape");
        BERTH_ASSIGN(std::uint32_t code, read_hex4());
        if (code >= 0xDC00 && code <= 0xDFFF) return fail("a lone surrogate");
        if (code >= 0xD800 && code <= 0xDBFF) {
            if (!take_word("\\u")) return fail("a lone surrogate");
            BERTH_ASSIGN(const std::uint32_t low, read_hex4());
            if (low < 0xDC00 || low > 0xDFFF) return fail("a lone surrogate");
            code = 0x10000U + ((code - 0xD800U) << 10U) + (low - 0xDC00U);
        }
        append_utf8(out, code);
        return {};
    }

    Result<std::uint32_t> read_hex4() {
        if (text_.size() - at_ < 4) return fail("a cut escape");
        std::uint32_t code = 0;
        const char* first = text_.data() + at_;
        const auto parsed = std::from_chars(first, first + 4, code, 16);
        if (parsed.ec != std::errc{} || parsed.ptr != first + 4) return fail("a bad escape");
        at_ += 4;
        return code;
    }

    bool skip_digits() {
        const auto first = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        return at_ > first;
    }

    Result<Json> read_number() {
        const auto first = at_;
        bool whole = true;
        take('-');
        if (!take('0') && !skip_digits()) return fail("not a value");
        if (take('.')) {
            whole = false;
            if (!skip_digits()) return fail("a bad number");
        }
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+')) take('-');
            if (!skip_digits()) return fail("a bad number");
        }
        const char* begin = text_.data() + first;
        const char* end = text_.data() + at_;
        if (whole) {
            std::int64_t number = 0;
            if (std::from_chars(begin, end, number).ec == std::errc{}) return Json(number);
        }
        double number = 0;
        if (std::from_chars(begin, end, number).ec != std::errc{})
            return fail("a number out of range");
        return Json(number);
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int depth_left_;
};

void write_string(std::string& out, std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (static_cast<unsigned char>(c) < 0x20) {
                    out += "\\u00";
                    out += kHex[static_cast<unsigned char>(c) >> 4U];
                    out += kHex[static_cast<unsigned char>(c) & 15U];
                } else {
                    out += c;
                }
        }
    }
    out += '"';
}

void write(std::string& out, const Json& value) {
    if (const auto* flag = value.as_bool()) {
        out += *flag ? "true" : "false";
    } else if (const auto* integer = value.as_int()) {
        out += std::to_string(*integer);
    } else if (const auto* number = value.as_double()) {
        char text[32];
        const auto end = std::to_chars(text, text + sizeof text, *number).ptr;
        out += std::isfinite(*number) ? std::string(text, end) : "null";
    } else if (const auto* text = value.as_string()) {
        write_string(out, *text);
    } else if (const auto* items = value.as_array()) {
        out += '[';
        for (std::size_t i = 0; i < items->size(); ++i) {
            if (i > 0) out += ',';
            write(out, (*items)[i]);
        }
        out += ']';
    } else if (const auto* members = value.as_object()) {
        out += '{';
        for (std::size_t i = 0; i < members->size(); ++i) {
            if (i > 0) out += ',';
            write_string(out, (*members)[i].first);
            out += ':';
            write(out, (*members)[i].second);
        }
        out += '}';
    } else {
        out += "null";
    }
}

}  // namespace

Json Json::strings(const std::vector<std::string>& items) {
    Array out;
    for (const auto& item : items) out.emplace_back(item);
    return Json(std::move(out));
}

Result<Json> Json::parse(std::string_view text, const Limits& limits) {
    if (text.size() > limits.bytes)
        return invalid(
            "bad_json", "the text is longer than " + std::to_string(limits.bytes) + " bytes"
        );
    if (!is_utf8(text)) return invalid("bad_json", "the text is not UTF-8");
    return Reader(text, limits.depth).whole();
}

std::string Json::dump() const {
    std::string out;
    write(out, *this);
    return out;
}

const Json* Json::find(std::string_view key) const {
    if (const auto* members = as_object()) {
        for (const auto& [name, value] : *members) {
            if (name == key) return &value;
        }
    }
    return nullptr;
}

std::string Json::string_or(std::string_view key, std::string_view fallback) const {
    const Json* member = find(key);
    const auto* text = member != nullptr ? member->as_string() : nullptr;
    return text != nullptr ? *text : std::string(fallback);
}

std::int64_t Json::int_or(std::string_view key, std::int64_t fallback) const {
    const Json* member = find(key);
    const auto* number = member != nullptr ? member->as_int() : nullptr;
    return number != nullptr ? *number : fallback;
}

bool Json::bool_or(std::string_view key, bool fallback) const {
    const Json* member = find(key);
    const auto* flag = member != nullptr ? member->as_bool() : nullptr;
    return flag != nullptr ? *flag : fallback;
}

Json& Json::set(std::string_view key, Json value) {
    if (!is_object()) value_ = Object{};
    for (auto& [name, old] : std::get<Object>(value_)) {
        if (name == key) {
            old = std::move(value);
            return *this;
        }
    }
    std::get<Object>(value_).emplace_back(std::string(key), std::move(value));
    return *this;
}

Json& Json::push(Json value) {
    if (as_array() == nullptr) value_ = Array{};
    std::get<Array>(value_).push_back(std::move(value));
    return *this;
}

}  // namespace berth
