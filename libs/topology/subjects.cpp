// SPDX-License-Identifier: Apache-2.0
// Token-wise comparison of NATS patterns and the placeholders of the topology files.
#include "topology/subjects.hpp"

#include "core/text.hpp"

namespace berth::topology {

bool is_pattern(std::string_view pattern) {
    const auto tokens = split(pattern, '.');
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::string_view token = tokens[i];
        if (token.empty()) return false;
        for (const char c : token) {
            if (c <= ' ' || c > '~') return false;
            if ((c == '*' || c == '>') && token.size() > 1) return false;
        }
        if (token == ">" && i + 1 != tokens.size()) return false;
    }
    return true;
}

bool covers(std::string_view outer, std::string_view inner) {
    const auto wide = split(outer, '.');
    const auto narrow = split(inner, '.');
    for (std::size_t i = 0; i < wide.size(); ++i) {
        if (i >= narrow.size()) return false;
        if (wide[i] == ">") return true;
        if (narrow[i] == ">") return false;
        if (wide[i] != "*" && wide[i] != narrow[i]) return false;
    }
    return wide.size() == narrow.size();
}

Result<std::string> fill_in(std::string_view text, const Names& names) {
    std::string out;
    while (!text.empty()) {
        const auto open = text.find('{');
        out += text.substr(0, open);
        if (open == std::string_view::npos) break;
        const auto close = text.find('}', open);
        if (close == std::string_view::npos)
            return invalid("bad_placeholder", "a '{' without its '}'");
        const std::string_view name = text.substr(open + 1, close - open - 1);
        const std::string* value = name == "user"      ? &names.user
                                   : name == "machine" ? &names.machine
                                   : name == "org"     ? &names.org
                                   : name == "reader"  ? &names.reader
                                                       : nullptr;
        if (value == nullptr || value->empty())
            return invalid("bad_placeholder", "{" + std::string(name) + "} has no value here");
        out += *value;
        text.remove_prefix(close + 1);
    }
    return out;
}

}  // namespace berth::topology
