// SPDX-License-Identifier: Apache-2.0
// For tests: a machine whose commands are guarded by a policy, with its beats of warden.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "node_agent/audit_log.hpp"
#include "node_agent/guard_files.hpp"
#include "node_agent/shim_protocol.hpp"
#include "node_agent/test_machine.hpp"
#include "policy/policy.hpp"

namespace berth::node::testing {

class GuardedMachine : public Machine {
public:
    explicit GuardedMachine(const std::string& policy, std::string level = "enforce")
        : level_(std::move(level)) {
        fs::create_directories(guard());
        fs::copy_file(binary("guard_probe"), dir / "workspace/probe");
        set_policy(policy);
    }
    fs::path guard() const { return dir / "node/guard"; }

    void set_policy(const std::string& text) {
        auto parsed = policy::Policy::parse(text, "test.yaml");
        ASSERT_TRUE(parsed) << parsed.error().message;
        ++version_;
        tools_ = (*parsed)->tools();
        const GuardState state{version_, 0};
        ASSERT_TRUE(write_file_atomic(state.policy_file(guard()), (*parsed)->compiled(), 0600));
        beat();
    }
    /// A beat that is `age` old.
    void beat(milliseconds age = milliseconds{0}) {
        const GuardState state{version_, boot_milliseconds() - age.count()};
        ASSERT_TRUE(write_file_atomic(GuardState::file(guard()), state.encode(), 0600));
    }

    Launch guarded(const std::string& run, std::vector<std::string> argv) {
        Launch launch = launch_of(std::move(argv));
        launch.guard = {level_, guard().string(), "acme", "anna", "dev", "", "ls_1", "m_1", run};
        if (level_ == "shim") add_shims(launch, run);
        return launch;
    }
    Reader& start_guarded(const std::string& run, const std::string& script) {
        start(run, guarded(run, {"sh", "-c", script}));
        readers.push_back(std::make_unique<Reader>(folder(run)));
        return *readers.back();
    }
    Reader& finish_guarded(const std::string& run, const std::string& script) {
        beat();
        Reader& reader = start_guarded(run, script);
        EXPECT_TRUE(reader.until_ended()) << "the run did not end: " << script;
        return reader;
    }
    std::vector<AuditEntry> audit(const std::string& run) {
        std::uint64_t offset = 0;
        auto entries = read_audit(folder(run) / "audit", offset, 1'000'000);
        EXPECT_TRUE(entries);
        return entries ? *entries : std::vector<AuditEntry>{};
    }
    /// The first held command of a run, once there is one.
    Held held(const std::string& run) {
        Held found;
        EXPECT_TRUE(eventually([&] {
            std::error_code error;
            for (const auto& entry : fs::directory_iterator(folder(run) / "held", error)) {
                const auto bytes = read_file(entry.path());
                auto one = bytes ? Held::decode(*bytes) : Result<Held>(bytes.error());
                if (one && entry.path().extension().empty()) found = *one;
            }
            return !found.id.empty();
        })) << "nothing is held";
        return found;
    }
    /// Decides as the node agent does, and answers the claim.
    void decide(const std::string& run, Reader& reader, Decision decision) {
        const std::string path = (folder(run) / "held" / decision.held).string() + ".decision";
        ASSERT_TRUE(write_file_atomic(path, decision.encode(), 0600));
        const std::string word = pack({decision.held});
        reader.send({Word::kDecide, 0, 0, 0, 0, word});
    }

private:
    /// As the node agent does.
    void add_shims(Launch& launch, const std::string& run) {
        fs::create_directories(folder(run) / "shim");
        const fs::path tools = dir / "node/tools";
        fs::create_directories(tools);
        for (const std::string& tool : tools_) {
            std::error_code error;
            fs::create_symlink(kShimProgram, tools / tool, error);
        }
        const std::vector<std::string> mounts{
            "--ro-bind",
            binary("berth-shim").string(),
            kShimProgram,
            "--ro-bind",
            tools.string(),
            kShimTools,
            "--bind",
            (folder(run) / "shim").string(),
            kShimFolder};
        const auto last = std::find(launch.sandbox.begin(), launch.sandbox.end(), "--remount-ro");
        launch.sandbox.insert(last, mounts.begin(), mounts.end());
        launch.env[0].insert(5, std::string(kShimTools) + ":");
    }

    std::vector<std::string> tools_;
    std::string level_;
    std::uint64_t version_ = 0;
};

inline Decision yes(const Held& held) {
    Decision decision;
    decision.held = held.id;
    decision.approval = "ap_1";
    decision.digest = held.digest;
    decision.approve = true;
    return decision;
}

/// A yes to other arguments.
inline Decision edit(const Held& held, std::vector<std::string> argv) {
    Decision decision = yes(held);
    policy::Plan plan = held.plan;
    plan.argv = decision.edited_argv = std::move(argv);
    decision.digest = policy::digest(plan);
    return decision;
}

/// A decision, and warden's answer to the claim that comes of it.
inline void claim(
    GuardedMachine& machine,
    const std::string& run,
    Reader& reader,
    const Decision& decision,
    const std::string& go = "go",
    const std::string& reason = ""
) {
    machine.decide(run, reader, decision);
    const std::string word = pack({decision.held, go, reason});
    // The claim is the supervisor's to ask first; a word for one that does not claim is dropped.
    ASSERT_TRUE(eventually([&] {
        reader.send({Word::kClaimed, 0, 0, 0, 0, word});
        return !fs::exists(machine.folder(run) / "held" / decision.held);
    }));
}
inline void claim(
    GuardedMachine& machine,
    const std::string& run,
    Reader& reader,
    const Held& held,
    const std::string& go = "go",
    const std::string& reason = ""
) {
    claim(machine, run, reader, yes(held), go, reason);
}

}  // namespace berth::node::testing
