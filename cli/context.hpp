// SPDX-License-Identifier: Apache-2.0
// What every command needs: settings with their origin, the place it was called from, and a voice.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/args.hpp"
#include "config/config.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace berth::cli {

inline constexpr std::string_view kDefaultServer = "http://127.0.0.1:7480";

/// Settings, surroundings and output of one invocation. Used by the main thread.
class Context {
public:
    /// Reads flags, environment, berth.yaml and the user's file. Error code "bad_setting" names
    /// every mistake with file and line.
    static Result<Context> make(const Arguments& arguments);

    const config::Layers& settings() const { return settings_; }
    std::string server() const { return settings_.text("server"); }
    /// $BERTH_TOKEN, or the file of the setting token_file, or the one stored for the server. Empty
    /// when there is none; error "unreadable" when the named file is not there.
    Result<Secret> token() const;

    /// The root of the working tree: where .git or berth.yaml is, else the current folder.
    const std::filesystem::path& root() const { return root_; }
    /// The current folder below root(), "" for the root itself.
    std::string subfolder() const;
    /// A stable mark of this host and working tree: the label of its lease.
    std::string tree_label() const;

    /// From now on this lease is the one meant, as by --lease.
    Result<void> use_lease(const std::string& id) {
        return settings_.set_flag("lease", {id}, "<lease>");
    }

    bool json() const { return json_; }
    bool color() const { return color_; }

    /// One line on stderr, unless --quiet.
    void progress(std::string_view text) const;
    /// The same, only where a person watches stderr: `berth run` adds nothing to a command's own
    /// stderr else.
    void detail(std::string_view text) const;
    /// "berth: …" on stderr, always. An error is what finish() tells.
    void complain(std::string_view text) const;
    void complain(const Error& error) const;
    /// Payload: stdout, exactly.
    void print(std::string_view text) const;
    /// The same, piece by piece; false when the reader is gone.
    bool stream(std::string_view piece) const;
    /// From now on stdout is a document per line, and none where there is nothing to tell.
    void begin_stream() const { streams_ = true; }
    /// A text for people; with --json as {"text": …}.
    void print_text(std::string_view text) const;
    /// The end of every command: with --json stdout is a JSON document also where the command gave
    /// none, but for a stream that ended well.
    void finish(int exit_code) const;

private:
    Context() = default;
    config::Layers settings_;
    std::filesystem::path root_;
    std::filesystem::path current_;
    bool json_ = false;
    bool quiet_ = false;
    bool color_ = false;
    mutable bool printed_ = false;
    mutable bool streams_ = false;
    mutable std::optional<Error> trouble_;  // the last one that was told
};

/// What --json prints of a failure: {"error": {"code": …, "message": …}}.
std::string error_document(const Error& error);
/// `text` itself, or {"text": …} where JSON is wanted.
std::string text_document(std::string_view text, bool json);

/// Says what went wrong on stderr; the command's exit code.
int fail(const Context& context, const Error& error);

/// A list on a terminal: at most as many pages, of 100 entries each.
inline constexpr int kMaxPages = 100;

/// Where a list goes on, on stderr; nothing where it does not.
void tell_more(const Context& context, const std::string& next_cursor);

/// Aligned columns; the first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows, bool color);

/// Writes everything, also to a slow pipe; false when the reader is gone.
bool write_all(int fd, std::string_view bytes);

}  // namespace berth::cli
