// SPDX-License-Identifier: Apache-2.0
// `berth harden` against a real engine: nothing leads past the shim, upgrades keep it, and a shim
// that lets something through is caught. Alpine and Fedora are Debian's files with another
// /etc/os-release: what is proven of them is the recipe.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "cli/capture.hpp"
#include "cli/tar.hpp"
#include "core/fd.hpp"
#include "core/text.hpp"
#include "engine/engine.hpp"
#include "identity/sha256.hpp"
#include "support/engine/container_engine.hpp"
#include "support/run_or_skip.hpp"

namespace berth {
namespace {

namespace fs = std::filesystem;

constexpr milliseconds kBuildPatience{300'000};
constexpr milliseconds kRunPatience{120'000};

testing::ContainerEngine* host = nullptr;

struct Answer {
    std::int64_t code = -1;
    std::string text;
};

class HardenTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "berth-harden-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override {
        for (const auto& tag : tags_) (void)api_.remove("/images/" + tag + "?force=1");
        fs::remove_all(folder_);
    }

    static std::string bin(const char* name) {
        return std::string(std::getenv("BERTH_BIN_DIR")) + "/" + name;
    }
    static std::string shim() { return bin("berth-shim"); }

    cli::Captured harden(
        const std::string& image,
        const std::string& tools,
        const std::string& tag,
        const std::string& with
    ) {
        tags_.push_back(tag);
        process::SpawnSpec spec;
        spec.argv = {
            bin("berth"),
            "harden",
            image,
            "--tools",
            tools,
            "--tag",
            tag,
            "--shim",
            with,
            "--engine",
            host->socket()};
        spec.env = {"PATH=/usr/bin:/bin", "HOME=" + folder_.string()};
        spec.cwd = folder_;
        auto done = cli::capture(std::move(spec), kBuildPatience);
        EXPECT_TRUE(done) << done.error().message;
        return done ? *done : cli::Captured{-1, "", ""};
    }

    bool has(const std::string& tag) { return api_.get("/images/" + tag + "/json").has_value(); }

    /// A base with another family's os-release, and with a dnf that only writes down what it is
    /// asked.
    std::string base(const std::string& id) {
        const std::string tag = "berth-base-" + id;
        tags_.push_back(tag);
        const auto built = api_.build(
            "t=" + tag,
            cli::tar(
                {{"Dockerfile",
                  std::string("FROM ") + testing::ContainerEngine::kImage +
                      "\nCOPY os-release /etc/os-release\nCOPY dnf /usr/bin/dnf\n"},
                 {"os-release", "ID=" + id + "\n"},
                 {"dnf", "#!/bin/sh\necho \"$@\" >> /dnf.log\n", 0755}}
            ),
            [](std::string_view) {}
        );
        EXPECT_TRUE(built) << built.error().message;
        return tag;
    }

    /// A command in a container of the image, as root.
    Answer inside(const std::string& tag, const std::string& script) {
        Json spec =
            Json::object().set("Image", tag).set("NetworkDisabled", true).set("User", "root");
        spec.set("Entrypoint", Json::strings({"/bin/bash", "-ec", script}));
        const auto made = api_.post("/containers/create", spec);
        EXPECT_TRUE(made) << made.error().message;
        if (!made) return {};
        const std::string id = made->string_or("Id", "");
        EXPECT_TRUE(api_.post("/containers/" + id + "/start"));
        const auto ended = api_.post("/containers/" + id + "/wait", {}, kRunPatience);
        Answer answer;
        answer.text = api_.logs(id).value_or("");
        const Json* code = ended ? ended->find("StatusCode") : nullptr;
        if (code != nullptr && code->as_int() != nullptr) answer.code = *code->as_int();
        (void)api_.remove("/containers/" + id + "?force=1");
        return answer;
    }

    static std::string shim_sum() { return hex(identity::sha256(*read_file(shim()))); }
    static std::string is_shim(const std::string& path) {
        return "[ \"$(/usr/lib/berth/real/usr/bin/sha256sum " + path +
               " 2>/dev/null || sha256sum " + path + ")\" = \"" + shim_sum() + "  " + path +
               "\" ] || { echo " + path + " is not the shim; exit 9; }\n";
    }

    fs::path folder_;
    engine::Engine api_{host->socket()};
    std::vector<std::string> tags_;
};

TEST_F(HardenTest, NothingLeadsPastTheShimAndUpgradesKeepIt) {
    const auto done = harden(
        testing::ContainerEngine::kImage, "perl,grep,rm,cp,mv", "berth-hardened:apt", shim()
    );
    ASSERT_EQ(done.code, 0) << done.out << done.err;
    EXPECT_EQ(done.out.find("PASSED"), std::string::npos) << done.out;
    for (const char* tool :
         {"/usr/bin/perl ",
          "/usr/bin/perl5.36.0 ",
          "/usr/bin/grep ",
          "/usr/bin/rm ",
          "/usr/bin/cp ",
          "/usr/bin/mv "})
        EXPECT_NE(done.out.find(tool), std::string::npos) << tool << done.out;
    for (const char* way :
         {"absolute path",
          "exec -a",
          "renamed copy with a byte more",
          "loader",
          "hard link",
          "symbolic link",
          "env -i",
          "own PATH",
          "sh -c with &&",
          "an open file",
          "a session of its own",
          "memfd ",
          "thread ",
          "vfork ",
          "clone3 ",
          "untraced-x86-64 ",
          "untraced-i386 ",
          "untraced-x32 ",
          "a program that was brought along ",
          "perl -e"})
        EXPECT_NE(done.out.find(way), std::string::npos) << way;
    ASSERT_TRUE(has("berth-hardened:apt"));
    // An upgrade of grep whose script needs rm, by apt and by dpkg.
    const Answer upgraded = inside(
        "berth-hardened:apt",
        is_shim("/usr/bin/grep") +
            "export PATH=/usr/lib/berth/real/usr/bin:$PATH\n"
            "pack() { mkdir -p /p/DEBIAN /p/bin; printf 'Package: grep\\nVersion: "
            "%s\\nArchitecture: amd64\\nMaintainer: x <x@x>\\n"
            "Description: x\\n' $1 >/p/DEBIAN/control; printf '#!/bin/sh\\necho grep %s\\n' $1 "
            ">/p/bin/grep; chmod 755 /p/bin/grep\n"
            "printf '#!/bin/sh\\nset -e\\ntouch /gone; /usr/bin/perl -e unlink+q=/gone=\\n' "
            ">/p/DEBIAN/postinst; chmod 755 "
            "/p/DEBIAN/postinst\n"
            "dpkg-deb --build /p /grep-$1.deb >/dev/null; }\n"
            "pack 98; pack 99\n"
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin apt-get install -y /grep-98.deb "
            ">/apt.log 2>&1 || { cat /apt.log; exit 8; }\n" +
            is_shim("/usr/bin/grep") +
            "[ \"$(/usr/lib/berth/real/usr/bin/grep)\" = 'grep 98' ]\n[ ! -e /gone ]\n"
            "dpkg -i /grep-99.deb >/dpkg.log 2>&1 || { cat /dpkg.log; exit 7; }\n" +
            is_shim("/usr/bin/grep") +
            "[ \"$(/usr/lib/berth/real/usr/bin/grep)\" = 'grep 99' ]\necho well\n"
    );
    EXPECT_EQ(upgraded.code, 0) << upgraded.text;
    EXPECT_NE(upgraded.text.find("well"), std::string::npos) << upgraded.text;
}

// A guard of one word, and a tool that an ordinary user calls in every way there is.
constexpr const char* kGuard = R"(mkdir -p /.berth/guard
cat >/guard.pl <<'PERL'
use Socket;
socket(my $door, PF_UNIX, SOCK_SEQPACKET, 0) or die;
bind($door, pack_sockaddr_un('/.berth/guard/sock')) or die;
listen($door, 16) or die;
chmod 0777, '/.berth/guard/sock';
open(my $ready, '>', '/ready'); close $ready;
while (my $peer = accept(my $shim, $door)) {
    recv($shim, my $asked, 5000, 0);
    open(my $log, '>>', '/asked'); print $log substr($asked, 8), "\n"; close $log;
    send($shim, $ARGV[0], 0);
    close $shim;
}
PERL
serve() { rm -f /.berth/guard/sock /ready; perl /guard.pl "$1" & while [ ! -e /ready ]; do sleep 0.05; done; }
as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs "$@"; }
)";

