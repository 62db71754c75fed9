// SPDX-License-Identifier: Apache-2.0
// Settings files (YAML) read with types and places, so that every mistake is named with its file
// and line.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/time.hpp"

/// Thread rules: Document and Node are immutable and may be shared; Reader and Layers belong to one
/// thread.
namespace berth::config {

namespace detail {
struct Tree;
struct ReaderState;
}  // namespace detail

/// Bytes a settings file may have at most; far above any real one.
inline constexpr std::size_t kMaxFile = 1U << 20U;

/// A place in a settings file. Cheap to copy; keeps its document alive.
class Node {
public:
    bool is_null() const;
    bool is_scalar() const;
    bool is_list() const;
    bool is_map() const;

    /// "berth.yaml:12".
    std::string where() const;
    /// "berth.yaml:12:7": where the value begins, or its key where they stand on different lines.
    std::string place() const;
    /// The same of the key itself; of an element of a list, the element.
    std::string key_place() const;
    /// The dotted key from the root: "sync.include".
    const std::string& path() const;

    // Typed reading. Errors: code "bad_setting", message "file:line: 'path' must be …, not …".
    Result<std::string> get_string() const;
    Result<std::int64_t> get_int() const;
    Result<double> get_double() const;
    Result<bool> get_bool() const;
    /// "15m", "250ms".
    Result<milliseconds> get_duration() const;
    /// "512", "64KiB", "2GiB", "10MB".
    Result<std::uint64_t> get_bytes() const;
    /// A list of scalars, or one scalar as a list of one.
    Result<std::vector<std::string>> get_list() const;
    /// A map of scalars.
    Result<std::map<std::string, std::string>> get_map() const;

    /// The elements of a list; empty for anything else.
    std::vector<Node> items() const;
    /// The entries of a map in the file's order; empty for anything else.
    std::vector<std::pair<std::string, Node>> entries() const;
    std::optional<Node> find(std::string_view key) const;

private:
    friend class Document;
    explicit Node(std::shared_ptr<const detail::Tree> tree) : tree_(std::move(tree)) {}
    std::shared_ptr<const detail::Tree> tree_;
};

/// A parsed settings file.
class Document {
public:
    /// Errors: code "bad_yaml" with the place. Duplicate keys are refused. An empty text is an
    /// empty map.
    static Result<Document> parse(std::string_view text, std::string_view origin_name);
    /// Reads and parses; the file's path is the origin's name. Error "unreadable" when it cannot be
    /// read.
    static Result<Document> load(const std::filesystem::path& path);

    const Node& root() const { return root_; }

private:
    explicit Document(Node root) : root_(std::move(root)) {}
    Node root_;
};

/// Reads a map key by key, remembers which keys it was asked for and gathers what is wrong;
/// finish() tells everything at once. Sections share the state of the reader they came from.
///
///     Reader reader(document.root());
///     settings.nats_url = reader.require_string("nats_url");
///     settings.listen = reader.get_string("listen", "127.0.0.1:0");
///     for (auto& [name, profile] : reader.get_sections("profiles")) { profile.get_duration("ttl",
///     8h); } BERTH_TRY(reader.finish());
class Reader {
public:
    explicit Reader(Node map);
    ~Reader();
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    bool has(std::string_view key);
    std::string get_string(std::string_view key, std::string_view fallback = {});
    std::int64_t get_int(
        std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most
    );
    double get_double(std::string_view key, double fallback);
    bool get_bool(std::string_view key, bool fallback);
    milliseconds get_duration(std::string_view key, milliseconds fallback);
    std::uint64_t get_bytes(std::string_view key, std::uint64_t fallback);
    std::vector<std::string> get_list(std::string_view key, std::vector<std::string> fallback = {});
    std::map<std::string, std::string> get_map(std::string_view key);
    /// A Secret written in the file itself (the file should be 0600).
    Secret get_secret(std::string_view key);

    /// As get_string, and an absent or empty value is an error of finish().
    std::string require_string(std::string_view key);

    /// A nested map; an empty one when absent.
    Reader get_section(std::string_view key);
    /// A map of maps (its names are data, not keys) in the file's order.
    std::vector<std::pair<std::string, Reader>> get_sections(std::string_view key);
    /// A list of maps.
    std::vector<Reader> get_section_list(std::string_view key);

    /// Adds a failure of the caller's own check, placed at `key`.
    void reject(std::string_view key, std::string_view why);

    /// "file:line" of the map.
    std::string where() const;

    /// The first error of this reader and all its sections, all of them in its message, one a line:
    /// wrong values, missing ones, and "file:line: unknown key 'x'; known keys are a, b, c". Code
    /// "bad_setting".
    Result<void> finish();

private:
    Reader(std::shared_ptr<detail::ReaderState> state, std::size_t scope);
    std::optional<Node> take(std::string_view key);
    std::shared_ptr<detail::ReaderState> state_;
    std::size_t scope_ = 0;
};

/// Where the value of a setting came from, strongest first.
enum class Origin { kFlag, kEnvironment, kRepositoryFile, kUserFile, kDefault };
/// "flag", "environment", "repository file", "user file", "default".
std::string_view to_string(Origin origin);

/// "BERTH_SYNC_MAX_FILES" for "sync.max_files".
std::string environment_name(std::string_view key);

/// Settings by key through the layers flags > environment > repository file > user file > defaults.
class Layers {
public:
    /// A kInt is 0 or more.
    enum class Kind { kText, kInt, kBool, kDuration, kBytes, kList, kMap };
    struct Resolved {
        std::vector<std::string> values;  ///< one for scalars; "name=value" each for maps
        Origin origin = Origin::kDefault;
        std::string where;  ///< "--server", "BERTH_SERVER", "berth.yaml:3" or ""
        /// The only value, or "".
        std::string text() const { return values.empty() ? std::string() : values.front(); }
    };

    Layers();
    ~Layers();
    Layers(Layers&&) noexcept;
    Layers& operator=(Layers&&) noexcept;

    /// Makes a key known. All keys are declared before anything is set.
    void declare(std::string_view key, Kind kind, std::vector<std::string> fallback = {});
    /// `flag` as the user wrote it ("--server"), for messages. A value of the wrong kind is an
    /// error.
    Result<void> set_flag(
        std::string_view key, std::vector<std::string> values, std::string_view flag
    );
    /// Reads BERTH_<KEY> of every declared key through `lookup` (getenv-like: nullptr when absent).
    /// Lists are comma-separated. Empty variables count as absent.
    Result<void> load_environment(const char* (*lookup)(const char* name));
    /// Adds a file at kRepositoryFile or kUserFile; unknown keys and wrong kinds are errors with
    /// the place.
    Result<void> add_file(Origin origin, const Document& document);

    /// The strongest value. The key must have been declared.
    const Resolved& get(std::string_view key) const;
    std::string text(std::string_view key) const { return get(key).text(); }
    std::vector<std::string> list(std::string_view key) const { return get(key).values; }
    std::int64_t integer(std::string_view key) const;
    bool boolean(std::string_view key) const;
    milliseconds duration(std::string_view key) const;
    std::uint64_t bytes(std::string_view key) const;
    /// Every declared key in order.
    std::vector<std::string> keys() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// "512", "64KiB", "2GiB", "10MB" as bytes; error code "bad_size".
Result<std::uint64_t> parse_bytes(std::string_view text);

}  // namespace berth::config
