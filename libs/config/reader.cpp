// SPDX-License-Identifier: Apache-2.0
// The reader that knows which keys were asked for, so that a mistyped key is an error and not a
// silence.
#include <algorithm>

#include "config/config.hpp"

namespace berth::config {
namespace detail {

// One map being read; keys in the order they were asked for.
struct Scope {
    std::optional<Node> map;
    std::string path;
    std::vector<std::string> known;
};

// Shared by a reader and all its sections; scopes are only added.
struct ReaderState {
    std::vector<Scope> scopes;
    std::vector<std::string> problems;
};

}  // namespace detail

Reader::Reader(Node map) : state_(std::make_shared<detail::ReaderState>()) {
    if (!map.is_map() && !map.is_null()) {
        state_->problems.push_back(map.where() + ": the file must hold a map of settings");
    }
    const std::string path = map.path();
    state_->scopes.push_back({std::move(map), path, {}});
}
Reader::Reader(std::shared_ptr<detail::ReaderState> state, std::size_t scope)
    : state_(std::move(state)), scope_(scope) {}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

std::optional<Node> Reader::take(std::string_view key) {
    auto& scope = state_->scopes[scope_];
    if (std::find(scope.known.begin(), scope.known.end(), key) == scope.known.end())
        scope.known.emplace_back(key);
    if (!scope.map) return std::nullopt;
    auto node = scope.map->find(key);
    if (node && node->is_null()) return std::nullopt;
    return node;
}

namespace {

template <typename T>
T value_or_note(Result<T> result, T fallback, std::vector<std::string>& problems) {
    if (result) return std::move(result).value();
    problems.push_back(result.error().message);
    return fallback;
}

}  // namespace

bool Reader::has(std::string_view key) { return take(key).has_value(); }

std::string Reader::get_string(std::string_view key, std::string_view fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_string(), std::string(fallback), state_->problems)
                : std::string(fallback);
}

std::int64_t Reader::get_int(
    std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most
) {
    const auto node = take(key);
    if (!node) return fallback;
    const auto value = value_or_note(node->get_int(), fallback, state_->problems);
    if (value >= least && value <= most) return value;
    reject(key, "must be from " + std::to_string(least) + " to " + std::to_string(most));
    return fallback;
}

double Reader::get_double(std::string_view key, double fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_double(), fallback, state_->problems) : fallback;
}

bool Reader::get_bool(std::string_view key, bool fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_bool(), fallback, state_->problems) : fallback;
}

milliseconds Reader::get_duration(std::string_view key, milliseconds fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_duration(), fallback, state_->problems) : fallback;
}

std::uint64_t Reader::get_bytes(std::string_view key, std::uint64_t fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_bytes(), fallback, state_->problems) : fallback;
}

std::vector<std::string> Reader::get_list(std::string_view key, std::vector<std::string> fallback) {
    const auto node = take(key);
    return node ? value_or_note(node->get_list(), std::move(fallback), state_->problems) : fallback;
}

std::map<std::string, std::string> Reader::get_map(std::string_view key) {
    const auto node = take(key);
    if (!node) return {};
    return value_or_note(node->get_map(), {}, state_->problems);
}

Secret Reader::get_secret(std::string_view key) { return Secret(get_string(key)); }

std::string Reader::require_string(std::string_view key) {
    std::string value = get_string(key);
    if (value.empty()) reject(key, "must be set");
    return value;
}

Reader Reader::get_section(std::string_view key) {
    auto node = take(key);
    const auto& scope = state_->scopes[scope_];
    std::string path = scope.path.empty() ? std::string(key) : scope.path + "." + std::string(key);
    if (node && !node->is_map()) {
        reject(key, "must be a map");
        node.reset();
    }
    state_->scopes.push_back({std::move(node), std::move(path), {}});
    return Reader(state_, state_->scopes.size() - 1);
}

std::vector<std::pair<std::string, Reader>> Reader::get_sections(std::string_view key) {
    std::vector<std::pair<std::string, Reader>> out;
    const auto node = take(key);
    if (!node) return out;
    if (!node->is_map()) {
        reject(key, "must be a map of maps");
        return out;
    }
    for (auto& [name, child] : node->entries()) {
        if (!child.is_map() && !child.is_null()) {
            state_->problems.push_back(child.where() + ": '" + child.path() + "' must be a map");
            continue;
        }
        const std::string path = child.path();
        state_->scopes.push_back({child, path, {}});
        out.emplace_back(name, Reader(state_, state_->scopes.size() - 1));
    }
    return out;
}

std::vector<Reader> Reader::get_section_list(std::string_view key) {
    std::vector<Reader> out;
    const auto node = take(key);
    if (!node) return out;
    if (!node->is_list()) reject(key, "must be a list of maps");
    for (auto& child : node->items()) {
        if (!child.is_map()) {
            state_->problems.push_back(child.where() + ": '" + child.path() + "' must be a map");
            continue;
        }
        const std::string path = child.path();
        state_->scopes.push_back({child, path, {}});
        out.push_back(Reader(state_, state_->scopes.size() - 1));
    }
    return out;
}

void Reader::reject(std::string_view key, std::string_view why) {
    const auto& scope = state_->scopes[scope_];
    const auto node = scope.map ? scope.map->find(key) : std::nullopt;
    const std::string place = node        ? node->where() + ": "
                              : scope.map ? scope.map->where() + ": "
                                          : std::string();
    const std::string path =
        scope.path.empty() ? std::string(key) : scope.path + "." + std::string(key);
    state_->problems.push_back(place + "'" + path + "' " + std::string(why));
}

std::string Reader::where() const {
    const auto& scope = state_->scopes[scope_];
    return scope.map ? scope.map->where() : std::string();
}

Result<void> Reader::finish() {
    std::vector<std::string> problems = state_->problems;
    for (const auto& scope : state_->scopes) {
        if (!scope.map) continue;
        std::string known;
        for (const auto& key : scope.known) known += (known.empty() ? "" : ", ") + key;
        for (const auto& [key, child] : scope.map->entries()) {
            if (std::find(scope.known.begin(), scope.known.end(), key) != scope.known.end())
                continue;
            problems.push_back(
                child.where() + ": unknown key '" + child.path() + "'; known keys are " + known
            );
        }
    }
    if (problems.empty()) return {};
    std::string message;
    for (const auto& problem : problems) message += (message.empty() ? "" : "\n") + problem;
    return invalid("bad_setting", message);
}

}  // namespace berth::config
