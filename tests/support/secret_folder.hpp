// SPDX-License-Identifier: Apache-2.0
// Files that hold the secrets of a test's settings.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "support/temporary_folder.hpp"

namespace berth::testing {

/// Goes with the test. Every user may look in: a service may run as another one.
class SecretFolder {
public:
    SecretFolder() { std::filesystem::permissions(folder_.path(), std::filesystem::perms{0755}); }
    /// Writes `text` as a line of its own and returns the file's path.
    std::string file(const std::string& name, const std::string& text) const {
        std::ofstream(folder_.path() / name) << text << "\n";
        return (folder_.path() / name).string();
    }

private:
    TemporaryFolder folder_;
};

}  // namespace berth::testing
