// SPDX-License-Identifier: Apache-2.0
// Proves what a report says, which files a pattern brings (with a real rsync), what the shells are
// offered (with a real bash), and what doctor concludes.
#include "cli/results.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "cli/args.hpp"
#include "cli/capture.hpp"
#include "cli/completion.hpp"
#include "cli/doctor.hpp"
#include "cli/sync_list.hpp"
#include "cli/words.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

TEST(JunitTest, CountsTheCasesAndKeepsWhatFailed) {
    const auto report = parse_junit(R"(<?xml version="1.0" encoding="UTF-8"?>
<!-- by hand -->
<testsuites tests="99">
  <testsuite name="math &amp; more" tests="4">
    <properties><property name="a" value="b"/></properties>
    <testcase name="adds" classname="Sum" time="0.5"/>
    <testcase name="divides" classname="Div" file="div.c" line="12" time="1,000.25">
      <failure message="1 &lt; 2 &#x2713;" type="x"><![CDATA[div.c:12
expected <1>]]> &amp; more</failure>
      <system-out>noise</system-out>
    </testcase>
    <testcase name='breaks'><error>
      boom at line 3
      second</error></testcase>
    <testcase name="later"><skipped/></testcase>
  </testsuite>
</testsuites>
)");
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->totals.tests, 4U);
    EXPECT_EQ(report->totals.passed(), 1U);
    EXPECT_EQ(report->totals.failed, 1U);
    EXPECT_EQ(report->totals.errors, 1U);
    EXPECT_EQ(report->totals.skipped, 1U);
    EXPECT_DOUBLE_EQ(report->totals.seconds, 1000.75);
    ASSERT_EQ(report->failed.size(), 2U);
    const FailedCase& divides = report->failed[0];
    EXPECT_EQ(divides.suite, "Div");
    EXPECT_EQ(divides.name, "divides");
    EXPECT_EQ(divides.file, "div.c:12");
    EXPECT_EQ(divides.message, "1 < 2 \u2713");
    EXPECT_EQ(divides.text, "div.c:12\nexpected <1> & more");
    EXPECT_EQ(report->failed[1].suite, "math & more");
    EXPECT_EQ(report->failed[1].message, "boom at line 3");
    EXPECT_EQ(report->failed[1].kind, "error");
}

TEST(JunitTest, RefusesWhatIsNone) {
    for (const char* text :
         {"",
          "nothing",
          "<testsuite>",
          "<testsuite></testsuites>",
          "<testsuite/><testsuite/>",
          "<html/>",
          "<testsuite name=x/>",
          "<testsuite name=\"x/>",
          "<testsuite><![CDATA[</testsuite>",
          "<!DOCTYPE t [<!ENTITY a \"b\">]><testsuite/>",
          "<testsuite>\xFF</testsuite>",
          "<testsuite><!-- </testsuite>"}) {
        const auto report = parse_junit(text);
        ASSERT_FALSE(report) << text;
        EXPECT_EQ(report.error().code, "bad_junit");
    }
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "<testsuite>";
    EXPECT_FALSE(parse_junit(deep));
    EXPECT_TRUE(parse_junit("\xEF\xBB\xBF<testsuite name='&unknown; &#xD800; &'/>"));
}

