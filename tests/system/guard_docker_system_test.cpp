// SPDX-License-Identifier: Apache-2.0
// behaviours: warden 1, 3, 5, 7, 8, 12, 13 on machines that are containers of a real engine: the
// bypass set at each level, holding, halting, and a hardened image from its making to its use.
#include <signal.h>

#include <algorithm>
#include <array>

#include "approvers.hpp"
#include "cli/tar.hpp"
#include "core/fd.hpp"
#include "engine/engine.hpp"
#include "support/bypass/bypass_set.hpp"
#include "support/engine/container_engine.hpp"
#include "support/run_or_skip.hpp"
#include "support/sanitized.hpp"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kImage = "berth-guard-test";  // kImage of the engine, with more interpreters
constexpr const char* kHardened = "berth-guard-test:hardened";

ContainerEngine& engine() {
    static ContainerEngine one;
    return one;
}

/// The host's files below `folder` whose names end in `ending`, for an image.
void add_files(std::vector<cli::TarFile>& to, const fs::path& folder, bool deep) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (deep && entry.is_directory() && entry.path().filename() != "__pycache__")
            add_files(to, entry.path(), true);
        if (entry.path().extension() != ".py" && entry.path().extension() != ".so") continue;
        if (const auto bytes = read_file(entry.path(), 8U << 20U))
            to.push_back({"root" + entry.path().string(), *bytes, 0644});
    }
}

void make_image() {
    std::vector<cli::TarFile> files{
        {"Dockerfile",
         std::string("FROM ") + ContainerEngine::kImage +
             "\nCOPY root/ /\nENV NODE_OPTIONS=--trace-exit PYTHONPATH=/image IMAGE_SAYS=hello\n"},
        {"root/etc/berth-guard-test", "\n"}};
    const std::array<std::pair<const char*, const char*>, 4> programs{
        {{"/usr/bin/python3.11", "root/usr/bin/python3"},
         {"/usr/bin/busybox", "root/usr/bin/busybox"},
         {"/lib/x86_64-linux-gnu/libexpat.so.1", "root/usr/lib/x86_64-linux-gnu/libexpat.so.1"},
         {"/lib/x86_64-linux-gnu/libz.so.1", "root/usr/lib/x86_64-linux-gnu/libz.so.1"}}};
    for (const auto& [from, to] : programs) {
        if (const auto bytes = read_file(from, 32U << 20U)) files.push_back({to, *bytes, 0755});
    }
    const fs::path python = "/usr/lib/python3.11";
    add_files(files, python, false);
    for (const char* part : {"collections", "encodings", "importlib", "re", "lib-dynload"})
        add_files(files, python / part, true);
    engine::Engine api(engine().socket());
    const auto built =
        api.build(std::string("t=") + kImage, cli::tar(files), [](std::string_view) {});
    if (!built) throw std::runtime_error(built.error().describe());
}

