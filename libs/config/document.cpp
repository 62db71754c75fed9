// SPDX-License-Identifier: Apache-2.0
// Turns YAML into plain trees with places. The only file that knows yaml-cpp.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <set>
#include <sstream>
#include <utility>

#include "config/config.hpp"
#include "config/tree.hpp"
#include "core/fd.hpp"

namespace berth::config {
namespace {

using detail::Tree;

// Settings are shallow; what is deeper is a mistake or an attack on the stack.
constexpr int kMaxDepth = 16;
// Aliases may repeat a node; this bounds what a small file can grow into.
constexpr int kMaxNodes = 100000;

struct BadYaml {
    YAML::Mark mark;
    std::string why;
};

int column_of(const YAML::Mark& mark) { return mark.column >= 0 ? mark.column + 1 : 1; }

struct Builder {
    std::shared_ptr<const std::string> file;
    int nodes = 0;

    std::shared_ptr<Tree> build(
        const YAML::Node& node, std::string path, int depth, int parent_line
    ) {
        const int line = node.Mark().line >= 0 ? node.Mark().line + 1 : parent_line;
        if (depth > kMaxDepth) throw BadYaml{node.Mark(), "the file nests too deeply"};
        if (++nodes > kMaxNodes) throw BadYaml{node.Mark(), "the file holds too many values"};
        auto tree = std::make_shared<Tree>();
        tree->path = std::move(path);
        tree->file = file;
        tree->line = line;
        tree->column = column_of(node.Mark());
        if (node.IsScalar()) {
            tree->type = Tree::Type::kScalar;
            tree->scalar = node.Scalar();
        } else if (node.IsSequence()) {
            tree->type = Tree::Type::kList;
            for (std::size_t i = 0; i < node.size(); ++i) {
                tree->items.push_back(
                    build(node[i], tree->path + "[" + std::to_string(i) + "]", depth + 1, line)
                );
            }
        } else if (node.IsMap()) {
            build_map(node, *tree, depth);
        }
        return tree;
    }

    void build_map(const YAML::Node& node, Tree& tree, int depth) {
        tree.type = Tree::Type::kMap;
        std::set<std::string> seen;
        for (const auto& entry : node) {
            const int line = entry.first.Mark().line >= 0 ? entry.first.Mark().line + 1 : tree.line;
            if (!entry.first.IsScalar()) throw BadYaml{entry.first.Mark(), "a key must be a word"};
            const std::string key = entry.first.Scalar();
            if (!seen.insert(key).second)
                throw BadYaml{entry.first.Mark(), "the key '" + key + "' is given twice"};
            auto child = build(
                entry.second, tree.path.empty() ? key : tree.path + "." + key, depth + 1, line
            );
            child->key_line = line;
            child->key_column = column_of(entry.first.Mark());
            // A map's own mark is its first key's; the line people look for is the one of its name.
            if (child->line != line) {
                child->line = line;
                child->column = child->key_column;
            }
            tree.entries.emplace_back(key, std::move(child));
        }
    }
};

/// Only tells that there is a document, and where.
struct Unread final : YAML::EventHandler {
    bool first = true;
    void OnDocumentStart(const YAML::Mark& mark) override {
        if (std::exchange(first, false)) return;
        throw BadYaml{mark, "the file holds more than one document; only one can be read"};
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&)
        override {}
    void OnSequenceStart(
        const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value
    ) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(
        const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value
    ) override {}
    void OnMapEnd() override {}
};

/// YAML::Load stops behind the first document, whatever comes there. Throws BadYaml.
void check_only_document(const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Unread rest;
    while (parser.HandleNextDocument(rest)) {
    }
}

std::string shown(const Tree& tree) {
    switch (tree.type) {
        case Tree::Type::kNull: return "nothing";
        case Tree::Type::kList: return "a list";
        case Tree::Type::kMap: return "a map";
        case Tree::Type::kScalar: break;
    }
    // Long values may be secrets put under the wrong key: show only a beginning.
    return tree.scalar.size() <= 32 ? "'" + tree.scalar + "'"
                                    : "a text of " + std::to_string(tree.scalar.size()) + " bytes";
}

Error wrong(const Node& node, const Tree& tree, std::string_view wanted) {
    return invalid(
        "bad_setting",
        node.where() + ": '" + node.path() + "' must be " + std::string(wanted) + ", not " +
            shown(tree),
        node.path()
    );
}

}  // namespace

bool Node::is_null() const { return tree_->type == Tree::Type::kNull; }
bool Node::is_scalar() const { return tree_->type == Tree::Type::kScalar; }
bool Node::is_list() const { return tree_->type == Tree::Type::kList; }
bool Node::is_map() const { return tree_->type == Tree::Type::kMap; }
std::string Node::where() const { return *tree_->file + ":" + std::to_string(tree_->line); }
std::string Node::place() const { return where() + ":" + std::to_string(tree_->column); }
std::string Node::key_place() const {
    if (tree_->key_line == 0) return place();
    return *tree_->file + ":" + std::to_string(tree_->key_line) + ":" +
           std::to_string(tree_->key_column);
}
const std::string& Node::path() const { return tree_->path; }

Result<std::string> Node::get_string() const {
    if (!is_scalar()) return wrong(*this, *tree_, "a text");
    return tree_->scalar;
}

Result<std::int64_t> Node::get_int() const {
    const std::string& text = tree_->scalar;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!is_scalar() || error != std::errc() || end != text.data() + text.size()) {
        return wrong(*this, *tree_, "a whole number");
    }
    return value;
}

