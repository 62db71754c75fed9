// SPDX-License-Identifier: Apache-2.0
// Proves the command line's table, the exit codes, the layers as the CLI declares them, and that
// docs/cli.md is what the table says.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "cli/args.hpp"
#include "cli/capture.hpp"
#include "cli/context.hpp"
#include "cli/credentials.hpp"
#include "cli/exit_codes.hpp"
#include "cli/lease_choice.hpp"
#include "cli/paths.hpp"
#include "cli/up/children.hpp"
#include "cli/up/deployment.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

/// A folder of its own as home and current folder, restored afterwards.
class CliTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "berth-cli-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = fs::canonical(name);
        before_ = fs::current_path();
        for (const char* each :
             {"BERTH_SERVER",
              "BERTH_TOKEN",
              "BERTH_PROFILE",
              "BERTH_LEASE",
              "XDG_CACHE_HOME",
              "XDG_DATA_HOME"})
            ::unsetenv(each);
        ::setenv("HOME", folder_.c_str(), 1);
        ::setenv("XDG_CONFIG_HOME", (folder_ / "config").c_str(), 1);
        fs::create_directories(folder_ / "repo" / "sub" / "deep");
        fs::create_directories(folder_ / "config" / "berth");
        ASSERT_TRUE(write_file_atomic(
            folder_ / "repo" / "berth.yaml", "profile: repo\nsync:\n  exclude: [big/]\n"
        ));
        fs::current_path(folder_ / "repo" / "sub" / "deep");
    }
    void TearDown() override {
        fs::current_path(before_);
        fs::remove_all(folder_);
    }
    static Result<Context> context(const std::vector<std::string>& words) {
        const auto arguments = parse_arguments(words);
        if (!arguments) return arguments.error();
        return Context::make(*arguments);
    }
    fs::path folder_;
    fs::path before_;
};

TEST(ArgumentsTest, FlagsOperandsAndTheCommandAfterTheDashes) {
    const auto parsed = parse_arguments(
        {"run", "-k", "--profile=net", "--env", "A", "-e", "B", "--", "sh", "-c", "exit 3"}
    );
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->command->name, "run");
    EXPECT_TRUE(parsed->has("keep"));
    EXPECT_EQ(parsed->get("profile"), "net");
    EXPECT_EQ(parsed->all("env"), (std::vector<std::string>{"A", "B"}));
    EXPECT_EQ(parsed->operands, (std::vector<std::string>{"sh", "-c", "exit 3"}));
    const auto bare = parse_arguments({"run", "make", "--keep", "-j2"});
    ASSERT_TRUE(bare);
    EXPECT_FALSE(bare->has("keep"));
    EXPECT_EQ(bare->operands, (std::vector<std::string>{"make", "--keep", "-j2"}));
    EXPECT_EQ(parse_arguments({"--version"})->command->name, "version");
    EXPECT_TRUE(parse_arguments({"cancel", "--help"})->help);
}

TEST(ArgumentsTest, MistakesNameTheNearestWordAndTheHelp) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{}, "no command given; see 'berth help'"},
        {{"rn"}, "berth has no command 'rn'; did you mean 'run'?; see 'berth help'"},
        {{"statsu"}, "berth has no command 'statsu'; did you mean 'status'?; see 'berth help'"},
        {{"rnu"}, "berth has no command 'rnu'; did you mean 'run'?; see 'berth help'"},
        {{"snyc"}, "berth has no command 'snyc'; did you mean 'sync'?; see 'berth help'"},
        {{"qqqqqq"}, "berth has no command 'qqqqqq'; see 'berth help'"},
        {{"run", "--keeep", "--", "x"},
         "berth run has no flag '--keeep'; did you mean '--keep'?; see 'berth help run'"},
        {{"run", "-z", "x"}, "berth run has no flag '-z'; see 'berth help run'"},
        {{"run"}, "berth run needs -- <command>...; see 'berth help run'"},
        {{"lease", "--ttl"}, "'--ttl' needs a value (duration); see 'berth help lease'"},
        {{"run", "--keep=yes", "x"}, "'--keep' takes no value; see 'berth help run'"},
        {{"lease", "--ttl", "1h", "--ttl", "2h"}, "'--ttl' is given twice; see 'berth help lease'"},
        {{"whoami", "me"}, "berth whoami does not take 'me'; see 'berth help whoami'"},
    };
    for (const auto& [words, message] : cases) {
        const auto parsed = parse_arguments(words);
        ASSERT_FALSE(parsed) << message;
        EXPECT_EQ(parsed.error().code, "usage");
        EXPECT_EQ(parsed.error().message, message);
    }
}