class GuardDocker : public ApproversTest {
public:
    static void SetUpTestSuite() {
        make_image();
        settings_ = "provisioner:\n  docker: {socket: " + engine().socket() + "}\nprofiles:\n";
        for (const char* level : {"enforce", "shim", "observe"}) {
            const std::string rest =
                std::string(": {driver: docker, image: ") + kImage + ", guard: " + level;
            settings_ += std::string("  ") + level + rest + "}\n";
            settings_ += std::string("  ") + level + "-side" + rest + ", parallel_runs: 4}\n";
        }
        settings_ += std::string("  hardened: {driver: docker, image: '") + kHardened +
                     "', guard: shim}\n  default: {driver: docker, image: " + kImage + "}\n";
        ApproversTest::SetUpTestSuite();
    }

protected:
    struct Done {
        Json run;
        std::string out;
        std::string err;
        int code() const { return static_cast<int>(run.int_or("exit_code", -1)); }
    };
    static Done said(const std::string& run) {
        Done done;
        done.run = ended(run);
        const Said logs = suite().berth({"logs", run});
        done.out = logs.out;
        done.err = logs.err;
        return done;
    }
    /// Until nothing is left of any machine: a halt waits for those that are there.
    static void release_whole(const std::string& lease) {
        const std::string machine = member(suite().api("GET", "/v1/leases/" + lease), "machine");
        release(lease);
        EXPECT_TRUE(suite().eventually([&] {
            return member(suite().api("GET", "/v1/machines/" + machine), "state") ==
                   "MACHINE_STATE_GONE";
        })) << suite().logs();
    }
    static Done finish(const std::string& lease, const std::string& script) {
        return said(start(lease, script));
    }
    static std::string lease_of(const std::string& profile) {
        return acquire(R"({"profile":")" + profile + R"("})");
    }
    /// All records of a run, once its end is among them.
    static std::vector<Json> audit(const std::string& run) {
        std::vector<Json> records;
        EXPECT_TRUE(suite().eventually([&] {
            const auto page = suite().api("GET", "/v1/audit?limit=100&run=" + run);
            records.clear();
            bool whole = false;
            const Json all = json_of(page.body);
            const Json* list = all.find("records");
            if (list == nullptr || list->as_array() == nullptr) return false;
            for (const Json& one : *list->as_array()) {
                records.push_back(one);
                whole = whole || one.string_or("fact", "") == "run_ended";
            }
            return whole;
        })) << suite().logs();
        return records;
    }
    static bool has(const std::vector<Json>& records, const char* fact) {
        return std::any_of(records.begin(), records.end(), [&](const Json& one) {
            return one.string_or("fact", "") == fact;
        });
    }
    static void put_files(const std::string& lease) {
        const std::pair<const char*, std::string> files[] = {
            {"probe", read_file(bin("guard_probe"), 32U << 20U).value()},
            {"p32", bypass::program32()}};
        for (const auto& [name, content] : files) {
            Suite::CommandOptions options;
            options.input = content;
            options.no_input = false;
            const std::string path = std::string("/home/berth/") + name;
            const Said put = suite().berth(
                {"run",
                 "--no-sync",
                 "--lease",
                 lease,
                 "--",
                 "sh",
                 "-c",
                 "cat > " + path + "; chmod 755 " + path},
                options
            );
            ASSERT_EQ(put.exit_code, 0) << put.err << suite().logs();
        }
    }
    /// This host's numbers of our containers' processes whose command line holds `text`.
    static std::vector<pid_t> inside(const std::string& text) {
        std::vector<pid_t> found;
        for (const std::string& thing : engine().labelled("berth.machine")) {
            if (!thing.starts_with("container ")) continue;
            const Json top = engine().get("/containers/" + thing.substr(10) + "/top");
            const Json* list = top.find("Processes");
            if (list == nullptr || list->as_array() == nullptr) continue;
            for (const Json& row : *list->as_array()) {
                const Json::Array& cells = *row.as_array();
                if (cells.size() < 8 || cells[7].as_string()->find(text) == std::string::npos)
                    continue;
                found.push_back(std::atoi(cells[1].as_string()->c_str()));
            }
        }
        return found;
    }
};

/// What of a form's needs an image may lack.
bool lacks(const bypass::Form& form, const std::string& have) {
    const std::string name = form.name;
    if (name == "busybox applet") return have.find("busybox") == std::string::npos;
    return name.starts_with("python3") && have.find("python3") == std::string::npos;
}

TEST_F(GuardDocker, TheBypassSetMissesNothingAtEnforceInAContainer) {
    apply(bypass::kPolicy);
    std::map<std::string, std::string> cells;
    std::string have;
    for (const char* level : {"observe", "shim", "enforce"}) {
        const std::string lease = lease_of(level);
        put_files(lease);
        have =
            finish(lease, "command -v busybox; python3 -c 'import subprocess' && echo python3").out;
        for (const bypass::Form& form : bypass::kForms) {
            if (lacks(form, have)) continue;
            const std::string run = start(
                lease,
                "rm -rf /workspace/*; cp /home/berth/probe /home/berth/p32 .; " +
                    std::string(form.script)
            );
            const Done done = said(run);
            const bool refused = done.out.find("uid=") == std::string::npos;
            bool judged = done.out.find("refused: ") != std::string::npos;
            std::string records;
            for (const Json& one : audit(run)) {
                judged = judged || one.string_or("action", "") == "deny";
                records += one.dump() + "\n";
            }
            std::string cell = judged ? "seen judged " : "- - ";
            cell += refused ? "refused" : "-";
            cells[form.name] +=
                cell + std::string(25 - std::min<std::size_t>(24, cell.size()), ' ');
            if (std::string(level) != "enforce") continue;
            EXPECT_TRUE(judged && refused) << form.name << "\n" << done.out << done.err << records;
        }
        release_whole(lease);
    }
    std::printf("%-32s %-24s %-24s %-24s\n", "form, in a container", "observe", "shim", "enforce");
    for (const bypass::Form& form : bypass::kForms) {
        if (lacks(form, have))
            std::printf("%-32s NOTHING PROVEN: the image lacks what it takes\n", form.name);
        else
            std::printf("%-32s %s\n", form.name, cells[form.name].c_str());
    }
}

