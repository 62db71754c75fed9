// SPDX-License-Identifier: Apache-2.0
// `berth harden`: an image whose tools ask before they run.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "cli/commands.hpp"
#include "cli/context.hpp"
#include "cli/exit_codes.hpp"
#include "cli/harden/recipe.hpp"
#include "cli/paths.hpp"
#include "cli/policy_source.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "engine/engine.hpp"
#include "net/http_types.hpp"
#include "policy/policy.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCheckLine = "berth-check: ";
constexpr std::string_view kOwnLine = "berth: ";
constexpr std::size_t kMostProgram = 16U << 20U;

/// One way past the shim that was tried, and what became of it.
struct Tried {
    std::string answer;  ///< "shim", "closed", "open" (as this level is) or "PASSED"
    std::string tool;
    std::string way;
};

Result<std::vector<std::string>> tools_of(const Context& context, const Arguments& arguments) {
    std::vector<std::string> out;
    if (arguments.has("policy")) {
        BERTH_ASSIGN(const auto text, read_policy(context, arguments.get("policy")));
        BERTH_ASSIGN(const auto policy, policy::Policy::parse(text.text, text.name));
        out = policy->tools();
    }
    for (const auto& list : arguments.all("tools")) {
        for (const auto tool : split(list, ',')) {
            if (!tool.empty()) out.emplace_back(tool);
        }
    }
    return out;
}

std::string socket_of(const Arguments& arguments) {
    constexpr std::string_view kUnix = "unix://";
    std::string socket = arguments.get("engine");
    const char* host = std::getenv("DOCKER_HOST");
    if (socket.empty() && host != nullptr) socket = host;
    if (socket.starts_with(kUnix)) socket.erase(0, kUnix.size());
    return socket.empty() ? "/var/run/docker.sock" : socket;
}

Result<void> read_programs(const Arguments& arguments, Recipe& recipe) {
    const fs::path own = own_path().parent_path();
    const fs::path shim =
        arguments.has("shim") ? fs::path(arguments.get("shim")) : own / "berth-shim";
    BERTH_ASSIGN(recipe.shim, read_file(shim, kMostProgram));
    BERTH_ASSIGN(recipe.probe, read_file(own / "berth-probe", kMostProgram));
    return {};
}

Result<void> write_recipe(
    const Context& context, const std::string& folder, const std::vector<TarFile>& files
) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return system_error("cannot make " + folder, error.value());
    for (const auto& file : files)
        BERTH_TRY(write_file_atomic(fs::path(folder) / file.name, file.content, file.mode));
    context.progress(fmt::format("wrote {}; build it with 'docker build {}'", folder, folder));
    return {};
}

void take_line(const Context& context, std::string_view line, std::vector<Tried>& tried) {
    if (line.starts_with(kCheckLine)) {
        const auto words = split(line.substr(kCheckLine.size()), ' ');
        if (words.size() < 3) return;
        const auto after = line.find(words[1], kCheckLine.size()) + words[1].size() + 1;
        tried.push_back(
            {std::string(words[0]), std::string(words[1]), std::string(line.substr(after))}
        );
    } else if (line.starts_with(kOwnLine)) {
        context.progress(printable(line.substr(kOwnLine.size())));
    } else {
        context.detail(printable(line));
    }
}

void show(const Context& context, const std::string& tag, const std::vector<Tried>& tried) {
    if (context.json()) {
        Json::Array ways;
        for (const auto& one : tried)
            ways.push_back(
                Json::object().set("tool", one.tool).set("way", one.way).set("answer", one.answer)
            );
        context.print(
            Json::object().set("image", tag).set("ways", Json(std::move(ways))).dump() + "\n"
        );
        return;
    }
    std::vector<std::vector<std::string>> rows = {{"TOOL", "WAY", "ANSWER"}};
    for (const auto& one : tried)
        rows.push_back({printable(one.tool), printable(one.way), one.answer});
    context.print(table(rows, context.color()));
}

Result<void> harden(const Context& context, const Arguments& arguments) {
    Recipe recipe;
    recipe.image = arguments.operands[0];
    BERTH_ASSIGN(recipe.tools, tools_of(context, arguments));
    BERTH_TRY(read_programs(arguments, recipe));
    engine::Engine engine(socket_of(arguments));
    if (arguments.has("recipe")) {
        recipe.user = arguments.get("user");
    } else {
        BERTH_TRY(recipe_files(recipe));  // mistakes before the engine is asked
        BERTH_ASSIGN(
            const Json image, engine.get("/images/" + net::percent_encode(recipe.image) + "/json")
        );
        if (const Json* config = image.find("Config")) recipe.user = config->string_or("User", "");
    }
    BERTH_ASSIGN(const auto files, recipe_files(recipe));
    if (arguments.has("recipe")) return write_recipe(context, arguments.get("recipe"), files);

    const std::string tag =
        arguments.get("tag", recipe.image.substr(0, recipe.image.find('@')) + "-hardened");
    std::vector<Tried> tried;
    const auto built = engine.build(
        "rm=true&forcerm=true&t=" + net::percent_encode(tag),
        tar(files),
        [&](std::string_view line) { take_line(context, line, tried); }
    );
    // The table also where a way led past the shim: the build has then failed, and nothing carries
    // the tag.
    if (built || !tried.empty()) show(context, tag, tried);
    BERTH_TRY(built);
    context.progress(fmt::format(
        "{} is ready: {} ways past the shim were tried, none led past it", tag, tried.size()
    ));
    return {};
}

}  // namespace

int run_harden(Context& context, const Arguments& arguments) {
    const auto done = harden(context, arguments);
    if (done) return 0;
    context.complain(done.error());
    return done.error().code == "usage" ? kExitUsage : 1;
}

}  // namespace berth::cli
