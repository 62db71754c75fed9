// SPDX-License-Identifier: Apache-2.0
// A run's audit on disk: written by the supervisor, read by the node agent until warden has it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/fd.hpp"
#include "core/result.hpp"
#include "identity/sha256.hpp"
#include "node_agent/guard_files.hpp"

namespace berth::node {

/// The supervisor's end. Not thread-safe.
class AuditWriter {
public:
    explicit AuditWriter(std::filesystem::path file, unsigned mode = 0600)
        : file_(std::move(file)), mode_(mode) {}
    /// In memory until flush(), which a disk that is full may refuse.
    void add(const AuditEntry& entry);
    /// True once all that was added is in the file.
    bool flush();
    std::uint64_t written() const { return written_; }
    void confirm(std::uint64_t offset) { confirmed_ = std::max(confirmed_, offset); }
    /// Warden is so far behind that the tree has to wait.
    bool full() const { return written_ + waiting_.size() - confirmed_ > kMaxAuditBytes; }

private:
    std::filesystem::path file_;
    unsigned mode_;
    Fd fd_;
    std::string waiting_;
    std::uint64_t written_ = 0;
    std::uint64_t confirmed_ = 0;
};

/// The last entry of a run, with the sum of all that it said.
AuditEntry run_ended(int exit_code, identity::Sha256& output);

/// The node agent's end: reads whole entries from `offset` on, at most `most`, and moves it.
Result<std::vector<AuditEntry>> read_audit(
    const std::filesystem::path& file, std::uint64_t& offset, std::size_t most
);

}  // namespace berth::node
