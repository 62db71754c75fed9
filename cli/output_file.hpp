// SPDX-License-Identifier: Apache-2.0
// A file that a command is told to write at its end, and that must not fail only then.
#pragma once

#include <filesystem>
#include <string_view>

#include "core/result.hpp"

namespace berth::cli {

/// A private file that takes its place when it is whole. That its folder can be written to is found
/// out by another beside it, which is there as long as this object.
class OutputFile {
public:
    /// Error "bad_output" where the file cannot be written, named as the user named it.
    static Result<OutputFile> prepare(const std::filesystem::path& path);
    ~OutputFile();
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;

    Result<void> write(std::string_view content);

private:
    explicit OutputFile(const std::filesystem::path& path);
    std::filesystem::path path_;
    std::filesystem::path part_;
};

}  // namespace berth::cli
