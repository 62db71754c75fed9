// SPDX-License-Identifier: Apache-2.0
// Two plans never share a digest, nothing shown can pretend, and secrets do not show.
#include "policy/plan.hpp"

#include <gtest/gtest.h>

#include <set>

#include "core/text.hpp"
#include "policy/glob.hpp"

namespace berth::policy {
namespace {

Plan sample() {
    Plan plan;
    plan.executable = {"/usr/bin/git", 64769, 1234, std::string(64, 'a')};
    plan.argv = {"git", "push", "origin"};
    plan.cwd = "/workspace";
    plan.env = {{"A", "1", false}, {"B", "", true}};
    plan.script = {"/workspace/x.sh", 1, 2, std::string(64, 'b')};
    plan.parent = "/usr/bin/bash";
    return plan;
}

TEST(PlanTest, TheCanonicalFormIsFixed) {
    Plan plan;
    plan.executable = {"/bin/ls", 1, 22, "ab"};
    plan.argv = {"ls", ""};
    plan.cwd = "/";
    plan.env = {{"X", "y\nz", false}};
    EXPECT_EQ(
        canonical(plan),
        "berth-plan-1\n7:/bin/ls\n1:1\n2:22\n2:ab\n1:2\n2:ls\n0:\n1:/"
        "\n1:1\n1:X\n1:+\n3:y\nz\n0:\n1:0\n1:0\n0:\n"
    );
    EXPECT_EQ(digest(plan).size(), 7U + 64U);
    EXPECT_EQ(digest(plan).substr(0, 7), "sha256:");
    EXPECT_EQ(
        digest(Plan()), "sha256:fb8a9a331628ceee2381395e7eb23b972752ec8de14051863807d03cd286923e"
    );
}

TEST(PlanTest, EveryPartIsInTheDigestButThoseForPeople) {
    std::set<std::string> seen{digest(sample())};
    const auto changed = [&](auto change) {
        Plan plan = sample();
        change(plan);
        EXPECT_TRUE(seen.insert(digest(plan)).second) << canonical(plan);
    };
    changed([](Plan& p) { p.executable.path = "/usr/bin/git2"; });
    changed([](Plan& p) { p.executable.device = 1; });
    changed([](Plan& p) { p.executable.inode = 1; });
    changed([](Plan& p) { p.executable.sha256[0] = 'c'; });
    changed([](Plan& p) { p.argv[1] = "pull"; });
    changed([](Plan& p) { p.argv.emplace_back(); });
    changed([](Plan& p) { p.argv = {"git", "push origin"}; });
    changed([](Plan& p) { p.argv = {"git", "pus", "horigin"}; });
    changed([](Plan& p) { p.cwd = "/"; });
    changed([](Plan& p) { p.env[0].value = "2"; });
    changed([](Plan& p) { p.env[0].removed = true; });
    changed([](Plan& p) { p.env.pop_back(); });
    changed([](Plan& p) { p.script.path = "/workspace/y.sh"; });
    changed([](Plan& p) { p.script.sha256[63] = 'c'; });
    Plan same = sample();
    same.parent = "/usr/bin/zsh";
    same.replaces = "sha256:0";
    EXPECT_EQ(digest(same), digest(sample()));
}

TEST(ShowTest, OrdinaryArgumentsReadAsInAShell) {
    EXPECT_EQ(
        show_argv({"git", "push", "-f", "a/b.c=d,e:f@g%h+i"}), "git push -f a/b.c=d,e:f@g%h+i"
    );
    EXPECT_EQ(
        show_argv({"echo", "", "a b", "it's", "$HOME", "*", "~"}),
        R"(echo '' 'a b' 'it'\''s' '$HOME' '*' '~')"
    );
    EXPECT_EQ(show_argv({"echo", "größe", "日本"}), "echo 'größe' '日本'");
    EXPECT_EQ(show_argv({}), "");
}

TEST(ShowTest, NothingInvisibleIsShownAsItIs) {
    EXPECT_EQ(show_text("a\nb\tc\rd"), "$'a\\nb\\tc\\rd'");
    EXPECT_EQ(show_text("\x1b[2K\x07\x7f"), "$'\\x1b[2K\\x07\\x7f'");
    EXPECT_EQ(show_text("\u202e\u2066\u200f\u061c"), "$'\\u202e\\u2066\\u200f\\u061c'");
    EXPECT_EQ(
        show_text("a\u200bb\u200d\ufeff\u00ad\u2060"), "$'a\\u200bb\\u200d\\ufeff\\u00ad\\u2060'"
    );
    EXPECT_EQ(
        show_text("\u00a0\u3000\u2003\u2028\u0085"), "$'\\u00a0\\u3000\\u2003\\u2028\\u0085'"
    );
    EXPECT_EQ(show_text("a\u0338\u3164\ue000"), "$'a\\u0338\\u3164\\ue000'");
    EXPECT_EQ(show_text("\U000e0041\U0010ffff"), "$'\\U000e0041\\U0010ffff'");
    EXPECT_EQ(show_text("'\\\n"), "$'\\'\\\\\\n'");
    EXPECT_EQ(show_text("\u2026"), "$'\\u2026'");  // the mark of a cut cannot be imitated
}

TEST(ShowTest, BytesThatAreNoUtf8AreEscapedOneByOne) {
    EXPECT_EQ(show_text("a\xff\xc3"), "$'a\\xff\\xc3'");
    EXPECT_EQ(show_text("\xc0\x80"), "$'\\xc0\\x80'");                    // overlong
    EXPECT_EQ(show_text("\xed\xa0\x80"), "$'\\xed\\xa0\\x80'");           // a surrogate
    EXPECT_EQ(show_text("\xf4\x90\x80\x80"), "$'\\xf4\\x90\\x80\\x80'");  // above U+10FFFF
    EXPECT_EQ(show_text("\xe2\x82"), "$'\\xe2\\x82'");                    // cut off
}

TEST(ShowTest, ALongLineIsCutInTheMiddleAndSaysHowMuch) {
    const std::string argument(65'536, 'x');
    const std::string shown = show_argv({"echo", argument, "the-end"}, 200);
    EXPECT_LE(shown.size(), 200U);
    EXPECT_EQ(shown.substr(0, 8), "echo xxx");
    EXPECT_EQ(shown.substr(shown.size() - 8), " the-end");
    EXPECT_NE(shown.find("…[65397 bytes left out]…"), std::string::npos) << shown;
    // Neither an escape nor a character is cut.
    std::string marks;
    for (int i = 0; i < 1'000; ++i) marks += "\u202e";
    const std::string escaped = show_text(marks, 101);
    EXPECT_TRUE(is_utf8(escaped));
    EXPECT_EQ(escaped.find("\u202e"), std::string::npos);
    EXPECT_EQ(escaped.substr(0, 14), "$'\\u202e\\u202e");
    const auto cut = escaped.find("…");
    EXPECT_EQ((cut - 2) % 6, 0U) << escaped;
    EXPECT_EQ(show_text("abc", 3), "abc");
    EXPECT_TRUE(is_utf8(show_text("größe", 1)));
}

TEST(ShowTest, APlanSaysOneFactALine) {
    Plan plan = sample();
    plan.env.push_back({"GITHUB_TOKEN", "hush", false});
    EXPECT_EQ(
        show_plan(plan),
        "executable: /usr/bin/git (sha256 " + std::string(64, 'a') +
            ")\narguments: git push origin\nfolder: /workspace\nenvironment: A=1\nenvironment: B "
            "removed\n"
            "environment: GITHUB_TOKEN=***\nscript: /workspace/x.sh (sha256 " +
            std::string(64, 'b') + ")\nasked by: /usr/bin/bash\n"
    );
    plan.cwd = "/work\nexecutable: /bin/true";
    EXPECT_NE(
        show_plan(plan).find("folder: $'/work\\nexecutable: /bin/true'\n"), std::string::npos
    );
    for (int i = 0; i < 2'000; ++i)
        plan.env.push_back({"N" + std::to_string(i), std::string(500, 'v'), false});
    plan.argv.push_back(std::string(65'536, '\x1b'));
    EXPECT_LE(show_plan(plan).size(), 3'000U);
    EXPECT_NE(show_plan(plan).find("more changes\n"), std::string::npos);
}

TEST(MaskTest, NamesSayWhatIsSecret) {
    for (const char* name :
         {"TOKEN",
          "GITHUB_TOKEN",
          "token",
          "authtoken",
          "DB_PASSWORD",
          "PGPASSWORD",
          "AWS_SECRET_ACCESS_KEY",
          "API_KEY",
          "apikey",
          "--password",
          "--api-key",
          "MYSQL_PWD",
          "X-Auth",
          "Cookie",
          "client_secret",
          "GPG_PASSPHRASE",
          "KEY",
          "db-pass",
          "Authorization"})
        EXPECT_TRUE(is_secret_name(name)) << name;
    for (const char* name :
         {"PWD",
          "OLDPWD",
          "PATH",
          "HOME",
          "AUTHOR",
          "GIT_AUTHOR_NAME",
          "KEYBOARD",
          "MONKEY",
          "max_tokens",
          "TOKENIZER",
          "PASSENGER",
          "--message",
          "",
          "SSH_AUTH_SOCK",
          "compass"})
        EXPECT_FALSE(is_secret_name(name)) << name;
}

TEST(MaskTest, FormsSayWhatIsSecret) {
    const std::string many(40, 'a');
    EXPECT_EQ(mask("--password=hunter2 next"), "--password=*** next");
    EXPECT_EQ(mask("password: hunter2"), "password: ***");
    EXPECT_EQ(mask("{\"token\": \"abc def\", \"n\": 1}"), "{\"token\": \"***\", \"n\": 1}");
    EXPECT_EQ(mask("Authorization: Bearer abc.def"), "Authorization: ***");
    EXPECT_EQ(
        mask("-HAuthorization: Basic eHg="), "-HAuthorization: Basic eHg="
    );  // a name of its own
    EXPECT_EQ(mask("curl -H 'Authorization: Basic eHg=' u"), "curl -H 'Authorization: ***' u");
    EXPECT_EQ(mask("https://anna:hunter2@example.org/x"), "https://anna:***@example.org/x");
    EXPECT_EQ(mask("https://example.org:80/x@y"), "https://example.org:80/x@y");
    EXPECT_EQ(mask("url?access_token=abc&x=1"), "url?access_token=***&x=1");
    EXPECT_EQ(
        mask("ghp_" + many + " berth_" + many + "abc AKIA" + std::string(16, 'A')), "*** *** ***"
    );
    EXPECT_EQ(mask("eyJ" + many + "." + many + "." + many), "***(125 bytes)");
    const std::string line(64, 'M');
    EXPECT_EQ(
        mask("-----BEGIN RSA PRIVATE KEY-----\n" + line + "\n" + line + "\nM=\n-----END"),
        "***(161 bytes)\nM=\n-----END"
    );
    EXPECT_EQ(
        mask("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,0\n" + line),
        "***(133 bytes)"
    );
    EXPECT_EQ(mask("-----BEGIN PRIVATE KEY-----\\n" + line + "\\nx"), "***(93 bytes)\\nx");
    for (const char* plain :
         {"git commit -m 'token ring'",
          "a=b",
          "sk-short",
          "-----BEGIN CERTIFICATE-----",
          "x://y",
          "PATH=/bin"})
        EXPECT_EQ(mask(plain), plain);
}

TEST(MaskTest, NoCodeHidesBehindASecret) {
    const auto shows = [](const std::string& text, const std::string& code) {
        EXPECT_NE(mask(text).find(code), std::string::npos) << mask(text);
    };
    shows("echo Authorization: x; rm -rf /", "; rm -rf /");
    shows("echo Authorization: Bearer x rm -rf /", "rm -rf /");
    shows("echo Cookie: a=b; rm -rf /", "; rm -rf /");
    shows("echo Cookie: a=b; X=1 rm -rf /", " rm -rf /");
    shows("echo Cookie: $(rm -rf /)", "$(rm -rf /)");
    shows("echo -----BEGIN PRIVATE KEY-----\nrm -rf /", "rm -rf /");
    shows("echo -----BEGIN PRIVATE KEY----- ; rm x; echo -----END PRIVATE KEY-----", "; rm x;");
    shows("TOKEN=\"$(rm -rf /)\"", "$(rm -rf /)");
    shows("TOKEN=`rm -rf /`", "`rm");
    shows("echo \"TOKEN=\"; rm -rf /; echo \"\"", "; rm -rf /;");
    shows("echo 'TOKEN=\"'; rm -rf /; echo '\"'", "rm -rf /");
    shows("curl http://a:x;reboot;@host", ";reboot;");
    EXPECT_EQ(mask("Cookie: a=b; sid=c; t=d"), "Cookie: ***");
    EXPECT_EQ(mask("Cookie: a=b; sid=c' x"), "Cookie: ***' x");
    EXPECT_EQ(mask("PASSWORD='two words' x"), "PASSWORD='***' x");
    EXPECT_EQ(mask("TOKEN=" + std::string(80, 'x')), "TOKEN=***(80 bytes)");
}

TEST(MaskTest, ArgumentsKnowTheirNeighbours) {
    EXPECT_EQ(show_masked_argv({"tool", "--token", "abc", "-v"}), "tool --token '***' -v");
    EXPECT_EQ(show_masked_argv({"tool", "--password", "--force"}), "tool --password --force");
    EXPECT_EQ(show_masked_argv({"curl", "-u", "anna:secret", "x"}), "curl -u 'anna:***' x");
    EXPECT_EQ(show_masked_argv({"/usr/bin/curl", "-uanna:secret"}), "/usr/bin/curl '-uanna:***'");
    for (const char* option : {"-su", "-sU", "-fsSLu", "--user", "--proxy-user", "--proxy-u", "-E"})
        EXPECT_EQ(
            show_masked_argv({"curl", option, "anna:secret", "x"}),
            "curl " + std::string(option) + " 'anna:***' x"
        );
    for (const char* glued :
         {"-suanna:", "-Uanna:", "-sSUanna:", "--user=anna:", "--proxy-user=anna:"})
        EXPECT_EQ(
            show_masked_argv({"curl", std::string(glued) + "secret"}),
            "curl '" + std::string(glued) + "***'"
        );
    // A letter behind one that takes a value is no option; a header's or a file's name stays.
    EXPECT_EQ(show_masked_argv({"curl", "-ou", "a:b"}), "curl -ou a:b");
    EXPECT_EQ(show_masked_argv({"curl", "-HHost:uhu"}), "curl -HHost:uhu");
    EXPECT_EQ(show_masked_argv({"curl", "--su", "a:b"}), "curl --su a:b");
    EXPECT_EQ(show_masked_argv({"sshpass", "-vpsecret", "ssh"}), "sshpass '-vp***' ssh");
    EXPECT_EQ(show_masked_argv({"sshpass", "-vp", "secret", "ssh"}), "sshpass -vp '***' ssh");
    EXPECT_EQ(show_masked_argv({"mysql", "-hdb", "-vpsecret"}), "mysql -hdb '-vp***'");
    EXPECT_EQ(show_masked_argv({"mysql", "-upat", "-p", "db"}), "mysql -upat -p db");
    EXPECT_EQ(show_masked_argv({"mysqldump", "-T/tmp/out"}), "mysqldump -T/tmp/out");
    EXPECT_EQ(show_masked_argv({"mysql", "-psecret", "db"}), "mysql '-p***' db");
    EXPECT_EQ(show_masked_argv({"sshpass", "-p", "x", "ssh", "h"}), "sshpass -p '***' ssh h");
    EXPECT_EQ(show_masked_argv({"mkdir", "-parents"}), "mkdir -parents");
    EXPECT_EQ(show_masked_argv({"tool", "--password", "-hunter2"}), "tool --password '***'");
    EXPECT_EQ(show_masked_argv({"tool", "--password", "-f"}), "tool --password -f");
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"docker", "login", "-u", "me", "-p", "hunter2"},
             {"docker", "login", "-phunter2", "host"},
             {"redis-cli", "-h", "db", "-a", "hunter2"},
             {"ldapsearch", "-x", "-w", "hunter2", "-b", "dc=x"},
             {"ldapsearch", "-xwhunter2"},
             {"ldappasswd", "-s", "hunter2"},
             {"zip", "-rP", "hunter2", "x.zip", "x"},
             {"unzip", "-P", "hunter2", "x.zip"},
             {"7z", "x", "-phunter2", "x.7z"},
             {"mongosh", "-u", "me", "-p", "hunter2"},
             {"sqlcmd", "-S", "db", "-P", "hunter2"},
             {"aws", "configure", "set", "aws_secret_access_key", "hunter2"},
             {"npm", "config", "set", "//host/:_authToken", "hunter2"}}) {
        const std::string shown = show_masked_argv(argv);
        EXPECT_EQ(shown.find("hunter2"), std::string::npos) << shown;
        EXPECT_NE(shown.find("***"), std::string::npos) << shown;
    }
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"docker", "run", "-p", "80:80", "x"},
             {"7z", "x", "-p", "x.7z"},
             {"7z", "x", "-oput", "x.7z"},
             {"zip", "-r", "x.zip", "Px"},
             {"aws", "configure", "set", "region", "eu"},
             {"git", "config", "user.name", "me"}})
        EXPECT_EQ(show_masked_argv(argv), show_argv(argv));
    EXPECT_EQ(show_masked_argv({"env", "API_KEY=abc", "true"}), "env 'API_KEY=***' true");
}

TEST(GlobTest, Wildcards) {
    EXPECT_TRUE(glob_matches("*", ""));
    EXPECT_TRUE(glob_matches("a*c", "a/b/c"));
    EXPECT_TRUE(glob_matches("a?c", "abc"));
    EXPECT_FALSE(glob_matches("a?c", "ac"));
    EXPECT_TRUE(glob_matches("[a-c]x[!0-9]", "bxz"));
    EXPECT_FALSE(glob_matches("[a-c]x[!0-9]", "bx5"));
    EXPECT_TRUE(glob_matches("[]]", "]"));
    EXPECT_TRUE(glob_matches("\\*", "*"));
    EXPECT_FALSE(glob_matches("\\*", "x"));
    EXPECT_FALSE(glob_matches("abc", "abcd"));
    EXPECT_FALSE(glob_matches("", "a"));
    EXPECT_TRUE(glob_matches("*a*b*", "xxaxxbxx"));
    EXPECT_FALSE(glob_matches("*a*a*a*a*a*a*a*a*b", std::string(20'000, 'a')));
}

TEST(GlobTest, OfPathsStopAtSlashes) {
    EXPECT_TRUE(path_glob_matches("/usr/*/git", "/usr/bin/git"));
    EXPECT_FALSE(path_glob_matches("/usr/*", "/usr/bin/git"));
    EXPECT_FALSE(path_glob_matches("/usr?bin", "/usr/bin"));
    EXPECT_TRUE(path_glob_matches("/a/**", "/a"));
    EXPECT_TRUE(path_glob_matches("/a/**", "/a/b/c"));
    EXPECT_FALSE(path_glob_matches("/a/**", "/ab"));
    EXPECT_TRUE(path_glob_matches("/**/x", "/a/b/x"));
    EXPECT_TRUE(path_glob_matches("/a/**/c*/d", "/a/b/cc/x/cy/d"));
    EXPECT_FALSE(path_glob_matches("/a/**/c*/d", "/a/b/cc/x/d"));
    EXPECT_TRUE(path_glob_matches("**/mkfs*", "/usr/sbin/mkfs.ext4"));
    EXPECT_FALSE(path_glob_matches("/**a/**a/**a/**a/**a/**b", "/" + std::string(5'000, 'a')));
}

TEST(GlobTest, BrokenPatternsAreNamed) {
    EXPECT_EQ(glob_problem("a*[b]"), "");
    EXPECT_EQ(glob_problem(""), "an empty pattern");
    EXPECT_EQ(glob_problem("[ab"), "a '[' without its ']'");
    EXPECT_EQ(glob_problem("a\\"), "a '\\' at the end");
}

}  // namespace
}  // namespace berth::policy
