// SPDX-License-Identifier: Apache-2.0
// The node agent's part of a guarded run: carries its held commands and its audit to warden.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "berth/node/v1/node.pb.h"
#include "berth/warden/v1/warden.pb.h"
#include "node_agent/guard_files.hpp"
#include "node_agent/node_context.hpp"
#include "node_agent/run_socket.hpp"

namespace berth::node {

/// Lives on the loop's thread. Everything it must know is in the run's folder, so that the next
/// node agent takes over where this one was.
class RunGuard : public std::enable_shared_from_this<RunGuard> {
public:
    struct Run {
        std::function<bool(const RunWord&)> send;  ///< to the supervisor
        std::function<void()> drained;             ///< warden has the whole audit
    };
    /// `folder`: see guard_folder().
    RunGuard(NodeContext context, const v1::Start& spec, std::filesystem::path folder, Run run);

    /// True for the words that are its own.
    bool on_word(const RunWord& word);
    /// The run has ended, or is found ended: what is left of its audit is told.
    void finish();
    /// Warden has all of the audit.
    bool drained() const;

    /// What became of all that is held: decisions may have come and gone while the bus was away.
    void ask_again();

    bool holds(const std::string& held) const;
    Result<void> decide(const v1::Decide& command);

    /// How the last halt made it stand still; empty: it did not yet.
    const std::string& frozen() const { return frozen_; }
    /// A halt has left nothing of its processes.
    bool tree_gone() const { return tree_gone_; }
    void forget_freeze() { frozen_.clear(); }

private:
    void held(const std::string& id);
    void ask(const std::string& id);
    void on_approval(const std::string& id, const std::string& payload);
    void write_decision(const Decision& decision);
    void claim(const std::vector<std::string>& texts);
    void abandon(const std::string& approval);
    void unheld(const std::vector<std::string>& texts);
    void tell(std::string_view fact, const std::string& id);
    void drain();
    warden::v1::AuditRecord record_of(const AuditEntry& entry) const;
    void send(warden::v1::Record batch, std::uint64_t until, bool mark);
    void refused(
        const warden::v1::Record& batch, std::uint64_t until, bool mark, const Error& error
    );
    void audited(std::uint64_t until);
    void send_texts(Word word, std::vector<std::string> texts);
    std::filesystem::path held_file(const std::string& id) const { return folder_ / "held" / id; }
    warden::v1::Origin origin() const;

    NodeContext context_;
    const v1::Start& spec_;
    std::filesystem::path folder_;
    Run run_;
    std::map<std::string, std::string> approvals_;  ///< of held commands; empty while asked
    std::uint64_t audited_ = 0;                     ///< bytes that warden has
    static constexpr std::size_t kMostBatch = 500;  ///< audit entries in one command
    std::size_t batch_ = kMostBatch;  ///< fewer where they are large, or one is refused
    bool draining_ = false;
    std::string frozen_;
    bool tree_gone_ = false;
};

}  // namespace berth::node
