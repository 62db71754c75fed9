// SPDX-License-Identifier: Apache-2.0
// The parsed settings file as plain data, private to this lib: YAML's own types stay in
// document.cpp.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace berth::config::detail {

struct Tree {
    enum class Type { kNull, kScalar, kList, kMap };
    Type type = Type::kNull;
    std::string scalar;
    std::vector<std::shared_ptr<const Tree>> items;
    std::vector<std::pair<std::string, std::shared_ptr<const Tree>>> entries;
    std::string path;
    std::shared_ptr<const std::string> file;
    int line = 0;      // of the key, where there is one: the line people look for
    int column = 1;    // of the value; of the key where the value begins on another line
    int key_line = 0;  // 0: an element of a list, or the root
    int key_column = 0;
};

}  // namespace berth::config::detail
