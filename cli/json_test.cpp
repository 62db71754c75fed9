// SPDX-License-Identifier: Apache-2.0
// Proves that --json makes stdout one JSON document, whatever the command and however it ends.
#include "core/json.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/args.hpp"
#include "cli/capture.hpp"
#include "cli/context.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

/// A home without anything, and no gateway at all.
class JsonTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "berth-json-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { fs::remove_all(folder_); }

    Captured berth(const std::vector<std::string>& words) const {
        process::SpawnSpec spec;
        spec.argv = {std::string(std::getenv("BERTH_BIN_DIR")) + "/berth"};
        spec.argv.insert(spec.argv.end(), words.begin(), words.end());
        spec.cwd = folder_.string();
        spec.env = std::vector<std::string>{
            "PATH=" + std::string(std::getenv("PATH")),
            "HOME=" + folder_.string(),
            "BERTH_SERVER=http://127.0.0.1:1",
            "BERTH_TOKEN=none"};
        auto done = capture(std::move(spec), seconds{60});
        EXPECT_TRUE(done) << (done ? "" : done.error().message);
        return done ? *done : Captured{};
    }
    /// What `words` leave on stdout, which must be a document.
    Json document(const std::vector<std::string>& words, int* code = nullptr) const {
        const Captured said = berth(words);
        if (code != nullptr) *code = said.code;
        auto json = Json::parse(said.out);
        EXPECT_TRUE(json) << "'" << said.out << "' " << said.err;
        return json ? std::move(*json) : Json::object();
    }
    static std::string error_code(const Json& json) {
        const Json* error = json.find("error");
        if (error == nullptr || error->string_or("message", "").empty()) return "";
        return error->string_or("code", "");
    }
    fs::path folder_;
};

TEST_F(JsonTest, EveryCommandGivesADocument) {
    for (const Command& command : commands()) {
        if (command.hidden) continue;
        SCOPED_TRACE(command.name);
        const std::string name(command.name);
        EXPECT_FALSE(document({name, "--help", "--json"}).string_or("text", "").empty());
        EXPECT_EQ(error_code(document({name, "--json", "--no-such-flag"})), "usage");

        std::vector<std::string> words{name, "--json"};
        if (name == "up") words.emplace_back("--port=0");  // else it would start
        words.insert(words.end(), command.least, "word");
        int code = 0;
        const Json told = document(words, &code);
        if (name == "run" || name == "warmup" || name == "shell") {
            ASSERT_NE(told.find("exit"), nullptr) << told.dump();
            EXPECT_EQ(error_code(*told.find("exit")), "connect_failed");
        } else {
            EXPECT_EQ(!error_code(told).empty(), code != 0 && name != "doctor") << told.dump();
        }
    }
}

TEST_F(JsonTest, AFailureHasTheCodeOfItsKind) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"--json"}, "usage"},
        {{"nonesuch", "--json"}, "usage"},
        {{"run", "--json"}, "usage"},
        {{"run", "--json", "--wait", "x", "--", "true"}, "usage"},
        {{"run", "--json", "--fail-on-test-failures", "--", "true"}, "usage"},
        {{"attach", "--json", "--offset", "x", "rn_1"}, "usage"},
        {{"attach", "--json", "rn_1"}, "connect_failed"},
        {{"ssh", "--json", "calm-otter"}, "connect_failed"},
        {{"ssh", "--json", "calm-otter", "-t", "tty"}, "usage"},
        {{"ssh", "--json", "calm-otter", "--json", "--", "ls"}, "usage"},
        {{"ssh", "--json", "", "ls"}, "usage"},
        {{"ssh", "--json", "--lease=", "ls"}, "usage"},
        {{"ssh", "--json", "calm-otter", "--", "-x"}, "connect_failed"},
        {{"logs", "--json", "rn_1"}, "usage"},
        {{"leases", "--json"}, "connect_failed"},
        {{"completion", "--json", "csh"}, "usage"},
        {{"help", "--json", "nonesuch"}, "usage"},
        {{"tokens", "--json", "--token-file", "x"}, "usage"},
    };
    for (const auto& [words, code] : cases) {
        SCOPED_TRACE(words.front() + " " + words.back());
        int exit_code = 0;
        EXPECT_EQ(error_code(document(words, &exit_code)), code);
        EXPECT_NE(exit_code, 0);
    }
    EXPECT_EQ(berth({"run", "--keeep", "--", "x", "--json"}).out, "")
        << "that one is the command's";
}

TEST_F(JsonTest, SettingsThatAreWrongAreToldAsAnyFailure) {
    const fs::path settings = folder_ / "berth.yaml";
    for (const char* text : {"profle: x\n", "sync: {max_files: -3}\n"}) {
        ASSERT_TRUE(write_file_atomic(settings, text));
        EXPECT_EQ(error_code(document({"leases", "--json"})), "bad_setting") << text;
    }
}

TEST_F(JsonTest, AResultFileThatCannotBeWrittenIsToldBeforeTheRun) {
    for (const std::string& file :
         {folder_.string(), (folder_ / "none" / "result.json").string()}) {
        int code = 0;
        const Json told = document({"run", "--json", "--result-file", file, "--", "true"}, &code);
        EXPECT_EQ(error_code(told), "bad_output") << told.dump();
        EXPECT_EQ(told.find("error")->string_or("message", "").find(file), 0U) << told.dump();
        EXPECT_EQ(code, 120);
    }
}

TEST_F(JsonTest, TextsAndEmptyAnswersAreDocumentsToo) {
    for (const std::vector<std::string>& words : {
             std::vector<std::string>{"help"},
             std::vector<std::string>{"help", "run"},
             std::vector<std::string>{"man"},
             std::vector<std::string>{"completion", "bash"},
         }) {
        const std::string plain = berth(words).out;
        std::vector<std::string> json = words;
        json.emplace_back("--json");
        EXPECT_EQ(document(json).string_or("text", ""), plain) << words.front();
    }
    EXPECT_EQ(berth({"logout", "--json"}).out, "{}\n") << "it has nothing to tell";
}

TEST(StreamTest, WhereThereIsNothingToTellItIsEmpty) {
    const auto arguments = parse_arguments({"events", "replay", "--json"});
    ASSERT_TRUE(arguments);
    const auto ended = [&](int code) {
        const auto context = Context::make(*arguments);
        if (!context) return context.error().message;
        ::testing::internal::CaptureStdout();
        context->begin_stream();
        context->finish(code);
        return ::testing::internal::GetCapturedStdout();
    };
    EXPECT_EQ(ended(0), "");
    EXPECT_NE(ended(1).find("\"error\""), std::string::npos);
}

}  // namespace
}  // namespace berth::cli
