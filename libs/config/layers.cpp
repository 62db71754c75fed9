// SPDX-License-Identifier: Apache-2.0
// Precedence of settings, with the origin of every value kept for whoever asks where it came from.
#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

#include "config/config.hpp"
#include "core/text.hpp"

namespace berth::config {
namespace {

constexpr std::size_t kOrigins = 5;

Result<void> check_value(Layers::Kind kind, const std::string& value) {
    switch (kind) {
        case Layers::Kind::kText:
        case Layers::Kind::kList: return {};
        case Layers::Kind::kMap:
            if (value.find('=') == std::string::npos)
                return invalid("bad_setting", "must be name=value");
            return {};
        case Layers::Kind::kInt: {
            std::int64_t number = 0;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), number);
            if (error != std::errc() || end != value.data() + value.size()) {
                return invalid("bad_setting", "must be a whole number");
            }
            if (number < 0) return invalid("bad_setting", "must be 0 or more");
            return {};
        }
        case Layers::Kind::kBool:
            if (value != "true" && value != "false")
                return invalid("bad_setting", "must be true or false");
            return {};
        case Layers::Kind::kDuration:
            if (!parse_duration(value))
                return invalid("bad_setting", "must be a duration like 90s or 15m");
            return {};
        case Layers::Kind::kBytes:
            if (!parse_bytes(value))
                return invalid("bad_setting", "must be a size like 512, 64KiB or 2GiB");
            return {};
    }
    return {};
}

}  // namespace

std::string_view to_string(Origin origin) {
    static constexpr std::array<std::string_view, kOrigins> kNames = {
        "flag", "environment", "repository file", "user file", "default"};
    return kNames.at(static_cast<std::size_t>(origin));
}

std::string environment_name(std::string_view key) {
    std::string out = "BERTH_";
    for (const char c : key) {
        out += c == '.' || c == '-'     ? '_'
               : (c >= 'a' && c <= 'z') ? static_cast<char>(c - 'a' + 'A')
                                        : c;
    }
    return out;
}

struct Layers::Impl {
    struct Entry {
        std::string key;
        Kind kind = Kind::kText;
        std::array<std::optional<Resolved>, kOrigins> values;
    };
    std::vector<Entry> entries;

    Entry* find(std::string_view key) {
        const auto place = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) {
            return e.key == key;
        });
        return place == entries.end() ? nullptr : &*place;
    }

    static Result<void> set(
        Entry& entry, Origin origin, std::vector<std::string> values, const std::string& where
    ) {
        for (const std::string& value : values) {
            if (auto fine = check_value(entry.kind, value); !fine) {
                return invalid(
                    "bad_setting",
                    where + ": '" + entry.key + "' " + fine.error().message + ", not '" + value +
                        "'",
                    entry.key
                );
            }
        }
        entry.values[static_cast<std::size_t>(origin)] = Resolved{std::move(values), origin, where};
        return {};
    }

    // Collects "unknown key" and wrong values of one map below `prefix`.
    void add_map(
        Origin origin,
        const Node& map,
        const std::string& prefix,
        std::vector<std::string>& problems
    ) {
        for (const auto& [name, node] : map.entries()) {
            const std::string key = prefix.empty() ? name : prefix + "." + name;
            Entry* entry = find(key);
            const bool is_group = std::any_of(entries.begin(), entries.end(), [&](const Entry& e) {
                return e.key.starts_with(key + ".");
            });
            if (entry == nullptr && is_group && node.is_map()) {
                add_map(origin, node, key, problems);
            } else if (entry != nullptr) {
                if (!node.is_null()) add_node(origin, *entry, node, problems);
            } else {
                problems.push_back(
                    node.where() + ": unknown key '" + key + "'; known keys are " + known()
                );
            }
        }
    }

    static void add_node(
        Origin origin, Entry& entry, const Node& node, std::vector<std::string>& problems
    ) {
        std::vector<std::string> values;
        if (entry.kind == Kind::kMap) {
            auto map = node.get_map();
            if (!map) return problems.push_back(map.error().message);
            for (const auto& [name, value] : *map) values.push_back(name + "=" + value);
        } else if (entry.kind == Kind::kList) {
            auto list = node.get_list();
            if (!list) return problems.push_back(list.error().message);
            values = std::move(list).value();
        } else {
            auto text = node.get_string();
            if (!text) return problems.push_back(text.error().message);
            values = {std::move(text).value()};
        }
        if (auto fine = set(entry, origin, std::move(values), node.where()); !fine)
            problems.push_back(fine.error().message);
    }

    std::string known() const {
        std::string out;
        for (const Entry& entry : entries) out += (out.empty() ? "" : ", ") + entry.key;
        return out;
    }
};