TEST(ArgumentsTest, TheTableIsConsistent) {
    std::set<std::string_view> names;
    for (const Command& command : commands()) {
        EXPECT_TRUE(names.insert(command.name).second) << command.name;
        EXPECT_NE(command.run, nullptr) << command.name;
        EXPECT_FALSE(command.summary.ends_with('.')) << command.name;
        std::set<std::string_view> flags;
        std::set<char> letters;
        for (const auto* list : {&command.flags, &common_flags()}) {
            for (const Flag& flag : *list) {
                EXPECT_TRUE(flags.insert(flag.name).second) << command.name << " --" << flag.name;
                const bool fresh = flag.letter == '\0' || letters.insert(flag.letter).second;
                EXPECT_TRUE(fresh) << command.name << " -" << flag.letter;
            }
        }
        EXPECT_NE(command_help(command).find("--json"), std::string::npos);
    }
}

TEST(ArgumentsTest, EveryCommandTakesWhatItsHelpSaysAndRefusesTheRest) {
    for (const Command& command : commands()) {
        SCOPED_TRACE(command.name);
        const std::string name(command.name);
        const auto with = [&](std::size_t operands, const std::vector<std::string>& flags = {}) {
            std::vector<std::string> words{name};
            words.insert(words.end(), flags.begin(), flags.end());
            if (command.takes_command() && operands > 0) words.emplace_back("--");
            words.insert(words.end(), operands, "word");
            return parse_arguments(words);
        };
        ASSERT_LE(command.least, command.most);
        const auto least = with(command.least);
        ASSERT_TRUE(least) << least.error().message;
        EXPECT_EQ(least->command, &command);
        EXPECT_EQ(least->operands.size(), command.least);
        if (command.least > 0) {
            const auto few = with(command.least - 1);
            ASSERT_FALSE(few);
            EXPECT_EQ(
                few.error().message,
                "berth " + name + " needs " + std::string(command.operands) + "; see 'berth help " +
                    name + "'"
            );
        }
        if (command.most < 1'000) {
            const auto many = with(command.most + 1);
            ASSERT_FALSE(many);
            EXPECT_NE(many.error().message.find("does not take 'word'"), std::string::npos);
        }
        const auto unknown = with(command.least, {"--no-such-flag"});
        ASSERT_FALSE(unknown);
        EXPECT_EQ(unknown.error().code, "usage");
        EXPECT_TRUE(with(0, {"--help"})->help);
        const std::string help = command_help(command);
        for (const auto* list : {&command.flags, &common_flags()}) {
            for (const Flag& flag : *list) {
                SCOPED_TRACE(flag.name);
                const std::string word = "--" + std::string(flag.name);
                EXPECT_NE(help.find(word), std::string::npos) << help;
                EXPECT_FALSE(flag.help.empty() || flag.help.ends_with('.')) << flag.help;
                if (flag.name == "help") continue;
                const bool is_switch = flag.value.empty();
                const auto given = with(command.least, {is_switch ? word : word + "=some"});
                ASSERT_TRUE(given) << given.error().message;
                EXPECT_EQ(given->get(flag.name, "none"), is_switch ? "" : "some");
                EXPECT_FALSE(
                    is_switch ? with(command.least, {word + "=some"})
                              : parse_arguments({name, word})
                );
                if (flag.letter != '\0') {
                    const std::string letter = std::string("-") + flag.letter;
                    EXPECT_TRUE(
                        is_switch ? with(command.least, {letter})
                                  : with(command.least, {letter, "x"})
                    );
                }
                if (!is_switch) {
                    const auto twice = with(command.least, {word + "=a", word + "=b"});
                    EXPECT_EQ(twice.has_value(), flag.repeated);
                }
            }
        }
        EXPECT_NE(help.find(command.summary), std::string::npos);
        const bool listed = general_help().find("  " + name + " ") != std::string::npos;
        EXPECT_EQ(listed, !command.hidden) << "in 'berth help'";
    }
}