Result<double> Node::get_double() const {
    const std::string& text = tree_->scalar;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!is_scalar() || error != std::errc() || end != text.data() + text.size()) {
        return wrong(*this, *tree_, "a number");
    }
    return value;
}

Result<bool> Node::get_bool() const {
    if (is_scalar() && tree_->scalar == "true") return true;
    if (is_scalar() && tree_->scalar == "false") return false;
    return wrong(*this, *tree_, "true or false");
}

Result<milliseconds> Node::get_duration() const {
    if (is_scalar()) {
        if (auto value = parse_duration(tree_->scalar)) return *value;
    }
    return wrong(*this, *tree_, "a duration like 90s or 15m");
}

Result<std::uint64_t> Node::get_bytes() const {
    if (is_scalar()) {
        if (auto value = parse_bytes(tree_->scalar)) return *value;
    }
    return wrong(*this, *tree_, "a size like 512, 64KiB or 2GiB");
}

Result<std::vector<std::string>> Node::get_list() const {
    if (is_null()) return std::vector<std::string>{};
    if (is_scalar()) return std::vector<std::string>{tree_->scalar};
    if (!is_list()) return wrong(*this, *tree_, "a list of texts");
    std::vector<std::string> out;
    for (const auto& item : tree_->items) {
        if (item->type != Tree::Type::kScalar) return wrong(Node(item), *item, "a text");
        out.push_back(item->scalar);
    }
    return out;
}

Result<std::map<std::string, std::string>> Node::get_map() const {
    std::map<std::string, std::string> out;
    if (is_null()) return out;
    if (!is_map()) return wrong(*this, *tree_, "a map of texts");
    for (const auto& [key, value] : tree_->entries) {
        if (value->type != Tree::Type::kScalar) return wrong(Node(value), *value, "a text");
        out.emplace(key, value->scalar);
    }
    return out;
}

std::vector<Node> Node::items() const {
    std::vector<Node> out;
    for (const auto& item : tree_->items) out.push_back(Node(item));
    return out;
}

std::vector<std::pair<std::string, Node>> Node::entries() const {
    std::vector<std::pair<std::string, Node>> out;
    for (const auto& [key, value] : tree_->entries) out.emplace_back(key, Node(value));
    return out;
}

std::optional<Node> Node::find(std::string_view key) const {
    for (const auto& [name, value] : tree_->entries) {
        if (name == key) return Node(value);
    }
    return std::nullopt;
}

Result<Document> Document::parse(std::string_view text, std::string_view origin_name) {
    auto file = std::make_shared<const std::string>(origin_name);
    const auto bad = [&](const YAML::Mark& mark, const std::string& why) {
        const int line = mark.line >= 0 ? mark.line + 1 : 1;
        return invalid(
            "bad_yaml",
            *file + ":" + std::to_string(line) + ":" + std::to_string(column_of(mark)) + ": " + why
        );
    };
    if (text.size() > kMaxFile) return bad(YAML::Mark(), "the file is larger than 1 MiB");
    try {
        const std::string copy(text);
        const YAML::Node root = YAML::Load(copy);
        Builder builder{file};
        auto tree = builder.build(root, "", 0, 1);
        check_only_document(copy);
        if (tree->type == Tree::Type::kNull) {
            auto empty = std::make_shared<Tree>(*tree);
            empty->type = Tree::Type::kMap;
            tree = empty;
        }
        return Document(Node(std::move(tree)));
    } catch (const YAML::Exception& error) {
        return bad(error.mark, error.msg);
    } catch (const BadYaml& error) {
        return bad(error.mark, error.why);
    }
}

Result<Document> Document::load(const std::filesystem::path& path) {
    BERTH_ASSIGN(const std::string text, read_file(path, kMaxFile));
    return parse(text, path.string());
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
        {"", 1},
        {"B", 1},
        {"KiB", 1ULL << 10U},
        {"MiB", 1ULL << 20U},
        {"GiB", 1ULL << 30U},
        {"TiB", 1ULL << 40U},
        {"KB", 1000},
        {"kB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
    };
    if (error == std::errc() && end != text.data()) {
        for (const auto& [name, factor] : kUnits) {
            if (unit == name && value <= UINT64_MAX / factor) return value * factor;
        }
    }
    return invalid(
        "bad_size", "'" + std::string(text) + "' is no size; write one like 512, 64KiB or 2GiB"
    );
}

}  // namespace berth::config
