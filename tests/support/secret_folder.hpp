// SPDX-License-Identifier: Apache-2.0
// Files that hold the secrets of a test's settings.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace berth::testing {

/// Goes with the test. Every user may look in: a service may run as another one.
class SecretFolder {
public:
    SecretFolder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "berth-secrets-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = pattern;
        std::filesystem::permissions(path_, std::filesystem::perms{0755});
    }
    SecretFolder(const SecretFolder&) = delete;
    SecretFolder& operator=(const SecretFolder&) = delete;
    ~SecretFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    /// Writes `text` as a line of its own and returns the file's path.
    std::string file(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name) << text << "\n";
        return (path_ / name).string();
    }

private:
    std::filesystem::path path_;
};

}  // namespace berth::testing
