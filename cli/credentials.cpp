// SPDX-License-Identifier: Apache-2.0
// Edits the user's own files as little as possible.
#include "cli/credentials.hpp"

#include "cli/paths.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace fs = std::filesystem;

Result<void> store_token(std::string_view server, const Secret& token) {
    const fs::path path = token_path(server);
    BERTH_TRY(make_private_folder(path.parent_path()));
    return write_file_atomic(path, token.reveal() + "\n", 0600);
}

Result<void> store_server(std::string_view server, bool replace) {
    const fs::path path = config_folder() / "config.yaml";
    std::error_code ignored;
    std::string text;
    if (fs::exists(path, ignored)) {
        BERTH_ASSIGN(text, read_file(path, 1U << 20U));
    }
    std::string out;
    bool found = false;
    for (const auto line : split(text, '\n')) {
        if (line.starts_with("server:")) {
            found = true;
            if (!replace) return {};
            out += "server: " + std::string(server) + "\n";
        } else {
            out += std::string(line) + "\n";
        }
    }
    while (out.ends_with("\n\n") || out == "\n") out.pop_back();
    if (!found) out += "server: " + std::string(server) + "\n";
    BERTH_TRY(make_private_folder(path.parent_path()));
    return write_file_atomic(path, out, 0644);
}

}  // namespace berth::cli
