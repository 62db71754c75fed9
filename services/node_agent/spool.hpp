// SPDX-License-Identifier: Apache-2.0
// A run's output on disk between the supervisor, which writes it, and the node agent, which
// publishes it.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "core/fd.hpp"
#include "core/result.hpp"

/// Records [u32 length][u8 stream][payload] in segment files named after the output offset of their
/// first byte. An offset counts payload bytes only. Record boundaries never change, so that a frame
/// that is sent again is the same frame.
namespace berth::node {

inline constexpr std::size_t kRecordBytes = 64U << 10U;    ///< most payload of one record
inline constexpr std::uint64_t kSegmentBytes = 4U << 20U;  ///< a segment is closed at this size
inline constexpr std::uint64_t kSpoolLimitBytes =
    64U << 20U;  ///< most unconfirmed output; then the command waits

/// As berth.run.v1.Stream numbers them.
enum class OutStream : std::uint8_t { kStdout = 1, kStderr = 2, kBerth = 3 };

/// Not thread-safe. One writer per folder.
class SpoolWriter {
public:
    /// `folder` is created.
    static Result<SpoolWriter> create(const std::filesystem::path& folder);

    /// Appends one record (1 to kRecordBytes bytes). On an error (disk full) nothing of it is in
    /// the spool and the same append may be tried again.
    Result<void> append(OutStream stream, std::string_view payload);
    /// Everything below `offset` is safe elsewhere: whole segments below it are deleted.
    void confirm(std::uint64_t offset);

    std::uint64_t written() const { return written_; }
    std::uint64_t confirmed() const { return confirmed_; }
    /// True when no more may be appended before something is confirmed.
    bool full() const { return written_ - confirmed_ + kRecordBytes > kSpoolLimitBytes; }

private:
    explicit SpoolWriter(std::filesystem::path folder) : folder_(std::move(folder)) {}
    Result<void> open_segment();

    std::filesystem::path folder_;
    Fd file_;
    std::uint64_t file_bytes_ = 0;
    std::deque<std::uint64_t> segments_;  ///< first offsets; the last is open
    std::uint64_t written_ = 0;
    std::uint64_t confirmed_ = 0;
};

struct SpoolRecord {
    std::uint64_t offset = 0;
    OutStream stream = OutStream::kStdout;
    std::string_view payload;  ///< valid until the next call of the reader
};

/// Not thread-safe. May read while the writer writes.
class SpoolReader {
public:
    explicit SpoolReader(std::filesystem::path folder);
    ~SpoolReader();
    SpoolReader(SpoolReader&&) noexcept;
    SpoolReader& operator=(SpoolReader&&) noexcept;

    /// The next record starts at `offset`, which must be a record's boundary.
    void seek(std::uint64_t offset);
    std::uint64_t offset() const { return offset_; }
    /// The record at offset(), if it is whole and ends at or below `limit`; then moves behind it.
    /// Nothing when there is none yet. Error "bad_spool" when the segment is not there or damaged.
    Result<std::optional<SpoolRecord>> next(std::uint64_t limit);

    /// First offset in the folder and the end of its last whole record, found by reading every
    /// header: for a run whose supervisor is gone. {0, 0} for an empty one.
    static std::pair<std::uint64_t, std::uint64_t> extent(const std::filesystem::path& folder);

private:
    Result<bool> open_for_offset();
    std::filesystem::path folder_;
    Fd file_;
    std::uint64_t offset_ = 0;
    std::uint64_t position_ = 0;  ///< in file_
    std::unique_ptr<char[]> buffer_;
};

}  // namespace berth::node
