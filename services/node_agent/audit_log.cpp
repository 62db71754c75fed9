// SPDX-License-Identifier: Apache-2.0
// Length, entry, length, entry. No fsync: what a crash of the host takes, it takes with the run.
#include "node_agent/audit_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/text.hpp"
#include "core/time.hpp"

namespace berth::node {
namespace {
constexpr std::uint32_t kMostEntryBytes = 1U << 20U;
constexpr std::size_t kReadBytes = 1U << 20U;
}  // namespace

void AuditWriter::add(const AuditEntry& entry) {
    const std::string bytes = entry.encode();
    const auto size = static_cast<std::uint32_t>(bytes.size());
    waiting_.append(reinterpret_cast<const char*>(&size), sizeof size);
    waiting_ += bytes;
    constexpr std::size_t kMostWaiting = 64U << 10U;
    if (waiting_.size() > kMostWaiting) (void)flush();
}

bool AuditWriter::flush() {
    if (waiting_.empty()) return true;
    if (!fd_) fd_ = Fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode_));
    if (!fd_) return false;
    const ssize_t put = ::write(fd_.get(), waiting_.data(), waiting_.size());
    if (put <= 0) return false;
    written_ += static_cast<std::uint64_t>(put);
    waiting_.erase(0, static_cast<std::size_t>(put));
    return waiting_.empty();
}

AuditEntry run_ended(int exit_code, identity::Sha256& output) {
    AuditEntry entry;
    entry.fact = "run_ended";
    entry.at_us = to_unix_micros(Clock::system().now());
    entry.exit_code = exit_code;
    entry.output_sha256 = hex(output.finish());
    return entry;
}

Result<std::vector<AuditEntry>> read_audit(
    const std::filesystem::path& file, std::uint64_t& offset, std::size_t most
) {
    std::vector<AuditEntry> entries;
    const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return entries;
    if (!fd) return system_error("cannot read " + file.string(), errno);
    std::string bytes(kReadBytes + kMostEntryBytes, '\0');
    const ssize_t got = ::pread(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0) return system_error("cannot read " + file.string(), errno);
    std::string_view rest(bytes.data(), static_cast<std::size_t>(got));
    while (entries.size() < most && rest.size() >= sizeof(std::uint32_t)) {
        std::uint32_t size = 0;
        std::memcpy(&size, rest.data(), sizeof size);
        if (size > kMostEntryBytes) return internal("bad_audit", "the audit's file is damaged");
        if (rest.size() < sizeof size + size) break;
        BERTH_ASSIGN(AuditEntry entry, AuditEntry::decode(rest.substr(sizeof size, size)));
        entries.push_back(std::move(entry));
        rest.remove_prefix(sizeof size + size);
        offset += sizeof size + size;
    }
    return entries;
}

}  // namespace berth::node