TEST_F(GuardDocker, NothingReachesWhatIsHeldAndWhatWasChangedIsRefused) {
    apply(bypass::kPolicy);
    const std::string lease = lease_of("enforce-side");
    put_files(lease);
    std::printf("%-32s %s\n", "form, in a container", "enforce");
    for (const bypass::HeldForm& form : bypass::kHeldForms) {
        const std::string run = start(
            lease,
            "cd /workspace; rm -rf *; cp /home/berth/probe .; " +
                bypass::script_of(form, "/workspace/go")
        );
        const std::string approval = pending(run);
        EXPECT_EQ(finish(lease, "touch /workspace/go").code(), 0);
        EXPECT_TRUE(suite().eventually([&] {
            return suite().berth({"logs", run}).out.find("tried\n") != std::string::npos;
        })) << form.name;
        EXPECT_EQ(cli("anna", {"approve", approval}).exit_code, 0);
        const Done done = said(run);
        const bool refused = done.out.find("OPEN") == std::string::npos &&
                             done.out.find("uid=") == std::string::npos;
        EXPECT_TRUE(refused) << form.name << done.out << done.err;
        EXPECT_TRUE(has(audit(run), "exec_held")) << form.name;
        std::printf("%-32s seen judged %s\n", form.name, refused ? "refused" : "-");
    }
    release_whole(lease);
}

constexpr const char* kPolicy =
    "version: 1\n"
    "default: allow\n"
    "timeout: 10m\n"
    "rules:\n"
    "  - {id: no-id, action: deny, reason: nobody asks who they are, match: {executable: id}}\n"
    "  - {id: ask-uname, action: ask, reason: a person shall say, match: {executable: uname}}\n"
    "  - {id: ask-script, action: ask, match: {executable: '/workspace/deploy*'}}\n";