TEST(ArgumentsTest, TheDocumentIsWhatTheTableSays) {
    const char* source = std::getenv("BERTH_SOURCE_DIR");
    ASSERT_NE(source, nullptr);
    const auto written = read_file(fs::path(source) / "docs" / "cli.md");
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_TRUE(*written == markdown()) << "write it again: berth __docs > docs/cli.md";
}

TEST(ExitCodesTest, OfEveryEnd) {
    run::v1::OutputFrame::End end;
    end.set_origin("remote");
    end.set_state(run::v1::RUN_STATE_SUCCEEDED);
    end.set_exit_code(0);
    EXPECT_EQ(outcome_of(end), (Outcome{0, "remote", {}}));
    end.set_state(run::v1::RUN_STATE_FAILED);
    for (const int code : {1, 3, 121, 125, 126, 137, 255}) {
        end.set_exit_code(code);
        EXPECT_EQ(outcome_of(end), (Outcome{code, "remote", {}}));
    }
    end.clear_exit_code();
    end.set_signal(9);
    EXPECT_EQ(outcome_of(end), (Outcome{137, "remote", {}}));
    end.set_signal(0);
    end.set_origin("berth");
    EXPECT_EQ(outcome_of(end).code, kExitLost);
    EXPECT_EQ(outcome_of(end).origin, "berth");
    end.set_state(run::v1::RUN_STATE_TIMED_OUT);
    end.set_exit_code(137);
    EXPECT_EQ(outcome_of(end).code, kExitTimedOut);
    end.set_state(run::v1::RUN_STATE_LOST);
    EXPECT_EQ(outcome_of(end).code, kExitLost);
    end.set_state(run::v1::RUN_STATE_CANCELED);
    end.set_origin("remote");
    end.set_exit_code(130);
    EXPECT_EQ(outcome_of(end), (Outcome{130, "remote", {}}));
    end.clear_exit_code();
    EXPECT_EQ(outcome_of(end).code, 130);
}

TEST(ExitCodesTest, OfEveryError) {
    EXPECT_EQ(outcome_of(unavailable("connect_failed", "x"), kExitNoLease).code, kExitUnreachable);
    EXPECT_EQ(outcome_of(unavailable("connection_lost", "x"), kExitLost).code, kExitUnreachable);
    EXPECT_EQ(outcome_of(unavailable("no_machine", "x"), kExitNoLease).code, kExitNoLease);
    EXPECT_EQ(outcome_of(invalid("bad_profile", "x"), kExitNoLease).code, kExitRunUsage);
    EXPECT_EQ(outcome_of(forbidden("policy_denied", "x"), kExitLost).code, kExitDenied);
    EXPECT_EQ(outcome_of(forbidden("role_missing", "x"), kExitLost).code, kExitRunUsage);
    EXPECT_EQ(outcome_of(internal("x", "x"), kExitLost).origin, "berth");
}

TEST_F(CliTest, SettingsComeFromTheStrongestLayer) {
    auto plain = context({"lease"});
    ASSERT_TRUE(plain) << plain.error().message;
    EXPECT_EQ(plain->server(), kDefaultServer);
    EXPECT_EQ(plain->settings().text("profile"), "repo");
    EXPECT_EQ(plain->settings().list("sync.exclude"), (std::vector<std::string>{"big/"}));
    EXPECT_EQ(plain->root(), folder_ / "repo");
    EXPECT_EQ(plain->subfolder(), "sub/deep");
    ASSERT_TRUE(write_file_atomic(
        folder_ / "config" / "berth" / "config.yaml", "profile: user\nserver: http://user:1\n"
    ));
    EXPECT_EQ(context({"lease"})->server(), "http://user:1");
    EXPECT_EQ(context({"lease"})->settings().text("profile"), "repo");
    ::setenv("BERTH_PROFILE", "env", 1);
    EXPECT_EQ(context({"lease"})->settings().text("profile"), "env");
    EXPECT_EQ(context({"lease", "-p", "flag"})->settings().text("profile"), "flag");
    ::unsetenv("BERTH_PROFILE");
}

