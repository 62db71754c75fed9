// SPDX-License-Identifier: Apache-2.0
// Numbers and texts in a row, each with its length before it: the form of everything that node
// agent and supervisor write for each other.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace berth::node {

class Packer {
public:
    explicit Packer(std::string_view magic = {}) : bytes_(magic) {}
    Packer& put(std::uint64_t value) {
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    Packer& put(std::string_view text) {
        put(std::uint64_t{text.size()});
        bytes_.append(text);
        return *this;
    }
    Packer& put(const std::string& text) { return put(std::string_view(text)); }
    Packer& put(const std::vector<std::string>& list) {
        put(std::uint64_t{list.size()});
        for (const auto& text : list) put(text);
        return *this;
    }
    std::string take() { return std::move(bytes_); }

private:
    std::string bytes_;
};

/// Reads what a Packer wrote. Once something is wrong, good() stays false and every answer is
/// empty.
class Unpacker {
public:
    explicit Unpacker(std::string_view bytes, std::string_view magic = {})
        : rest_(bytes), good_(bytes.starts_with(magic)) {
        if (good_) rest_.remove_prefix(magic.size());
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        if (!good_ || rest_.size() < sizeof value) return fail();
        std::memcpy(&value, rest_.data(), sizeof value);
        rest_.remove_prefix(sizeof value);
        return value;
    }
    std::string text() {
        const std::uint64_t size = number();
        if (!good_ || size > rest_.size()) {
            fail();
            return {};
        }
        std::string value(rest_.substr(0, size));
        rest_.remove_prefix(size);
        return value;
    }
    std::vector<std::string> list() {
        constexpr std::uint64_t kMost = 65'536;  // above any argv or environment the kernel takes
        const std::uint64_t count = number();
        std::vector<std::string> values;
        if (count > kMost) fail();
        for (std::uint64_t i = 0; good_ && i < count; ++i) values.push_back(text());
        return values;
    }
    bool good() const { return good_; }
    /// Everything was read and all of it was right.
    bool done() const { return good_ && rest_.empty(); }

private:
    std::uint64_t fail() {
        good_ = false;
        return 0;
    }
    std::string_view rest_;
    bool good_;
};

}  // namespace berth::node
