// SPDX-License-Identifier: Apache-2.0
// Segment files behind SpoolWriter and SpoolReader.
#include "node_agent/spool.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <vector>

namespace berth::node {
namespace {

constexpr std::size_t kHeader = 5;

std::filesystem::path segment_path(const std::filesystem::path& folder, std::uint64_t offset) {
    char name[32];
    std::snprintf(name, sizeof name, "%020llu", static_cast<unsigned long long>(offset));
    return folder / name;
}

std::vector<std::uint64_t> list_segments(const std::filesystem::path& folder) {
    std::vector<std::uint64_t> starts;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        std::uint64_t start = 0;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), start);
        if (parsed.ec == std::errc{} && parsed.ptr == name.data() + name.size())
            starts.push_back(start);
    }
    std::sort(starts.begin(), starts.end());
    return starts;
}

/// Payload length of the record at `position`, or 0 when there is no whole header.
std::uint32_t read_header(int fd, std::uint64_t position, OutStream& stream) {
    char head[kHeader];
    if (::pread(fd, head, kHeader, static_cast<off_t>(position)) != static_cast<ssize_t>(kHeader))
        return 0;
    std::uint32_t length = 0;
    std::memcpy(&length, head, sizeof length);
    stream = static_cast<OutStream>(head[4]);
    return length;
}

}  // namespace

Result<SpoolWriter> SpoolWriter::create(const std::filesystem::path& folder) {
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error("cannot create " + folder.string(), errno);
    }
    return SpoolWriter(folder);
}

Result<void> SpoolWriter::open_segment() {
    const auto path = segment_path(folder_, written_);
    Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!file) return system_error("cannot create " + path.string(), errno);
    file_ = std::move(file);
    file_bytes_ = 0;
    segments_.push_back(written_);
    return {};
}

Result<void> SpoolWriter::append(OutStream stream, std::string_view payload) {
    if (!file_ || file_bytes_ + kHeader + payload.size() > kSegmentBytes) BERTH_TRY(open_segment());
    char head[kHeader];
    const auto length = static_cast<std::uint32_t>(payload.size());
    std::memcpy(head, &length, sizeof length);
    head[4] = static_cast<char>(stream);
    const iovec parts[2] = {{head, kHeader}, {const_cast<char*>(payload.data()), payload.size()}};
    const ssize_t put = ::writev(file_.get(), parts, 2);
    if (put != static_cast<ssize_t>(kHeader + payload.size())) {
        const int error = put < 0 ? errno : ENOSPC;
        // A torn record would shift every later one.
        if (::ftruncate(file_.get(), static_cast<off_t>(file_bytes_)) != 0) file_.reset();
        return system_error("cannot write the output spool", error);
    }
    file_bytes_ += static_cast<std::uint64_t>(put);
    written_ += payload.size();
    return {};
}

void SpoolWriter::confirm(std::uint64_t offset) {
    confirmed_ = std::clamp(offset, confirmed_, written_);
    // A segment ends where the next begins; the open one stays until it is closed.
    while (segments_.size() > 1 && segments_[1] <= confirmed_) {
        ::unlink(segment_path(folder_, segments_.front()).c_str());
        segments_.pop_front();
    }
}

SpoolReader::SpoolReader(std::filesystem::path folder)
    : folder_(std::move(folder)), buffer_(std::make_unique<char[]>(kHeader + kRecordBytes)) {}
SpoolReader::~SpoolReader() = default;
SpoolReader::SpoolReader(SpoolReader&&) noexcept = default;
SpoolReader& SpoolReader::operator=(SpoolReader&&) noexcept = default;

void SpoolReader::seek(std::uint64_t offset) {
    if (offset == offset_ && file_) return;
    offset_ = offset;
    file_.reset();
}

Result<bool> SpoolReader::open_for_offset() {
    const auto starts = list_segments(folder_);
    const auto after = std::upper_bound(starts.begin(), starts.end(), offset_);
    if (after == starts.begin()) {
        if (starts.empty()) return false;
        return internal("bad_spool", "the spool begins behind the wanted offset");
    }
    const std::uint64_t start = *(after - 1);
    Fd file(::open(segment_path(folder_, start).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return system_error("cannot open a spool segment", errno);
    std::uint64_t at = start;
    std::uint64_t position = 0;
    while (at < offset_) {
        OutStream stream{};
        const std::uint32_t length = read_header(file.get(), position, stream);
        if (length == 0 || at + length > offset_)
            return internal("bad_spool", "no record begins at the wanted offset");
        at += length;
        position += kHeader + length;
    }
    file_ = std::move(file);
    position_ = position;
    return true;
}

Result<std::optional<SpoolRecord>> SpoolReader::next(std::uint64_t limit) {
    if (offset_ >= limit) return std::optional<SpoolRecord>{};
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (!file_) {
            BERTH_ASSIGN(const bool opened, open_for_offset());
            if (!opened) return std::optional<SpoolRecord>{};
        }
        const ssize_t got = ::pread(
            file_.get(), buffer_.get(), kHeader + kRecordBytes, static_cast<off_t>(position_)
        );
        if (got < 0) return system_error("cannot read the output spool", errno);
        if (got == 0) {  // end of this segment: the next is named after our offset
            file_.reset();
            continue;
        }
        std::uint32_t length = 0;
        if (got >= static_cast<ssize_t>(kHeader))
            std::memcpy(&length, buffer_.get(), sizeof length);
        if (length > kRecordBytes) return internal("bad_spool", "a record of the spool is damaged");
        if (length == 0 || got < static_cast<ssize_t>(kHeader + length))
            return std::optional<SpoolRecord>{};
        SpoolRecord record{
            offset_, static_cast<OutStream>(buffer_[4]), {buffer_.get() + kHeader, length}};
        offset_ += length;
        position_ += kHeader + length;
        return std::optional<SpoolRecord>(record);
    }
    return std::optional<SpoolRecord>{};
}

std::pair<std::uint64_t, std::uint64_t> SpoolReader::extent(const std::filesystem::path& folder) {
    const auto starts = list_segments(folder);
    if (starts.empty()) return {0, 0};
    const auto path = segment_path(folder, starts.back());
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info {};
    if (!file || ::fstat(file.get(), &info) != 0) return {starts.front(), starts.back()};
    std::uint64_t end = starts.back();
    std::uint64_t position = 0;
    for (;;) {
        OutStream stream{};
        const std::uint32_t length = read_header(file.get(), position, stream);
        if (length == 0 || position + kHeader + length > static_cast<std::uint64_t>(info.st_size))
            break;
        end += length;
        position += kHeader + length;
    }
    return {starts.front(), end};
}

}  // namespace berth::node
