// SPDX-License-Identifier: Apache-2.0
// Typed reading of the policy file's maps.
#include "policy/policy_reader.hpp"

#include <algorithm>

namespace berth::policy::detail {
namespace {

std::string joined(std::initializer_list<std::string_view> names) {
    std::string out;
    for (const auto name : names) {
        if (!out.empty()) out += ", ";
        out += name;
    }
    return out;
}

std::string quoted(const config::Node& node) {
    if (node.is_list()) return "a list";
    if (node.is_map()) return "a map";
    if (node.is_null()) return "nothing";
    const std::string text = text_of(node);
    return text.size() <= 60 ? "'" + text + "'"
                             : "a text of " + std::to_string(text.size()) + " bytes";
}

}  // namespace

std::string Problems::text() const {
    std::string out;
    for (const auto& line : lines_) out += (out.empty() ? "" : "\n") + line;
    if (count_ > lines_.size())
        out += "\n… and " + std::to_string(count_ - lines_.size()) + " more";
    return out;
}

std::string text_of(const config::Node& node) {
    auto text = node.get_string();
    return text ? *std::move(text) : std::string();
}

std::vector<config::Node> texts_of(
    const config::Node& node, Problems& problems, std::string_view what
) {
    std::vector<config::Node> out;
    if (node.is_scalar()) out.push_back(node);
    if (!node.is_scalar() && !node.is_list())
        problems.add(
            node.place(),
            std::string(what) + " must be a text or a list of texts, not " + quoted(node)
        );
    for (const auto& item : node.items()) {
        if (item.is_scalar()) {
            out.push_back(item);
        } else {
            problems.add(item.place(), std::string(what) + " must hold texts, not " + quoted(item));
        }
    }
    if (node.is_list() && node.items().empty())
        problems.add(node.place(), std::string(what) + " must not be empty; leave it out instead");
    return out;
}

Section::Section(
    const config::Node& node, Problems& problems, std::initializer_list<std::string_view> known
)
    : node_(node), problems_(problems), map_(node.is_map()) {
    if (!map_) {
        const std::string name = node.path().empty() ? "the file" : "'" + node.path() + "'";
        problems_.add(
            node.place(), name + " must be a map of " + joined(known) + ", not " + quoted(node)
        );
        return;
    }
    for (const auto& [key, child] : node.entries()) {
        if (std::find(known.begin(), known.end(), key) == known.end())
            problems_.add(
                child.key_place(), "unknown key '" + key + "'; known keys are " + joined(known)
            );
    }
}

std::optional<config::Node> Section::find(std::string_view key) const {
    return map_ ? node_.find(key) : std::nullopt;
}

std::string Section::text(std::string_view key) {
    const auto node = find(key);
    if (!node) return {};
    std::string out = text_of(*node);
    if (out.empty())
        problems_.add(
            node->place(), "'" + std::string(key) + "' must be a text, not " + quoted(*node)
        );
    return out;
}

bool Section::boolean(std::string_view key) {
    const auto node = find(key);
    if (!node) return false;
    const auto value = node->get_bool();
    if (value) return *value;
    problems_.add(
        node->place(), "'" + std::string(key) + "' must be true or false, not " + quoted(*node)
    );
    return false;
}

std::int64_t Section::number(std::string_view key, std::int64_t least, std::int64_t most) {
    const auto node = find(key);
    if (!node) return 0;
    const auto value = node->is_scalar() ? node->get_int() : Result<std::int64_t>(least - 1);
    if (value && *value >= least && *value <= most) return *value;
    problems_.add(
        node->place(),
        "'" + std::string(key) + "' must be a whole number from " + std::to_string(least) + " to " +
            std::to_string(most) + ", not " + quoted(*node)
    );
    return 0;
}

std::optional<std::int64_t> Section::duration_ms(std::string_view key, std::chrono::hours most) {
    const auto node = find(key);
    if (!node) return std::nullopt;
    const auto value = node->get_duration();
    if (value && value->count() > 0 && *value <= most) return value->count();
    problems_.add(
        node->place(),
        "'" + std::string(key) +
            "' must be a duration like 90s, 15m or 2h, above nothing and at most " +
            std::to_string(most.count()) + "h, not " + quoted(*node)
    );
    return std::nullopt;
}

std::vector<std::string> Section::list(std::string_view key) {
    std::vector<std::string> out;
    const auto node = find(key);
    if (!node) return out;
    for (const auto& item : texts_of(*node, problems_, "'" + std::string(key) + "'")) {
        out.push_back(text_of(item));
        if (out.back().empty())
            problems_.add(item.place(), "'" + std::string(key) + "' must not hold an empty text");
    }
    return out;
}

int Section::choice(std::string_view key, std::initializer_list<std::string_view> names) {
    const auto node = find(key);
    if (!node) return -1;
    const auto* found = std::find(names.begin(), names.end(), text_of(*node));
    if (node->is_scalar() && found != names.end()) return static_cast<int>(found - names.begin());
    problems_.add(
        node->place(),
        "'" + std::string(key) + "' must be one of " + joined(names) + ", not " + quoted(*node)
    );
    return -1;
}

}  // namespace berth::policy::detail
