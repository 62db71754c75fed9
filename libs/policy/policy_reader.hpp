// SPDX-License-Identifier: Apache-2.0
// Private to libs/policy: settings of one map of the policy file, every mistake with its line and
// column.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/result.hpp"

namespace berth::policy::detail {

/// What is wrong with a file, in the order in which it was found. One thread.
class Problems {
public:
    void add(const std::string& place, const std::string& what) {
        if (lines_.size() < kMost) lines_.push_back(place + ": " + what);
        ++count_;
    }
    bool none() const { return count_ == 0; }
    std::string text() const;

private:
    static constexpr std::size_t kMost = 50;  // nobody reads more at once
    std::vector<std::string> lines_;
    std::size_t count_ = 0;
};

/// A map whose keys are known; unknown ones are problems at once.
class Section {
public:
    Section(
        const config::Node& node, Problems& problems, std::initializer_list<std::string_view> known
    );

    std::optional<config::Node> find(std::string_view key) const;
    const config::Node& node() const { return node_; }

    std::string text(std::string_view key);
    bool boolean(std::string_view key);
    /// 0 where the key is absent; a problem where it is not between `least` and `most`.
    std::int64_t number(std::string_view key, std::int64_t least, std::int64_t most);
    /// Above 0 and at most `most`.
    std::optional<std::int64_t> duration_ms(std::string_view key, std::chrono::hours most);
    /// A text or a list of texts, none of them empty.
    std::vector<std::string> list(std::string_view key);
    /// Index of the value in `names`; -1 where the key is absent or the value is a problem.
    int choice(std::string_view key, std::initializer_list<std::string_view> names);

private:
    config::Node node_;
    Problems& problems_;
    bool map_;
};

/// The texts of a list, or the one text; anything else is a problem of `what`.
std::vector<config::Node> texts_of(
    const config::Node& node, Problems& problems, std::string_view what
);

/// A scalar's text, where it is one.
std::string text_of(const config::Node& node);

}  // namespace berth::policy::detail
