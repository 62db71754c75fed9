// SPDX-License-Identifier: Apache-2.0
// The boot script as a strict shell runs it: in a root of its own, where every program that would
// change a machine only says how it was called. cloud_boot_system_test has a whole machine, which
// has neither systemd nor port 2222.
#include "provisioner/user_data.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/fd.hpp"
#include "core/text.hpp"
#include "identity/token.hpp"
#include "process/spawn.hpp"

namespace berth::prov {
namespace {

namespace fs = std::filesystem;

constexpr seconds kPatience{60};

/// Says what it was called with, and does what the script needs of it.
constexpr const char* kStub = R"SH(#!/bin/sh
name=${0##*/}
echo "$name $*" >>/log/calls
case $name in
id) [ -e "/log/user-$1" ] || [ "$1" = -u ] ;;
useradd) for last; do :; done; : >"/log/user-$last" ;;
curl) while [ $# -gt 0 ]; do [ "$1" != -o ] || cp /log/bundle "$2"; shift; done ;;
apt-get) case "$*" in *openssh-server*) ln -sf systemctl /stubs/sshd ;; esac ;;
esac
)SH";

class BootScript : public ::testing::Test {
protected:
    BootScript() {
        std::string made = (fs::temp_directory_path() / "berth-boot-XXXXXX").string();
        if (::mkdtemp(made.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        root_ = made;
        for (const char* folder :
             {"stubs", "log", "etc/systemd/system", "opt", "var/log", "run", "home", "bundle/bin"})
            fs::create_directories(root_ / folder);
        for (const char* name :
             {"id",
              "useradd",
              "chown",
              "curl",
              "apt-get",
              "sysctl",
              "modprobe",
              "systemctl",
              "setsid",
              "setpriv"}) {
            std::ofstream(root_ / "stubs" / name) << kStub;
            ::chmod((root_ / "stubs" / name).c_str(), 0755);
        }
        std::ofstream(root_ / "bundle/bin/berth-node") << "node";
        tool(
            {"tar",
             "-czf",
             (root_ / "log/bundle").string(),
             "-C",
             (root_ / "bundle").string(),
             "bin"}
        );
        facts_.gateway_url = "https://berth.example.org";
        facts_.nats_url = "tls://bus.example.org:4222";
        facts_.bus_ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        facts_.bundle_sha256 = hex(identity::sha256(read_file(root_ / "log/bundle").value()));
        facts_.token = Secret("berth_it's a token");
        facts_.ssh_public_key = "ssh-ed25519 AAAA somebody@example.org";
        spec_.machine = "m_01h00000000000000000000000";
        spec_.org = "default";
        spec_.slug = "calm-otter";
        spec_.profile.set_name("cloud");
        spec_.profile.set_driver("hetzner");
    }
    ~BootScript() override {
        std::error_code ignored;
        fs::remove_all(root_, ignored);
    }

    /// Runs it as root of a namespace that has this host's programs and nothing else of it.
    int boot() {
        std::ofstream(root_ / "log/user_data") << boot_script(spec_, facts_).reveal();
        std::vector<std::string> argv{"bwrap", "--unshare-all", "--uid", "0", "--gid", "0"};
        for (const char* folder : {"/usr", "/bin", "/sbin", "/lib", "/lib64"})
            argv.insert(argv.end(), {"--ro-bind-try", folder, folder});
        for (const char* folder : {"stubs", "log", "etc", "opt", "var", "run", "home"})
            argv.insert(
                argv.end(), {"--bind", (root_ / folder).string(), std::string("/") + folder}
            );
        argv.insert(
            argv.end(),
            {"--proc",
             "/proc",
             "--dev",
             "/dev",
             "--tmpfs",
             "/tmp",
             "--clearenv",
             "--setenv",
             "PATH",
             "/stubs:/usr/bin:/bin",
             "--",
             "/bin/sh",
             "-euc",
             // Whatever it leaves running ends with this namespace: it is waited for.
             ". /log/user_data; wait"}
        );
        return tool(argv);
    }
    static int tool(const std::vector<std::string>& argv) {
        process::SpawnSpec spec;
        spec.argv = argv;
        spec.stdin_fd = process::kNull;
        auto child = process::spawn(spec);
        if (!child) return -1;
        const auto end = child->wait(kPatience);
        if (!end) child->kill();
        return end ? end->code : -1;
    }
    std::string file(const std::string& path) const { return read_file(root_ / path).value_or(""); }
    bool called(const std::string& line) const {
        return ("\n" + file("log/calls")).find("\n" + line + "\n") != std::string::npos;
    }

    fs::path root_;
    BootFacts facts_;
    MachineSpec spec_;
};

TEST_F(BootScript, WhereSystemdIsTheNodeIsAServiceThatComesBackAndItsRunsOutliveIt) {
    fs::create_directories(root_ / "run/systemd/system");
    ASSERT_EQ(boot(), 0) << file("log/calls");
    const std::string unit = file("etc/systemd/system/berth-node.service");
    for (const char* line :
         {"User=berth\n",
          "ExecStart=/opt/berth/bin/berth-node --dir /var/lib/berth/machine\n",
          "KillMode=process\n",
          "Restart=always\n",
          "WantedBy=multi-user.target\n"})
        EXPECT_NE(unit.find(line), std::string::npos) << line << " in:\n" << unit;
    EXPECT_EQ(unit.find('%'), std::string::npos) << "a hole that printf left";
    EXPECT_TRUE(called("systemctl daemon-reload")) << file("log/calls");
    EXPECT_TRUE(called("systemctl enable --now berth-node")) << file("log/calls");
    EXPECT_TRUE(called("systemctl disable --now ssh ssh.socket sshd")) << "nothing listens";
    EXPECT_FALSE(fs::exists(root_ / "opt/berth/keep")) << "one keeper is enough";
    EXPECT_EQ(file("log/calls").find("setpriv"), std::string::npos);

    EXPECT_EQ(file("opt/berth/bin/berth-node"), "node");
    EXPECT_EQ(file("var/lib/berth/machine/node/token"), "berth_it's a token\n");
    EXPECT_EQ(file("var/lib/berth/machine/node/bus_ca.pem"), facts_.bus_ca + "\n");
    const std::string yaml = file("var/lib/berth/machine/node/node.yaml");
    EXPECT_NE(yaml.find("nats_url: tls://bus.example.org:4222\n"), std::string::npos) << yaml;
    EXPECT_NE(yaml.find("nats_ca_file: bus_ca.pem\n"), std::string::npos) << yaml;
    struct stat info {};
    ASSERT_EQ(::stat((root_ / "var/lib/berth/machine/node/token").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 077U, 0U) << "nobody else reads the token";
}

TEST_F(BootScript, ItMayBeRunAgainAfterItWasCutShort) {
    fs::create_directories(root_ / "run/systemd/system");
    ASSERT_EQ(boot(), 0);
    std::ofstream(root_ / "var/lib/berth/machine/node/creds") << "creds";
    fs::remove(root_ / "var/lib/berth/machine/node/token");
    fs::remove(root_ / "log/calls");
    ASSERT_EQ(boot(), 0) << file("log/calls");
    EXPECT_EQ(file("log/calls").find("curl"), std::string::npos) << "installed already";
    EXPECT_EQ(file("log/calls").find("useradd"), std::string::npos);
    EXPECT_FALSE(fs::exists(root_ / "var/lib/berth/machine/node/token")) << "it has enrolled";
}

TEST_F(BootScript, AnotherBundleThanThePromisedIsNotInstalled) {
    facts_.bundle_sha256 = std::string(64, '0');
    EXPECT_NE(boot(), 0);
    EXPECT_FALSE(fs::exists(root_ / "opt/berth/bin/berth-node"));
}

TEST_F(BootScript, SshIsOnPort2222ByKeyOnlyAndForOneUser) {
    spec_.profile.set_ssh(true);
    fs::create_directories(root_ / "run/systemd/system");
    ASSERT_EQ(boot(), 0) << file("log/calls");
    EXPECT_NE(file("log/calls").find("apt-get install -y -q openssh-server"), std::string::npos)
        << file("log/calls");
    EXPECT_TRUE(called("useradd --create-home --shell /bin/bash dev")) << file("log/calls");
    EXPECT_TRUE(called("systemctl restart ssh")) << file("log/calls");
    EXPECT_FALSE(called("systemctl disable --now ssh ssh.socket sshd"));
    EXPECT_EQ(file("home/dev/.ssh/authorized_keys"), facts_.ssh_public_key + "\n");
    struct stat info {};
    ASSERT_EQ(::stat((root_ / "home/dev/.ssh/authorized_keys").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);

    // What a real sshd makes of it.
    const std::string sshd = "/usr/sbin/sshd";
    const std::string config = (root_ / "etc/ssh/sshd_config.d/00-berth.conf").string();
    const std::string key = (root_ / "log/host_key").string();
    if (::access(sshd.c_str(), X_OK) != 0) GTEST_SKIP() << "openssh-server is not installed";
    ASSERT_EQ(tool({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key}), 0);
    const std::string out = (root_ / "log/effective").string();
    // As root it wants its folder, which systemd makes when the service starts.
    const std::string ask = sshd + " -T -f " + config + " -h " + key;
    ASSERT_EQ(tool({"sh", "-c", "mkdir -p /run/sshd; " + ask + " >" + out + " 2>&1"}), 0)
        << read_file(out).value_or("");
    const std::string effective = read_file(out).value_or("");
    for (const char* line :
         {"port 2222\n",
          "passwordauthentication no\n",
          "kbdinteractiveauthentication no\n",
          "permitrootlogin no\n",
          "authenticationmethods publickey\n",
          "allowusers dev\n"})
        EXPECT_NE(effective.find(line), std::string::npos) << line << " in:\n" << effective;
    EXPECT_EQ(effective.find("port 22\n"), std::string::npos);
}

TEST_F(BootScript, SshWithoutSystemdIsStartedByItself) {
    spec_.profile.set_ssh(true);
    // A systemctl that is there and fails, as in a container.
    std::ofstream(root_ / "stubs/systemctl") << "#!/bin/sh\necho \"${0##*/} $*\" >>/log/calls\n"
                                                "[ \"${0##*/}\" = sshd ]\n";
    ASSERT_EQ(boot(), 0) << file("log/calls");
    EXPECT_TRUE(called("sshd ")) << file("log/calls");
    EXPECT_TRUE(fs::exists(root_ / "opt/berth/keep")) << "no systemd: a keeper of our own";
    EXPECT_NE(file("log/calls").find("setpriv --reuid=berth"), std::string::npos);
}

TEST_F(BootScript, AHostOfSomebodysKeepsItsSshServerAsItWas) {
    facts_.keep_ssh = true;
    spec_.profile.set_ssh(true);
    fs::create_directories(root_ / "run/systemd/system");
    ASSERT_EQ(boot(), 0) << file("log/calls");
    EXPECT_EQ(file("log/calls").find("ssh"), std::string::npos) << file("log/calls");
    EXPECT_FALSE(fs::exists(root_ / "etc/ssh"));
}

}  // namespace
}  // namespace berth::prov