Layers::Layers() : impl_(std::make_unique<Impl>()) {}
Layers::~Layers() = default;
Layers::Layers(Layers&&) noexcept = default;
Layers& Layers::operator=(Layers&&) noexcept = default;

void Layers::declare(std::string_view key, Kind kind, std::vector<std::string> fallback) {
    if (impl_->find(key) != nullptr)
        throw std::logic_error("setting declared twice: " + std::string(key));
    Impl::Entry entry;
    entry.key = key;
    entry.kind = kind;
    entry.values[static_cast<std::size_t>(Origin::kDefault)] =
        Resolved{std::move(fallback), Origin::kDefault, ""};
    impl_->entries.push_back(std::move(entry));
}

Result<void> Layers::set_flag(
    std::string_view key, std::vector<std::string> values, std::string_view flag
) {
    Impl::Entry* entry = impl_->find(key);
    if (entry == nullptr) throw std::logic_error("setting not declared: " + std::string(key));
    return Impl::set(*entry, Origin::kFlag, std::move(values), std::string(flag));
}

Result<void> Layers::load_environment(const char* (*lookup)(const char* name)) {
    for (auto& entry : impl_->entries) {
        const std::string name = environment_name(entry.key);
        const char* text = lookup(name.c_str());
        if (text == nullptr || *text == '\0') continue;
        std::vector<std::string> values;
        if (entry.kind == Kind::kList || entry.kind == Kind::kMap) {
            for (const auto piece : split(text, ',')) {
                if (!piece.empty()) values.emplace_back(piece);
            }
        } else {
            values.emplace_back(text);
        }
        BERTH_TRY(Impl::set(entry, Origin::kEnvironment, std::move(values), name));
    }
    return {};
}

Result<void> Layers::add_file(Origin origin, const Document& document) {
    std::vector<std::string> problems;
    if (!document.root().is_map())
        problems.push_back(document.root().where() + ": the file must hold a map of settings");
    impl_->add_map(origin, document.root(), "", problems);
    if (problems.empty()) return {};
    std::string message;
    for (const auto& problem : problems) message += (message.empty() ? "" : "\n") + problem;
    return invalid("bad_setting", message);
}

const Layers::Resolved& Layers::get(std::string_view key) const {
    const Impl::Entry* entry = impl_->find(key);
    if (entry == nullptr) throw std::logic_error("setting not declared: " + std::string(key));
    for (const auto& value : entry->values) {
        if (value) return *value;
    }
    throw std::logic_error("setting without a default: " + std::string(key));
}

std::int64_t Layers::integer(std::string_view key) const {
    const std::string value = text(key);
    std::int64_t number = 0;
    std::from_chars(value.data(), value.data() + value.size(), number);  // checked when it was set
    return number;
}

bool Layers::boolean(std::string_view key) const { return text(key) == "true"; }
milliseconds Layers::duration(std::string_view key) const {
    return parse_duration(text(key)).value_or(milliseconds{0});
}
std::uint64_t Layers::bytes(std::string_view key) const {
    return parse_bytes(text(key)).value_or(0);
}

std::vector<std::string> Layers::keys() const {
    std::vector<std::string> out;
    for (const auto& entry : impl_->entries) out.push_back(entry.key);
    return out;
}

}  // namespace berth::config
