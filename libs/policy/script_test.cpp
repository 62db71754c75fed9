// SPDX-License-Identifier: Apache-2.0
// Every way to tell an interpreter its script that is known, as a table.
#include <gtest/gtest.h>

#include <map>

#include "policy/policy.hpp"

namespace berth::policy {
namespace {

/// A run's files by their paths: "f" a file, "x" a program, "0" one that nobody may read, "d" a
/// folder, "l TARGET" a link, "c" a device, "?" one that cannot be looked at.
class FakeFiles final : public Files {
public:
    explicit FakeFiles(std::map<std::string, std::string> files) : files_(std::move(files)) {}

    Answer look(const std::string& path) override {
        const auto found = files_.find(path);
        if (found == files_.end()) return {Kind::kMissing};
        return of(found->second);
    }
    Answer look_at(int descriptor) override { return look("fd" + std::to_string(descriptor)); }

private:
    static Answer of(const std::string& text) {
        Answer answer{Kind::kRegular};
        if (text[0] == 'd')
            answer = {Kind::kFolder, text.substr(std::min<std::size_t>(2, text.size()))};
        if (text[0] == 'l') answer = {Kind::kLink, text.substr(2)};
        if (text[0] == 'c') answer = {Kind::kOther};
        if (text[0] == '?') answer = {Kind::kUnknown};
        if (text[0] == '0') answer.readable = false;
        answer.no_program = text[0] == 'f';
        answer.executable = text[0] == 'x';
        return answer;
    }
    std::map<std::string, std::string> files_;
};

const std::map<std::string, std::string> kFiles = {
    {"/dev", "d"},
    {"/dev/fd", "l /proc/self/fd"},
    {"/dev/stdin", "l /proc/self/fd/0"},
    {"/dev/null", "c"},
    {"/etc", "d"},
    {"/etc/passwd", "f"},
    {"/locked", "?"},
    {"/proc", "d"},
    {"/run", "l /workspace"},
    {"/usr", "d"},
    {"/usr/bin", "d"},
    {"/usr/bin/sys.sh", "x"},
    {"/usr/share", "d"},
    {"/usr/share/awk", "d"},
    {"/usr/share/awk/lib.awk", "f"},
    {"/workspace", "d"},
    {"/workspace/a b", "f"},
    {"/workspace/-x.sh", "f"},
    {"/workspace/d.awk", "f"},
    {"/workspace/d.js", "f"},
    {"/workspace/d.lua", "f"},
    {"/workspace/d.php", "f"},
    {"/workspace/d.pl", "f"},
    {"/workspace/d.py", "f"},
    {"/workspace/d.rb", "f"},
    {"/workspace/d.sh", "f"},
    {"/workspace/d.tcl", "f"},
    {"/workspace/d.ts", "f"},
    {"/workspace/e.sh", "f"},
    {"/workspace/bin", "d"},
    {"/workspace/bin/p.sh", "f"},
    {"/workspace/bin/p.pl", "f"},
    {"/workspace/bin/p.awk", "f"},
    {"/workspace/bin/d.awk", "f"},
    {"/workspace/bin/d.pl", "f"},
    {"/workspace/bin2", "d"},
    {"/workspace/bin2/p.pl", "x"},
    {"/workspace/bin2/p.sh", "f"},
    {"/workspace/bin3", "d"},
    {"/workspace/bin3/p.sh", "0"},
    {"/workspace/deep", "d"},
    {"/workspace/deep/in", "d"},
    {"/workspace/deep/d.sh", "f"},
    {"/workspace/deep/d.js", "f"},
    {"/workspace/empty", "d"},
    {"/workspace/here", "l /proc/self/cwd"},
    {"/workspace/far", "l deep/in"},
    {"/workspace/link.sh", "l deep/../d.sh"},
    {"/workspace/loop", "l loop"},
    {"/workspace/gone", "l nowhere"},
    {"/workspace/named", "d"},
    {"/workspace/named/index.js", "f"},
    {"/workspace/named/package.json", "f"},
    {"/workspace/node", "d"},
    {"/workspace/node/index.js", "f"},
    {"/workspace/py", "d"},
    {"/workspace/py/__main__.py", "f"},
    {"/workspace/pyc", "d"},
    {"/workspace/pyc/__main__.pyc", "f"},
    {"fd0", "f"},
    {"fd5", "f"},
    {"fd6", "c"},
    {"fd7", "d /workspace/deep"},
    {"fd8", "?"},
};

struct Row {
    std::vector<std::string> argv;
    /// The file, "fd N", "" for none, or "refused".
    std::string script;
    std::vector<std::string> environment = {"PATH=/workspace/bin:/usr/bin"};
    std::string cwd = "/workspace";
    std::string executable = "";
};

const std::vector<std::string> kTwo = {"PATH=/workspace/bin:/workspace/bin2"};

const Row kRows[] = {
    // Shells: options.
    {{"bash", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-e", "d.sh"}, "/workspace/d.sh"},
    {{"bash"}, "fd 0"},
    {{"bash", "-"}, "fd 0"},
    {{"bash", "-x", "--"}, "fd 0"},
    {{"bash", "-", "d.sh"}, "/workspace/d.sh"},
    {{"sh", "-x", "-", "d.sh"}, "/workspace/d.sh"},
    {{"dash", "-", "-x.sh"}, "/workspace/-x.sh"},
    {{"bash", "--", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "+", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "+x", "d.sh"}, "/workspace/d.sh"},
    {{"dash", "+s", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-s", "d.sh"}, "fd 0"},
    {{"bash", "-es"}, "fd 0"},
    {{"bash", ""}, ""},
    {{"busybox", "sh"}, "fd 0"},
    {{"bash", "-c", "d.sh"}, ""},
    {{"bash", "-eo", "pipefail", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-oe", "errexit", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-oo", "errexit", "nounset", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-O", "extglob", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "+O", "extglob", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-norc", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-restricted", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "-rcfile", "e.sh", "d.sh"}, "/workspace/d.sh"},
    {{"bash", "--rcfile", "d.sh", "-i"}, "/workspace/d.sh"},
    {{"bash", "--init-file", "d.sh", "-i"}, "/workspace/d.sh"},
    {{"bash", "-init-file", "d.sh", "-ic", "true"}, "/workspace/d.sh"},
    {{"zsh", "-b", "-x.sh"}, "/workspace/-x.sh"},
    {{"zsh", "-e-", "-x.sh"}, "/workspace/-x.sh"},
    {{"zsh", "-oerrexit", "d.sh"}, "/workspace/d.sh"},
    {{"zsh", "--emulate", "sh", "d.sh"}, "/workspace/d.sh"},
    {{"busybox", "sh", "d.sh"}, "/workspace/d.sh"},
    {{"busybox", "busybox", "sh", "d.sh"}, "/workspace/d.sh"},
    {{"busybox", "busybox", "/x/busybox", "/x/sh", "d.sh"}, "/workspace/d.sh"},
    {{"-sh", "d.sh"}, "/workspace/d.sh", {}, "/workspace", "/bin/busybox"},
    // Where they look.
    {{"bash", "p.sh"}, "/workspace/bin/p.sh"},
    {{"bash", "sys.sh"}, "/usr/bin/sys.sh"},
    {{"bash", "sys.sh"}, "/usr/bin/sys.sh", {}},
    {{"bash", "d.sh"}, "", {"PATH="}, "/workspace/empty"},
    {{"bash", "d.sh"}, "/workspace/d.sh", {"PATH=/none:.."}, "/workspace/empty"},
    {{"bash", "./p.sh"}, ""},
    {{"bash", "p.sh"}, "refused", {"PATH=/workspace/bin3:/workspace/bin"}},
    {{"bash", "p.sh"}, "refused", {"PATH=/workspace/bin", "PATH=/workspace/bin2"}},
    {{"dash", "p.sh"}, ""},
    {{"busybox", "ash", "p.sh"}, ""},
    {{"zsh", "p.sh"}, "/workspace/bin/p.sh"},
    {{"sh", "p.sh"}, "/workspace/bin/p.sh"},
    // Paths.
    {{"bash", "link.sh"}, "/workspace/d.sh"},
    {{"bash", "/run/d.sh"}, "/workspace/d.sh"},
    {{"bash", "//workspace/./d.sh"}, "/workspace/d.sh"},
    {{"bash", "../../../workspace/d.sh"}, "/workspace/d.sh"},
    {{"bash", "far/../d.sh"}, "/workspace/deep/d.sh"},
    {{"bash", "loop"}, ""},
    {{"bash", "gone"}, ""},
    {{"bash", "d.sh/"}, ""},
    {{"bash", "d.sh/../d.sh"}, ""},
    {{"bash", "/locked"}, "refused"},
    {{"bash", "none.sh"}, ""},
    {{"bash", "//proc/self/cwd/d.sh"}, "/workspace/d.sh"},
    {{"bash", "/proc/./self/cwd/d.sh"}, "/workspace/d.sh"},
    {{"bash", "/proc/thread-self/cwd/d.sh"}, "/workspace/d.sh"},
    {{"bash", "/proc/self/./root/workspace/d.sh"}, "/workspace/d.sh"},
    {{"bash", "/proc/../workspace/d.sh"}, "/workspace/d.sh"},
    {{"bash", "here/d.sh"}, "/workspace/d.sh"},
    {{"bash", "here/../run/d.sh"}, "/workspace/d.sh"},
    {{"bash", "/proc/42/cwd/d.sh"}, "refused"},
    {{"busybox", "sh", "/proc/42/cwd/d.sh"}, "refused"},
    {{"bash", "/proc/self/task/42/cwd/d.sh"}, "refused"},
    {{"bash", "/proc/self/environ"}, "refused"},
    {{"python3", "/proc/self/./cwd/d.py"}, "/workspace/d.py"},
    {{"bash", "/dev/fd/5"}, "fd 5"},
    {{"bash", "//dev/fd/5"}, "fd 5"},
    {{"bash", "/dev//fd/5"}, "fd 5"},
    {{"bash", "/dev/stdin"}, "fd 0"},
    {{"bash", "/dev/fd/6"}, ""},
    {{"bash", "/dev/fd/7/d.sh"}, "/workspace/deep/d.sh"},
    {{"bash", "/dev/fd/8"}, "refused"},
    {{"bash", "/dev/null"}, ""},
    {{"bash", "/dev/stderr"}, "refused"},
    // Others.
    {{"python3", "-uW", "ignore", "d.py"}, "/workspace/d.py"},
    {{"python3.11", "d.py"}, "/workspace/d.py"},
    {{"python3", "+d.py"}, ""},
    {{"python3", "py"}, "/workspace/py/__main__.py"},
    {{"python3", "py/"}, "/workspace/py/__main__.py"},
    {{"python3", "."}, "/workspace/py/__main__.py", {}, "/workspace/py"},
    {{"python3", "pyc"}, "/workspace/pyc/__main__.pyc"},
    {{"python3", "empty"}, ""},
    {{"python3", "p.sh"}, ""},
    {{"python3", "-m", "d"}, ""},
    {{"python3", "-c", "1"}, ""},
    {{"python3"}, "fd 0"},
    {{"python3", "-u", "-", "d.py"}, "fd 0"},
    {{"perl", "d.pl"}, "/workspace/d.pl"},
    {{"perl", "p.pl"}, ""},
    {{"perl", "-S", "p.pl"}, "/workspace/bin2/p.pl", kTwo},
    {{"perl", "-wS", "p.pl"}, "/workspace/bin2/p.pl", kTwo},
    {{"perl", "-dS", "p.pl"}, "/workspace/bin2/p.pl", kTwo},
    {{"perl", "-d:Trace", "d.pl"}, "/workspace/d.pl"},
    {{"perl", "-S", "./d.pl"}, "/workspace/d.pl", kTwo},
    {{"perl", "-S", "d.pl"}, "/workspace/d.pl", {}},
    {{"perl", "-"}, "fd 0"},
    {{"perl", "-w"}, "fd 0"},
    {{"perl", "-e", "1"}, ""},
    {{"ruby", "-C", "..", "d.rb"}, "/workspace/d.rb", {}, "/workspace/empty"},
    {{"ruby", "-C..", "-Cworkspace", "d.rb"}, "/workspace/d.rb"},
    {{"node", "d"}, "/workspace/d.js"},
    {{"node", "./d"}, "/workspace/d.js"},
    {{"node", "far/../d.js"}, "/workspace/d.js"},
    {{"node", "node"}, "/workspace/node/index.js"},
    {{"node", "named"}, ""},
    {{"node", "inspect", "d.js"}, "/workspace/d.js"},
    {{"node", "--new", "value", "d.js"}, "/workspace/d.js"},
    {{"deno", "run", "-A", "d.ts"}, "/workspace/d.ts"},
    {{"mawk", "-fd.awk"}, "/workspace/d.awk"},
    {{"mawk", "-vx=1", "-f", "d.awk"}, "/workspace/d.awk"},
    {{"mawk", "-Wexec", "d.awk"}, "/workspace/d.awk"},
    {{"mawk", "-W", "exec=d.awk"}, "/workspace/d.awk"},
    {{"mawk", "-f", "p.awk"}, "", {"AWKPATH=bin"}},
    {{"gawk", "--file=d.awk"}, "/workspace/d.awk"},
    {{"gawk", "--fil", "d.awk"}, "/workspace/d.awk"},
    {{"gawk", "-E", "d.awk"}, "/workspace/d.awk"},
    {{"gawk", "--source", "BEGIN{}", "-f", "d.awk"}, "/workspace/d.awk"},
    {{"gawk", "-f", "d.awk"}, "/workspace/bin/d.awk", {"AWKPATH=/workspace/bin"}},
    {{"gawk", "-f", "lib"}, "/usr/share/awk/lib.awk"},
    {{"gawk", "d.awk"}, ""},
    {{"gawk"}, ""},
    {{"gawk", "--file=-"}, "fd 0"},
    {{"gawk", "-e", "BEGIN{}"}, ""},
    {{"mawk", "-f", "-"}, "fd 0"},
    {{"busybox", "awk", "-fd.awk"}, "/workspace/d.awk"},
    {{"php", "-f", "d.php"}, "/workspace/d.php"},
    {{"php", "-fd.php"}, "/workspace/d.php"},
    {{"php", "-f=d.php"}, "/workspace/d.php"},
    {{"php", "--file", "d.php"}, "/workspace/d.php"},
    {{"php", "-B", "echo 1;", "-F", "d.php"}, "/workspace/d.php"},
    {{"php", "-S", "localhost:1", "d.php"}, "/workspace/d.php"},
    {{"php", "-r", "echo 1;", "d.php"}, ""},
    {{"lua", "-e", "x = 1", "d.lua"}, "/workspace/d.lua"},
    {{"lua5.4", "-l", "m", "d.lua"}, "/workspace/d.lua"},
    {{"lua", "-e", "x = 1"}, ""},
    {{"lua", "-e", "x = 1", "-"}, "fd 0"},
    {{"tclsh", "-encoding", "utf-8", "d.tcl"}, "/workspace/d.tcl"},
    {{"fish", "-C", "true", "d.sh"}, "/workspace/d.sh"},
    {{"make", "-f", "d.sh"}, ""},
    {{"env", "-S", "bash d.sh"}, ""},
};

TEST(ScriptTest, TheFileThatAnInterpreterReadsIsFound) {
    FakeFiles files(kFiles);
    for (const Row& row : kRows) {
        Plan plan;
        plan.argv = row.argv;
        plan.cwd = row.cwd;
        plan.executable.path = row.executable.empty() ? "/usr/bin/" + row.argv[0] : row.executable;
        const FoundFile found = find_script(plan, row.environment, {"/", row.cwd}, files);
        std::string script;
        if (!found.unknown.empty())
            script = "refused";
        else if (found.what.kind == Files::Kind::kRegular)
            script = found.descriptor < 0 ? found.path : "fd " + std::to_string(found.descriptor);
        EXPECT_EQ(script, row.script) << show_argv(row.argv) << " " << found.unknown;
    }
}

TEST(ScriptTest, OfSeveralFilesTheOthersAreKnown) {
    const auto others = [](const std::vector<std::string>& argv) {
        return script_word("/usr/bin/" + argv[0], argv).others.size();
    };
    EXPECT_EQ(others({"awk", "-f", "a", "-f", "b"}), 1U);
    EXPECT_EQ(others({"bash", "--rcfile", "a", "-i", "b"}), 1U);
    EXPECT_EQ(others({"bash", "a", "b"}), 0U);
}

TEST(ScriptTest, TheOthersAreLookedForAsTheFirstIs) {
    FakeFiles files(kFiles);
    const auto others = [&](const std::vector<std::string>& argv) {
        Plan plan;
        plan.argv = argv;
        plan.executable.path = "/usr/bin/" + argv[0];
        std::string out;
        for (const FoundFile& one :
             find_other_scripts(plan, {"AWKPATH=/workspace/bin"}, {"/", "/workspace"}, files))
            out += (!one.unknown.empty()  ? "refused"
                    : one.descriptor >= 0 ? "fd " + std::to_string(one.descriptor)
                                          : one.path) +
                   " ";
        return out;
    };
    EXPECT_EQ(others({"bash", "d.sh"}), "");
    EXPECT_EQ(others({"bash"}), "");
    EXPECT_EQ(others({"bash", "--rcfile", "d.sh", "-i"}), "fd 0 ");
    EXPECT_EQ(others({"bash", "--rcfile", "d.sh", "-c", "true"}), "");
    EXPECT_EQ(others({"awk", "-f", "-", "-f", "d.awk"}), "fd 0 ");
    EXPECT_EQ(others({"bash", "--rcfile", "link.sh", "-i", "e.sh"}), "/workspace/d.sh ");
    EXPECT_EQ(others({"bash", "--rcfile", "/proc/42/cwd/x", "-i", "e.sh"}), "refused ");
    EXPECT_EQ(
        others({"gawk", "-f", "/dev/null", "-f", "p", "-f", "d.awk"}),
        "/workspace/bin/p.awk /workspace/bin/d.awk "
    );
}

TEST(ScriptTest, OnlyAScriptAloneIsOne) {
    const auto alone = [](const std::vector<std::string>& argv) {
        return script_word("/usr/bin/" + argv[0], argv).alone;
    };
    EXPECT_TRUE(alone({"bash", "-eu", "a"}));
    EXPECT_TRUE(alone({"bash", "-", "a"}));
    EXPECT_TRUE(alone({"awk", "-f", "a"}));
    EXPECT_FALSE(alone({"awk", "-f", "a", "-f", "b"}));
    EXPECT_FALSE(alone({"awk", "-f", "a", "-f", "-"}));
    EXPECT_FALSE(alone({"bash", "-s", "a"}));
    EXPECT_FALSE(alone({"bash", "--rcfile", "b", "-i", "a"}));
    EXPECT_FALSE(alone({"bash", "--rcfile", "a", "-i"}));
    EXPECT_FALSE(alone({"lua", "-e", "x()", "a"}));
    EXPECT_FALSE(alone({"perl", "-S", "a"}));
    EXPECT_FALSE(alone({"awk", "{print}", "a"}));
}

TEST(ScriptTest, AProcessWithAnotherRootIsReadFromThere) {
    FakeFiles files(kFiles);
    const Place place{"/workspace/deep", "/workspace/deep/in"};
    EXPECT_EQ(find_file("/d.sh", place, files).path, "/workspace/deep/d.sh");
    EXPECT_EQ(find_file("../../d.sh", place, files).path, "/workspace/deep/d.sh");
    EXPECT_EQ(find_file("/..", place, files).path, "/workspace/deep");
    EXPECT_EQ(find_file("/", {"/", "/"}, files).path, "/");
    EXPECT_EQ(find_file("etc/passwd", {"/", "/"}, files).path, "/etc/passwd");
}

}  // namespace
}  // namespace berth::policy