TEST_F(CliTest, AMistypedKeyIsNamedWithFileAndLine) {
    ASSERT_TRUE(write_file_atomic(folder_ / "repo" / "berth.yaml", "profile: x\nprofle: y\n"));
    const auto wrong = context({"lease"});
    ASSERT_FALSE(wrong);
    EXPECT_EQ(
        wrong.error().message.find(
            (folder_ / "repo" / "berth.yaml").string() + ":2: unknown key 'profle'"
        ),
        0U
    ) << wrong.error().message;
}

TEST_F(CliTest, TokensAreKeptPerGatewayAndPrivate) {
    const auto nobody = context({"lease"})->token();
    ASSERT_TRUE(nobody);
    EXPECT_TRUE(nobody->empty());
    ASSERT_TRUE(store_token(kDefaultServer, Secret("one")));
    ASSERT_TRUE(store_token("unix:/x/y", Secret("two")));
    EXPECT_EQ(context({"lease"})->token()->reveal(), "one");
    EXPECT_EQ(context({"lease", "--server", "unix:/x/y"})->token()->reveal(), "two");
    EXPECT_EQ(
        fs::status(token_path(kDefaultServer)).permissions(),
        fs::perms::owner_read | fs::perms::owner_write
    );
    ::setenv("BERTH_TOKEN", "three", 1);
    EXPECT_EQ(context({"lease"})->token()->reveal(), "three");
    ::unsetenv("BERTH_TOKEN");
}

TEST_F(CliTest, StoringAServerKeepsTheOtherSettings) {
    const fs::path path = folder_ / "config" / "berth" / "config.yaml";
    ASSERT_TRUE(write_file_atomic(path, "# mine\nprofile: user\n"));
    ASSERT_TRUE(store_server("http://a:1", false));
    EXPECT_EQ(read_file(path).value(), "# mine\nprofile: user\nserver: http://a:1\n");
    ASSERT_TRUE(store_server("http://b:1", false));
    EXPECT_EQ(context({"lease"})->server(), "http://a:1");
    ASSERT_TRUE(store_server("http://b:1", true));
    EXPECT_EQ(read_file(path).value(), "# mine\nprofile: user\nserver: http://b:1\n");
}

