// SPDX-License-Identifier: Apache-2.0
// What can be written is found out by writing.
#include "cli/output_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/fd.hpp"
#include "core/id.hpp"

namespace berth::cli {

Result<OutputFile> OutputFile::prepare(const std::filesystem::path& path) {
    std::error_code error;
    if (path.filename().empty() || std::filesystem::is_directory(path, error))
        return invalid("bad_output", path.string() + " is a folder", "output");
    OutputFile out(path);
    if (const auto made = write_file_atomic(out.part_, "", 0600); !made) {
        const std::string& why = made.error().message;  // it names a file that nobody knows
        return invalid(
            "bad_output",
            fmt::format(
                "{} cannot be written{}",
                path.string(),
                why.substr(std::min(why.rfind(": "), why.size()))
            ),
            "output"
        );
    }
    return out;
}

OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path),
      part_(
          path.parent_path() / fmt::format(
                                   ".{}.{}.part",
                                   path.filename().string(),
                                   make_ulid(Clock::system().now(), Random::system())
                               )
      ) {}

OutputFile::~OutputFile() {
    std::error_code error;
    if (!part_.empty()) std::filesystem::remove(part_, error);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), part_(std::exchange(other.part_, {})) {}

Result<void> OutputFile::write(std::string_view content) {
    return write_file_atomic(path_, content, 0600);
}

}  // namespace berth::cli
