// SPDX-License-Identifier: Apache-2.0
// The ustar format: a header of 512 bytes before each file, which is filled up to whole blocks.
#include "cli/tar.hpp"

#include <fmt/format.h>

#include <cassert>

namespace berth::cli {
namespace {

constexpr std::size_t kBlock = 512;

std::string header(const TarFile& file) {
    assert(!file.name.empty() && file.name.size() <= 100);
    std::string out(kBlock, '\0');
    const auto put = [&](std::size_t at, std::string_view text) {
        out.replace(at, text.size(), text);
    };
    put(0, file.name);
    put(100, fmt::format("{:07o}", file.mode));
    put(108, "0000000");  // user
    put(116, "0000000");  // group
    put(124, fmt::format("{:011o}", file.content.size()));
    put(136, "00000000000");  // time
    put(148, "        ");     // the sum, as spaces while it is made
    out[156] = '0';           // a regular file
    put(257,
        std::string_view(
            "ustar\0"
            "00",
            8
        ));
    unsigned sum = 0;
    for (const char c : out) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    return out;
}

}  // namespace

std::string tar(const std::vector<TarFile>& files) {
    std::string out;
    for (const auto& file : files) {
        out += header(file) + file.content;
        out.resize((out.size() + kBlock - 1) / kBlock * kBlock, '\0');
    }
    return out + std::string(2 * kBlock, '\0');
}

}  // namespace berth::cli