TEST_F(GuardDocker, WhatIsAllowedIsAsIfNobodyWatched) {
    apply(kPolicy);
    const std::string lease = lease_of("enforce");
    for (const int code : {0, 1, 37, 126, 255})
        EXPECT_EQ(finish(lease, "exit " + std::to_string(code)).code(), code);
    const Said whole = suite().berth(run_sh(
        "printf 'a b'; (exit 3); echo $?; trap 'echo got' USR1; kill -USR1 $$; sleep 30 & p=$!; "
        "kill $p; wait $p; echo $?; seq 1 1000 | sort -n | tail -1; timeout 0.1 sleep 9; echo $?; "
        "grep -c . /proc/self/status >/dev/null; kill -9 $$",
        {"--no-sync", "--lease", lease}
    ));
    EXPECT_EQ(whole.out, "a b3\ngot\n143\n1000\n124\n") << whole.err;
    EXPECT_EQ(whole.exit_code, 137) << whole.err;
    // Of the image's variables those are handed on that a client's would be.
    EXPECT_EQ(finish(lease, "echo $NODE_OPTIONS,$PYTHONPATH,$IMAGE_SAYS").out, ",,hello\n");
    const Said terminal =
        suite().berth(run_sh("test -t 0 && tty; exit 5", {"--no-sync", "--tty", "--lease", lease}));
    EXPECT_EQ(terminal.exit_code, 5) << terminal.err;
    EXPECT_NE(terminal.out.find("/dev/pts/"), std::string::npos) << terminal.out;
    const std::string run = start(lease, "id; echo $?");
    const Done denied = said(run);
    EXPECT_NE(denied.out.find("126\n"), std::string::npos) << denied.out;
    EXPECT_NE(
        denied.out.find("berth: denied by rule no-id: nobody asks who they are\n"),
        std::string::npos
    ) << denied.out;
    const auto records = audit(run);
    EXPECT_TRUE(has(records, "exec_started"));
    EXPECT_TRUE(has(records, "exec_ended"));
    EXPECT_TRUE(has(records, "exec_denied"));
    // A command gets none of the rights that its guard has, and does not see it.
    const Said rights = suite().berth(run_sh(
        "grep -E '^Cap(Prm|Eff|Amb):' /proc/self/status; for p in /proc/[0-9]*; do "
        "read -r name < $p/comm; [ \"$name\" = berth-guard ] && kill -9 ${p#/proc/}; done",
        {"--no-sync", "--lease", lease}
    ));
    EXPECT_EQ(
        rights.out,
        "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    );
    EXPECT_NE(rights.err.find("not permitted"), std::string::npos) << rights.err;
    release_whole(lease);
}

TEST_F(GuardDocker, AHeldProcessIsOutOfReachAndDiesOfItsSignals) {
    apply(kPolicy);
    const std::string lease = lease_of("enforce-side");
    put_files(lease);
    const std::string run = start(
        lease,
        "exec 2>/dev/null; cp /home/berth/probe .; uname -s & p=$!; while ! test -e "
        "/home/berth/go; do sleep 0.05; "
        "done; "
        "./probe attack $p; kill $p; wait $p; echo $?"
    );
    const std::string held = pending(run);
    EXPECT_EQ(finish(lease, "touch /home/berth/go").code(), 0);
    const Done done = said(run);
    EXPECT_EQ(
        done.out,
        "mem Permission denied\nwritev Operation not permitted\nptrace Operation not permitted\n"
        "getfd Operation not permitted\n143\n"
    ) << done.err;
    EXPECT_TRUE(suite().eventually([&] {
        return member(suite().api("GET", "/v1/approvals/" + held), "state") ==
               "APPROVAL_STATE_ABANDONED";
    }));
    EXPECT_TRUE(has(audit(run), "exec_abandoned"));
    release_whole(lease);
}

TEST_F(GuardDocker, AHeldCommandSurvivesRestartsAndRunsOnceItIsApproved) {
    apply(kPolicy);
    const std::string lease = lease_of("enforce-side");
    const std::string run = start(
        lease,
        "cd /workspace; printf '#!/bin/sh\\necho deployed\\n' > deploy.sh; chmod 700 deploy.sh; "
        "uname -s; ./deploy.sh; echo $?; ./deploy.sh; echo $?"
    );
    const std::string first = pending(run);
    for (const char* part : {"warden", "gateway", "run"}) suite().kill9(part);
    for (const auto& entry : fs::directory_iterator(suite().data() / "machines" / "docker")) {
        const auto pid = read_file(entry.path() / "node" / "pid");
        if (pid) ::kill(std::atoi(pid->c_str()), SIGKILL);
    }
    ASSERT_TRUE(suite().wait_ready());
    const Said approved = cli("anna", {"approve", first});
    ASSERT_EQ(approved.exit_code, 0) << approved.err;
    const std::string second = pending(run);
    const auto shown = suite().api("GET", "/v1/approvals/" + second);
    EXPECT_NE(shown.body.find("/workspace/deploy.sh"), std::string::npos) << shown.body;
    EXPECT_EQ(cli("anna", {"approve", second}).exit_code, 0);
    const std::string third = pending(run);
    // By somebody else of the container: what was looked at is not what would be executed.
    EXPECT_EQ(finish(lease, "echo 'echo evil' >> /workspace/deploy.sh").code(), 0);
    EXPECT_EQ(cli("bert", {"approve", third}).exit_code, 0);
    const Done done = said(run);
    EXPECT_EQ(done.out.substr(0, 17), "Linux\ndeployed\n0\n") << done.out << done.err;
    EXPECT_NE(done.out.find("126\n"), std::string::npos) << done.out;
    EXPECT_NE(done.out.find("content changed"), std::string::npos) << done.out << done.err;
    EXPECT_EQ(done.out.find("evil"), std::string::npos);
    EXPECT_TRUE(has(audit(run), "exec_held"));
    release_whole(lease);
}

TEST_F(GuardDocker, TheTreeDiesWithItsGuard) {
    apply(kPolicy);
    const std::string lease = lease_of("enforce");
    const std::string run = start(lease, "sleep 611 & setsid sleep 611 & echo up; sleep 611");
    ASSERT_TRUE(suite().eventually([] { return inside("sleep 611").size() >= 3; }));
    const std::vector<pid_t> guards = inside("supervisor --guard");
    ASSERT_EQ(guards.size(), 1U);
    ::kill(guards.front(), SIGKILL);
    const Json end = ended(run);
    EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_FAILED") << end.dump();
    EXPECT_TRUE(suite().eventually([] { return inside("sleep 611").empty(); }));
    EXPECT_EQ(finish(lease, "echo on").out, "on\n") << "the machine goes on";
    release_whole(lease);
}

TEST_F(GuardDocker, AHaltFreezesAndEndsWhatRunsInContainers) {
    apply(kPolicy);
    for (const auto& [profile, mechanism] :
         {std::pair{"enforce-side", "ptrace"}, std::pair{"shim-side", "stop"}}) {
        const std::string lease = lease_of(profile);
        std::vector<std::string> runs;
        for (int i = 0; i < 3; ++i)
            runs.push_back(start(lease, "sleep 612 & while :; do sleep 612; done"));
        // Two sleeps and the shell that names them, of each run: one that had not begun would be
        // refused, and not canceled.
        ASSERT_TRUE(suite().eventually([] { return inside("sleep 612").size() >= 9; }));
        const Said halted = cli("anna", {"halt", "--reason", "enough"});
        EXPECT_EQ(halted.exit_code, 0) << halted.out << halted.err;
        EXPECT_NE(halted.out.find(mechanism), std::string::npos) << halted.out;
        for (const std::string& run : runs) {
            const Json end = ended(run);
            EXPECT_EQ(end.string_or("state", ""), "RUN_STATE_CANCELED") << end.dump();
        }
        EXPECT_TRUE(inside("sleep 612").empty());
        const Json halts = json_of(suite().api("GET", "/v1/halts").body);
        for (const Json& halt : *halts.find("halts")->as_array())
            EXPECT_EQ(cli("bert", {"resume", halt.string_or("id", "")}).exit_code, 0);
        release_whole(lease);
    }
}

TEST_F(GuardDocker, ShimsOfRunsSideBySideAskTheirOwnGuard) {
    apply(kPolicy);
    const std::string lease = lease_of("shim-side");
    const std::string asking = start(lease, "uname -s; echo $?");
    const std::string id = pending(asking);
    ASSERT_FALSE(id.empty()) << said(asking).run.dump() << said(asking).out;
    const Done beside = finish(
        lease,
        "command -v id; id; echo $?; env -i /.berth/tools/id; echo $?; ls / >/dev/null; echo $?"
    );
    EXPECT_EQ(beside.out.substr(0, 17), "/.berth/tools/id\n") << beside.out << beside.err;
    EXPECT_NE(beside.out.find("berth: denied by rule no-id"), std::string::npos) << beside.out;
    EXPECT_EQ(cli("anna", {"approve", id}).exit_code, 0);
    EXPECT_EQ(said(asking).out, "Linux\n0\n");
    EXPECT_TRUE(has(audit(asking), "exec_held"));
    release_whole(lease);
}

TEST_F(GuardDocker, AHardenedImageIsGuardedFromItsMakingToItsUse) {
    const std::vector<std::string> words{
        "harden",
        ContainerEngine::kImage,
        "--tools",
        "id,uname,grep",
        "--tag",
        kHardened,
        "--shim",
        bin("berth-shim"),
        "--engine",
        engine().socket()};
    Suite::CommandOptions patient;
    patient.patience = seconds{300};
    const Said hardened = suite().berth(words, patient);
    ASSERT_EQ(hardened.exit_code, 0) << hardened.out << hardened.err;
    apply(kPolicy);
    const std::string lease = lease_of("hardened");
    // A tool that is allowed is the tool; one that is denied is not, by whatever way.
    const Done done = finish(
        lease,
        "printf 'a\\nb\\n' | grep b; /usr/bin/grep x /dev/null; echo $?; id; echo $?; /usr/bin/id; "
        "env -i /usr/bin/id; PATH=/usr/bin id; bash -c 'exec -a ls /bin/id'; echo $?"
    );
    EXPECT_EQ(done.out.find("uid="), std::string::npos) << done.out;
    EXPECT_EQ(done.out.substr(0, 4), "b\n1\n") << done.out << done.err;
    const std::string line = "berth: denied by rule no-id: nobody asks who they are\n";
    std::size_t denials = 0;
    for (auto at = done.out.find(line); at != std::string::npos; at = done.out.find(line, at + 1))
        ++denials;
    EXPECT_EQ(denials, 5U) << done.out << done.err;
    const std::string run = start(lease, "/usr/bin/uname -s; echo $?");
    const std::string id = pending(run);
    const auto shown = suite().api("GET", "/v1/approvals/" + id);
    EXPECT_NE(shown.body.find("/usr/lib/berth/real/usr/bin/uname"), std::string::npos)
        << shown.body;
    EXPECT_EQ(cli("anna", {"approve", id}).exit_code, 0);
    EXPECT_EQ(said(run).out, "Linux\n0\n");
    EXPECT_TRUE(has(audit(run), "exec_held"));
    release_whole(lease);
}

}  // namespace

/// Why nothing can be shown here; empty: it can.
std::string why_not() {
    // The guard in a container is the static supervisor, and a sanitizer's build has none.
    return kSanitized ? "a sanitizer's build has no static supervisor" : engine().why_not();
}

}  // namespace berth::testing

int main(int argc, char** argv) {
    return berth::testing::run_or_skip(
        argc, argv, "GUARD IN CONTAINERS", berth::testing::why_not()
    );
}
