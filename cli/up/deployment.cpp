// SPDX-License-Identifier: Apache-2.0
// Folders, secrets and ports that last from one start to the next.
#include "cli/up/deployment.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "cli/paths.hpp"
#include "core/fd.hpp"
#include "core/random.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "policy/plan.hpp"

namespace berth::cli::up {
namespace fs = std::filesystem;
namespace {

// Binds 127.0.0.1:`port` (0: any) and tells which port it was; 0 when it cannot.
int try_port(int port) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket.get(), generic, length) != 0 || ::listen(socket.get(), 1) != 0) return 0;
    if (::getsockname(socket.get(), generic, &length) != 0) return 0;
    return ntohs(address.sin_port);
}

std::string trimmed(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text;
}

}  // namespace

Error already_up(const Layout& layout) {
    return conflict(
        "already_up",
        fmt::format(
            "a deployment is running on {} already; see '{}', or stop it with '{}'",
            layout.data.string(),
            command_for(layout, "status"),
            command_for(layout, "down")
        )
    );
}

std::string command_for(const Layout& layout, const std::string& command) {
    std::vector<std::string> words{"berth", command};
    if (layout.data != default_data_folder())
        words.insert(words.end(), {"--data", layout.data.string()});
    return policy::show_argv(words);
}

Result<void> make_folders(const Layout& layout) {
    if (layout.data.string().size() > kMaxDataPath) {
        return invalid(
            "bad_data_folder",
            fmt::format(
                "the data folder's path is longer than {} bytes ({}); choose a shorter one with "
                "--data",
                kMaxDataPath,
                layout.data.string()
            )
        );
    }
    for (const auto& folder :
         {layout.data, layout.etc(), layout.run(), layout.log(), layout.machines()}) {
        if (auto made = make_private_folder(folder); !made) {
            return invalid(
                "bad_data_folder", made.error().message + "; choose another folder with --data"
            );
        }
    }
    if (::access(layout.data.c_str(), R_OK | W_OK | X_OK) != 0) {
        return invalid(
            "bad_data_folder",
            fmt::format(
                "the data folder {} is not ours to write; choose another with --data",
                layout.data.string()
            )
        );
    }
    return {};
}

Result<Secret> bootstrap_token(const Layout& layout) {
    const fs::path path = layout.bootstrap_token();
    std::error_code ignored;
    if (fs::exists(path, ignored)) {
        BERTH_ASSIGN(std::string text, read_file(path, 4096));
        if (text = trimmed(std::move(text)); identity::looks_like_token(text))
            return Secret(std::move(text));
        return invalid(
            "bad_data_folder", path.string() + " holds no token; delete it and run 'berth up' again"
        );
    }
    Secret token = identity::make_token();
    BERTH_TRY(write_file_atomic(path, token.reveal() + "\n", 0600));
    return token;
}

Result<Secret> kept_secret(const Layout& layout, std::string_view name) {
    const fs::path path = layout.etc() / fmt::format("{}.secret", name);
    std::error_code ignored;
    if (fs::exists(path, ignored)) {
        BERTH_ASSIGN(std::string text, read_file(path, 4096));
        return Secret(trimmed(std::move(text)));
    }
    std::array<std::uint8_t, 24> bytes{};
    Random::system().fill(bytes);
    Secret secret(hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    BERTH_TRY(write_file_atomic(path, secret.reveal() + "\n", 0600));
    return secret;
}

bool port_is_free(int port) { return try_port(port) == port; }

Result<int> kept_port(const Layout& layout, std::string_view name) {
    const fs::path path = layout.etc() / fmt::format("{}.port", name);
    int port = 0;
    if (const auto text = read_file(path, 64))
        std::from_chars(text->data(), text->data() + text->size(), port);
    if (port > 0 && port < 65536 && port_is_free(port)) return port;
    port = try_port(0);
    if (port == 0)
        return unavailable(
            "no_port", "no port of 127.0.0.1 can be listened on; is the loopback interface up?"
        );
    BERTH_TRY(write_file_atomic(path, std::to_string(port) + "\n", 0600));
    return port;
}

}  // namespace berth::cli::up