TEST_F(HardenTest, AnAllowedToolRunsAsItself) {
    const auto done =
        harden(testing::ContainerEngine::kImage, "grep", "berth-hardened:asked", shim());
    ASSERT_EQ(done.code, 0) << done.out << done.err;
    const Answer answer = inside(
        "berth-hardened:asked",
        std::string(kGuard) +
            "serve A\n[ \"$(printf 'a\\nb\\n' | as_user grep b)\" = b ]\n"
            "code=0; as_user /usr/bin/grep x /dev/null || code=$?; [ $code = 1 ]\n"
            "as_user bash -c 'exec -a other /bin/grep --version' | { read -r line; [ \"${line#* "
            "(}\" != \"$line\" ]; }\n"
            "[ \"$(sort -u /asked)\" = /usr/lib/berth/real/usr/bin/grep ]\nkill $!\n"
            "serve 'Dberth: denied by rule r: no'\n"
            "code=0; said=$(as_user env -i /usr/bin/grep b /dev/null 2>&1) || code=$?\n"
            "[ \"$code $said\" = '126 berth: denied by rule r: no' ]\nkill $!\necho well\n"
    );
    EXPECT_EQ(answer.code, 0) << answer.text;
    EXPECT_NE(answer.text.find("well"), std::string::npos) << answer.text;
}

