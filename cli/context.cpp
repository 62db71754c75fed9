// SPDX-License-Identifier: Apache-2.0
// Gathers settings from their layers and owns how Berth speaks to its user.
#include "cli/context.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "cli/exit_codes.hpp"
#include "cli/paths.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace fs = std::filesystem;
namespace {

using Kind = config::Layers::Kind;

void declare_all(config::Layers& layers) {
    layers.declare("server", Kind::kText, {std::string(kDefaultServer)});
    layers.declare("token_file", Kind::kText, {""});
    layers.declare("profile", Kind::kText, {"default"});
    layers.declare("lease", Kind::kText, {""});
    // Names, or prefixes ending in *; the profile's own list cuts again.
    layers.declare("env", Kind::kList, {"LANG", "LC_*", "TZ", "CI"});
    layers.declare("results.artifacts", Kind::kList);
    layers.declare("results.junit", Kind::kList);
    layers.declare("sync.include", Kind::kList);
    layers.declare("sync.exclude", Kind::kList);
    layers.declare("sync.git", Kind::kBool, {"true"});
    layers.declare("sync.max_files", Kind::kInt, {"100000"});
    layers.declare("sync.max_bytes", Kind::kBytes, {"2GiB"});
    layers.declare("sync.max_delete_percent", Kind::kInt, {"50"});
}

Result<void> add_file(config::Layers& layers, config::Origin origin, const fs::path& path) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return {};
    BERTH_ASSIGN(const config::Document document, config::Document::load(path));
    return layers.add_file(origin, document);
}

const char* lookup(const char* name) { return std::getenv(name); }

}  // namespace

Result<Context> Context::make(const Arguments& arguments) {
    Context out;
    declare_all(out.settings_);
    std::error_code error;
    out.current_ = fs::current_path(error);
    if (error) return system_error("cannot tell the current folder", error.value());
    out.root_ = find_repository(out.current_);
    BERTH_TRY(add_file(out.settings_, config::Origin::kUserFile, config_folder() / "config.yaml"));
    if (out.root_.empty()) {
        out.root_ = out.current_;
    } else {
        BERTH_TRY(add_file(out.settings_, config::Origin::kRepositoryFile, out.root_ / "berth.yaml")
        );
    }
    BERTH_TRY(out.settings_.load_environment(&lookup));
    for (const auto* list : {&arguments.command->flags, &common_flags()}) {
        for (const Flag& flag : *list) {
            if (flag.setting.empty() || !arguments.has(flag.name)) continue;
            BERTH_TRY(out.settings_.set_flag(
                flag.setting, arguments.all(flag.name), "--" + std::string(flag.name)
            ));
        }
    }
    out.json_ = arguments.has("json");
    out.quiet_ = arguments.has("quiet");
    const char* no_color = std::getenv("NO_COLOR");
    out.color_ = ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
    return out;
}

Result<Secret> Context::token() const {
    if (const char* text = std::getenv("BERTH_TOKEN"); text != nullptr && *text != '\0')
        return Secret(text);
    const std::string named = settings_.text("token_file");
    const fs::path path = named.empty() ? token_path(server()) : fs::path(named);
    std::error_code ignored;
    if (named.empty() && !fs::exists(path, ignored)) return Secret();
    BERTH_ASSIGN(std::string text, read_file(path, 4096));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    return Secret(std::move(text));
}

std::string Context::subfolder() const {
    const fs::path relative = current_.lexically_relative(root_);
    return relative == "." ? "" : relative.string();
}

std::string Context::tree_label() const {
    std::string host(256, '\0');
    if (::gethostname(host.data(), host.size() - 1) != 0) host = "localhost";
    host.resize(std::string_view(host.c_str()).size());
    std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a: a mark, not a secret
    for (const char c : host + '\0' + root_.string())
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return fmt::format("tree-{:016x}", hash);
}

void Context::progress(std::string_view text) const {
    if (!quiet_) write_all(STDERR_FILENO, fmt::format("berth: {}\n", text));
}

void Context::detail(std::string_view text) const {
    if (::isatty(STDERR_FILENO) == 1) progress(text);
}

void Context::complain(std::string_view text) const {
    write_all(STDERR_FILENO, fmt::format("berth: {}\n", text));
}

void Context::complain(const Error& error) const {
    complain(error.message);
    trouble_ = error;
}

int fail(const Context& context, const Error& error) {
    context.complain(error);
    return error.code == "usage" ? kExitUsage : 1;
}

void Context::print(std::string_view text) const { stream(text); }

bool Context::stream(std::string_view piece) const {
    printed_ = true;
    return write_all(STDOUT_FILENO, piece);
}

void Context::print_text(std::string_view text) const { print(text_document(text, json_)); }

void Context::finish(int exit_code) const {
    if (!json_ || printed_ || (streams_ && exit_code == 0)) return;
    const Error unnamed = internal("failed", "the command failed; stderr says how");
    print(exit_code == 0 ? "{}\n" : error_document(trouble_.value_or(unnamed)));
}

std::string error_document(const Error& error) {
    Json what = Json::object();
    what.set("code", error.code).set("message", error.message);
    return Json::object().set("error", std::move(what)).dump() + "\n";
}

std::string text_document(std::string_view text, bool json) {
    return json ? Json::object().set("text", std::string(text)).dump() + "\n" : std::string(text);
}

void tell_more(const Context& context, const std::string& next_cursor) {
    if (!next_cursor.empty())
        context.progress(fmt::format("there are more: --cursor {}", next_cursor));
}

std::string table(const std::vector<std::vector<std::string>>& rows, bool color) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string out;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        std::string line;
        for (std::size_t i = 0; i < rows[r].size(); ++i) {
            line += i + 1 == rows[r].size() ? rows[r][i]
                                            : fmt::format("{:<{}}  ", rows[r][i], widths[i]);
        }
        out += r == 0 && color ? fmt::format("\x1b[1m{}\x1b[0m\n", line) : line + "\n";
    }
    return out;
}

bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto count = ::write(fd, bytes.data(), bytes.size());
        if (count > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {  // somebody made our stdout non-blocking: wait for its reader
            pollfd waiting{fd, POLLOUT, 0};
            ::poll(&waiting, 1, 1000);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

}  // namespace berth::cli
