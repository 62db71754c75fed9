// SPDX-License-Identifier: Apache-2.0
// Writes the Dockerfile: classic instructions only, which every engine and builder understands.
#include "cli/harden/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/harden/script.hpp"
#include "policy/shim_layout.hpp"

namespace berth::cli {
namespace {

bool is_plain(std::string_view text) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("._-+/:@").find(c) != std::string_view::npos;
    };
    return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), plain);
}

Error odd(std::string_view what, std::string_view text) {
    return invalid(
        "usage", fmt::format("'{}' is no {}: letters, digits and ._-+/:@ are taken", text, what)
    );
}

}  // namespace

Result<std::vector<TarFile>> recipe_files(const Recipe& recipe) {
    if (!is_plain(recipe.image)) return odd("image", recipe.image);
    if (!recipe.user.empty() && !is_plain(recipe.user)) return odd("user", recipe.user);
    if (recipe.tools.empty())
        return invalid("usage", "say the tools: --tools git,rm or --policy policy.yaml");
    std::string tools;
    std::string label;
    for (const auto& tool : recipe.tools) {
        if (!is_plain(tool)) return odd("tool", tool);
        if (tool[0] != '/' && tool.find('/') != std::string::npos)
            return invalid(
                "usage", fmt::format("'{}' is neither a name nor an absolute path", tool)
            );
        tools += tool + "\n";
        label += (label.empty() ? "" : ",") + tool;
    }
    const std::string script = fmt::format("{}/harden.sh", policy::kShimFolder);
    const auto run = [&](std::string_view step) {
        return fmt::format("RUN [\"/bin/sh\", \"{}\", \"{}\"]\n", script, step);
    };
    std::string dockerfile = fmt::format("FROM {}\n", recipe.image);
    dockerfile += "USER root\n";
    dockerfile +=
        fmt::format("COPY berth-shim berth-probe harden.sh tools {}/\n", policy::kShimFolder);
    dockerfile += run("install");
    dockerfile += "USER 65534:65534\n" + run("check");
    dockerfile += "USER root\n" + run("finish");
    dockerfile += fmt::format("LABEL berth.hardened=\"{}\"\n", label);
    dockerfile += fmt::format("USER {}\n", recipe.user.empty() ? "root" : recipe.user);
    return std::vector<TarFile>{
        {"Dockerfile", dockerfile, 0644},
        {"berth-shim", recipe.shim, 0755},
        {"berth-probe", recipe.probe, 0755},
        {"harden.sh", std::string(harden_script()), 0755},
        {"tools", tools, 0644}};
}

}  // namespace berth::cli