TEST(JunitTest, KeepsALongTextOnlyInPart) {
    const auto report = parse_junit(
        "<testsuite><testcase name='a'><failure>" + std::string(4'095, 'x') + "\u00e4\u00e4" +
        std::string(100'000, 'y') + "</failure></testcase></testsuite>"
    );
    ASSERT_TRUE(report);
    EXPECT_EQ(report->failed[0].text, std::string(4'095, 'x')) << "no half character";
}

TEST(PatternTest, NamesFilesAndFolders) {
    EXPECT_TRUE(matches("reports/*.xml", "reports/a.xml"));
    EXPECT_FALSE(matches("reports/*.xml", "reports/sub/a.xml"));
    EXPECT_FALSE(matches("reports/*.xml", "reports/a.txt"));
    EXPECT_TRUE(matches("**/*.xml", "a.xml"));
    EXPECT_TRUE(matches("**/*.xml", "x/y/a.xml"));
    EXPECT_TRUE(matches("dist", "dist/x/y"));
    EXPECT_TRUE(matches("dist/**", "dist/x/y"));
    EXPECT_TRUE(matches("a/**/z", "a/z"));
    EXPECT_TRUE(matches("a/**/z", "a/b/c/z"));
    EXPECT_FALSE(matches("a/**/z", "b/z"));
    for (const char* bad : {"", "/etc/passwd", "../x", "a/../../b", "a//b"}) {
        const auto refused = filter_arguments({bad});
        ASSERT_FALSE(refused) << bad;
        EXPECT_EQ(refused.error().code, "bad_pattern");
    }
}

// The filter is rsync's to understand: a real one brings exactly what the pattern names.
TEST(PatternTest, RsyncBringsWhatAPatternNames) {
    std::string name = (fs::temp_directory_path() / "berth-fetch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    const fs::path folder = name;
    const std::vector<std::string> files = {
        "a.xml",
        "reports/b.xml",
        "reports/b.txt",
        "reports/sub/c.xml",
        "dist/bin/x",
        "dist/y",
        "other/z",
        ".git/a.xml"};
    for (const auto& file : files) {
        fs::create_directories((folder / "from" / file).parent_path());
        std::ofstream(folder / "from" / file) << "x";
    }
    const std::vector<std::vector<std::string>> cases = {
        {"reports/*.xml"},
        {"**/*.xml"},
        {"dist"},
        {"./dist/"},
        {"dist/**", "a.xml"},
        {"d*t/*"},
        {"**/sub/**"},
        {"reports/**/*.xml"},
        {"none"},
        {"**"}};
    for (const auto& patterns : cases) {
        fs::remove_all(folder / "to");
        process::SpawnSpec spec;
        spec.argv = {"rsync", "-rt", "--prune-empty-dirs"};
        const auto filter = filter_arguments(patterns);
        ASSERT_TRUE(filter) << filter.error().message;
        spec.argv.insert(spec.argv.end(), filter->begin(), filter->end());
        spec.argv.push_back((folder / "from").string() + "/");
        spec.argv.push_back((folder / "to").string() + "/");
        const auto done = capture(std::move(spec), seconds{20});
        ASSERT_TRUE(done && done->code == 0) << (done ? done->err : done.error().message);
        for (const auto& file : files) {
            const bool wanted =
                !file.starts_with(".git/") &&
                std::any_of(patterns.begin(), patterns.end(), [&](std::string pattern) {
                    if (pattern == "./dist/") pattern = "dist";
                    return matches(pattern, file);
                });
            EXPECT_EQ(fs::exists(folder / "to" / file), wanted) << patterns[0] << " " << file;
        }
    }
    fs::remove_all(folder);
}

// Which ones it does not bring is rsync's to say: a real one's words are read.
TEST(PatternTest, WantedNamesThatAreNoFilesAreNamed) {
    std::string name = (fs::temp_directory_path() / "berth-fetch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    const fs::path folder = name;
    fs::create_directories(folder / "from/r");
    std::ofstream(folder / "from/r/a.xml") << "x";
    for (const char* link : {"b.xml", "\xC3\xA9 \"\n\xFF.xml", "b.txt"})
        fs::create_symlink("a.xml", folder / "from/r" / link);
    ASSERT_EQ(::mkfifo((folder / "from/r/p.xml").c_str(), 0600), 0);
    process::SpawnSpec spec;
    spec.argv = {"rsync", "-rt", "--prune-empty-dirs"};
    const auto filter = filter_arguments({"r/*.xml"});
    ASSERT_TRUE(filter) << filter.error().message;
    spec.argv.insert(spec.argv.end(), filter->begin(), filter->end());
    spec.argv.push_back((folder / "from").string() + "/");
    spec.argv.push_back((folder / "to").string() + "/");
    const auto done = capture(std::move(spec), seconds{20});
    ASSERT_TRUE(done && done->code == 0) << (done ? done->err : done.error().message);
    EXPECT_EQ(
        parse_not_files(done->out), (PathList{"r/b.xml", "r/p.xml", "r/\xC3\xA9 \"\n\xFF.xml"})
    );
    EXPECT_EQ(parse_not_files("skipping non-regular file \"\nx\n"), PathList{});
    fs::remove_all(folder);
}

TEST(KeptResultsTest, TheOldestAreForgottenWhateverTheirIds) {
    std::string name = (fs::temp_directory_path() / "berth-kept-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    ::setenv("XDG_STATE_HOME", name.c_str(), 1);
    const fs::path folder = fs::path(name) / "berth" / "results";
    const auto now = fs::file_time_type::clock::now();
    // The later a run, the lower its id. The newest is so of its own, whatever the clock says.
    for (int age = 0; age < 120; ++age) {
        const fs::path run = folder / ("rn_" + std::to_string(100 + age));
        fs::create_directories(run / "files");
        fs::last_write_time(run, now - std::chrono::minutes{age});
    }
    fs::create_directories(folder / "rn_000");
    fs::last_write_time(folder / "rn_000", now - std::chrono::hours{24});
    forget_results("rn_000");
    EXPECT_TRUE(fs::exists(folder / "rn_000"));
    for (int age = 0; age < 120; ++age)
        EXPECT_EQ(fs::exists(folder / ("rn_" + std::to_string(100 + age))), age < 99) << age;
    fs::remove_all(name);
    ::unsetenv("XDG_STATE_HOME");
}

std::vector<std::string> words_of(const std::vector<std::string>& line, Place* where = nullptr) {
    Place place = Place::kNothing;
    std::vector<std::string> out;
    for (const auto& each : complete(line, place)) out.push_back(each.word);
    if (where != nullptr) *where = place;
    return out;
}

bool has(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

TEST(CompletionTest, OffersWhatTheTableHas) {
    const auto all = words_of({""});
    EXPECT_TRUE(has(all, "run") && has(all, "completion"));
    EXPECT_FALSE(has(all, "__docs"));
    EXPECT_TRUE(has(words_of({"run", "--"}), "--profile"));
    EXPECT_TRUE(has(words_of({"run", "--"}), "--json")) << "the common ones too";
    EXPECT_EQ(words_of({"completion", ""}), (std::vector<std::string>{"bash", "zsh", "fish"}));
    EXPECT_TRUE(has(words_of({"help", "r"}), "results"));
    EXPECT_TRUE(words_of({"nonesuch", ""}).empty());
    EXPECT_TRUE(words_of({"run", "make", "--"}).empty()) << "these are make's flags";
}

TEST(CompletionTest, KnowsWhatAPlaceTakes) {
    const std::vector<std::pair<std::vector<std::string>, Place>> cases = {
        {{"release", ""}, Place::kLease},
        {{"release", "x", ""}, Place::kNothing},
        {{"ssh", ""}, Place::kLease},
        {{"ssh", "calm-otter", ""}, Place::kCommandLine},
        {{"ssh", "--", ""}, Place::kCommandLine},
        {{"ssh", "calm-otter", "ls", "-"}, Place::kCommandLine},
        {{"run", "--lease", ""}, Place::kLease},
        {{"run", "--lease", "=", ""}, Place::kLease},
        {{"run", "--lease", "="}, Place::kLease},
        {{"run", "--lease=ca"}, Place::kLease},
        {{"run", "-p", ""}, Place::kProfile},
        {{"run", "--profile", "x", "--", ""}, Place::kCommandLine},
        {{"run", "--", "make", ""}, Place::kCommandLine},
        {{"logs", ""}, Place::kRun},
        {{"results", "--download", ""}, Place::kFile},
        {{"run", "--timeout", ""}, Place::kNothing},
    };
    for (const auto& [line, wanted] : cases) {
        Place place = Place::kNothing;
        words_of(line, &place);
        EXPECT_EQ(place, wanted) << line.front() << " ... " << line.back();
    }
}

// Types into a real bash: the script is read, and Tab is pressed through its own machinery.
TEST(CompletionTest, ARealBashTakesTheScript) {
    const char* bin = std::getenv("BERTH_BIN_DIR");
    ASSERT_NE(bin, nullptr);
    const auto tab = [&](const std::string& words, int at) {
        process::SpawnSpec bash;
        bash.argv = {
            "bash",
            "--norc",
            "-c",
            "PATH='" + std::string(bin) +
                "':$PATH; source <(berth completion bash) || exit 9; COMP_WORDS=(" + words +
                "); COMP_CWORD=" + std::to_string(at) +
                "; _berth; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p berth"};
        const auto done = capture(std::move(bash), seconds{30});
        EXPECT_TRUE(done && done->code == 0) << (done ? done->err : done.error().message);
        return done ? done->out : std::string();
    };
    const std::string used = "complete -F _berth berth\n";
    EXPECT_EQ(tab("berth comp", 1), "completion\n" + used);
    EXPECT_EQ(tab("berth completion ''", 2), "bash\nzsh\nfish\n" + used);
    EXPECT_EQ(tab("berth run --fail", 2), "--fail-on-test-failures\n" + used);
    EXPECT_EQ(tab("berth run -- tru", 3).find("true\n"), 0U);
}

/// What a shell that is installed says to a script of its own, with our programs in its PATH.
std::string said_by(std::vector<std::string> argv) {
    process::SpawnSpec shell;
    shell.argv = {"env", "PATH=" + std::string(std::getenv("BERTH_BIN_DIR")) + ":/usr/bin:/bin"};
    shell.argv.push_back("TERM=dumb");
    shell.argv.insert(shell.argv.end(), argv.begin(), argv.end());
    const auto done = capture(std::move(shell), seconds{60});
    EXPECT_TRUE(done && done->code == 0) << (done ? done->out + done->err : done.error().message);
    return done ? done->out : std::string();
}

// A zsh on a terminal of its own, where Tab is pressed.
TEST(CompletionTest, ARealZshTakesTheScript) {
    if (!process::find_program("zsh")) GTEST_SKIP() << "zsh is not installed";
    const std::string out = said_by({"zsh", "-f", "-c", R"SH(
zmodload zsh/zpty
zpty z zsh -f -i
# The prompt is put together there: what is typed must not look like it.
zpty -w z 'unset zle_bracketed_paste; autoload -Uz compinit; compinit -u -D
source <(berth completion zsh); PS1=@@"@ "'
zpty -r -m z seen "*@@@ *" || exit 8
for typed in "berth comple" "berth completion z" "berth run --fail-on" "berth pr"; do
    zpty -w -n z "$typed"$'\t'"#end"
    zpty -r -m z seen "*#end*" || exit 7
    print -r -- "${${seen//[$'\r\n\b']/ }}"
    zpty -w -n z $'\x15'
done
)SH"});
    for (const char* line :
         {"berth completion ",
          "berth completion zsh",
          "berth run --fail-on-test-failures",
          "berth profiles"})
        EXPECT_NE(out.find(line), std::string::npos) << line << " in:\n" << out;
}

TEST(CompletionTest, ARealFishTakesTheScript) {
    if (!process::find_program("fish")) GTEST_SKIP() << "fish is not installed";
    const auto tab = [](const std::string& line) {
        return said_by(
            {"fish",
             "--no-config",
             "-c",
             "berth completion fish | source; complete -C '" + line + "'"}
        );
    };
    EXPECT_EQ(tab("berth comp").substr(0, 11), "completion\t");
    EXPECT_EQ(tab("berth completion "), "bash\nfish\nzsh\n");
    EXPECT_EQ(tab("berth run --fail-on").substr(0, 24), "--fail-on-test-failures\t");
    EXPECT_NE(tab("berth run -- tru").find("true"), std::string::npos);
}

TEST(CompletionTest, AnotherShellHasNone) { EXPECT_EQ(completion_script("csh"), ""); }

TEST(DoctorTest, ReadsClocksAndVersions) {
    const WallTime now = from_unix_micros(784'111'777LL * 1'000'000);
    EXPECT_EQ(clock_skew("Sun, 06 Nov 1994 08:49:37 GMT", now), 0);
    EXPECT_EQ(clock_skew("Sun, 06 Nov 1994 08:48:37 GMT", now), 60);
    EXPECT_EQ(clock_skew("yesterday", now), std::nullopt);
    EXPECT_EQ(
        rsync_version("rsync  version 3.2.7  protocol version 31\n"), (std::pair<int, int>{3, 2})
    );
    EXPECT_EQ(rsync_version("openrsync"), (std::pair<int, int>{0, 0}));
}

TEST(DoctorTest, DriftIsAWarningWithWhatToDo) {
    const auto find = [](const char* text) { return findings_of_drift(*Json::parse(text)); };
    const auto well = find(
        R"({"looked_at":"2026-01-01T00:00:00Z","drivers":[{"driver":"local","ok":true}],"items":[]})"
    );
    ASSERT_EQ(well.size(), 1U);
    EXPECT_EQ(well[0].verdict, Finding::Verdict::kOk);
    const auto early = find(R"({"drivers":[],"items":[]})");
    ASSERT_EQ(early.size(), 1U);
    EXPECT_EQ(early[0].verdict, Finding::Verdict::kWarning);
    const auto bad = find(
        R"({"looked_at":"2026-01-01T00:00:00Z",
            "drivers":[{"driver":"hetzner","ok":false,"error":"401"}],
            "items":[{"kind":"DRIFT_KIND_FOREIGN","driver":"aws","machine":"m_1"}]})"
    );
    ASSERT_EQ(bad.size(), 2U);
    EXPECT_NE(bad[0].detail.find("401"), std::string::npos);
    EXPECT_NE(bad[1].detail.find("foreign m_1 at aws"), std::string::npos);
    EXPECT_NE(bad[1].remedy.find("never touched"), std::string::npos);
    EXPECT_EQ(bad[0].verdict, Finding::Verdict::kWarning);
    // A host that is away comes back by itself; one with another key does not.
    const auto host = find(
        R"({"looked_at":"2026-01-01T00:00:00Z","items":[],"drivers":[{"driver":"ssh","ok":false,
            "error":"unreachable: host a does not answer; host_key_mismatch: host b shows another"}]})"
    );
    ASSERT_EQ(host.size(), 1U);
    EXPECT_EQ(host[0].verdict, Finding::Verdict::kFailure);
}

TEST(WordsTest, TimesReadShort) {
    EXPECT_EQ(short_duration(milliseconds{7}), "7ms");
    EXPECT_EQ(short_duration(milliseconds{2'345}), "2.3s");
    EXPECT_EQ(short_duration(seconds{59}), "59s");
    EXPECT_EQ(short_duration(seconds{185}), "3m05s");
    EXPECT_EQ(short_duration(seconds{3'660}), "1h01m");
    google::protobuf::Timestamp time;
    EXPECT_EQ(age(time, from_unix_micros(0)), "-");
    time.set_seconds(1'000'000);
    const auto at = [](long long s) { return from_unix_micros(s * 1'000'000); };
    EXPECT_EQ(age(time, at(1'000'059)), "59s");
    EXPECT_EQ(age(time, at(1'007'200)), "2h");
    EXPECT_EQ(age(time, at(999'880)), "in 2m");
    EXPECT_EQ(printable("a\x1b[31m\tb"), "a?[31m b");
}

// groff's own checks are the judge of the manual page.
TEST(HelpTest, TheManualPageIsSound) {
    process::SpawnSpec groff;
    groff.argv = {"groff", "-man", "-Tutf8", "-P-cbou", "-ww", "-b"};
    const auto page = capture(std::move(groff), seconds{30}, manual_page());
    if (!page && page.error().code == "not_found") GTEST_SKIP() << "no groff here";
    ASSERT_TRUE(page) << page.error().message;
    EXPECT_EQ(page->code, 0);
    EXPECT_EQ(page->err, "");
    for (const char* word : {"completion", "--fail-on-test-failures", "BERTH_TOKEN"})
        EXPECT_NE(page->out.find(word), std::string::npos) << word;
}

}  // namespace
}  // namespace berth::cli
