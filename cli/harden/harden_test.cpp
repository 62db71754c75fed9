// SPDX-License-Identifier: Apache-2.0
// The recipe of a hardened image: what a build gets is what was meant, whatever the names are.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/capture.hpp"
#include "cli/harden/recipe.hpp"
#include "cli/harden/script.hpp"
#include "cli/tar.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kPatience{20'000};

Captured run(std::vector<std::string> argv, std::string_view input = {}) {
    process::SpawnSpec spec;
    spec.argv = std::move(argv);
    auto done = capture(std::move(spec), kPatience, input);
    EXPECT_TRUE(done) << done.error().message;
    return done ? *done : Captured{-1, "", ""};
}

TEST(TarTest, IsWhatTarReads) {
    const std::string archive =
        tar({{"a", "hello\n", 0644}, {"b", std::string(1'000, 'x'), 0755}, {"empty", "", 0600}});
    EXPECT_EQ(archive.size() % 512, 0U);
    const auto listed = run({"tar", "-tvf", "-"}, archive);
    EXPECT_EQ(listed.code, 0) << listed.err;
    EXPECT_NE(listed.out.find("-rw-r--r-- 0/0               6 1970-01-01"), std::string::npos)
        << listed.out;
    EXPECT_NE(listed.out.find("-rwxr-xr-x 0/0            1000 1970-01-01"), std::string::npos)
        << listed.out;
    EXPECT_EQ(run({"tar", "-xOf", "-", "a"}, archive).out, "hello\n");
    EXPECT_EQ(run({"tar", "-xOf", "-", "b"}, archive).out, std::string(1'000, 'x'));
}

TEST(RecipeTest, ADockerfileThatEveryBuilderTakes) {
    const auto files =
        recipe_files({"debian:bookworm-slim", "1000:1000", {"git", "/opt/x/tool"}, "SHIM", "PROBE"}
        );
    ASSERT_TRUE(files) << files.error().message;
    ASSERT_EQ(files->size(), 5U);
    EXPECT_EQ((*files)[0].name, "Dockerfile");
    EXPECT_EQ(
        (*files)[0].content,
        "FROM debian:bookworm-slim\nUSER root\nCOPY berth-shim berth-probe harden.sh tools "
        "/usr/lib/berth/\n"
        "RUN [\"/bin/sh\", \"/usr/lib/berth/harden.sh\", \"install\"]\nUSER 65534:65534\n"
        "RUN [\"/bin/sh\", \"/usr/lib/berth/harden.sh\", \"check\"]\nUSER root\n"
        "RUN [\"/bin/sh\", \"/usr/lib/berth/harden.sh\", \"finish\"]\nLABEL "
        "berth.hardened=\"git,/opt/x/tool\"\n"
        "USER 1000:1000\n"
    );
    EXPECT_EQ((*files)[1].content, "SHIM");
    EXPECT_EQ((*files)[1].mode, 0755U);
    EXPECT_EQ((*files)[2].content, "PROBE");
    EXPECT_EQ((*files)[4].content, "git\n/opt/x/tool\n");
    EXPECT_NE(
        (*recipe_files({"a", "", {"git"}, "", ""}))[0].content.find("USER root\n"),
        std::string::npos
    );
}

TEST(RecipeTest, NamesThatCouldMeanSomethingElseAreRefused) {
    for (const char* image : {"", "a b", "a\nRUN x", "-f", "a\"", "$(x)"})
        EXPECT_FALSE(recipe_files({image, "", {"git"}, "", ""})) << image;
    for (const char* tool : {"", "a b", "a\nb", "../git", "bin/git", "a;b", "`x`", "-rf", "a*"})
        EXPECT_FALSE(recipe_files({"debian", "", {tool}, "", ""})) << tool;
    EXPECT_FALSE(recipe_files({"debian", "a\nb", {"git"}, "", ""}));
    EXPECT_FALSE(recipe_files({"debian", "", {}, "", ""}));
}

TEST(RecipeTest, TheScriptIsOneThatShellsRead) {
    EXPECT_EQ(run({"sh", "-n"}, harden_script()).code, 0);
    EXPECT_EQ(run({"bash", "--posix", "-n"}, harden_script()).code, 0);
}

TEST(HardenCommandTest, WritesTheRecipeWithoutAnEngine) {
    std::string name = (fs::temp_directory_path() / "berth-harden-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    const fs::path folder = name;
    ASSERT_TRUE(write_file_atomic(folder / "shim", "SHIM"));
    ASSERT_TRUE(write_file_atomic(
        folder / "policy.yaml",
        "version: 1\ndefault: deny\nrules: [{id: a, action: ask, match: {executable: [git, rm]}}]\n"
    ));
    const std::string program = std::string(std::getenv("BERTH_BIN_DIR")) + "/berth";
    const auto made = run(
        {program,
         "harden",
         "alpine:3",
         "--policy",
         (folder / "policy.yaml").string(),
         "--tools",
         "curl",
         "--shim",
         (folder / "shim").string(),
         "--recipe",
         (folder / "out").string()}
    );
    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(read_file(folder / "out" / "tools").value_or(""), "git\nrm\ncurl\n");
    EXPECT_EQ(read_file(folder / "out" / "harden.sh").value_or(""), harden_script());
    EXPECT_EQ(
        run({program, "harden", "alpine:3", "--shim", (folder / "shim").string(), "--recipe", name})
            .code,
        2
    );
    EXPECT_EQ(
        run({program, "harden", "alpine:3", "--tools", "git", "--shim", (folder / "none").string()})
            .code,
        1
    );
    EXPECT_EQ(
        run({program,
             "harden",
             "alpine:3",
             "--tools",
             "git",
             "--shim",
             (folder / "shim").string(),
             "--engine",
             "/nowhere"})
            .code,
        1
    );
    fs::remove_all(folder);
}

}  // namespace
}  // namespace berth::cli