TEST(WordsTest, ACommandIsCutAtACharactersEnd) {
    for (int before = 0; before < 4; ++before) {
        run::v1::Run run;
        std::string word(static_cast<std::size_t>(before), 'x');
        for (int i = 0; i < 40; ++i) word += i % 2 == 0 ? "\xc3\xa4" : "\xf0\x9f\x9a\x80";
        run.add_argv(word);
        const std::string line = command_line(run);
        EXPECT_LE(line.size(), 60U);
        EXPECT_GT(line.size(), 60U - 4U);
        EXPECT_TRUE(line.ends_with("...")) << line;
        EXPECT_TRUE(is_utf8(line)) << line;
        EXPECT_EQ(command_line(run, 1'000), word);
    }
}

TEST_F(CliTest, CaptureFeedsAndDrains) {
    const std::string large(1U << 20U, 'x');
    process::SpawnSpec cat;
    cat.argv = {"cat"};
    const auto echoed = capture(cat, seconds{20}, large);
    ASSERT_TRUE(echoed);
    EXPECT_EQ(echoed->out, large);
    process::SpawnSpec fails;
    fails.argv = {"sh", "-c", "echo no >&2; exit 3"};
    EXPECT_EQ(capture(fails, seconds{20})->code, 3);
    EXPECT_EQ(capture(fails, seconds{20})->err, "no\n");
    process::SpawnSpec hangs;
    hangs.argv = {"sleep", "60"};
    EXPECT_EQ(capture(hangs, milliseconds{50}).error().code, "timeout");
}

TEST_F(CliTest, ALabelMarksTheTree) {
    const std::string here = context({"lease"})->tree_label();
    EXPECT_EQ(here, context({"lease"})->tree_label());
    fs::current_path(folder_);
    EXPECT_NE(here, context({"lease"})->tree_label());
}

// Children are real processes; the test tends them as the supervisor does.
TEST_F(CliTest, AChildThatDiesIsStartedAgainAndStoppedInTheEnd) {
    up::Children children;
    const fs::path mark = folder_ / "mark";
    const fs::path second = folder_ / "second";
    up::PartSpec part;
    part.name = "worker";
    part.log = folder_ / "worker.log";
    part.stop_grace = seconds{5};
    part.make = [&]() -> Result<process::SpawnSpec> {
        process::SpawnSpec spec;  // dies at its first start, lives at its second
        spec.argv = {
            "sh",
            "-c",
            "if [ -e " + mark.string() + " ]; then echo again; : > " + second.string() +
                "; exec sleep 60; fi; echo first; : > " + mark.string() + "; exit 7"};
        return spec;
    };
    part.not_ready = [&](pid_t) {
        return fs::exists(second) ? std::string() : std::string("no mark");
    };
    children.add(std::move(part));
    EXPECT_FALSE(children.all_ready({"worker"}));
    children.start({"worker"});
    const auto end = std::chrono::steady_clock::now() + seconds{10};
    std::string why;
    while (std::chrono::steady_clock::now() < end) {
        children.tend(milliseconds{100}, -1);
        if (children.view()[0].state == up::PartState::kFailed) why = children.view()[0].reason;
        if (children.view()[0].restarts == 1 && children.all_ready({"worker"})) break;
    }
    ASSERT_EQ(children.view()[0].restarts, 1);
    ASSERT_TRUE(children.all_ready({"worker"}));
    EXPECT_EQ(why, "ended with 7: first; started again in 100ms, restart 1");
    const pid_t pid = children.view()[0].pid;
    children.stop({"worker"});
    EXPECT_EQ(children.view()[0].state, up::PartState::kStopped);
    EXPECT_NE(::kill(pid, 0), 0);
    EXPECT_EQ(up::last_lines(folder_ / "worker.log", 2), "first\nagain");
}

TEST_F(CliTest, LogsRotate) {
    up::LogFile log(folder_ / "big.log");
    const std::string block(1U << 20U, 'x');
    for (int i = 0; i < 50; ++i) log.append(block);
    for (const char* name : {"big.log", "big.log.1", "big.log.2", "big.log.3"}) {
        EXPECT_TRUE(fs::exists(folder_ / name)) << name;
        EXPECT_LE(fs::file_size(folder_ / name), up::LogFile::kMaxLog + 2 * block.size());
    }
    EXPECT_FALSE(fs::exists(folder_ / "big.log.4"));
}

TEST_F(CliTest, ACommandForADeploymentNamesItsFolder) {
    EXPECT_EQ(up::command_for({default_data_folder()}, "down"), "berth down");
    EXPECT_EQ(
        up::command_for({folder_ / "a b"}, "up"),
        "berth up --data '" + (folder_ / "a b").string() + "'"
    );
}

TEST_F(CliTest, PortsAndSecretsAreKept) {
    const up::Layout layout{folder_ / "data"};
    ASSERT_TRUE(up::make_folders(layout));
    const auto port = up::kept_port(layout, "x");
    ASSERT_TRUE(port);
    EXPECT_EQ(up::kept_port(layout, "x").value(), *port);
    const auto token = up::bootstrap_token(layout);
    ASSERT_TRUE(token);
    EXPECT_EQ(up::bootstrap_token(layout)->reveal(), token->reveal());
    EXPECT_EQ(up::kept_secret(layout, "s")->reveal(), up::kept_secret(layout, "s")->reveal());
    EXPECT_NE(up::kept_secret(layout, "s")->reveal(), up::kept_secret(layout, "t")->reveal());
    const up::Layout deep{folder_ / std::string(90, 'x')};
    EXPECT_EQ(up::make_folders(deep).error().code, "bad_data_folder");
}

TEST(WordsTest, WhatIsNotUtf8BecomesUtf8) {
    EXPECT_EQ(to_utf8(""), "");
    EXPECT_EQ(to_utf8("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), "h\u00E9 \u20AC \U0001F600");
    EXPECT_EQ(to_utf8("\xFF\xFE x"), "\uFFFD\uFFFD x");
    EXPECT_EQ(to_utf8("a\xE2\x82"), "a\uFFFD\uFFFD") << "cut off";
    EXPECT_EQ(
        to_utf8("\xC3"
                "b"),
        "\uFFFDb"
    );
}

}  // namespace
}  // namespace berth::cli