TEST_F(HardenTest, AnAlpineUpgradeIsSurroundedByItsHook) {
    const auto done = harden(base("alpine"), "grep", "berth-hardened:apk", shim());
    ASSERT_EQ(done.code, 0) << done.out << done.err;
    const Answer upgraded = inside(
        "berth-hardened:apk",
        is_shim("/usr/bin/grep") +
            "/etc/apk/commit_hooks.d/berth pre-commit\necho x | grep -q x\n"
            "printf '#!/bin/sh\\necho new\\n' >/usr/bin/grep\n/etc/apk/commit_hooks.d/berth "
            "post-commit\n" +
            is_shim("/usr/bin/grep") +
            "[ \"$(/usr/lib/berth/real/usr/bin/grep)\" = new ]\necho well\n"
    );
    EXPECT_EQ(upgraded.code, 0) << upgraded.text;
}

TEST_F(HardenTest, AFedoraUpgradeIsFollowedByItsAction) {
    const auto done = harden(base("fedora"), "grep", "berth-hardened:dnf", shim());
    ASSERT_EQ(done.code, 0) << done.out << done.err;
    const Answer upgraded = inside(
        "berth-hardened:dnf",
        "[ \"$(cat /dnf.log)\" = 'install -y python3-dnf-plugin-post-transaction-actions' ]\n"
        "read -r line </etc/rpm/macros.berth\n[ \"${line%% *}\" = %_install_script_path ]\n" +
            is_shim("/usr/bin/grep") +
            "cat >/new <<<$'#!/bin/sh\\necho new'\nchmod 755 /new\nmv -f /new /usr/bin/grep\n"
            "action=$(cat /etc/dnf/plugins/post-transaction-actions.d/berth.action)\n[ "
            "\"${action%%/*}\" = '*:any:' ]\nsh -c \"${action#*:*:}\"\n" +
            is_shim("/usr/bin/grep") +
            "[ \"$(/usr/lib/berth/real/usr/bin/grep)\" = new ]\necho well\n"
    );
    EXPECT_EQ(upgraded.code, 0) << upgraded.text;
}

TEST_F(HardenTest, AShimThatLetsSomethingThroughIsCaught) {
    const auto done =
        harden(testing::ContainerEngine::kImage, "grep", "berth-hardened:leaky", "/bin/true");
    EXPECT_EQ(done.code, 1) << done.out;
    EXPECT_NE(done.out.find("PASSED"), std::string::npos) << done.out;
    EXPECT_FALSE(has("berth-hardened:leaky"));
}

TEST_F(HardenTest, WhatAShimCannotStandForIsRefused) {
    for (const char* tool : {"sh", "/bin/dash", "/lib64/ld-linux-x86-64.so.2", "no-such-tool"}) {
        const auto done =
            harden(testing::ContainerEngine::kImage, tool, "berth-hardened:none", shim());
        EXPECT_EQ(done.code, 1) << tool << done.out;
        EXPECT_FALSE(has("berth-hardened:none"));
    }
    const auto other = harden(base("slackware"), "grep", "berth-hardened:none", shim());
    EXPECT_EQ(other.code, 1);
    EXPECT_NE(other.err.find("no known family"), std::string::npos) << other.err;
    EXPECT_EQ(harden("no-such-image", "grep", "berth-hardened:none", shim()).code, 1);
}

}  // namespace
}  // namespace berth

int main(int argc, char** argv) {
    berth::testing::ContainerEngine real;
    berth::host = &real;
    return berth::testing::run_or_skip(argc, argv, "HARDENED IMAGES", real.why_not());
}
